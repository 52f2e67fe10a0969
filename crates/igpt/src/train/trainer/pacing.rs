//! Pacing of a run by its budget: plans of minutes, early stopping, and samples as time allows.

use std::time::Duration;

use crate::Result;
use crate::train::config::Keep;
use crate::train::plan::measure::{WITH_COMPLETIONS, grid_seconds};
use crate::train::plan::overhead::{self, SamplePlan};
use crate::train::plan::planner::TimeBudget;
use crate::train::trainer::observer::Event;
use crate::train::trainer::steps::Loop;

/// Steps after which the speed decides how much time a run of fixed steps has for samples.
const MEASURED_STEPS: u64 = 4;
/// Duration of the measurement of sampling speed.
const DRAWING_MEASURED: Duration = Duration::from_millis(50);
/// Smallest default patience of pretraining, in validations.
const LEAST_PATIENCE: u64 = 5;
/// Ratio to the lowest loss from which a validation counts against the patience of pretraining.
///
/// While the learning rate is high the loss fluctuates, and it falls again when the rate does. A loss that rises beyond
/// this is a sign of overfitting.
const RISEN: f64 = 1.01;
const PATIENCE_OF_CLASSIFIERS: u64 = 10;

impl Loop<'_> {
    /// Validations without improvement after which training ends; 0 never ends it early.
    fn patience(&self) -> u64 {
        let train = &self.t.config.train;
        let by_default = match (&self.t.config.finetune, train.keep) {
            (Some(_), _) => PATIENCE_OF_CLASSIFIERS,
            (None, Keep::Best) => (self.planner.planned_validations().unwrap_or(0) / 4).max(LEAST_PATIENCE),
            // Keeping the last weights means taking all steps.
            (None, Keep::Last) => 0,
        };
        train.patience.unwrap_or(by_default)
    }

    /// Whether validations count against patience only if they are clearly worse than the best.
    fn is_lenient(&self) -> bool {
        self.t.config.finetune.is_none() && self.t.config.train.patience.is_none()
    }

    /// Compares a validation's loss with the lowest since the run was last extended.
    pub(super) fn weigh(&mut self, loss: f64) {
        match self.best_of_phase {
            Some(lowest) if loss >= lowest => {
                let bound = if self.is_lenient() { RISEN * lowest } else { lowest };
                self.waited += u64::from(loss >= bound);
            }
            _ => (self.best_of_phase, self.waited) = (Some(loss), 0),
        }
    }

    pub(super) fn is_patience_over(&self) -> bool {
        let patience = self.patience();
        patience > 0 && self.waited >= patience
    }

    /// Reports how training may end early, as soon as that is known.
    pub(super) fn tell_patience(&mut self) {
        let Some(validations) = self.planner.planned_validations().filter(|_| self.t.validation.is_some()) else {
            return;
        };
        let (patience, images) = (self.patience(), self.planner.validated_images());
        let end = match patience {
            0 => "; training goes on to the end of its budget (train.patience)".into(),
            _ if patience >= validations => String::new(),
            _ => {
                let worse = if self.is_lenient() { "more than 1 % worse" } else { "no better" };
                format!("; training ends early after {patience} that are {worse} than the best (train.patience)")
            }
        };
        let text = format!("{validations} validations on {images} images{end}");
        self.t.context.observer.event(Event::Note(&text));
    }

    /// Whether the validation after `step` steps was the best, so that its weights must be saved.
    pub(super) fn is_best(&self, step: u64) -> bool {
        let keeps = self.t.config.finetune.is_some() || self.t.config.train.keep == Keep::Best;
        keeps && self.outcome.best.is_some_and(|(_, best)| best == step)
    }

    /// A time of rank 0 on all ranks, if the time decides anything.
    pub(super) fn common(&mut self, time: impl Fn(&Self) -> f64) -> Result<f64> {
        let own = time(self);
        if self.t.config.train.minutes.is_some() { self.t.context.ranks.first(own) } else { Ok(own) }
    }

    /// Plans a budget in minutes again.
    pub(super) fn plan(&mut self) -> Result<()> {
        let clock = TimeBudget {
            elapsed: self.common(Self::elapsed)?,
            steps: self.common(|run| run.outcome.spent.steps)?,
            ahead: self.common(Self::ahead)?,
        };
        if let Some(plan) = self.planner.plan(self.outcome.step, clock) {
            self.t.run.log(&format!("step {}: planned {} steps in all", plan.from_step, plan.steps));
            self.write_config();
            self.t.context.observer.event(Event::Planned(plan.steps));
        }
        Ok(())
    }

    /// Expected seconds of the remaining overhead beside steps: as much per step as so far.
    fn ahead(&self) -> f64 {
        let (step, spent) = (self.outcome.step, &self.outcome.spent);
        let Some(steps) = self.planner.steps(step) else {
            let left = (self.planner.seconds().unwrap_or(0.0) - self.elapsed() + self.t.config.train.budget_start().1)
                .max(0.0);
            return left * overhead::SHARE / (1.0 + overhead::SHARE);
        };
        let left = steps.saturating_sub(step) as f64 / step.max(1) as f64;
        left * spent.beside_steps()
    }

    /// Reduces the samples, once the speed of the run is known, if they would take more than their share of its time.
    pub(super) fn draw_as_time_allows(&mut self) -> Result<()> {
        let step = self.outcome.step;
        let Some(steps) = self.planner.steps(step).filter(|_| !self.knows_drawing) else { return Ok(()) };
        let taken = step - self.t.start.step;
        if taken < MEASURED_STEPS.min(steps.saturating_sub(self.t.start.step)) {
            return Ok(());
        }
        self.knows_drawing = true;
        let pace = (self.outcome.spent.steps - self.t.start.spent.steps) / taken.max(1) as f64;
        let own = steps.saturating_sub(self.t.config.train.budget_start().0);
        let run = self.planner.seconds().unwrap_or(pace * own as f64);
        let train = &self.t.config.train;
        let images = train.drawn_images();
        let cost = WITH_COMPLETIONS * grid_seconds(&*self.t.engine, images, DRAWING_MEASURED)?;
        self.planner.draw(SamplePlan::within(run, cost, images, train.sample_images.is_none()));
        Ok(())
    }
}
