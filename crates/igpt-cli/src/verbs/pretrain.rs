//! `igpt pretrain`: trains a model and leaves a run directory.

use igpt::Result;
use igpt::model::Objective;
use igpt::train::{self, Overrides, Summary};

use super::training::{Kind, TrainingArgs};
use crate::output::say;
use crate::shared::JsonArgs;
use crate::signals::Signals;

const EXAMPLES: &str = "\
Examples:
  igpt pretrain --data emoji --preset nano --n-px 16 --minutes 5 --out runs/emoji
  igpt pretrain --data fashion-mnist --colors 16 --epochs 10 --out runs/fashion
  igpt pretrain --data fashion-mnist --objective masked --epochs 10 --out runs/masked
  igpt pretrain --data fashion-mnist --epochs 10 --page --out runs/fashion    # a live page at http://127.0.0.1:8001
  igpt pretrain --resume --out runs/fashion
  igpt pretrain --config runs/fashion/config.resolved.toml --set train.seed=1 --out runs/fashion-1

Settings come from the recipe, then --config, then the flags, then --set; the later wins. Ctrl-C saves a checkpoint and ends; a second \
one ends at once.";

/// Flags of `igpt pretrain`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    training: TrainingArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    let Args { training, json } = &args;
    let settings = || training.run.finish(training.run.layers(Overrides::default())?, Overrides::default());
    training.train(settings, &Kind { train: train::pretrain, tell }, json, signals)
}

fn tell(summary: &Summary) {
    let run = summary.run.display();
    let loss = |loss: Option<f64>| loss.map_or("not measured".into(), |loss| format!("{loss:.4} nats/token"));
    say!(
        "{} after {} steps, {:.0} s, {:.0} tokens/s: validation loss {}, lowest {}",
        if summary.stopped { "stopped" } else { "done" },
        summary.steps,
        summary.seconds,
        summary.tokens_per_second,
        loss(summary.validation_loss),
        loss(summary.best_validation_loss),
    );
    if summary.stopped {
        say!("go on with: igpt pretrain --resume --out {run}");
    } else {
        let next = match summary.objective {
            Objective::Autoregressive => format!("look at it with: igpt sample --model {run} -n 16 --out samples.png"),
            Objective::Masked => format!("its loss on other images: igpt eval --model {run} --data SPEC"),
        };
        say!("the model is in {}; {next}", summary.model.display());
    }
}
