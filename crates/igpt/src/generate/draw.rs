//! Drawing of one token from logits, in f64 and in a fixed order, so that it depends on nothing but its key.

use crate::Result;
use crate::device::expect_finite;
use crate::generate::SamplingSettings;
use crate::rng::{Purpose, Rng};

/// Largest number of pixels that a draw's key can tell apart: 64×64.
const PIXELS: u64 = 4096;

/// Sampler of tokens from logits, which keeps its scratch space between draws.
pub struct Sampler {
    settings: SamplingSettings,
    weights: Vec<f64>,
    order: Vec<u32>,
}

impl Sampler {
    /// Returns a sampler with `settings`.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(settings: &SamplingSettings) -> Result<Self> {
        settings.validate()?;
        Ok(Self { settings: *settings, weights: Vec::new(), order: Vec::new() })
    }

    /// Draws the token at `pixel` of attempt `attempt` at `image`.
    ///
    /// The result is a pure function of these three, the settings and `logits` (n_vocab).
    ///
    /// # Errors
    /// When a logit is not finite: the weights behind it are damaged.
    pub fn draw(&mut self, logits: &[f32], image: u64, attempt: u64, pixel: usize) -> Result<u16> {
        check(logits, image, pixel)?;
        let best = likeliest(logits);
        let SamplingSettings { temperature, top_k, top_p, seed } = self.settings;
        if temperature == 0.0 || top_k == 1 {
            return Ok(best as u16);
        }
        let max = logits[best] as f64;
        self.weights.clear();
        self.weights.extend(logits.iter().map(|&v| ((v as f64 - max) / temperature).exp()));
        if top_k > 0 || top_p < 1.0 {
            self.filter(logits, top_k, top_p);
        }
        let total: f64 = self.weights.iter().sum();
        let key = attempt * PIXELS + pixel as u64;
        let target = Rng::new(seed, Purpose::Sample, image, key).uniform() * total;
        let mut sum = 0.0;
        let mut last = best;
        for (i, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                last = i;
                sum += weight;
                if target < sum {
                    break;
                }
            }
        }
        Ok(last as u16)
    }

    /// Sets the weights that top-k and top-p exclude to zero. Equal logits rank by index.
    fn filter(&mut self, logits: &[f32], top_k: usize, top_p: f64) {
        let Self { weights, order, .. } = self;
        order.clear();
        order.extend(0..logits.len() as u32);
        order.sort_unstable_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let mut keep = if top_k > 0 { top_k.min(order.len()) } else { order.len() };
        if top_p < 1.0 {
            let total: f64 = order[..keep].iter().map(|&i| weights[i as usize]).sum();
            let mut sum = 0.0;
            let reached = order[..keep].iter().position(|&i| {
                sum += weights[i as usize];
                sum >= top_p * total
            });
            keep = reached.map_or(keep, |i| i + 1);
        }
        for &i in &order[keep..] {
            weights[i as usize] = 0.0;
        }
    }
}

/// Refuses logits that are not finite: the weights behind them are damaged.
pub(super) fn check(logits: &[f32], image: u64, pixel: usize) -> Result<()> {
    expect_finite(logits, "a colour's score", || format!("pixel {pixel} of drawn image {image}"))
}

/// Log-probability of `token` under `logits` (n_vocab), which are finite.
pub(super) fn log_probability(logits: &[f32], token: u16) -> f64 {
    let max = f64::from(logits[likeliest(logits)]);
    let sum: f64 = logits.iter().map(|&v| (f64::from(v) - max).exp()).sum();
    f64::from(logits[token as usize]) - max - sum.ln()
}

/// Returns two random numbers for choices among the candidates of an attempt at an image, at one pixel.
pub(super) fn choices(seed: u64, image: u64, attempt: u64, pixel: usize) -> [f64; 2] {
    let mut rng = Rng::new(seed, Purpose::Resample, image, attempt * PIXELS + pixel as u64);
    [rng.uniform(), rng.uniform()]
}

/// Index of the largest logit, the lowest on a tie.
fn likeliest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in logits.iter().enumerate() {
        if *v > logits[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(temperature: f64, top_k: usize, top_p: f64) -> Sampler {
        Sampler::new(&SamplingSettings { temperature, top_k, top_p, seed: 7 }).unwrap()
    }

    fn logits() -> impl Strategy<Value = Vec<f32>> {
        // Quarters make ties common.
        prop::collection::vec((-20i8..20).prop_map(|q| q as f32 / 4.0), 2..40)
    }

    proptest! {
        #[test]
        fn temperature_zero_is_the_lowest_likeliest_index(logits in logits(), image in 0u64..50) {
            let best = logits.iter().cloned().fold(f32::MIN, f32::max);
            let first = logits.iter().position(|v| *v == best).unwrap() as u16;
            prop_assert_eq!(sampler(0.0, 0, 1.0).draw(&logits, image, 0, 3).unwrap(), first);
            prop_assert_eq!(sampler(1.0, 1, 1.0).draw(&logits, image, 0, 3).unwrap(), first);
            prop_assert_eq!(sampler(1.0, 0, 1e-12).draw(&logits, image, 0, 3).unwrap(), first);
        }

        #[test]
        fn top_k_draws_only_the_k_likeliest(logits in logits(), k in 1usize..8, image in 0u64..200) {
            let token = sampler(2.0, k, 1.0).draw(&logits, image, 0, 0).unwrap() as usize;
            let better = logits.iter().enumerate();
            let rank = better.filter(|&(i, v)| *v > logits[token] || (*v == logits[token] && i < token)).count();
            prop_assert!(rank < k);
        }

        #[test]
        fn top_p_draws_only_the_nucleus(logits in logits(), p in 0.05f64..0.99, image in 0u64..200) {
            let token = sampler(1.0, 0, p).draw(&logits, image, 0, 0).unwrap() as usize;
            let total: f64 = logits.iter().map(|v| (*v as f64).exp()).sum();
            // What ranks before the token is not enough probability by itself.
            let before: f64 = logits.iter().enumerate()
                .filter(|&(i, v)| *v > logits[token] || (*v == logits[token] && i < token))
                .map(|(_, v)| (*v as f64).exp()).sum();
            prop_assert!(before / total < p + 1e-9);
        }

        #[test]
        fn filters_that_allow_all_change_nothing(logits in logits(), image in 0u64..50) {
            let plain = sampler(0.8, 0, 1.0).draw(&logits, image, 2, 5).unwrap();
            prop_assert_eq!(sampler(0.8, logits.len(), 1.0).draw(&logits, image, 2, 5).unwrap(), plain);
        }
    }

    #[test]
    fn frequencies_follow_the_softmax_at_its_temperature() {
        let logits = [0.0f32, 1.0, 2.0, -1e30];
        for temperature in [0.5, 1.0, 3.0] {
            let mut sampler = sampler(temperature, 0, 1.0);
            let mut counts = [0usize; 4];
            let n = 20_000;
            for image in 0..n {
                counts[sampler.draw(&logits, image as u64, 0, 9).unwrap() as usize] += 1;
            }
            let weights: Vec<f64> = logits.iter().map(|v| (*v as f64 / temperature).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let (p, seen) = (weight / total, *count as f64 / n as f64);
                // Five standard deviations.
                assert!((p - seen).abs() <= 5.0 * (p * (1.0 - p) / n as f64).sqrt(), "{p} {seen}");
            }
        }
    }

    #[test]
    fn every_part_of_the_key_changes_the_draws() {
        let logits = [0.0f32; 256];
        let line = |seed: u64, image: u64, attempt: u64| {
            let mut sampler = Sampler::new(&SamplingSettings { seed, ..SamplingSettings::default() }).unwrap();
            (0..8).map(|t| sampler.draw(&logits, image, attempt, t).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(line(1, 2, 3), line(1, 2, 3));
        assert_ne!(line(1, 2, 3), line(2, 2, 3));
        assert_ne!(line(1, 2, 3), line(1, 3, 3));
        assert_ne!(line(1, 2, 3), line(1, 2, 4));
    }

    #[test]
    fn tiny_temperatures_and_damaged_scores_are_handled() {
        assert_eq!(sampler(1e-300, 0, 1.0).draw(&[1.0, 3.0, 2.0], 0, 0, 0).unwrap(), 1);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = sampler(1.0, 0, 1.0).draw(&[0.0, bad], 3, 0, 4).unwrap_err().to_string();
            assert!(error.contains("pixel 4 of drawn image 3"), "{error}");
        }
    }
}
