//! The learning rates of a run: the search that may come before it, and what is told of them.

use igpt::Result;
use igpt::ranks::Collective;
use igpt::train::{self, Context, LrSearchResult, RunConfig, Start};
use igpt::train::{OptimizerSettings, TrainSettings};
use serde_json::{Value, json};

use super::run_args::RunArgs;
use crate::output::say;
use crate::ranks::RankZeroObserver;
use crate::signals::Signals;

/// The flag of the search.
#[derive(clap::Args)]
pub(crate) struct LrSearchArgs {
    /// Try these learning rates on a tenth of the budget each, large to small until they get worse, and train with the
    /// best by validation; Muon's where it trains, Adam's then keeping its ratio
    #[arg(long, value_name = "LR,LR,…", value_delimiter = ',', conflicts_with_all = ["lr", "muon_lr", "resume"])]
    lr_search: Vec<f64>,
}

impl LrSearchArgs {
    /// Searches if it is asked for: `config` gets the best rate, and nothing of it is left open. Gives also how the run itself then starts.
    pub(crate) fn search(
        &self,
        ranks: &mut Collective,
        config: &mut RunConfig,
        run: &RunArgs,
        progress: &mut RankZeroObserver,
        signals: &Signals,
    ) -> Result<(Start, Option<LrSearchResult>)> {
        if self.lr_search.is_empty() {
            return Ok((run.start(), None));
        }
        let context = &mut Context { ranks: &mut *ranks, observer: progress, stop: signals.stop() };
        let found = train::lr_search(config, &run.out, run.start(), &self.lr_search, context);
        progress.finish();
        let found = found?;
        if ranks.is_leader() {
            say!("{}", table(&found).trim_end());
        }
        *config = found.config.clone();
        Ok((Start::New, Some(found)))
    }
}

fn table(found: &LrSearchResult) -> String {
    let classifies = found.trials.iter().any(|trial| trial.validation_accuracy.is_some());
    let accuracy = |text: &str| if classifies { format!("{text:<19}   ") } else { String::new() };
    let mut text = format!("learning rate   {}validation loss\n", accuracy("validation accuracy"));
    for trial in &found.trials {
        let loss = trial.validation_loss.map_or("not finite".into(), |loss| format!("{loss:.4}"));
        let share = trial.validation_accuracy.map_or(String::new(), |share| format!("{:.2} %", 100.0 * share));
        let mark = if trial.lr == found.best { "  <- best" } else { "" };
        text += &format!("{:<13}   {}{loss}{mark}\n", trial.lr, accuracy(&share));
    }
    text
}

/// Adds the rates that a run trained with to its result, and the search for them.
pub(crate) fn tell(result: &mut Value, train: &TrainSettings, found: Option<&LrSearchResult>) {
    result["lr"] = json!(train.lr);
    if let OptimizerSettings::Muon(muon) = train.optimizer {
        result["muon_lr"] = json!(muon.lr);
    }
    if let Some(found) = found {
        result["lr_search"] = json!(found.trials);
    }
}
