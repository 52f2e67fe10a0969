//! Calibration of a classifier's probabilities, and the temperature that improves it.
//!
//! The measures are those of Guo et al. 2017, *On Calibration of Modern Neural Networks*. In a calibrated classifier,
//! a class with a probability of 0.8 is right in 80 of 100 cases. Dividing all logits by one temperature changes no
//! order of classes, so accuracies stay the same.

/// Number of bins of equal width in the expected calibration error.
pub const CALIBRATION_BINS: usize = 15;

/// Number of rounds of the search for the temperature; each shrinks the interval to 0.618 of its length.
const ROUNDS: usize = 48;
/// Half-width of the search interval, in natural logarithms of the temperature.
const WIDEST: f64 = 4.0;

/// Expected calibration error: the gap between mean confidence and accuracy, averaged over bins of confidence.
///
/// Each bin counts by its number of images. `images` has each image's confidence (the probability of the predicted
/// class) and whether the prediction is right.
pub fn expected_calibration_error(images: impl Iterator<Item = (f64, bool)>) -> f64 {
    // (confidences, right ones) of each bin: both are sums, so that a bin's images need no count of their own.
    let mut bins = [(0.0f64, 0usize); CALIBRATION_BINS];
    let mut count = 0usize;
    for (confidence, right) in images {
        let bin = (confidence * CALIBRATION_BINS as f64).ceil() as usize;
        let (sum, hits) = &mut bins[bin.clamp(1, CALIBRATION_BINS) - 1];
        *sum += confidence;
        *hits += usize::from(right);
        count += 1;
    }
    bins.iter().map(|(sum, hits)| (sum - *hits as f64).abs()).sum::<f64>() / count.max(1) as f64
}

/// Returns the temperature at which `nats` is lowest.
///
/// `nats` is the summed negative log-likelihood of all labels at a temperature. The method is golden-section search
/// over ln T. A prior for a temperature of 1 counts like about one image (½ ln² T nats). It only matters when so few
/// images are all right that any confidence would do.
pub fn best_temperature(mut nats: impl FnMut(f64) -> f64) -> f64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let mut cost = |log: f64| nats(log.exp()) + 0.5 * log * log;
    let (mut low, mut high) = (-WIDEST, WIDEST);
    let mut inner = [high - golden * (high - low), low + golden * (high - low)];
    let mut costs = inner.map(&mut cost);
    for _ in 0..ROUNDS {
        if costs[0] <= costs[1] {
            high = inner[1];
            inner = [high - golden * (high - low), inner[0]];
            costs = [cost(inner[0]), costs[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + golden * (high - low)];
            costs = [costs[1], cost(inner[1])];
        }
    }
    ((low + high) / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_gap_of_each_bin_by_its_images() {
        // Four images of confidence 0.9, of which two are right, and one of 0.3 that is wrong.
        let images = [(0.9, true), (0.9, true), (0.9, false), (0.9, false), (0.3, false)];
        let error = expected_calibration_error(images.into_iter());
        assert!((error - (4.0 * 0.4 + 0.3) / 5.0).abs() < 1e-12, "{error}");
        // Too sure in one bin, not sure enough in another.
        let images = [(0.9, false), (0.9, false), (0.55, true), (0.55, true)];
        let error = expected_calibration_error(images.into_iter());
        assert!((error - (2.0 * 0.9 + 2.0 * 0.45) / 4.0).abs() < 1e-12, "{error}");
        // In one bin over- and underconfidence cancel out, in two they add up.
        assert!(expected_calibration_error([(0.62, true), (0.65, true), (0.63, false)].into_iter()) < 0.04);
        assert_eq!(expected_calibration_error([(1.0, true), (1.0, true)].into_iter()), 0.0);
        assert_eq!(expected_calibration_error([(0.0, false)].into_iter()), 0.0);
    }

    #[test]
    fn the_temperature_is_that_of_the_lowest_loss() {
        // Of two classes with logits (2, 0) and 7 of 10 images right the best probability is 0.7: 2 / T = ln(7 / 3).
        let nats = |count: f64, t: f64| {
            let p = 1.0 / (1.0 + (-2.0 / t).exp());
            -count * (0.7 * p.ln() + 0.3 * (1.0 - p).ln())
        };
        let wanted = 2.0 / (7f64 / 3.0).ln();
        let found = best_temperature(|t| nats(1e5, t));
        assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
        // Of ten images the prior is felt, and of none it is all there is.
        assert!(best_temperature(|t| nats(10.0, t)) < found && (best_temperature(|_| 0.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn images_that_are_all_right_do_not_make_anyone_certain() {
        let found = best_temperature(|t| 20.0 * (1.0 + (-2.0 / t).exp()).ln());
        assert!(found > 0.2 && found < 1.0, "{found}");
    }
}
