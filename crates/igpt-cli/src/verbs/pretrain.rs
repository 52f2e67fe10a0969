//! `igpt pretrain`: trains a model and leaves a run directory.

use igpt::model::Objective;
use igpt::train::{self, LrSearch, Overrides, Start, Summary};
use igpt::{Error, Result};
use serde_json::json;

use super::run_args::{RunArgs, stop_on_signals};
use crate::output;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  igpt pretrain --data emoji --preset nano --n-px 16 --minutes 5 --out runs/emoji
  igpt pretrain --data fashion-mnist --colors 16 --epochs 10 --out runs/fashion
  igpt pretrain --data fashion-mnist --objective masked --epochs 10 --out runs/masked
  igpt pretrain --resume --out runs/fashion
  igpt pretrain --config runs/fashion/config.resolved.toml --set train.seed=1 --out runs/fashion-1

Settings come from the recipe, then --config, then the flags, then --set; the later wins. Ctrl-C saves a checkpoint and ends; a second \
one ends at once.";

/// Flags of `igpt pretrain`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Try these learning rates on a tenth of the budget each, large to small, and train with the best; Muon's where it
    /// trains, Adam's then keeping its ratio
    #[arg(long, value_name = "LR,LR,…", value_delimiter = ',', conflicts_with_all = ["lr", "muon_lr", "resume"])]
    lr_search: Vec<f64>,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let mut config = args.run.layers(Overrides::default())?.finish()?;
    config.validate()?;
    let stop = stop_on_signals()?;
    let mut progress = Progress::new();
    let mut start = args.run.start();
    let search = if args.lr_search.is_empty() {
        None
    } else {
        let found = train::lr_search(&config, &args.run.out, start, &args.lr_search, &mut progress, &stop)?;
        start = Start::New;
        progress.finish();
        eprint!("{}", table(&found));
        config.train.set_main_rate(found.best);
        Some(found)
    };
    let summary = train::pretrain(&config, &args.run.out, start, &mut progress, &stop);
    progress.finish();
    let summary = summary?;
    tell(&summary);
    if args.json {
        let mut value = serde_json::to_value(&summary).map_err(|e| Error::Invalid(e.to_string()))?;
        value["lr"] = json!(config.train.lr);
        if let Some(muon) = config.train.muon() {
            value["muon_lr"] = json!(muon.lr);
        }
        if let Some(found) = search {
            value["lr_search"] = json!(found.trials);
        }
        output::print_json(&value);
    }
    Ok(())
}

fn table(found: &LrSearch) -> String {
    let mut text = String::from("learning rate   validation loss\n");
    for trial in &found.trials {
        let loss = trial.validation_loss.map_or("not finite".into(), |loss| format!("{loss:.4}"));
        let mark = if trial.lr == found.best { "  <- best" } else { "" };
        text += &format!("{:<13}   {loss}{mark}\n", trial.lr);
    }
    text
}

fn tell(summary: &Summary) {
    let run = summary.run.display();
    let loss = |loss: Option<f64>| loss.map_or("not measured".into(), |loss| format!("{loss:.4} nats/token"));
    eprintln!(
        "{} after {} steps, {:.0} s, {:.0} tokens/s: validation loss {}, lowest {}",
        if summary.stopped { "stopped" } else { "done" },
        summary.steps,
        summary.seconds,
        summary.tokens_per_second,
        loss(summary.validation_loss),
        loss(summary.best_validation_loss),
    );
    if summary.stopped {
        eprintln!("go on with: igpt pretrain --resume --out {run}");
    } else {
        let next = match summary.objective {
            Objective::Autoregressive => format!("look at it with: igpt sample --model {run} -n 16 --out samples.png"),
            Objective::Masked => format!("its loss on other images: igpt eval --model {run} --data SPEC"),
        };
        eprintln!("the model is in {}; {next}", summary.model.display());
    }
}
