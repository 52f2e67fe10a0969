//! Length of a run, from a budget in steps, epochs or minutes, and the steps at which something is due.
//!
//! A budget in minutes becomes steps by measurement: once after the first steps, and again at validation points only.
//! Every such [`StepPlan`] is recorded, so that a resumed run keeps to it, and a run with the same plans repeats to the
//! bit.

use crate::train::config::TrainSettings;
use crate::train::config::planned::StepPlan;
use crate::train::config::schedule::Schedule;
use crate::train::plan::overhead::{SamplePlan, ValidationPlan};

/// Steps before the first plan. The first step is slower than the rest, so it does not count.
const MEASURED_STEPS: u64 = 4;
/// Share of the budget that measuring may take if steps are fast.
const MEASURED_SHARE: f64 = 0.01;

/// Planner of a run: when the run ends and what is due at each step.
#[derive(Clone, Debug)]
pub struct Planner {
    schedule: Schedule,
    /// Steps and seconds of training at which the budget begins.
    begins: (u64, f64),
    /// Seconds of the budget; `None` for budgets in steps and epochs, and for plans from the config.
    seconds: Option<f64>,
    batch: usize,
    evaluation: ValidationPlan,
    drawing: SamplePlan,
    eval_every: Option<u64>,
    sample_every: Option<u64>,
    checkpoint_every: Option<u64>,
    /// Step, and seconds of steps, from which the speed is measured.
    mark: Option<(u64, f64)>,
}

/// State of a run with a budget in minutes, from which the rest is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeBudget {
    /// Seconds of training so far, including earlier sessions.
    pub elapsed: f64,
    /// Seconds of `elapsed` that were optimizer steps.
    pub steps: f64,
    /// Expected seconds of the remaining validations, probes, samples and checkpoints.
    pub ahead: f64,
}

impl Planner {
    /// Planner of a run over `images` training images.
    ///
    /// `made` are the plans of a checkpoint: a resumed run of minutes goes on planning from them. Plans in the config
    /// are followed unchanged.
    pub fn new(train: &TrainSettings, images: usize, made: &[StepPlan]) -> Self {
        let epoch = images as f64 / train.batch as f64;
        let warmup = match (train.warmup_steps, train.warmup_epochs) {
            (Some(steps), _) => steps,
            (None, Some(epochs)) => (epochs * epoch).round() as u64,
            (None, None) => (epoch.round() as u64).max(1),
        };
        let begins = train.budget_start();
        let (plans, seconds) = match (train.fixed_steps(images), train.plan.is_empty()) {
            (Some(steps), _) => (vec![StepPlan { from_step: begins.0, steps: begins.0 + steps }], None),
            (None, false) => (train.plan.clone(), None),
            (None, true) => (made.to_vec(), train.minutes.map(|m| m * 60.0)),
        };
        let ended = train.phases.iter().map(|phase| phase.steps).collect();
        Self {
            schedule: Schedule { lr: train.lr, decay: train.schedule, warmup, plans, ended },
            begins,
            seconds,
            batch: train.batch,
            evaluation: ValidationPlan::default(),
            drawing: SamplePlan::default(),
            eval_every: train.eval_every,
            sample_every: train.sample_every,
            checkpoint_every: train.checkpoint_every,
            mark: None,
        }
    }

    /// Sets the plan of validations and probes, for intervals that the config leaves open.
    pub fn with_validation_plan(self, evaluation: ValidationPlan) -> Self {
        Self { evaluation, ..self }
    }

    /// Sets the plan of sample grids from now on, if the config leaves their interval open.
    ///
    /// Sample grids change no weights, so their number may depend on the clock.
    pub fn draw(&mut self, drawing: SamplePlan) {
        self.drawing = drawing;
    }

    /// Learning-rate schedule under the plans made so far.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Plans of a budget in minutes; empty for other budgets.
    pub fn plans(&self, train: &TrainSettings) -> &[StepPlan] {
        if train.minutes.is_some() { &self.schedule.plans } else { &[] }
    }

    /// Seconds of the budget, if it is one in minutes that is planned by the clock.
    pub fn seconds(&self) -> Option<f64> {
        self.seconds
    }

    /// Steps of the whole run by the plan in force after `step` steps; `None` while the first steps are measured.
    ///
    /// For steps of earlier phases it is the first plan of the last phase.
    pub fn steps(&self, step: u64) -> Option<u64> {
        let step = step.max(self.begins.0);
        self.schedule.plans.iter().rev().find(|plan| plan.from_step <= step).map(|plan| plan.steps)
    }

    /// Whether the run is over after `step` steps.
    pub fn is_over(&self, step: u64) -> bool {
        self.steps(step).is_some_and(|steps| step >= steps)
    }

    /// Whether the first plan of a budget in minutes is due, since the speed is known; to be called after every step.
    ///
    /// `elapsed` are the seconds of training so far, `steps` the part of them that was optimizer steps.
    pub fn first_plan_is_due(&mut self, step: u64, elapsed: f64, steps: f64) -> bool {
        let Some(budget) = self.seconds else { return false };
        let Some((from, since)) = self.mark else {
            self.mark = Some((step, steps));
            return false;
        };
        let measured = step - from + 1 >= MEASURED_STEPS && steps - since >= MEASURED_SHARE * budget;
        self.schedule.plans.is_empty() && (measured || elapsed - self.begins.1 >= budget)
    }

    /// Whether a budget in minutes is due to be planned again after `step` steps; to be called at validation points.
    ///
    /// A run that is over stays over.
    pub fn new_plan_is_due(&self, step: u64) -> bool {
        let news = self.schedule.plans.last().is_some_and(|last| last.from_step < step);
        self.seconds.is_some() && !self.is_over(step) && news
    }

    /// Plans a budget in minutes by the speed of the steps since the last plan, with time left for the overhead.
    pub fn plan(&mut self, step: u64, clock: TimeBudget) -> Option<StepPlan> {
        let budget = self.seconds?;
        let (from, since) = self.mark.filter(|(from, _)| *from < step)?;
        let pace = ((clock.steps - since) / (step - from) as f64).max(1e-9);
        let left = ((budget - (clock.elapsed - self.begins.1) - clock.ahead).max(0.0) / pace).floor() as u64;
        let plan = StepPlan { from_step: step, steps: step + left };
        self.mark = Some((step, clock.steps));
        self.schedule.plans.push(plan);
        Some(plan)
    }

    /// Whether validation is due after `step` steps.
    pub fn validates(&self, step: u64) -> bool {
        self.due(step, self.eval_interval())
    }

    /// Number of images in a validation.
    pub fn validated_images(&self) -> usize {
        match self.first_steps().filter(|_| self.eval_every.is_none()) {
            Some(steps) => self.evaluation.images_of(self.trained(steps)),
            None => self.evaluation.images,
        }
    }

    /// Whether the validation after `step` steps is followed by a quick probe.
    pub fn probes(&self, step: u64) -> bool {
        self.probe_interval().is_some_and(|every| self.due(step, Some(every)))
    }

    /// Whether a sample grid is due after `step` steps.
    pub fn samples(&self, step: u64) -> bool {
        self.due(step, self.sample_interval())
    }

    /// Number of validations in a run of `steps`, including the one at its end.
    pub fn validations(&self, steps: u64) -> u64 {
        times(steps, self.eval_interval())
    }

    /// Number of validations in the whole run, including the one at its end; `None` while the first steps are measured.
    pub fn planned_validations(&self) -> Option<u64> {
        self.first_steps().map(|steps| self.validations(steps))
    }

    /// Number of quick probes in a run of `steps`.
    pub fn probe_count(&self, steps: u64) -> u64 {
        self.probe_interval().map_or(0, |every| times(steps, Some(every)))
    }

    /// Number of sample grids in a run of `steps`, including the one at its end.
    pub fn grids(&self, steps: u64) -> u64 {
        times(steps, self.sample_interval())
    }

    /// Number of images in a sample grid.
    pub fn drawn_images(&self) -> usize {
        self.drawing.images
    }

    /// Whether a checkpoint is due after `step` steps.
    pub fn saves(&self, step: u64) -> bool {
        self.due(step, self.checkpoint_every.or_else(|| self.eval_interval()))
    }

    /// Number of checkpoints in a run of `steps`, including the one at its end.
    pub fn checkpoint_count(&self, steps: u64) -> u64 {
        times(steps, self.checkpoint_every.or_else(|| self.eval_interval()))
    }

    /// Whether a row of metrics is due after `step` steps; there are about 2000 in a run.
    pub fn logs(&self, step: u64) -> bool {
        self.due(step, self.share(2000, u64::MAX).or(Some(1)))
    }

    fn sample_interval(&self) -> Option<u64> {
        self.sample_every.or_else(|| self.share(self.drawing.grids, u64::MAX))
    }

    fn eval_interval(&self) -> Option<u64> {
        let times = self.evaluation.times(self.trained(self.first_steps().unwrap_or(0)));
        self.eval_every.or_else(|| self.share(times, 1000))
    }

    /// Interval of quick probes, a multiple of that of validations; `None` without probes.
    fn probe_interval(&self) -> Option<u64> {
        let (steps, every) = (self.first_steps()?, self.eval_interval().filter(|every| *every > 0)?);
        let validations = times(steps, Some(every));
        match self.evaluation.probings(self.trained(steps)).min(validations) {
            0 => None,
            wanted => Some(every * validations.div_ceil(wanted)),
        }
    }

    /// Steps of the budget by the first plan.
    fn first_steps(&self) -> Option<u64> {
        self.schedule.plans.first().map(|first| first.steps - self.begins.0)
    }

    /// Images that `steps` steps train on.
    fn trained(&self, steps: u64) -> f64 {
        steps as f64 * self.batch as f64
    }

    /// Interval that divides the first plan into `parts`, so that later plans do not change it.
    fn share(&self, parts: u64, most: u64) -> Option<u64> {
        self.first_steps().map(|steps| steps.div_ceil(parts.max(1)).clamp(1, most))
    }

    fn due(&self, step: u64, every: Option<u64>) -> bool {
        self.is_over(step) || every.is_some_and(|every| every > 0 && step.is_multiple_of(every))
    }
}

/// Number of times in `steps` for something that is due every `every` steps and at the end.
fn times(steps: u64, every: Option<u64>) -> u64 {
    every.filter(|every| *every > 0).map_or(1, |every| steps.div_ceil(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> TrainSettings {
        TrainSettings { batch: 10, ..TrainSettings::paper() }
    }

    #[test]
    fn epochs_become_steps_and_the_warm_up_is_one_epoch_but_never_more_than_half_of_the_run() {
        let planner = Planner::new(&TrainSettings { epochs: Some(4.0), ..train() }, 205, &[]);
        assert_eq!((planner.steps(0), planner.schedule().warmup_at(0)), (Some(82), 21));
        let short = Planner::new(&TrainSettings { steps: Some(7), ..train() }, 205, &[]);
        assert_eq!(short.schedule().warmup_at(0), 3);
        let told = Planner::new(&TrainSettings { steps: Some(7), warmup_steps: Some(0), ..train() }, 205, &[]);
        assert_eq!(told.schedule().warmup_at(0), 0);
        let long = Planner::new(&TrainSettings { steps: Some(7), warmup_steps: Some(100), ..train() }, 205, &[]);
        assert_eq!(long.schedule().warmup_at(0), 3);
    }

    #[test]
    fn things_are_due_at_their_interval_and_at_the_end() {
        let config = TrainSettings { steps: Some(25), checkpoint_every: Some(0), eval_every: Some(10), ..train() };
        let planner = Planner::new(&config, 100, &[]);
        let steps = |due: &dyn Fn(u64) -> bool| (1..=25).filter(|&s| due(s)).collect::<Vec<_>>();
        assert_eq!(steps(&|s| planner.validates(s)), [10, 20, 25]);
        assert_eq!(steps(&|s| planner.saves(s)), [25]);
        assert_eq!(steps(&|s| planner.samples(s)), [7, 14, 21, 25]);
        assert_eq!((planner.validations(25), planner.grids(25)), (3, 4));
    }

    #[test]
    fn minutes_are_planned_from_measured_steps_and_again_at_validations_with_room_for_what_stands_beside_steps() {
        let config = TrainSettings { minutes: Some(1.0), eval_every: Some(20), ..train() };
        let mut planner = Planner::new(&config, 1000, &[]);
        let before: Vec<f64> = (0..4).map(|step| planner.schedule().lr_at(step)).collect();
        assert_eq!((planner.steps(0), planner.is_over(1000)), (None, false));
        // The first step takes 5 s, the others half a second; nothing else has taken any time yet.
        let steps = |step: u64| 5.0 + 0.5 * (step - 1) as f64;
        let due = (1..).find(|step| planner.first_plan_is_due(*step, steps(*step), steps(*step))).unwrap();
        let first = planner.plan(due, TimeBudget { elapsed: steps(due), steps: steps(due), ahead: 3.0 }).unwrap();
        assert_eq!(first, StepPlan { from_step: 4, steps: 4 + 101 });
        assert!(!planner.first_plan_is_due(5, steps(5), steps(5)));
        // Steps slowed down to a second each, and a validation took 4 s.
        assert!(!planner.new_plan_is_due(4) && planner.new_plan_is_due(20));
        let clock = TimeBudget { elapsed: steps(4) + 16.0 + 4.0, steps: steps(4) + 16.0, ahead: 7.5 };
        let again = planner.plan(20, clock).unwrap();
        assert_eq!(again, StepPlan { from_step: 20, steps: 20 + 26 });
        assert!(planner.is_over(46) && !planner.is_over(45) && !planner.new_plan_is_due(46));
        assert_eq!(planner.plans(&config), [first, again]);
        // Plans in the config are followed without a clock.
        let repeat = TrainSettings { plan: vec![first, again], ..config };
        let mut same = Planner::new(&repeat, 1000, &[]);
        assert!(!same.first_plan_is_due(4, 1000.0, 1000.0) && !same.new_plan_is_due(20));
        assert_eq!(same.steps(46), Some(46));
        assert_eq!((0..4).map(|step| same.schedule().lr_at(step)).collect::<Vec<_>>(), before);
        for step in 4..46 {
            assert_eq!(same.schedule().lr_at(step), planner.schedule().lr_at(step));
        }
    }

    #[test]
    fn plans_out_of_order_are_refused() {
        let plan = |from_step, steps| StepPlan { from_step, steps };
        assert!(StepPlan::check(&[plan(4, 9), plan(5, 8)]).is_ok());
        assert!(StepPlan::check(&[plan(4, 9), plan(4, 8)]).is_err());
        assert!(StepPlan::check(&[plan(4, 3)]).is_err());
    }

    #[test]
    fn a_run_is_validated_twenty_times_unless_that_takes_more_than_its_share_and_then_on_fewer_images_and_less_often() {
        let planned = |steps: u64, eval_every: Option<u64>, evaluation: ValidationPlan| {
            let train = TrainSettings { steps: Some(steps), batch: 4, eval_every, ..TrainSettings::paper() };
            let planner = Planner::new(&train, 1000, &[]).with_validation_plan(evaluation);
            let due: Vec<u64> = (1..=steps).filter(|step| planner.validates(*step)).collect();
            let probed: Vec<u64> =
                (1..=steps).filter(|step| planner.validates(*step) && planner.probes(*step)).collect();
            (due, planner.validated_images(), probed)
        };
        let all = |images| ValidationPlan { images, ..ValidationPlan::default() };
        let (often, images, _) = planned(20_000, None, all(512));
        assert_eq!((often.len(), often[0], images), (20, 1000, 512));
        // 2000 · 4 images of training cost as much as 24,000 forward passes; a fifteenth of that is 1600.
        let (due, images, _) = planned(2000, None, all(512));
        assert_eq!((due.len(), images), (10, 160));
        let (due, images, _) = planned(2000, None, ValidationPlan { at_least: 512, ..all(512) });
        assert_eq!((due.len(), images), (3, 512));
        // Never on fewer than 64, if there are that many.
        assert_eq!(planned(100, None, all(512)).1, 64);
        assert_eq!(planned(100, None, all(20)).1, 20);
        // An interval in the config is kept, whatever it costs.
        assert_eq!(planned(100, Some(30), all(512)).0, [30, 60, 90, 100]);
        assert_eq!(planned(100, Some(30), all(512)).1, 512);
        // Never more than 1000 steps apart.
        assert_eq!(planned(50_000, None, all(16)).0.len(), 50);
        // Probes have a share of their own, and follow a validation.
        let (due, _, probed) = planned(2000, None, ValidationPlan { probe: 200.0, ..all(20) });
        assert_eq!((due.len(), probed), (20, vec![500, 1000, 1500, 2000]));
        // There is none if even one takes more than their share.
        assert_eq!(planned(2000, None, ValidationPlan { probe: 801.0, ..all(20) }).2, Vec::<u64>::new());
        assert_eq!(planned(2000, None, ValidationPlan { probe: 801.0, always_probes: true, ..all(20) }).2.len(), 20);
        // An extended run keeps the images of its validations, however long it becomes.
        assert_eq!(planned(100, None, all(512).on(64)).1, 64);
        assert_eq!(planned(90_000, None, all(512).on(64)).1, 64);
    }
}
