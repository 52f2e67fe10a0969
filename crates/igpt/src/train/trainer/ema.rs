//! Exponential moving average (EMA) of the weights (Polyak & Juditsky 1992).
//!
//! It is validated, sampled from and saved instead of the last weights. It averages out the noise of single steps, and
//! training goes on without it. The engine keeps it.

/// Step size of the average with the decay `ema` towards the weights after step `step`, counted from 0.
///
/// The decay grows to its value as (1 + step) / (10 + step), so that the first weights are soon forgotten.
pub(crate) fn share(ema: f64, step: u64) -> f32 {
    (1.0 - ema.min((1 + step) as f64 / (10 + step) as f64)) as f32
}

/// Sentence of a model's card about averaged weights; empty without an average.
pub(in crate::train) fn card(ema: f64) -> String {
    if ema > 0.0 { format!(" The weights are an exponential average with decay {ema}.") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_the_textbooks_and_forgets_the_first_weights() {
        let run = |first: f32, ema: f64| {
            let (mut average, mut expected) = (first, f64::from(first));
            for step in 0..400 {
                let weight = (step as f32 * 0.1).sin();
                average += share(ema, step) * (weight - average);
                let decay = ema.min((1.0 + step as f64) / (10.0 + step as f64));
                expected = decay * expected + (1.0 - decay) * f64::from(weight);
                assert!((f64::from(average) - expected).abs() < 1e-5, "{step}");
            }
            average
        };
        for ema in [0.5, 0.99] {
            assert!((run(0.0, ema) - run(100.0, ema)).abs() < 1e-5);
        }
    }
}
