//! Validation of the section `[train]`, which reports all problems at once.

use crate::model::MASK_PROB;
use crate::train::config::allowed::Allowed;
use crate::train::config::planned::{RunPhase, StepPlan};
use crate::train::config::train_section::TrainSettings;

impl TrainSettings {
    /// Names of the given budgets.
    fn budgets(&self) -> Vec<&'static str> {
        let given =
            [("steps", self.steps.is_some()), ("epochs", self.epochs.is_some()), ("minutes", self.minutes.is_some())];
        given.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
    }

    /// Adds every problem to `problems`.
    ///
    /// `has_budget` says whether the run has a budget if the config gives none.
    pub(in crate::train) fn check(&self, has_budget: bool, problems: &mut Vec<String>) {
        self.check_budget(has_budget, problems);
        self.check_numbers(problems);
        self.check_batch(problems);
        if self.keep_last == 0 {
            problems.push("train.keep_last must be at least 1".into());
        }
    }

    fn check_budget(&self, has_budget: bool, problems: &mut Vec<String>) {
        match self.budgets().as_slice() {
            [] if has_budget => {}
            [] => problems.push("no budget: give one of train.steps, train.epochs and train.minutes".into()),
            [_] => {}
            several => problems.push(format!("train.{} are given: keep one", several.join(" and train."))),
        }
        if self.steps == Some(0) {
            problems.push("train.steps must be at least 1".into());
        }
        if self.warmup_epochs.is_some() && self.warmup_steps.is_some() {
            problems.push("train.warmup_epochs and train.warmup_steps are both given: keep one".into());
        }
        if !self.plan.is_empty() && self.minutes.is_none() {
            problems.push("train.plan belongs to a budget of train.minutes".into());
        }
        for problem in [StepPlan::check(&self.plan), RunPhase::check(&self.phases)].into_iter().filter_map(Result::err)
        {
            problems.push(problem);
        }
    }

    fn check_numbers(&self, problems: &mut Vec<String>) {
        self.each_number(|name, value, allowed| {
            if !allowed.has(value) {
                problems.push(format!("train.{name} is {value}, but must be {}", allowed.words()));
            }
        });
    }

    /// Passes every number that is not a count to `number`, with its key and its allowed range.
    pub(super) fn each_number(&self, mut number: impl FnMut(&'static str, f64, Allowed)) {
        use Allowed::{BelowOne, Inside, NotNegative, Positive};
        for (name, value, allowed) in [
            ("epochs", self.epochs.unwrap_or(1.0), Positive),
            ("minutes", self.minutes.unwrap_or(1.0), Positive),
            ("warmup_epochs", self.warmup_epochs.unwrap_or(0.0), NotNegative),
            ("lr", self.lr, Positive),
            ("layer_decay", self.layer_decay, Positive),
            ("mask_prob", self.mask_prob.unwrap_or(MASK_PROB), Inside),
            ("eps", self.eps, Positive),
            ("clip", self.clip, NotNegative),
            ("weight_decay", self.weight_decay, NotNegative),
            ("ema", self.ema, BelowOne),
            ("beta1", self.beta1, BelowOne),
            ("beta2", self.beta2, BelowOne),
        ] {
            number(name, value, allowed);
        }
        self.optimizer.each_number(number);
    }

    fn check_batch(&self, problems: &mut Vec<String>) {
        if !self.gradient_groups.is_power_of_two() {
            problems.push(format!("train.gradient_groups is {}, but must be a power of two", self.gradient_groups));
        } else if !self.batch.is_multiple_of(self.gradient_groups) {
            problems.push(format!(
                "train.batch {} is not divisible by train.gradient_groups {}",
                self.batch, self.gradient_groups
            ));
        }
    }
}
