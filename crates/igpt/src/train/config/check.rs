//! What is wrong with a `[train]` section, all of it at once.

use crate::device::Optimizer;
use crate::model::MASK_PROB;
use crate::train::config::TrainSection;
use crate::train::plan::planner::Plan;

impl TrainSection {
    /// Names of the budgets that are given.
    fn budgets(&self) -> Vec<&'static str> {
        let given =
            [("steps", self.steps.is_some()), ("epochs", self.epochs.is_some()), ("minutes", self.minutes.is_some())];
        given.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
    }

    /// Adds what is wrong to `problems`.
    pub(in crate::train) fn check(&self, problems: &mut Vec<String>) {
        self.check_budget(problems);
        self.check_numbers(problems);
        self.check_optimizer(problems);
        self.check_batch(problems);
        if self.keep_last == 0 {
            problems.push("train.keep_last must be at least 1".into());
        }
    }

    fn check_budget(&self, problems: &mut Vec<String>) {
        match self.budgets().as_slice() {
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
        if let Err(problem) = Plan::check(&self.plan) {
            problems.push(problem);
        }
    }

    fn check_numbers(&self, problems: &mut Vec<String>) {
        let mut number = |name: &str, value: f64, fits: bool, wanted: &str| {
            if !(fits && value.is_finite()) {
                problems.push(format!("train.{name} is {value}, but must be {wanted}"));
            }
        };
        for (name, value) in [("epochs", self.epochs), ("minutes", self.minutes)] {
            let value = value.unwrap_or(1.0);
            number(name, value, value > 0.0, "above 0");
        }
        let warmup = self.warmup_epochs.unwrap_or(0.0);
        number("warmup_epochs", warmup, warmup >= 0.0, "at least 0");
        number("lr", self.lr, self.lr > 0.0, "above 0");
        number("layer_decay", self.layer_decay, self.layer_decay > 0.0, "above 0");
        let mask = self.mask_prob.unwrap_or(MASK_PROB);
        number("mask_prob", mask, mask > 0.0 && mask < 1.0, "above 0 and below 1");
        number("eps", self.eps, self.eps > 0.0, "above 0");
        number("clip", self.clip, self.clip >= 0.0, "at least 0");
        number("weight_decay", self.weight_decay, self.weight_decay >= 0.0, "at least 0");
        number("ema", self.ema, (0.0..1.0).contains(&self.ema), "from 0 to below 1");
        let muon = self.muon_lr.unwrap_or(1.0);
        number("muon_lr", muon, muon > 0.0, "above 0");
        let momentum = self.muon_momentum.unwrap_or(0.0);
        number("muon_momentum", momentum, (0.0..1.0).contains(&momentum), "from 0 to below 1");
        let decay = self.muon_weight_decay.unwrap_or(0.0);
        number("muon_weight_decay", decay, decay >= 0.0, "at least 0");
        number("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "from 0 to below 1");
        number("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "from 0 to below 1");
    }

    fn check_optimizer(&self, problems: &mut Vec<String>) {
        if self.optimizer != Optimizer::Muon {
            let given = [
                ("lr", self.muon_lr.is_some()),
                ("momentum", self.muon_momentum.is_some()),
                ("weight_decay", self.muon_weight_decay.is_some()),
            ];
            for (name, _) in given.iter().filter(|(_, given)| *given) {
                problems.push(format!(
                    "train.muon_{name} is given, but train.optimizer is {}: leave it out or set train.optimizer = \"muon\"",
                    self.optimizer.name()
                ));
            }
        }
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
        if self.batch_end != 0 {
            let (first, last) = (self.batch, self.batch_end);
            if first == 0 {
                problems.push("train.batch_end is given, but train.batch is left open: give both".into());
            } else if !(last.is_multiple_of(first) && (last / first).is_power_of_two()) {
                problems.push(format!("train.batch_end {last} is not train.batch {first} times a power of two"));
            }
            if self.minutes.is_some() {
                problems.push("train.batch_end needs a budget of train.steps or train.epochs, not of minutes".into());
            }
        }
    }
}
