//! `igpt score`: which images are odd, and where.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use igpt::data::{self, Split, TokenSet};
use igpt::device::{Engine, Precision};
use igpt::evaluate::{NgramBaselines, Reference, Surprise, surprise};
use igpt::formats::png;
use igpt::image::{grid, readable_scale};
use igpt::inspect::{InspectionFit, Inspector};
use igpt::model::ModelDir;
use igpt::palette::Quantizer;

use igpt::formats::png::TextChunks;
use igpt::report::csv_field;
use igpt::report::surprise_pairs;
use igpt::stats::auroc;
use igpt::train::SplitRecord;
use igpt::{Result, files};
use serde_json::{Value, json};

use super::drawing::with_bar;
use super::maps;
use super::pictures::{OwnFolder, Pictures, left_out, tell_damaged};
use crate::model_args::{EngineArgs, ModelArgs, expect_autoregressive};
use crate::named::parsed;
use crate::output::{print_json, say};
use crate::shared::{DataArgs, JsonArgs};

/// Pairs of image and map in a row of the sheet.
const PAIRS: usize = 4;

/// Flags of `igpt score`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt score --data emoji --out odd\n  \
                        igpt score --model runs/parts --data photos/good --against photos/odd --out odd\n\n\
                        Where the model has a fit (igpt inspect fit), images are ranked by the fit's score, unless --reference is given; \
                        the column score of scores.csv has it. Otherwise they are ranked by excess.\n\n\
                        An image's excess is what the model needs beyond a reference of its complexity, in nats: a \
                        plain likelihood calls flat images usual and busy ones odd, whatever they show. The folder \
                        gets scores.csv, oddest first, and the oddest images beside their surprise maps: odd.png, and \
                        one by one in maps/. The column trained_on is yes for images that the run of --model was trained \
                        on, no for others, and empty where that is not known. The scores of --against go to against.csv, which has the same columns; \
                        its ranks are among its own images.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Images to score: train, validation, test or all [default: test, or all images of a folder without parts]
    #[arg(long, value_parser = parsed::<Split>(&Split::NAMES))]
    split: Option<Split>,
    /// A second data set, thought to be odd: how well do the scores tell it from the first?
    #[arg(long, value_name = "SPEC")]
    against: Option<String>,
    /// Its images: train, validation, test or all
    #[arg(long, value_parser = parsed::<Split>(&Split::NAMES), default_value_t = Split::All)]
    against_split: Split,
    /// What stands for an image's complexity: the context model that igpt inspect fit keeps with the model, or the size of a
    /// PNG [default: context, or png where the model has no fit]. Without a fit, context is fitted to the train split of
    /// --data (for a folder without parts to what the model was trained on, if that is here, otherwise to the images)
    #[arg(long, value_enum)]
    reference: Option<Complexity>,
    /// Score only so many images of each data set, spread evenly; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    images: usize,
    /// How many of the oddest images to show
    #[arg(long, value_name = "N", default_value_t = 24)]
    top: usize,
    /// Folder for the scores and pictures
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Complexity {
    Context,
    Png,
}

/// The images of one data set with their surprise.
struct Scored {
    set: TokenSet,
    /// Whether each image was trained on, if known.
    seen: SplitRecord,
    surprise: Vec<Surprise>,
    /// Scores by the model's fit, by which images are ranked; none of those that it can't judge.
    scores: Option<Vec<Option<f64>>>,
}

impl Scored {
    /// Positions of the images, the oddest first.
    fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.surprise.len()).collect();
        let by = |i: usize| match &self.scores {
            Some(scores) => scores[i].unwrap_or(f64::NEG_INFINITY),
            None => self.surprise[i].excess(),
        };
        order.sort_by(|&a, &b| by(b).total_cmp(&by(a)));
        order
    }

    /// The fit's score of an image, where there is one.
    fn score(&self, i: usize) -> Option<f64> {
        self.scores.as_ref().and_then(|scores| scores[i])
    }

    fn scores(&self, score: impl Fn(&Surprise) -> f64) -> Vec<f64> {
        self.surprise.iter().map(score).collect()
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (model, name) = (args.model.open()?, args.model.name());
    expect_autoregressive(&model, &name)?;
    let path = args.model.path();
    let pictures = Pictures::of(args.data.open()?, &args.data.data, args.split, path, OwnFolder::Marked)?;
    let mut opened = args.engine.open(model, Precision::F32, None)?;
    let (model, quantizer, engine) = opened.parts();
    let n_px = model.config.n_px;
    let fit = if args.reference == Some(Complexity::Png) {
        None
    } else {
        path.map_or(Ok(None), |path| InspectionFit::find(path, model))?
    };
    let baselines = reference(&args, model, fit.as_ref(), &pictures, quantizer)?;
    let inspector =
        fit.filter(|_| args.reference.is_none()).map(|fit| Inspector::new(fit, model, args.engine.threads()));
    let reference = baselines.as_ref().map_or(Reference::Png(quantizer), Reference::Context);
    let mut score = |pictures: &Pictures| -> Result<Scored> {
        let images = pictures.spread(args.images);
        let set = data::tokenize_unchecked(&images, n_px, quantizer)?;
        tell_damaged(&set.damaged, set.images(), &pictures.spec)?;
        let seen = pictures.seen(&images, &set.damaged);
        let (surprise, _) = with_bar("scoring", |progress| {
            surprise(&mut *engine, &set, reference, &mut |done| progress(done, set.images()))
        })
        .map_err(|error| error.of_model(&name))?;
        let scores = inspector.as_ref().map(|inspector| {
            let (scores, _) = with_bar("inspecting", |progress| inspector.scores(&mut *engine, &images, progress))
                .map_err(|error| error.of_model(&name))?;
            let kept = scores.into_iter().zip(left_out(&images, &set.damaged)).filter(|(_, left_out)| !left_out);
            Ok(kept.map(|(score, _)| score).collect())
        });
        Ok(Scored { scores: scores.transpose()?, set, seen, surprise })
    };
    let own = score(&pictures)?;
    let against = match &args.against {
        Some(spec) => {
            let dataset = DataArgs { data: spec.clone(), ..args.data.clone() }.open()?;
            let odd = Pictures::of(dataset, spec, Some(args.against_split), path, OwnFolder::Marked)?;
            let against = score(&odd)?;
            let text = csv(&against, &against.ranking(), &odd.dataset.classes);
            files::write(&args.out.join("against.csv"), text.as_bytes())?;
            Some(against)
        }
        None => {
            // What an earlier call left there would pass for this one's.
            files::remove(&args.out.join("against.csv"))?;
            None
        }
    };
    let ranking = own.ranking();
    let shown = &ranking[..args.top.min(ranking.len())];
    files::write(&args.out.join("scores.csv"), csv(&own, &ranking, &pictures.dataset.classes).as_bytes())?;
    save_pictures(&args.out, &mut *engine, quantizer, &own, shown).map_err(|error| error.of_model(&name))?;

    let measures = [("excess", Surprise::excess as fn(&Surprise) -> f64), ("likelihood", |s| s.nats)];
    let told = against.as_ref().map(|against| {
        let of = |(name, measure)| (name, auroc(&own.scores(measure), &against.scores(measure)));
        let mut told: Vec<(&str, Option<f64>)> = measures.map(of).to_vec();
        if let [Some(own), Some(odd)] = [&own.scores, &against.scores] {
            let readable = |scores: &[Option<f64>]| scores.iter().flatten().copied().collect::<Vec<f64>>();
            told.insert(0, ("score", auroc(&readable(own), &readable(odd))));
        }
        told
    });
    let ranked_by = inspector.as_ref().map_or("excess", |inspector| inspector.fit.score.name());
    let complexity = if baselines.is_some() { "the context model" } else { "a PNG file" };
    tell(&args, &name, &pictures.part(), &own, (shown, complexity, ranked_by), &told);
    if args.json.json {
        let odd = |&i: &usize| {
            let s = own.surprise[i];
            json!({"name": own.set.names[i], "nats": s.nats, "reference": s.reference, "excess": s.excess(), "score": own.score(i), "trained_on": own.seen.marks[i]})
        };
        let auroc: Option<Value> = told.map(|told| told.iter().map(|(name, value)| (*name, *value)).collect());
        print_json(&json!({
            "images": own.surprise.len(),
            "nats_per_image": mean(&own.scores(|s| s.nats)),
            "ranked_by": ranked_by,
            "reference": if baselines.is_some() { "context" } else { "png" },
            "reference_nats_per_image": mean(&own.scores(|s| s.reference)),
            "oddest": shown.iter().map(odd).collect::<Vec<_>>(),
            "against_images": against.as_ref().map(|against| against.surprise.len()),
            "auroc": auroc,
            "model": name,
            "data": args.data.data,
            "split": pictures.split,
            "trained_on": own.seen.count(),
            "damaged": own.set.damaged.iter().map(|image| &image.name).collect::<Vec<_>>(),
            "against": args.against,
            "out": args.out.display().to_string(),
        }))?;
    }
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The context model that stands for images' complexity; none where the size of a PNG does. It is the model's own, so that an
/// image has the same excess whatever it is scored with, unless it is asked for where the model has none.
fn reference(
    args: &Args,
    model: &ModelDir,
    fit: Option<&InspectionFit>,
    pictures: &Pictures,
    quantizer: &Quantizer,
) -> Result<Option<NgramBaselines>> {
    match (fit, args.reference) {
        (_, Some(Complexity::Png)) => Ok(None),
        (Some(fit), _) => Ok(Some(fit.reference.clone())),
        (None, None) => {
            say!(
                "an image's complexity is the size of its PNG file: the model has no fit (igpt inspect fit) with a context \
                 model of good images and a score that finds more"
            );
            Ok(None)
        }
        (None, Some(_)) => {
            say!("the context model is fitted for this call alone: an excess compares with others of this call only");
            let train = data::tokenize_unchecked(&reference_images(pictures)?, model.config.n_px, quantizer)?;
            Ok(Some(NgramBaselines::fit(&train, quantizer.palette().n_vocab())))
        }
    }
}

/// What the context model is fitted to: training images, never a part of the images that are scored.
fn reference_images(pictures: &Pictures) -> Result<data::Images> {
    if !pictures.are_new() {
        return pictures.dataset.split(Split::Train);
    }
    Ok(pictures.trained.training_images().unwrap_or_else(|| {
        say!("the context model is fitted to the images themselves: what the model was trained on is not here");
        pictures.images.clone()
    }))
}

fn tell(
    args: &Args,
    model: &str,
    part: &str,
    own: &Scored,
    (shown, reference, ranked_by): (&[usize], &str, &str),
    told: &Option<Vec<(&str, Option<f64>)>>,
) {
    say!(
        "{model} on {} images of {} ({}): {:.1} nats an image, {reference} {:.1}",
        own.surprise.len(),
        args.data.data,
        part,
        mean(&own.scores(|s| s.nats)),
        mean(&own.scores(|s| s.reference)),
    );
    match own.scores {
        Some(_) => say!("oddest by the score {ranked_by} of the model's fit:\n    score   excess     nats  image"),
        None => say!("oddest by excess over {reference}:\n   excess     nats  image"),
    }
    for &i in shown.iter().take(10) {
        let score = own.score(i).map_or(String::new(), |score| format!("{score:>9.3} "));
        say!("{score}{:>9.1} {:>8.1}  {}", own.surprise[i].excess(), own.surprise[i].nats, own.set.names[i]);
    }
    if let (Some(told), Some(against)) = (told, &args.against) {
        for (name, value) in told {
            say!("AUROC of {name}, {against} against {}: {:.3}", args.data.data, value.unwrap_or(f64::NAN));
        }
    }
    say!("all scores and the {} oddest with their maps: {}", shown.len(), args.out.display());
}

/// All scores of a data set, the oddest image first.
fn csv(scored: &Scored, ranking: &[usize], classes: &[String]) -> String {
    let mut text = String::from("rank,image,class,nats,reference,excess,trained_on");
    text += if scored.scores.is_some() { ",score\n" } else { "\n" };
    for (rank, &i) in ranking.iter().enumerate() {
        let class = scored.set.labels[i].and_then(|label| classes.get(label as usize)).map_or("", String::as_str);
        let Surprise { nats, reference, .. } = scored.surprise[i];
        let (name, class) = (csv_field(&scored.set.names[i]), csv_field(class));
        let seen = match scored.seen.marks[i] {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let _ = write!(text, "{},{name},{class},{nats:.3},{reference:.3},{:.3},{seen}", rank + 1, nats - reference);
        match &scored.scores {
            Some(scores) => _ = writeln!(text, ",{}", scores[i].map_or(String::new(), |score| score.to_string())),
            None => text.push('\n'),
        }
    }
    text
}

/// The oddest images beside their maps, as one sheet and one by one.
fn save_pictures(
    out: &Path,
    engine: &mut dyn Engine,
    quantizer: &Quantizer,
    own: &Scored,
    shown: &[usize],
) -> Result<()> {
    files::remove(&out.join("odd.png"))?;
    maps::remove_earlier(out)?;
    if shown.is_empty() {
        return Ok(());
    }
    let (pairs, top) = surprise_pairs(engine, quantizer, &own.set, shown)?;
    let text = |title: &str| TextChunks::new(title).with("Brightest", format!("{top:.3} nats per pixel and more"));
    let scale = readable_scale(own.set.n_px);
    for (rank, (&i, pair)) in shown.iter().zip(&pairs).enumerate() {
        let name = &own.set.names[i];
        let path = maps::path(out, rank + 1, name);
        let excess = format!("{:.1} nats", own.surprise[i].excess());
        png::save(path, &grid(pair, 2, scale), &text("Surprise").with("Image", name).with("Excess", excess))?;
    }
    png::save(out.join("odd.png"), &grid(&pairs.concat(), 2 * PAIRS, scale), &text("Oddest images"))
}
