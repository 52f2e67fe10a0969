//! Learning-rate schedule: linear warm-up, then a decay to zero or a constant rate.
//!
//! The decay is a cosine (Chen et al. 2020, section 3.4) or linear. Fine-tuning in the paper uses a constant rate.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::train::config::planned::StepPlan;

/// Learning-rate schedule of a run: warm-up, decay, and the plans of its length made so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Peak learning rate.
    pub lr: f64,
    /// Kind of decay after the warm-up.
    pub decay: Decay,
    /// Steps of the warm-up, which lasts at most half of the run.
    pub warmup: u64,
    /// Plans in force, oldest first; empty while a run of minutes measures its first steps.
    pub plans: Vec<StepPlan>,
    /// Steps at which earlier phases of the run ended, before it was extended.
    pub ended: Vec<u64>,
}

/// Kind of learning-rate decay after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Decay {
    /// Half a cosine to zero, as in the paper.
    #[default]
    Cosine,
    /// A straight line to zero.
    Linear,
    /// No decay: the rate stays at its peak, as in the paper's fine-tuning.
    Constant,
}

impl Schedule {
    /// Steps of the warm-up in the phase of `step`, by the plans known at that step.
    pub fn warmup_at(&self, step: u64) -> u64 {
        let (start, plans) = self.phase(step);
        match plans.first() {
            Some(first) if first.from_step <= step => self.warmup.min((first.steps - start) / 2),
            _ => self.warmup,
        }
    }

    /// First step of the phase of `step`, and the plans of that phase.
    fn phase(&self, step: u64) -> (u64, Cow<'_, [StepPlan]>) {
        let next = self.ended.partition_point(|end| *end <= step);
        let start = if next == 0 { 0 } else { self.ended[next - 1] };
        let plans = match self.ended.get(next) {
            Some(end) => Cow::Owned(vec![StepPlan { from_step: start, steps: *end }]),
            None => Cow::Borrowed(&self.plans[..]),
        };
        (start, plans)
    }

    /// Learning rate of optimizer step `step`, counted from 0.
    ///
    /// The warm-up rises linearly and reaches the peak with its last step. The decay would reach zero at the step after
    /// the last.
    pub fn lr_at(&self, step: u64) -> f64 {
        self.rate_at(step, self.lr)
    }

    /// Learning rate of step `step` for another peak; all rates of a run follow the same schedule.
    pub fn rate_at(&self, step: u64, peak: f64) -> f64 {
        let (start, plans) = self.phase(step);
        let warmup = self.warmup_at(step);
        if step - start < warmup {
            return peak * (step - start + 1) as f64 / warmup as f64;
        }
        let progress = progress(&plans, step, start + warmup);
        match self.decay {
            Decay::Cosine => peak * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Linear => peak * (1.0 - progress),
            Decay::Constant => peak,
        }
    }
}

/// Share of the decay that is done at `step`, 0 to 1, if the decay begins at step `from`.
///
/// A new plan changes the speed of the rest but not the part that is done, so the learning rate never jumps.
fn progress(plans: &[StepPlan], step: u64, from: u64) -> f64 {
    let mut at = from;
    let mut done = 0.0;
    for (i, plan) in plans.iter().enumerate() {
        at = at.max(plan.from_step);
        let end = plans.get(i + 1).map_or(step, |next| next.from_step.min(step));
        if end > at {
            let left = plan.steps.saturating_sub(at).max(end - at);
            done += (1.0 - done) * (end - at) as f64 / left as f64;
            at = end;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(warmup: u64, plans: &[(u64, u64)]) -> Schedule {
        let plans = plans.iter().map(|&(from_step, steps)| StepPlan { from_step, steps }).collect();
        Schedule { lr: 1.0, decay: Decay::Cosine, warmup, plans, ended: Vec::new() }
    }

    #[test]
    fn an_extended_run_warms_up_and_decays_anew_after_its_earlier_legs() {
        let whole = schedule(4, &[(0, 12)]);
        let extended = Schedule { ended: vec![12], ..schedule(4, &[(12, 32)]) };
        let (before, after): (Vec<f64>, Vec<f64>) =
            ((0..12).map(|i| extended.lr_at(i)).collect(), (12..32).map(|i| extended.lr_at(i)).collect());
        assert_eq!(before, (0..12).map(|i| whole.lr_at(i)).collect::<Vec<_>>());
        let alone = schedule(4, &[(0, 20)]);
        assert_eq!(after, (0..20).map(|i| alone.lr_at(i)).collect::<Vec<_>>());
        // Its first steps are warm-up even while a run of minutes measures them.
        let measuring = Schedule { ended: vec![12], ..schedule(4, &[]) };
        assert_eq!([12, 13].map(|i| measuring.lr_at(i)), [0.25, 0.5]);
    }

    #[test]
    fn warm_up_is_linear_and_the_cosine_ends_at_zero() {
        let s = schedule(4, &[(0, 12)]);
        let lrs: Vec<f64> = (0..=12).map(|i| s.lr_at(i)).collect();
        assert_eq!(&lrs[..5], &[0.25, 0.5, 0.75, 1.0, 1.0]);
        assert!((lrs[8] - 0.5).abs() < 1e-12);
        let sixth = 0.5 * (1.0 + (std::f64::consts::PI * 0.25).cos());
        assert!((lrs[6] - sixth).abs() < 1e-12);
        assert!(lrs[12].abs() < 1e-12 && lrs[11] > 0.0);
    }

    #[test]
    fn a_linear_decay_falls_by_equal_parts_after_the_warm_up() {
        let s = Schedule { decay: Decay::Linear, ..schedule(2, &[(0, 12)]) };
        let lrs: Vec<f64> = (0..=12).map(|i| s.rate_at(i, 2.0)).collect();
        for (i, lr) in lrs.iter().enumerate().skip(2) {
            assert!((lr - 2.0 * (12 - i) as f64 / 10.0).abs() < 1e-12, "{i}: {lr}");
        }
        assert_eq!(lrs[..2], [1.0, 2.0]);
    }

    #[test]
    fn a_constant_rate_stays_at_the_peak_after_the_warm_up() {
        let s = Schedule { decay: Decay::Constant, ..schedule(2, &[(0, 12)]) };
        assert_eq!([0, 1, 2, 7, 12].map(|step| s.lr_at(step)), [0.5, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_new_plan_bends_the_rate_without_a_jump() {
        let one = schedule(0, &[(0, 100)]);
        let two = schedule(0, &[(0, 100), (50, 200)]);
        assert_eq!(one.lr_at(50), two.lr_at(50));
        assert!(two.lr_at(60) > one.lr_at(60));
        assert!(two.lr_at(200).abs() < 1e-12);
        // Half of the decay is done at 50, so half of the rest makes three quarters.
        assert!((two.lr_at(125) - 0.5 * (1.0 + (std::f64::consts::PI * 0.75).cos())).abs() < 1e-12);
    }

    #[test]
    fn before_the_first_plan_the_rate_stays_at_the_peak() {
        assert_eq!(schedule(2, &[]).lr_at(9), 1.0);
        assert_eq!(schedule(0, &[(3, 3)]).lr_at(2), 1.0);
    }
}
