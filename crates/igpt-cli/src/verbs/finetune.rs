//! `igpt finetune`: trains a classifier on top of a model, or of a fresh network, and leaves a run directory.

use std::path::{Path, PathBuf};

use igpt::train::{Context, FinetuneSummary, Head, Overrides, RunConfig, Table, Value};
use igpt::{Error, Finetune, Result};

use super::run_args::integer;
use super::training::{Kind, TrainingArgs};
use crate::named::named;
use crate::output::say;
use crate::shared::JsonArgs;
use crate::signals::Signals;

const EXAMPLES: &str = "\
Examples:
  igpt finetune --model runs/fashion --data fashion-mnist --out runs/fashion-classes
  igpt finetune --from-scratch --data fashion-mnist --preset nano --colors 16 --minutes 30 --out runs/scratch
  igpt finetune --model runs/fashion --data fashion-mnist --epochs 5 --generative-weight 0 --out runs/ablation
  igpt finetune --model runs/fashion --data fashion-mnist --epochs 5 --lr-search 0.03,0.01,0.003 --out runs/searched
  igpt finetune --model runs/fashion --data fashion-mnist --labels-per-class 25 --head auto --out runs/few
  igpt finetune --resume --out runs/fashion-classes

The loss is that of pretraining, times --generative-weight, plus that of the classes (Chen et al. 2020, section 2.3). Rates \
are the recipe's: from a model half of those of pretraining, which fall to zero by a line; with --recipe paper a tenth, and \
constant. Where no budget is given it is three passes over the images, at least 1,000 steps. The model has the weights of the \
highest accuracy on the validation images, and only these are tested. Its probabilities are calibrated on the validation \
images (temperature scaling). --lr-search goes by the accuracy there, too.";

/// Flags of `igpt finetune`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Model to start from: a model directory or a run directory
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present_any = ["from_scratch", "resume", "config"],
        conflicts_with_all = ["from_scratch", "resume", "preset", "n_px", "colors", "palette", "objective"]
    )]
    model: Option<PathBuf>,
    /// Start from fresh weights instead: --preset, --colors and so on as in pretraining
    #[arg(long)]
    from_scratch: bool,
    #[command(flatten)]
    training: TrainingArgs,
    /// The classifier: the fine-tuned network (the default), a linear probe on top of the network as it is, or the one of
    /// the two that does better on validation
    #[arg(long, value_parser = named(&Head::ALL, Head::name))]
    head: Option<Head>,
    /// Weight of the generative loss beside that of the classes; 1 by default, 0 trains on the classes alone
    #[arg(long, value_name = "W")]
    generative_weight: Option<f64>,
    /// Layer whose features are classified, from 0 to the number of blocks; the last by default
    #[arg(long, value_name = "L")]
    layer: Option<usize>,
    /// Keep the embeddings and the first K blocks as they are
    #[arg(long, value_name = "K")]
    freeze: Option<usize>,
    /// The classifier's learning rate over that of the network below it; 1 by default
    #[arg(long, value_name = "FACTOR")]
    head_lr: Option<f64>,
    /// Share of the label that is spread over all classes in training (label smoothing), 0 to below 1
    #[arg(long, value_name = "S")]
    label_smoothing: Option<f64>,
    /// Show every class equally often, images of rarer classes several times in an epoch
    #[arg(long)]
    balanced: bool,
    /// Train on so few images of each class, drawn by the seed; validation keeps its labels, which
    /// choose the weights
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    labels_per_class: Option<u32>,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    let train = |config, out: &Path, start, context: Context<'_>| {
        Finetune::from_config(config).context(context).run_as(start, out)
    };
    args.training.train(|| settings(&args), &Kind { train, tell }, &args.json, signals)
}

fn settings(args: &Args) -> Result<RunConfig> {
    // The recipe of fine-tuning is the library's, wherever there is this section.
    let mut lowest = Overrides::default();
    lowest.set("finetune", Table::new());
    let mut beside = Overrides::default();
    let flags: [(&str, Option<Value>); 9] = [
        ("finetune.model", args.model.as_ref().map(|path| path.to_string_lossy().into_owned().into())),
        ("finetune.head", args.head.map(|head| head.name().into())),
        ("finetune.generative_weight", args.generative_weight.map(Into::into)),
        ("finetune.class_layer", args.layer.map(|n| integer("--layer", n)).transpose()?),
        ("finetune.frozen_blocks", args.freeze.map(|n| integer("--freeze", n)).transpose()?),
        ("finetune.head_lr", args.head_lr.map(Into::into)),
        ("finetune.label_smoothing", args.label_smoothing.map(Into::into)),
        ("finetune.balanced", args.balanced.then_some(true.into())),
        ("finetune.labels_per_class", args.labels_per_class.map(|n| Value::Integer(n.into()))),
    ];
    for (key, value) in flags {
        if let Some(value) = value {
            beside.set(key, value);
        }
    }
    let mut layers = args.training.run.layers(lowest)?.merge_under(beside.clone());
    if args.from_scratch {
        layers.remove("finetune.model");
    } else if layers.get("finetune.model").is_none() && !args.training.run.resume {
        return Err(Error::Missing("no model to start from: name one with --model, or say --from-scratch".into()));
    }
    args.training.run.finish(layers, beside)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Which classifier it is and its accuracy on validation, where two were tried that of the other, too.
fn chosen(result: &FinetuneSummary) -> String {
    let step = result.best_step.map_or(String::new(), |step| format!(" after step {step}"));
    let tuned = result.fine_tuned_accuracy.map(|share| format!("{}{step}", percent(share)));
    let linear = result.linear_accuracy.map(percent);
    let probe = format!("the linear probe of layer {}", result.class_layer);
    match (result.head, tuned, linear) {
        (Head::Linear, None, Some(linear)) => format!(": {probe}, validation accuracy {linear}"),
        (Head::Linear, Some(tuned), Some(linear)) => {
            format!(": {probe} is taken, validation accuracy {linear}; the fine-tuned network has {tuned}")
        }
        (_, Some(tuned), Some(linear)) => {
            format!(
                ": the fine-tuned network is taken, validation accuracy {tuned}; the best linear probe has {linear}"
            )
        }
        (_, Some(tuned), None) => format!(", validation accuracy {tuned}"),
        _ => String::new(),
    }
}

fn tell(result: &FinetuneSummary) {
    let run = result.run_dir.display();
    let how = if result.stopped { "stopped" } else { "done" };
    match result.steps {
        0 => say!("{how}{}", chosen(result)),
        steps => say!("{how} after {steps} steps, {:.0} s{}", result.seconds, chosen(result)),
    }
    match (result.test_accuracy, result.interval, result.test_images) {
        (Some(accuracy), Some([low, high]), Some(images)) => {
            let calibration = match (result.calibration_error, result.uncalibrated_error, result.temperature) {
                (Some(after), Some(before), Some(temperature)) => format!(
                    "; calibration error {} (before a temperature of {temperature:.3}: {})",
                    percent(after),
                    percent(before)
                ),
                _ => String::new(),
            };
            say!(
                "test accuracy {} on {images} images, 95 % interval {} to {}{calibration}; name classes with: igpt classify \
                 --model {run} FILE",
                percent(accuracy),
                percent(low),
                percent(high)
            );
        }
        _ if result.stopped => say!("not tested yet; go on with: igpt finetune --resume --out {run}"),
        _ => say!("not tested: the data set has no test images"),
    }
}
