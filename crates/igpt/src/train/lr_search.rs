//! Learning-rate search of the paper (Chen et al. 2020, sections 3.4 and 4.5).
//!
//! It tries rates from large to small, until the final validation loss starts to increase. Here each learning rate is
//! tried on a tenth of the budget. A classifier is judged by its final validation accuracy instead.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::files;
use crate::train::config::{Head, Keep, RunConfig};
use crate::train::finetune::{fine_tuning, finetune_untested};
use crate::train::pretrain::{pretrain, pretraining};
use crate::train::run::dir::{LR_SEARCH, RunDir, Start};
use crate::train::setup::expect_sources_kept;
use crate::train::trainer::context::Context;
use crate::{Error, Result};

/// Share of the budget that each learning rate is tried for.
const SHARE: f64 = 0.1;
/// Fewest steps of a trial: the loss of a shorter one says little.
const FEWEST_STEPS: u64 = 10;

/// One trial of a learning-rate search: a learning rate and its validation results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LrTrial {
    /// Peak learning rate of Muon or else of Adam; Adam's rate beside Muon keeps the config's ratio to it.
    pub lr: f64,
    /// Final validation loss in nats per token (for a classifier, nats per label); `None` if training diverged.
    pub validation_loss: Option<f64>,
    /// Final validation accuracy, for a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
}

impl LrTrial {
    /// Value to minimise: the error rate, for a classifier, then the loss.
    fn measure(&self) -> Option<(f64, f64)> {
        Some((1.0 - self.validation_accuracy.unwrap_or(1.0), self.validation_loss?))
    }
}

/// Result of a learning-rate search: its trials, the best rate, and the config to train with.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LrSearchResult {
    /// All trials, in the order in which they ran.
    pub trials: Vec<LrTrial>,
    /// Learning rate with the lowest loss; for a classifier with the highest accuracy, and the lowest loss on a tie.
    pub best: f64,
    /// Config to train with, with the best learning rate.
    ///
    /// What a budget decides (image size, colours, network, batch, augmentation) is as in the trials.
    #[serde(skip)]
    pub config: RunConfig,
}

/// Searches a learning rate: tries `rates` from large to small, each on a tenth of `config`'s budget.
///
/// `rates` are learning rates of Muon or else of Adam. Each trial has its own run directory under `out/lr-search/`, and
/// the result is written to `out/lr-search/result.json`. Both replace what an earlier search left there.
///
/// What `config` leaves open is decided once, for the whole budget. It is the same in all trials and in
/// [`LrSearchResult::config`], which may then start in `out` as [`Start::New`]. If `config` has a `[finetune]`, the
/// trials fine-tune, and no test image is looked at.
///
/// # Errors
/// When no rate is given or one is not a positive number, when every trial diverges, when there is no validation split,
/// when stopped, and as [`super::pretrain()`] or [`super::finetune()`].
pub fn lr_search(
    config: &RunConfig,
    out: &Path,
    start: Start,
    rates: &[f64],
    context: &mut Context<'_>,
) -> Result<LrSearchResult> {
    if rates.is_empty() || rates.iter().any(|lr| !(lr.is_finite() && *lr > 0.0)) {
        return Err(Error::Invalid(format!("learning rates {rates:?} to search: give some, all above 0")));
    }
    config.validate()?;
    if config.finetune.as_ref().is_some_and(|finetune| finetune.head == Head::Linear) {
        return Err(Error::Invalid(
            "a linear head has no learning rate to search: leave the search or finetune.head out".into(),
        ));
    }
    let root = out.join(LR_SEARCH);
    expect_sources_kept(config, out, start)?;
    // The lock is held until the search is over.
    let run = context.ranks.is_leader().then(|| RunDir::open(out, start)).transpose()?;
    if run.is_some() && root.exists() {
        std::fs::remove_dir_all(&root).map_err(Error::io(&root))?;
    }
    let mut config = match &config.finetune {
        None => pretraining(config, out, context)?,
        Some(_) => fine_tuning(config, out, context)?,
    };
    let trials = search(rates, |lr| {
        context.phase(&format!("trying learning rate {lr}"));
        let (trial, run) = (trial(&config, lr), root.join(lr.to_string()));
        let result = match &trial.finetune {
            None => pretrain(&trial, &run, Start::New, context).map(|found| (found.validation_loss, None)),
            Some(_) => finetune_untested(&trial, &run, Start::New, context)
                .map(|found| (found.validation_class_loss, found.validation_accuracy)),
        };
        // Another error, of this rank alone, ends the search. Divergence occurs on all ranks.
        let breaks = |error: &Error| matches!(error, Error::NotFinite { .. } | Error::GradientNotFinite { .. });
        let result = match result {
            Err(error) if !breaks(&error) => return Err(error),
            result => result,
        };
        if context.ranks.any_rank(context.stop.load(Ordering::Relaxed))? {
            return Err(Error::Invalid("the search for a learning rate was stopped before its end".into()));
        }
        match result {
            Ok((None, _)) => Err(Error::Missing(format!("{} has no validation split to search by", config.data.spec))),
            Ok((validation_loss, validation_accuracy)) => Ok(LrTrial { lr, validation_loss, validation_accuracy }),
            Err(_) => Ok(LrTrial { lr, validation_loss: None, validation_accuracy: None }),
        }
    })?;
    let best = best(&trials).ok_or_else(|| {
        Error::Invalid(format!("training breaks at every learning rate of {rates:?}: give smaller ones"))
    })?;
    config.train.set_peak_lr(best);
    let found = LrSearchResult { trials, best, config };
    let Some(run) = run else { return Ok(found) };
    run.clear_after_search()?;
    let path = root.join("result.json");
    let text = serde_json::to_string_pretty(&found).expect("plain values have a JSON form") + "\n";
    files::write(&path, text.as_bytes())?;
    Ok(found)
}

/// Config of one trial.
fn trial(config: &RunConfig, lr: f64) -> RunConfig {
    let mut config = config.clone();
    let train = &mut config.train;
    train.set_peak_lr(lr);
    train.steps = train.steps.map(|steps| ((steps as f64 * SHARE) as u64).clamp(FEWEST_STEPS.min(steps), steps));
    train.epochs = train.epochs.map(|epochs| epochs * SHARE);
    train.minutes = train.minutes.map(|minutes| minutes * SHARE);
    // A warm-up for the whole run is shortened with it.
    train.warmup_steps = train.warmup_steps.map(|steps| (steps as f64 * SHARE) as u64);
    train.warmup_epochs = train.warmup_epochs.map(|epochs| epochs * SHARE);
    (train.sample_images, train.checkpoint_every, train.keep) = (Some(0), Some(0), Keep::Last);
    train.plan.clear();
    train.phases.clear();
    if let Some(finetune) = &mut config.finetune {
        // A linear head has no learning rate.
        finetune.head = Head::FineTuned;
        // The final accuracy decides, and validations before the end take time from a short trial.
        config.train.eval_every = Some(0);
    }
    config
}

/// The paper's stopping rule over any way to try a rate.
fn search(rates: &[f64], mut attempt: impl FnMut(f64) -> Result<LrTrial>) -> Result<Vec<LrTrial>> {
    let mut rates = rates.to_vec();
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    let mut trials: Vec<LrTrial> = Vec::new();
    for lr in rates {
        let trial = attempt(lr)?;
        let before = trials.last().and_then(LrTrial::measure);
        trials.push(trial);
        if let (Some(before), Some(now)) = (before, trial.measure())
            && now > before
        {
            break;
        }
    }
    Ok(trials)
}

fn best(trials: &[LrTrial]) -> Option<f64> {
    let measured = trials.iter().filter_map(|trial| Some((trial.lr, trial.measure()?)));
    measured.min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(lr, _)| lr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::recipe::Recipe;
    use crate::train::config::{MuonSettings, OptimizerSettings};

    #[test]
    fn the_search_stops_once_the_loss_starts_to_increase() {
        let attempt = |lr: f64| {
            let validation_loss = (lr < 0.5).then_some((lr.log10() + 2.0).abs());
            Ok(LrTrial { lr, validation_loss, validation_accuracy: None })
        };
        let trials = search(&[1e-4, 1.0, 1e-1, 1e-2, 1e-3, 1e-2], attempt).unwrap();
        assert_eq!(trials.iter().map(|t| t.lr).collect::<Vec<_>>(), [1.0, 0.1, 0.01, 0.001]);
        assert_eq!(trials[0].validation_loss, None);
        assert_eq!(best(&trials), Some(0.01));
        assert_eq!(best(&trials[..1]), None);
    }

    #[test]
    fn classifiers_are_judged_by_accuracy_and_of_equal_ones_by_loss() {
        // (accuracy, loss) of each rate; the loss alone would choose another rate and stop earlier.
        let of = |lr: f64| match lr {
            0.5 => (0.5, 0.9),
            0.25 => (0.75, 1.5),
            0.125 => (0.75, 1.25),
            _ => (0.625, 0.5),
        };
        let attempt = |lr: f64| {
            let (accuracy, loss) = of(lr);
            Ok(LrTrial { lr, validation_loss: Some(loss), validation_accuracy: Some(accuracy) })
        };
        let trials = search(&[0.5, 0.25, 0.125, 0.0625, 0.03125], attempt).unwrap();
        assert_eq!(trials.iter().map(|t| t.lr).collect::<Vec<_>>(), [0.5, 0.25, 0.125, 0.0625]);
        assert_eq!(best(&trials), Some(0.125));
    }

    #[test]
    fn a_trial_takes_a_tenth_of_the_budget() {
        let mut config = RunConfig::of(Recipe::Paper);
        config.train.steps = Some(1000);
        assert_eq!(trial(&config, 0.5).train.steps, Some(100));
        config.train.steps = Some(4);
        assert_eq!(trial(&config, 0.5).train.steps, Some(4));
    }

    #[test]
    fn with_muon_its_rate_is_searched_and_adams_keeps_the_ratio() {
        let mut config = RunConfig::of(Recipe::Paper);
        let muon = |lr| OptimizerSettings::Muon(MuonSettings { lr, ..Default::default() });
        (config.train.steps, config.train.optimizer, config.train.lr) = (Some(9), muon(0.04), 0.01);
        let train = trial(&config, 0.08).train;
        assert_eq!((train.optimizer, train.lr), (muon(0.08), 0.02));
    }
}
