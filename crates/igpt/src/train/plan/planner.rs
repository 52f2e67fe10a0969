//! How long a run is: a budget in steps, epochs or minutes, and what is due at which step.
//!
//! Minutes become steps by measuring: once after the first steps and again at validation points only. Every such
//! [`Plan`] is recorded, so a resumed run keeps to it and a run given the same plans repeats to the bit.

use crate::train::config::TrainSection;
use crate::train::config::planned::Plan;
use crate::train::config::schedule::Schedule;

/// Steps before the first plan: the first one is slower than the rest, so it does not count.
const MEASURED_STEPS: u64 = 4;
/// Share of the budget that measuring may take when steps are quick.
const MEASURED_SHARE: f64 = 0.01;

/// Validations in a run where their interval is not said: the weights of the best are kept, and training ends by them.
const VALIDATIONS: u64 = 20;
/// How much longer training between two validations lasts than a validation, at least.
const TRAINING_TO_VALIDATION: usize = 5;
/// How much longer an image takes in training, forward and backward, than in a validation.
const STEP_TO_FORWARD: usize = 3;

/// Knows the end of the run and what is due at each step.
#[derive(Clone, Debug)]
pub struct Planner {
    schedule: Schedule,
    /// Seconds of the budget; none for steps and epochs, and for plans that are given.
    seconds: Option<f64>,
    eval_every: Option<u64>,
    /// Validations of a run where their interval is not said, and the fewest steps between them.
    validations: (u64, u64),
    sample_every: Option<u64>,
    checkpoint_every: Option<u64>,
    /// (step, seconds) from which the pace is measured.
    mark: Option<(u64, f64)>,
}

impl Planner {
    /// The planner of a run over `images` training images. `made` are the plans of a checkpoint: a resumed run of
    /// minutes goes on planning from them, while plans in the config are followed as they are.
    pub fn new(train: &TrainSection, images: usize, made: &[Plan]) -> Self {
        let epoch = images as f64 / train.batch as f64;
        let warmup = match (train.warmup_steps, train.warmup_epochs) {
            (Some(steps), _) => steps,
            (None, Some(epochs)) => (epochs * epoch).round() as u64,
            (None, None) => (epoch.round() as u64).max(1),
        };
        let (plans, seconds) = match (train.fixed_steps(images), train.plan.is_empty()) {
            (Some(steps), _) => (vec![Plan { from_step: 0, steps }], None),
            (None, false) => (train.plan.clone(), None),
            (None, true) => (made.to_vec(), train.minutes.map(|m| m * 60.0)),
        };
        Self {
            schedule: Schedule { lr: train.lr, decay: train.schedule, warmup, plans },
            seconds,
            eval_every: train.eval_every,
            validations: (10, 1),
            sample_every: train.sample_every,
            checkpoint_every: train.checkpoint_every,
            mark: None,
        }
    }

    /// As this one, with validations as a classifier wants them: more, but so that `images` of them take at most a sixth of
    /// the time of a run in steps of `batch`. Counted and not measured, since they must come at the same steps again.
    pub(crate) fn for_classifier(self, images: usize, batch: usize) -> Planner {
        let fewest = (TRAINING_TO_VALIDATION * images).div_ceil(STEP_TO_FORWARD * batch);
        self.validating(VALIDATIONS, fewest as u64)
    }

    /// Validates `times` in a run instead of ten, but never less than `fewest` steps apart, where the config gives no
    /// interval.
    pub fn validating(self, times: u64, fewest: u64) -> Self {
        Self { validations: (times, fewest), ..self }
    }

    /// The learning rates under the plans made so far.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Plans of a budget of minutes; empty for other budgets.
    pub fn plans(&self, train: &TrainSection) -> &[Plan] {
        if train.minutes.is_some() { &self.schedule.plans } else { &[] }
    }

    /// Steps of the whole run in the plan that is in force after `step` steps; none while the first are measured.
    pub fn steps(&self, step: u64) -> Option<u64> {
        self.schedule.plans.iter().rev().find(|plan| plan.from_step <= step).map(|plan| plan.steps)
    }

    /// Whether the run is over after `step` steps.
    pub fn is_over(&self, step: u64) -> bool {
        self.steps(step).is_some_and(|steps| step >= steps)
    }

    /// To be told after every step: makes the first plan of a budget of minutes once the pace is known.
    /// `elapsed` are the seconds of training so far, of earlier sessions too.
    pub fn after_step(&mut self, step: u64, elapsed: f64) -> Option<Plan> {
        let budget = self.seconds?;
        let Some((from, since)) = self.mark else {
            self.mark = Some((step, elapsed));
            return None;
        };
        let measured = step - from + 1 >= MEASURED_STEPS && elapsed - since >= MEASURED_SHARE * budget;
        if !self.schedule.plans.is_empty() || !(measured || elapsed >= budget) {
            return None;
        }
        self.plan(step, elapsed, budget)
    }

    /// To be told at validation points: plans a budget of minutes again from the pace since the last plan, with
    /// validations, samples and checkpoints in it. A run that is over stays over.
    pub fn after_validation(&mut self, step: u64, elapsed: f64) -> Option<Plan> {
        let budget = self.seconds?;
        if self.is_over(step) || self.schedule.plans.last().is_none_or(|last| last.from_step >= step) {
            return None;
        }
        self.plan(step, elapsed, budget)
    }

    fn plan(&mut self, step: u64, elapsed: f64, budget: f64) -> Option<Plan> {
        let (from, since) = self.mark.filter(|(from, _)| *from < step)?;
        let pace = ((elapsed - since) / (step - from) as f64).max(1e-9);
        let left = ((budget - elapsed).max(0.0) / pace).floor() as u64;
        let plan = Plan { from_step: step, steps: step + left };
        self.mark = Some((step, elapsed));
        self.schedule.plans.push(plan);
        Some(plan)
    }

    /// Whether validation is due after `step` steps.
    pub fn validates(&self, step: u64) -> bool {
        self.due(step, self.eval_interval())
    }

    /// Whether a sample grid is due after `step` steps.
    pub fn samples(&self, step: u64) -> bool {
        self.due(step, self.sample_interval())
    }

    /// Validations in a run of `steps`, the one at its end counted.
    pub fn validations(&self, steps: u64) -> u64 {
        times(steps, self.eval_interval())
    }

    /// Sample grids in a run of `steps`, the one at its end counted.
    pub fn grids(&self, steps: u64) -> u64 {
        times(steps, self.sample_interval())
    }

    /// Whether a checkpoint is due after `step` steps.
    pub fn saves(&self, step: u64) -> bool {
        self.due(step, self.checkpoint_every.or_else(|| self.eval_interval()))
    }

    /// Whether a row of metrics is due after `step` steps: about 2000 in a run.
    pub fn logs(&self, step: u64) -> bool {
        self.due(step, self.share(2000, u64::MAX).or(Some(1)))
    }

    fn sample_interval(&self) -> Option<u64> {
        self.sample_every.or_else(|| self.share(4, u64::MAX))
    }

    fn eval_interval(&self) -> Option<u64> {
        let (times, fewest) = self.validations;
        self.eval_every.or_else(|| self.share(times, 1000).map(|steps| steps.max(fewest)))
    }

    /// The interval that divides the first plan into `parts`, so that later plans do not move it.
    fn share(&self, parts: u64, most: u64) -> Option<u64> {
        self.schedule.plans.first().map(|first| first.steps.div_ceil(parts).clamp(1, most))
    }

    fn due(&self, step: u64, every: Option<u64>) -> bool {
        self.is_over(step) || every.is_some_and(|every| every > 0 && step.is_multiple_of(every))
    }
}

/// How often something comes in `steps` that is due every so many of them, and at the end.
fn times(steps: u64, every: Option<u64>) -> u64 {
    every.filter(|every| *every > 0).map_or(1, |every| steps.div_ceil(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> TrainSection {
        TrainSection { batch: 10, ..TrainSection::default() }
    }

    #[test]
    fn epochs_become_steps_and_the_warm_up_is_one_epoch_but_never_more_than_half_of_the_run() {
        let planner = Planner::new(&TrainSection { epochs: Some(4.0), ..train() }, 205, &[]);
        assert_eq!((planner.steps(0), planner.schedule().warmup_at(0)), (Some(82), 21));
        let short = Planner::new(&TrainSection { steps: Some(7), ..train() }, 205, &[]);
        assert_eq!(short.schedule().warmup_at(0), 3);
        let told = Planner::new(&TrainSection { steps: Some(7), warmup_steps: Some(0), ..train() }, 205, &[]);
        assert_eq!(told.schedule().warmup_at(0), 0);
        let long = Planner::new(&TrainSection { steps: Some(7), warmup_steps: Some(100), ..train() }, 205, &[]);
        assert_eq!(long.schedule().warmup_at(0), 3);
    }

    #[test]
    fn things_are_due_at_their_interval_and_at_the_end() {
        let config = TrainSection { steps: Some(25), checkpoint_every: Some(0), eval_every: Some(10), ..train() };
        let planner = Planner::new(&config, 100, &[]);
        let steps = |due: &dyn Fn(u64) -> bool| (1..=25).filter(|&s| due(s)).collect::<Vec<_>>();
        assert_eq!(steps(&|s| planner.validates(s)), [10, 20, 25]);
        assert_eq!(steps(&|s| planner.saves(s)), [25]);
        assert_eq!(steps(&|s| planner.samples(s)), [7, 14, 21, 25]);
        assert_eq!((planner.validations(25), planner.grids(25)), (3, 4));
    }

    #[test]
    fn minutes_are_planned_from_measured_steps_and_again_at_validations() {
        let config = TrainSection { minutes: Some(1.0), eval_every: Some(20), ..train() };
        let mut planner = Planner::new(&config, 1000, &[]);
        let before: Vec<f64> = (0..4).map(|step| planner.schedule().lr_at(step)).collect();
        assert_eq!((planner.steps(0), planner.is_over(1000)), (None, false));
        // The first step takes 5 s, the others half a second.
        let clock = |step: u64| 5.0 + 0.5 * (step - 1) as f64;
        let first = (1..).find_map(|step| planner.after_step(step, clock(step))).unwrap();
        assert_eq!(first, Plan { from_step: 4, steps: 4 + 107 });
        assert_eq!(planner.after_step(5, clock(5)), None);
        // Steps slowed down to a second each.
        let again = planner.after_validation(20, clock(4) + 16.0).unwrap();
        assert_eq!(again, Plan { from_step: 20, steps: 20 + 37 });
        assert!(planner.is_over(57) && !planner.is_over(56));
        assert_eq!(planner.plans(&config), [first, again]);
        // Given back, the plans are followed without a clock.
        let repeat = TrainSection { plan: vec![first, again], ..config };
        let mut same = Planner::new(&repeat, 1000, &[]);
        assert_eq!(same.after_step(4, 1000.0), None);
        assert_eq!(same.after_validation(20, 1000.0), None);
        assert_eq!(same.steps(57), Some(57));
        assert_eq!((0..4).map(|step| same.schedule().lr_at(step)).collect::<Vec<_>>(), before);
        for step in 4..57 {
            assert_eq!(same.schedule().lr_at(step), planner.schedule().lr_at(step));
        }
    }

    #[test]
    fn plans_out_of_order_are_refused() {
        let plan = |from_step, steps| Plan { from_step, steps };
        assert!(Plan::check(&[plan(4, 9), plan(5, 8)]).is_ok());
        assert!(Plan::check(&[plan(4, 9), plan(4, 8)]).is_err());
        assert!(Plan::check(&[plan(4, 3)]).is_err());
    }

    #[test]
    fn a_classifier_is_validated_twenty_times_unless_that_takes_more_than_a_sixth_of_the_time() {
        let validated = |steps: u64, eval_every: Option<u64>, images: usize| {
            let train = TrainSection { steps: Some(steps), batch: 4, eval_every, ..TrainSection::default() };
            let planner = Planner::new(&train, 1000, &[]).for_classifier(images, train.batch);
            (1..=steps).filter(|step| planner.validates(*step)).collect::<Vec<_>>()
        };
        let often = validated(10_000, None, 1024);
        assert_eq!((often.len(), often[0]), (20, 500));
        // 4 · 427 images of training cost as much as five times 1024 forward.
        assert_eq!(validated(1000, None, 1024), [427, 854, 1000]);
        assert_eq!(validated(100, None, 1024), [100]);
        assert_eq!(validated(100, Some(30), 1024), [30, 60, 90, 100]);
        // As in pretraining never more than 1000 steps apart.
        assert_eq!(validated(50_000, None, 16).len(), 50);
    }
}
