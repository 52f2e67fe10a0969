//! An exponential average of the weights along a run, which is validated, drawn from and saved in place of the last ones
//! (Polyak & Juditsky 1992): it has forgotten the noise of single steps, and training goes on without it.

use crate::Result;
use crate::model::Engine;

/// The average that a run keeps.
#[derive(Clone, Debug)]
pub struct Average {
    decay: f64,
    weights: Vec<f32>,
}

impl Average {
    /// An average with the decay `ema`, none where that is 0, of a run that has come to `weights`: its first ones, or the
    /// average of a checkpoint.
    pub fn new(ema: f64, weights: Vec<f32>) -> Option<Self> {
        (ema > 0.0).then_some(Self { decay: ema, weights })
    }

    /// Takes in the weights after step `step`, counted from 0. The decay grows to its value as (1 + step) / (10 + step), so
    /// that the first weights are soon forgotten.
    pub fn follow(&mut self, step: u64, weights: &[f32]) {
        let rest = (1.0 - self.decay.min((1 + step) as f64 / (10 + step) as f64)) as f32;
        self.weights.iter_mut().zip(weights).for_each(|(average, weight)| *average += rest * (weight - *average));
    }

    /// Lets the engine compute with the average and keeps its weights, or the other way round.
    pub fn exchange(&mut self, engine: &mut dyn Engine) -> Result<()> {
        engine.exchange(&mut self.weights)
    }

    /// The average, an arena, as long as the engine has its own weights.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }
}

/// What a model's card says of its weights where they are an average.
pub(super) fn card(ema: f64) -> String {
    if ema > 0.0 { format!(" The weights are an exponential average with decay {ema}.") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_the_textbooks_and_forgets_the_first_weights() {
        let run = |first: f32, ema: f64| {
            let mut average = Average::new(ema, vec![first]).unwrap();
            let mut expected = f64::from(first);
            for step in 0..400 {
                let weight = (step as f32 * 0.1).sin();
                average.follow(step, &[weight]);
                let decay = ema.min((1.0 + step as f64) / (10.0 + step as f64));
                expected = decay * expected + (1.0 - decay) * f64::from(weight);
                assert!((f64::from(average.weights()[0]) - expected).abs() < 1e-5, "{step}");
            }
            average.weights()[0]
        };
        for ema in [0.5, 0.99] {
            assert!((run(0.0, ema) - run(100.0, ema)).abs() < 1e-5);
        }
        assert!(Average::new(0.0, vec![1.0]).is_none());
    }
}
