//! `igpt eval`: the likelihood of images under a model, beside baselines and the palette's distortion.

use std::path::PathBuf;

use igpt::cpu::{self, Options};
use igpt::data::{self, Images, Split};
use igpt::evaluate::{BaselineScores, Baselines, Likelihood, likelihood_among, likelihood_by_decoding_among};
use igpt::model::{ModelDir, Objective};
use igpt::palette::{Distortion, Histogram, Quantizer};
use igpt::ranks::{Collective, expect_same_model, in_turn};
use igpt::train::open_model;
use igpt::{Error, Result};
use serde_json::json;

use super::drawing::with_bar_if;
use crate::output::{print_json, say};
use crate::ranks;
use crate::shared::{DataArgs, JsonArgs, PrecisionArgs, Quantize, ThreadArgs};

/// Flags of `igpt eval`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt eval --model runs/a --data emoji --split test --json\n\n\
                        The baselines are fitted to the training images and scored on the same images as the model, \
                        every pixel counted. Figures compare only between models of one palette.")]
pub(crate) struct Args {
    /// Model directory, or a run directory
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Images to score: train, validation, test or all
    #[arg(long, default_value_t = Split::Test)]
    split: Split,
    /// Score only so many images, spread evenly; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    images: usize,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Score pixel by pixel, as drawing with 8 bits sees them: what that costs in likelihood
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    ranks::among(|ranks| run_among(&args, ranks))
}

fn run_among(args: &Args, ranks: &mut Collective) -> Result<()> {
    let precision = args.precision.get();
    let int8 = args.quantize == Some(Quantize::Int8);
    let flags = json!({"split": args.split, "images": args.images, "precision": precision, "quantize": int8});
    ranks::expect_same_command(ranks, precision, "eval", &flags)?;
    let model = open_model(&args.model)?;
    model.expect_generative(&args.model.display().to_string())?;
    let dataset = in_turn(ranks, || args.data.open())?;
    let images = dataset.split(args.split)?;
    let images = if args.images > 0 { images.spread(args.images) } else { images };
    expect_same_model(ranks, &model, &[&images])?;
    let ModelDir { config, palette, weights, .. } = model;
    let quantizer = Quantizer::new(palette);
    let palette = quantizer.palette();
    let channels = palette.channels();
    let set = data::tokenize(&images, config.n_px, &quantizer)?;
    let masked = config.objective == Objective::Masked;
    // What baselines give is a likelihood of whole images, which masked pixels' loss does not compare with.
    let baselines =
        if masked || !ranks.leads() { None } else { baselines(&dataset.split(Split::Train), &set, &quantizer)? };
    let options = Options { threads: args.threads.threads, int8, ..Options::inference(precision) };
    let mut engine = cpu::open(&config, &weights, options)?;
    let (total, leads) = (set.images(), ranks.leads());
    let (found, time) = with_bar_if(leads, "scoring", |progress| {
        let mut progress = |images| progress(images, total);
        if int8 {
            likelihood_by_decoding_among(ranks, &*engine, &set, channels, &mut progress)
        } else {
            likelihood_among(ranks, &mut *engine, &set, channels, &mut progress)
        }
    })?;
    if !leads {
        return Ok(());
    }
    let (histogram, _) = Histogram::of_images(&images, Some(config.n_px), channels, None, args.threads.threads)?;
    let distortion = Distortion::of(&histogram, &quantizer);
    // Tokens don't tell how far from the palette the pixels were.
    let known = images.tokens().is_none();

    let heading = format!("{} on {} images of {} ({})", args.model.display(), found.images, args.data.data, args.split);
    if masked {
        say!("the loss is that of masked pixels ({:.0} %), no likelihood of whole images", 100.0 * config.mask_prob);
    }
    say!("{heading}\n{}", table(&found, baselines.as_ref(), known.then_some(&distortion)));
    for image in &set.damaged {
        say!("skipped {}: {}", image.name, image.problem);
    }
    if args.json.json {
        print_json(&json!({
            "objective": config.objective,
            "mask_prob": masked.then_some(config.mask_prob),
            "nats_per_token": found.nats_per_token,
            "bits_per_pixel": found.bits_per_pixel,
            "bits_per_dim": found.bits_per_dim,
            "nats_per_image": found.nats_per_image,
            "interval95": found.interval95,
            "images": found.images,
            "baselines": baselines,
            "palette_psnr_db": known.then_some(distortion.psnr_db),
            "palette_mse": known.then_some(distortion.mse),
            "palette_entropy_bits": distortion.entropy_bits,
            "palette_hash": palette.hash(),
            "colors": palette.n_vocab(),
            "channels": channels,
            "model": args.model,
            "data": args.data.data,
            "split": args.split,
            "precision": precision,
            "quantize": int8.then_some("int8"),
            "damaged": set.damaged.len(),
            "seconds": time.as_secs_f64(),
        }))?;
    }
    Ok(())
}

/// Scores of models that count, fitted to the training images; none where there are no training images.
fn baselines(train: &Result<Images>, set: &data::TokenSet, quantizer: &Quantizer) -> Result<Option<BaselineScores>> {
    match train {
        Ok(train) => {
            let train = data::tokenize(train, set.n_px, quantizer)?;
            Ok(Some(Baselines::fit(&train, quantizer.palette().n_vocab()).score(set)))
        }
        Err(Error::Missing(_)) => {
            say!("no baselines: the data have no training images to fit them to");
            Ok(None)
        }
        Err(problem) => Err(Error::Invalid(problem.to_string())),
    }
}

fn table(found: &Likelihood, baselines: Option<&BaselineScores>, distortion: Option<&Distortion>) -> String {
    let palette = match distortion {
        Some(distortion) => format!("with a palette of {:.2} dB PSNR", distortion.psnr_db),
        None => "(how far the palette is from the pixels, tokens don't tell)".into(),
    };
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
