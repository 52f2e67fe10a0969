//! What `igpt pretrain` and `igpt finetune` have in common: their flags, and what happens around a run.

use std::path::Path;

use igpt::ranks::Collective;
use igpt::train::{Context, RunConfig, RunDir, Start};
use igpt::{Error, Result, files};
use serde::Serialize;

use super::page_args::{Page, PageArgs};
use super::rates::{self, LrSearchArgs};
use super::run_args::RunArgs;
use crate::output::print_json;
use crate::ranks::{self, RankZeroObserver};
use crate::shared::JsonArgs;
use crate::signals::Signals;

/// A run, the search for its learning rate, and its live page.
#[derive(clap::Args)]
pub(crate) struct TrainingArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    rates: LrSearchArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// A kind of training.
pub(crate) struct Kind<T> {
    /// Trains in a run directory, by the library's builder.
    pub(crate) train: fn(RunConfig, &Path, Start, Context<'_>) -> Result<T>,
    /// Says what came of it.
    pub(crate) tell: fn(&T),
}

impl TrainingArgs {
    /// Trains on all ranks as `settings` say, after the search for a rate if one is asked for, with the live page beside
    /// it; rank 0 tells the result.
    pub(crate) fn train<T: Serialize>(
        &self,
        settings: impl Fn() -> Result<RunConfig>,
        kind: &Kind<T>,
        json: &JsonArgs,
        signals: &Signals,
    ) -> Result<()> {
        ranks::among(|ranks| self.train_among(settings()?, kind, json, ranks, signals))?.stay(signals);
        Ok(())
    }

    fn train_among<T: Serialize>(
        &self,
        mut config: RunConfig,
        kind: &Kind<T>,
        json: &JsonArgs,
        ranks: &mut Collective,
        signals: &Signals,
    ) -> Result<Page> {
        config.validate()?;
        let page = self.page.open(ranks.is_leader(), &self.run.out)?;
        let mut progress = RankZeroObserver::new(ranks, signals);
        let (start, found) = self.rates.search(ranks, &mut config, &self.run, &mut progress, signals)?;
        let context = Context { ranks, observer: &mut progress, stop: signals.stop() };
        let result = (kind.train)(config, &self.run.out, start, context);
        progress.finish();
        let result = result?;
        if !ranks.is_leader() {
            return Ok(page);
        }
        (kind.tell)(&result);
        if json.json {
            let mut value = serde_json::to_value(&result).map_err(|e| Error::Invalid(e.to_string()))?;
            // The run itself may have chosen what was left open.
            let path = RunDir::open_readonly(&self.run.out)?.config();
            let resolved = RunConfig::from_toml(&files::read_to_string(&path)?, &path)?;
            rates::tell(&mut value, &resolved.train, found.as_ref());
            print_json(&value)?;
        }
        Ok(page)
    }
}
