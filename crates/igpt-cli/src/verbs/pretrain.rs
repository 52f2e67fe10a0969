//! `igpt pretrain`: trains a model and leaves a run directory.

use std::path::{Path, PathBuf};

use igpt::model::Objective;
use igpt::train::{Context, Overrides, PretrainSummary, TimeSpent};
use igpt::{Pretrain, Result};

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
  igpt pretrain --model runs/emoji --data path/to/images --minutes 5 --out runs/mine    # from these weights on
  igpt pretrain --resume --out runs/fashion
  igpt pretrain --resume --epochs 5 --out runs/fashion    # extends a run that is over by 5 epochs
  igpt pretrain --config runs/fashion/config.resolved.toml --set train.seed=1 --out runs/fashion-1

Settings come from the recipe, then --config, then the flags, then --set; the later wins. Ctrl-C saves a checkpoint and ends; a second \
one ends at once. --resume with a budget extends a run that is over: its learning rate warms up and decays anew over \
these steps, epochs or minutes, from its last weights on.";

/// Flags of `igpt pretrain`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Start from the weights of a model directory (of transformers too) or of a run (continued pretraining, a warm start);
    /// its network and size stay, and its palette unless --colors or --palette asks for another
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "n_px", "objective", "resume"])]
    model: Option<PathBuf>,
    #[command(flatten)]
    training: TrainingArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    let Args { model, training, json } = &args;
    let mut beside = Overrides::default();
    if let Some(model) = model {
        beside.set("model.start", model.to_string_lossy().into_owned());
    }
    let layers = || Ok(training.run.layers(Overrides::default())?.merge_under(beside.clone()));
    let settings = || training.run.finish(layers()?, beside.clone());
    let train = |config, out: &Path, start, context: Context<'_>| {
        Pretrain::from_config(config).context(context).run_as(start, out)
    };
    training.train(settings, &Kind { train, tell }, json, signals)
}

fn tell(summary: &PretrainSummary) {
    let run = summary.run_dir.display();
    let loss = |loss: Option<f64>| loss.map_or("not measured".into(), |loss| format!("{loss:.4} nats/token"));
    let how = match (summary.stopped, summary.ended_early) {
        (true, _) => "stopped",
        (false, true) => "ended early, since validations got no better,",
        (false, false) => "done",
    };
    let kept = match summary.kept_step < summary.steps {
        true => format!(" (the weights after step {}, the lowest)", summary.kept_step),
        false => String::new(),
    };
    say!(
        "{how} after {} steps, {:.0} s ({}), {:.0} tokens/s: validation loss {}{kept}",
        summary.steps,
        summary.seconds,
        parts(&summary.seconds_by_part),
        summary.tokens_per_second,
        loss(summary.validation_loss),
    );
    if let Some(verdict) = &summary.verdict {
        say!("{verdict}");
    }
    if summary.stopped {
        say!("go on with: igpt pretrain --resume --out {run}");
    } else {
        let next = match summary.objective {
            Objective::Autoregressive => format!("look at it with: igpt sample --model {run} -n 16 --out samples.png"),
            Objective::Masked => format!("its loss on other images: igpt eval --model {run} --data SPEC"),
        };
        say!("the model is in {}; {next}", summary.model_dir.display());
    }
}

/// Where the time went: `steps 91 %, validation 6 %, samples 3 %`.
fn parts(spent: &TimeSpent) -> String {
    let all: f64 = spent.parts().iter().map(|(_, seconds)| seconds).sum();
    let share = |seconds: f64| (100.0 * seconds / all.max(1e-9)).round();
    let parts = spent.parts().into_iter().filter(|(_, seconds)| share(*seconds) >= 1.0);
    parts.map(|(name, seconds)| format!("{name} {} %", share(seconds))).collect::<Vec<_>>().join(", ")
}
