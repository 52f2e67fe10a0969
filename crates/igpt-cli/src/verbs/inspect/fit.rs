//! `igpt inspect fit`: a reference and a threshold, fitted to good pictures.

use std::path::PathBuf;

use igpt::Result;
use igpt::data::Split;
use igpt::device::Precision;
use igpt::image::Resampling;
use igpt::inspect::{self, FALSE_ALARMS, FitRequest, InputMode, Score, ScoreChoice, ScoreSeparation, split_good};
use igpt::train::TrainedOn;
use serde_json::json;

use super::open;
use crate::model_args::EngineArgs;
use crate::output::{print_json, put, say};
use crate::shared::{DataArgs, JsonArgs};
use crate::verbs::drawing::with_phases;
use crate::verbs::pictures::tell_damaged;

/// Flags of `igpt inspect fit`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt inspect fit --model runs/parts --data photos/good\n  \
                        igpt inspect fit --model runs/parts --data photos/good --odd photos/odd --score auto\n\n\
                        The fit is kept in the model directory (inspect.json and a file of tensors): a reference, which is a \
                        context model of good pictures, the score, and the scores of good pictures that neither the network nor \
                        the reference has seen. Of the data that the run was trained on these are the validation and test parts, \
                        otherwise a share of the pictures (--held-out). The model opens in transformers as before.\n\n\
                        Scores: typical (lines and spots with more nats than the model expects, windows with fewer, beside good \
                        pictures), likelihood (nats), excess (nats beyond the reference's), top (the most surprising hundredth of \
                        pixels), window (the most surprising 5×5 window), local-excess (the window furthest beyond the reference), \
                        features (the window whose features are furthest from a bank of good pictures'). docs/odd-images.md has more.")]
pub(super) struct Args {
    /// Model directory, or the directory of a finished run
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Good pictures: a folder, or a data set by name
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Pictures known to be odd: how well does each score tell them from the held-out good ones?
    #[arg(long, value_name = "SPEC")]
    odd: Option<String>,
    /// Score to judge by: likelihood, excess, top, window, local-excess, typical or features; auto is the one that tells --odd best
    #[arg(long, value_name = "NAME", default_value = Score::DEFAULT.name(), value_parser = choice)]
    score: ScoreChoice,
    /// Share that is held out of pictures that the network was not trained on, where the folder has no parts of its own
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    held_out: f64,
    /// Look at each picture at its own resolution, in tiles side by side: for a model that was trained on a folder of crops;
    /// one that was trained with --augment tiles is always used so
    #[arg(long)]
    tiles: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

fn choice(name: &str) -> Result<ScoreChoice> {
    match name {
        "auto" => Ok(ScoreChoice::Auto),
        name => name.parse().map(ScoreChoice::Named),
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (model, dir) = open(&args.model)?;
    if args.odd.is_none() && args.score == ScoreChoice::Auto {
        return Err(igpt::Error::Invalid("--score auto chooses by odd pictures: give some with --odd".into()));
    }
    let opened = |spec: &str| DataArgs { data: spec.into(), data_dir: args.data_dir.clone() }.open();
    let dataset = opened(&args.data)?;
    let odd = args.odd.as_deref().map(|spec| opened(spec)?.split(Split::All)).transpose()?;
    let divided = split_good(&dataset, &args.data, &TrainedOn::of(Some(&args.model)), args.held_out)?;
    for note in &divided.notes {
        say!("note: {note}");
    }
    let view =
        if args.tiles || model.palette.resampling() == Resampling::Crop { InputMode::Tiles } else { InputMode::Whole };
    let threads = args.engine.threads();
    let (choice, data, odd) = (args.score, &args.data, odd.as_ref());
    let request = FitRequest { view, choice, data, false_alarms: FALSE_ALARMS, odd, threads };
    let mut opened = args.engine.open(model, Precision::F32, None)?;
    let (model, _, engine) = opened.parts();
    let (found, _) = with_phases(|progress| inspect::fit(engine, model, &divided, request, progress))
        .map_err(|error| error.of_model(args.model.display()))?;
    let (fit, used) = (&found.fit, &found.fit.used);
    tell_damaged(&found.damaged, used.reference + used.held_out, &args.data)?;
    fit.save(&dir)?;

    say!("{}: {}", args.data, used.how);
    say!(
        "the reference is fitted to {} good pictures, the threshold is made of {} others",
        used.reference,
        used.held_out
    );
    if used.statistics > 0 {
        say!("the score's statistics are of {} good pictures", used.statistics);
    }
    if used.choice > 0 {
        say!("the score is chosen by {} more held-out pictures", used.choice);
    }
    if let Some(odd) = &args.odd {
        let usual = if used.choice > 0 { used.choice } else { used.held_out };
        say!("AUROC of {} pictures of {odd} against {usual} held-out good ones, with its 95 % interval:", found.odd);
        if !args.json.json {
            tell_table(&found.table, fit.score)?;
        }
    }
    say!(
        "the fit by the score {} is in {}; judge by igpt inspect run --model {}",
        fit.score,
        dir.display(),
        args.model.display()
    );
    if args.json.json {
        let row = |row: &ScoreSeparation| json!({"score": row.score, "auroc": row.auroc, "interval95": row.interval});
        print_json(&json!({
            "score": fit.score,
            "view": fit.view,
            "data": args.data,
            "how": used.how,
            "reference": used.reference,
            "statistics": used.statistics,
            "choice": used.choice,
            "held_out": used.held_out,
            "odd": args.odd,
            "odd_images": found.odd,
            "auroc": found.table.iter().map(row).collect::<Vec<_>>(),
            "damaged": found.damaged.iter().map(|image| &image.name).collect::<Vec<_>>(),
            "notes": divided.notes,
            "model": args.model.display().to_string(),
            "out": dir.display().to_string(),
        }))?;
    }
    Ok(())
}

fn tell_table(table: &[ScoreSeparation], kept: Score) -> Result<()> {
    put!("score         AUROC  interval")?;
    for ScoreSeparation { score, auroc, interval: [low, high], .. } in table {
        let mark = if *score == kept { "  kept" } else { "" };
        put!("{score:<12}  {auroc:.3}  {low:.3} to {high:.3}{mark}")?;
    }
    Ok(())
}
