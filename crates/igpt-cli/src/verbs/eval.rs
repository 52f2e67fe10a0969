//! `igpt eval`: the likelihood of images under a model, beside baselines and the palette's distortion.

use std::path::PathBuf;

use igpt::data::{self, Preprocess, Split, preprocessed_color_histogram};
use igpt::evaluate::{
    BaselineScores, Likelihood, NgramBaselines, Verdict, VerdictContext, likelihood, likelihood_by_decoding,
};
use igpt::model::Objective;
use igpt::palette::{Distortion, Quantizer};
use igpt::ranks::{Collective, expect_same_model};
use igpt::train::open_model_dir;
use igpt::train::training_course;
use igpt::{Error, Result};
use serde_json::json;

use super::drawing::with_bar_if;
use super::pictures::{OwnFolder, Pictures, left_out, tell_damaged};
use crate::model_args::{EngineArgs, PrecisionArgs, Quantize};
use crate::named::parsed;
use crate::output::{print_json, say};
use crate::ranks;
use crate::shared::{DataArgs, JsonArgs};

/// Flags of `igpt eval`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt eval --model runs/a --data emoji --split test --json\n\n\
                        The baselines are fitted to the training images and scored on the same images as the model, \
                        every pixel counted. Figures compare only between models of one palette.\n\n\
                        Without --split the test part is scored where the data bring parts, and all images of a folder \
                        without parts: then the baselines are fitted to what the run was trained on. Of the folder that \
                        the run was trained on itself, the images that it held out are scored.")]
pub(crate) struct Args {
    /// Model directory, or a run directory
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Images to score: train, validation, test or all [default: test, or all images of a folder without parts]
    #[arg(long, value_parser = parsed::<Split>(&Split::NAMES))]
    split: Option<Split>,
    /// Score only so many images, spread evenly; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    images: usize,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Score pixel by pixel, as drawing with 8 bits sees them: what that costs in likelihood
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    ranks::among(|ranks| run_among(&args, ranks)).map_err(|error| error.of_model(args.model.display()))
}

fn run_among(args: &Args, ranks: &mut Collective) -> Result<()> {
    let precision = args.precision.precision;
    let int8 = args.quantize == Some(Quantize::Int8);
    let flags = json!({"split": args.split, "images": args.images, "precision": precision, "quantize": int8});
    ranks::expect_same_command(ranks, args.engine.device(), "eval", &flags)?;
    let model = open_model_dir(&args.model)?;
    model.expect_generative(&args.model.display().to_string())?;
    let dataset = args.data.open_among(ranks)?;
    let pictures = Pictures::of(dataset, &args.data.data, args.split, Some(&args.model), OwnFolder::HeldOut)?;
    let images = pictures.spread(args.images);
    expect_same_model(ranks, &model, &[&images])?;
    let mut opened = args.engine.open(model, precision, args.quantize)?;
    let (model, quantizer, engine) = opened.parts();
    let config = &model.config;
    let palette = quantizer.palette();
    let channels = palette.channels();
    let set = data::tokenize_unchecked(&images, config.n_px, quantizer)?;
    tell_damaged(if ranks.is_leader() { &set.damaged } else { &[] }, set.images(), &args.data.data)?;
    let masked = config.objective == Objective::Masked;
    // What baselines give is a likelihood of whole images, which masked pixels' loss does not compare with.
    let baselines = if masked || !ranks.is_leader() { None } else { baselines(&pictures, &set, quantizer)? };
    let (total, leads) = (set.images(), ranks.is_leader());
    let (found, time) = with_bar_if(leads, "scoring", |progress| {
        let mut progress = |images| progress(images, total);
        if int8 {
            likelihood_by_decoding(ranks, engine, &set, channels, &mut progress)
        } else {
            likelihood(ranks, engine, &set, channels, &mut progress)
        }
    })?;
    if !leads {
        return Ok(());
    }
    let whole =
        left_out(&images, &set.damaged).into_iter().enumerate().filter(|(_, left_out)| !left_out).map(|(i, _)| i);
    let (histogram, _) = preprocessed_color_histogram(
        &images.pick(whole),
        Some(Preprocess::of(palette, config.n_px)),
        channels,
        None,
        args.engine.threads(),
    )?;
    let distortion = Distortion::of(&histogram, quantizer);
    // Tokens don't tell how far from the palette the pixels were.
    let known = images.tokens().is_none();

    let course = training_course(&args.model);
    let circumstances = VerdictContext { n_px: config.n_px, n_vocab: config.n_vocab, course };
    let verdict = baselines.map(|scores| Verdict::new(found.nats_per_token, &scores, &circumstances));
    let heading =
        format!("{} on {} images of {} ({})", args.model.display(), found.images, args.data.data, pictures.part());
    if masked {
        let share = 100.0 * config.mask_prob;
        say!("{heading}\n{}", masked_table(&found, config.n_ctx(), share, known.then_some(&distortion)));
    } else {
        say!("{heading}\n{}", table(&found, baselines.as_ref(), known.then_some(&distortion)));
        if let Some(verdict) = &verdict {
            say!("{verdict}");
        }
    }
    let seen = pictures.seen(&images, &set.damaged);
    if args.json.json {
        print_json(&json!({
            "objective": config.objective,
            "mask_prob": masked.then_some(config.mask_prob),
            "nats_per_token": found.nats_per_token,
            // Masked positions alone are scored, so nothing can be said of whole images.
            "bits_per_pixel": (!masked).then_some(found.bits_per_pixel),
            "bits_per_dim": (!masked).then_some(found.bits_per_dim),
            "nats_per_image": (!masked).then_some(found.nats_per_image),
            "interval95": found.interval95.filter(|_| !masked),
            "masked_interval95": found.interval95.filter(|_| masked).map(|both| both.map(|nats| nats / config.n_ctx() as f64)),
            "images": found.images,
            "baselines": baselines,
            "verdict": verdict,
            "palette_psnr_db": known.then_some(distortion.psnr_db),
            "palette_mse": known.then_some(distortion.mse),
            "palette_entropy_bits": distortion.entropy_bits,
            "palette_hash": palette.hash(),
            "colors": palette.n_vocab(),
            "channels": channels,
            "model": args.model.display().to_string(),
            "data": args.data.data,
            "split": pictures.split,
            "trained_on": seen.count(),
            "precision": precision,
            "quantize": int8.then_some("int8"),
            "damaged": set.damaged.len(),
            "seconds": time.as_secs_f64(),
        }))?;
    }
    Ok(())
}

/// Scores of models that count, fitted to the training images; none where there are no training images.
fn baselines(pictures: &Pictures, set: &data::TokenSet, quantizer: &Quantizer) -> Result<Option<BaselineScores>> {
    let train = match pictures.are_new() {
        false => pictures.dataset.split(Split::Train),
        true => pictures.trained.training_images().ok_or_else(|| Error::Missing("no training images".into())),
    };
    match &train {
        Ok(train) => {
            let train = data::tokenize(train, set.n_px, quantizer)?;
            Ok(Some(NgramBaselines::fit(&train, quantizer.palette().n_vocab()).score(set)))
        }
        Err(Error::Missing(_)) => {
            say!("no baselines: there are no training images to fit them to");
            Ok(None)
        }
        Err(problem) => Err(Error::Invalid(problem.to_string())),
    }
}

fn quality(distortion: Option<&Distortion>) -> String {
    match distortion {
        Some(distortion) => format!("with a palette of {:.2} dB PSNR", distortion.psnr_db),
        None => "(how far the palette is from the pixels, tokens don't tell)".into(),
    }
}

/// What a model of masked pixels gives: the loss of its masked positions, no likelihood of whole images.
fn masked_table(found: &Likelihood, n_ctx: usize, share: f64, distortion: Option<&Distortion>) -> String {
    let mut text = format!("{:.4} nats per masked pixel", found.nats_per_token);
    if let Some([low, high]) = found.interval95 {
        text += &format!(", 95 % interval {:.4} to {:.4}", low / n_ctx as f64, high / n_ctx as f64);
    }
    text + &format!(
        ", {}\nthis is the loss of the {share:.0} % of pixels that are masked, given the others: no likelihood of whole images",
        quality(distortion)
    )
}

fn table(found: &Likelihood, baselines: Option<&BaselineScores>, distortion: Option<&Distortion>) -> String {
    let palette = quality(distortion);
    let mut text = format!(
        "{:.4} nats/token, {:.4} bits/pixel, {:.4} bits/dim {palette}\n",
        found.nats_per_token, found.bits_per_pixel, found.bits_per_dim
    );
    text += &format!("{:.1} nats/image", found.nats_per_image);
    if let Some([low, high]) = found.interval95 {
        text += &format!(", 95 % interval {low:.1} to {high:.1}");
    }
    if let Some(BaselineScores { uniform, unigram, context }) = baselines {
        text += &format!("\nbaselines: uniform {uniform:.4}, unigram {unigram:.4}, context {context:.4} nats/token");
    }
    text
}
