//! Ridge regression onto one-hot classes in closed form: the fastest probe, exact and without a learning rate.
//!
//! With standardised and centred features X (n, d) and centred one-hot targets Y, the weights solve (XᵀX / n + strength
//! · I) W = XᵀY / n; the intercepts are not penalised. scikit-learn's `RidgeClassifier` makes the same predictions with
//! `alpha = strength · n` on the same standardised features.

use igpt_kernels::matmul::{self, Panels, matmul_tn};
use igpt_kernels::pool::chunks;
use igpt_kernels::{LANE_PAD, MatMut};

use super::cholesky::Cholesky;
use super::design::{Design, repack};
use super::{LabelledFeatures, LinearClassifier, Standardizer, Workers, accuracy};
use crate::{Error, Result};

/// Strengths of the penalty to choose from.
pub(crate) const STRENGTHS: [f64; 6] = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];
/// Number of images whose products are summed in f32 before they are added to the sums in f64.
const BLOCK: usize = 512;

/// Ridge regression on a set of training images: normal equations that are set up once and solved for any strength.
#[derive(Debug)]
pub struct RidgeRegression {
    standardizer: Standardizer,
    /// XᵀX / n of centred features, (d, d).
    gram: Vec<f64>,
    /// XᵀY / n of centred features and targets, (d, classes).
    targets: Vec<f64>,
    /// Mean of each standardised feature; zero if the standardizer was fitted to the same images.
    means: Vec<f64>,
    /// Share of each class.
    shares: Vec<f64>,
}

impl RidgeRegression {
    /// Sets up the normal equations of the training images; `classes` may be more than they show.
    pub fn new(workers: &Workers, standardizer: &Standardizer, train: LabelledFeatures<'_>, classes: usize) -> Self {
        let (width, n) = (train.width(), train.images() as f64);
        let design = Design::new(workers, standardizer, train.features());
        let mut gram = gram(workers, &design);
        let mut shares = vec![0.0; classes];
        let mut targets = vec![0.0; width * classes];
        for (i, &label) in train.labels().iter().enumerate() {
            shares[label as usize] += 1.0 / n;
            for (&x, targets) in design.matrix().row(i).iter().zip(targets.chunks_exact_mut(classes)) {
                targets[label as usize] += f64::from(x) / n;
            }
        }
        let means: Vec<f64> = targets.chunks_exact(classes).map(|sums| sums.iter().sum()).collect();
        for ((targets, gram), mean) in targets.chunks_exact_mut(classes).zip(gram.chunks_exact_mut(width)).zip(&means) {
            targets.iter_mut().zip(&shares).for_each(|(target, share)| *target -= mean * share);
            gram.iter_mut().zip(&means).for_each(|(x, other)| *x = *x / n - mean * other);
        }
        Self { standardizer: standardizer.clone(), gram, targets, means, shares }
    }

    /// Solves for the classifier with a penalty of `strength`.
    ///
    /// # Errors
    /// When the strength is so small that the features do not determine the weights.
    pub fn solve(&self, workers: &Workers, strength: f64) -> Result<LinearClassifier> {
        let (width, classes) = (self.standardizer.width(), self.shares.len());
        let mut a = self.gram.clone();
        a.iter_mut().step_by(width + 1).for_each(|x| *x += strength);
        let factor = Cholesky::new(workers, a, width).ok_or_else(|| {
            Error::Invalid(format!("the normal equations are singular at strength {strength}: take a larger one"))
        })?;
        let mut weights = self.targets.clone();
        factor.solve(&mut weights, classes);
        let mut intercepts = self.shares.clone();
        for (weights, mean) in weights.chunks_exact(classes).zip(&self.means) {
            intercepts.iter_mut().zip(weights).for_each(|(intercept, w)| *intercept -= mean * w);
        }
        weights.extend(intercepts);
        let weights = weights.into_iter().map(|w| w as f32).collect();
        Ok(LinearClassifier { standardizer: self.standardizer.clone(), weights, classes })
    }

    /// Passes the classifier of each of [`STRENGTHS`] to `take`, the strongest first.
    ///
    /// Strengths that are too small for these features are skipped.
    ///
    /// # Errors
    /// When all strengths are too small.
    pub(super) fn each_strength(&self, workers: &Workers, mut take: impl FnMut(f64, LinearClassifier)) -> Result<()> {
        let (mut solved, mut failed) = (false, Ok(()));
        for strength in STRENGTHS.into_iter().rev() {
            match self.solve(workers, strength) {
                Ok(linear) => {
                    solved = true;
                    take(strength, linear);
                }
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        if solved { Ok(()) } else { failed }
    }
}

/// XᵀX, (d, d).
pub(super) fn gram(workers: &Workers, design: &Design) -> Vec<f64> {
    let (width, x) = (design.width(), design.padded());
    let columns = x.cols().next_multiple_of(LANE_PAD);
    let mut sums = vec![0.0f64; width * width];
    let mut scratch: Vec<_> =
        (0..workers.pool.threads()).map(|_| (vec![0.0f32; LANE_PAD * columns], matmul::TnScratch::default())).collect();
    let mut panels = Panels::<f32>::new(0, columns);
    for first in (0..x.rows()).step_by(BLOCK) {
        let x = x.view(first, BLOCK.min(x.rows() - first), 0, x.cols());
        if panels.k() != x.rows() {
            panels = Panels::new(x.rows(), columns);
        }
        repack(workers, x, &mut panels);
        workers.pool.each(chunks(&mut sums, LANE_PAD * width), &mut scratch, |band, sums, (products, scratch)| {
            let m = sums.len() / width;
            let products = &mut products[..m * columns];
            let left = x.view(0, x.rows(), band * LANE_PAD, m);
            matmul_tn(workers.isa, left, &[(&panels).into()], MatMut::new(products, m, columns), false, scratch);
            for (sums, products) in sums.chunks_exact_mut(width).zip(products.chunks_exact(columns)) {
                sums.iter_mut().zip(products).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        });
    }
    sums
}

/// Result of a quick probe by ridge regression.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuickProbeResult {
    /// Accuracy on the measured images.
    pub accuracy: f64,
    /// Strength that was chosen, one of `STRENGTHS`.
    pub strength: f64,
}

/// Fits ridge classifiers to `train`, chooses the strength on `validation`, and measures accuracy on `measured`.
///
/// The strength has the highest accuracy on `validation`; on a tie the stronger one is chosen. `measured` chooses
/// nothing.
///
/// # Errors
/// When the parts differ in their number of features, or when these are too strongly correlated for any strength.
pub fn quick_probe(
    workers: &Workers,
    train: LabelledFeatures<'_>,
    validation: LabelledFeatures<'_>,
    measured: LabelledFeatures<'_>,
) -> Result<QuickProbeResult> {
    choose_and_measure(workers, train, validation, measured).map(|(_, probe)| probe)
}

/// Like [`quick_probe`], with the accuracy on `validation` before it, by which layers are chosen.
pub(crate) fn choose_and_measure(
    workers: &Workers,
    train: LabelledFeatures<'_>,
    validation: LabelledFeatures<'_>,
    measured: LabelledFeatures<'_>,
) -> Result<(f64, QuickProbeResult)> {
    for part in [validation, measured] {
        if part.width() != train.width() {
            return Err(Error::Mismatch(format!("features of {} and {} values", train.width(), part.width())));
        }
    }
    let classes = [train, validation, measured].iter().map(LabelledFeatures::classes).max().unwrap_or(0);
    let standardizer = Standardizer::fit(train.features(), train.width());
    let ridge = RidgeRegression::new(workers, &standardizer, train, classes);
    let mut best: Option<(f64, f64, LinearClassifier)> = None;
    ridge.each_strength(workers, |strength, linear| {
        let share = accuracy(&linear.predict(workers, validation.features()), validation.labels());
        if best.as_ref().is_none_or(|(highest, ..)| share > *highest) {
            best = Some((share, strength, linear));
        }
    })?;
    let Some((chosen, strength, linear)) = best else { unreachable!("a strength was solved") };
    let accuracy = accuracy(&linear.predict(workers, measured.features()), measured.labels());
    Ok((chosen, QuickProbeResult { accuracy, strength }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::{clouds, values};

    #[test]
    fn weights_solve_the_textbook_equations() {
        let (n, width, classes, strength) = (700, 5, 3, 0.01);
        // The scale is that of other images, so that these features are not centred.
        let standardizer = Standardizer::fit(&values(100, 3.0, 5), width);
        let (features, labels) = clouds(n, width, classes as u32, 1.0, 3);
        let train = LabelledFeatures::new(&features, width, &labels).unwrap();
        let workers = Workers::new(2);
        let linear = RidgeRegression::new(&workers, &standardizer, train, classes).solve(&workers, strength).unwrap();
        let (weights, intercepts) = linear.weights();
        // The gradient of |XW + b − Y|² / n + strength |W|² must be zero.
        let (mut gradient, mut of_intercepts) = (vec![0.0f64; width * classes], vec![0.0f64; classes]);
        for (row, &label) in features.chunks(width).zip(&labels) {
            let mut x = vec![0.0f32; width];
            standardizer.apply(row, &mut x);
            for c in 0..classes {
                let score: f64 = (0..width).map(|j| f64::from(x[j] * weights[j * classes + c])).sum();
                let target = if label == c as u32 { 1.0 } else { 0.0 };
                let residual = score + f64::from(intercepts[c]) - target;
                (0..width).for_each(|j| gradient[j * classes + c] += residual * f64::from(x[j]) / n as f64);
                of_intercepts[c] += residual / n as f64;
            }
        }
        assert!(of_intercepts.iter().all(|g| g.abs() < 1e-6), "{of_intercepts:?}");
        for (g, &w) in gradient.iter().zip(weights) {
            assert!((g + strength * f64::from(w)).abs() < 1e-6, "{g} {w}");
        }
    }

    #[test]
    fn separate_clouds_are_told_apart_and_noise_is_not() {
        let workers = Workers::new(1);
        let probe = |deviation: f64| {
            let parts = [1, 2, 3].map(|seed| clouds(300, 8, 5, deviation, seed));
            let [train, validation, measured] =
                [0, 1, 2].map(|i| LabelledFeatures::new(&parts[i].0, 8, &parts[i].1).unwrap());
            quick_probe(&workers, train, validation, measured).unwrap().accuracy
        };
        assert!(probe(0.1) > 0.98);
        assert!(probe(100.0) < 0.4);
    }

    #[test]
    fn nothing_is_chosen_by_the_images_measured() {
        let workers = Workers::new(1);
        let parts = [1, 2, 3].map(|seed| clouds(60, 30, 3, 3.0, seed));
        let [train, validation, measured] =
            [0, 1, 2].map(|i| LabelledFeatures::new(&parts[i].0, 30, &parts[i].1).unwrap());
        let chosen = quick_probe(&workers, train, validation, measured).unwrap();
        for turn in 1..3 {
            let permuted: Vec<u32> = parts[2].1.iter().map(|l| (l + turn) % 3).collect();
            let measured = LabelledFeatures::new(&parts[2].0, 30, &permuted).unwrap();
            let other = quick_probe(&workers, train, validation, measured).unwrap();
            assert_eq!(other.strength, chosen.strength);
            assert!(other.accuracy < chosen.accuracy);
        }
    }

    /// The features are far from the standardizer's mean, so that centring leaves the rounding errors of a large mean.
    #[test]
    fn strengths_at_which_features_are_singular_are_passed_over() {
        let workers = Workers::new(1);
        let standardizer = Standardizer::fit(&values(400, 1.0, 1), 4);
        let solved = |offset: f32| {
            let (mut features, labels) = clouds(600, 4, 3, 1e-3, 2);
            features.iter_mut().for_each(|x| *x = 1e-2 * *x + offset);
            let train = LabelledFeatures::new(&features, 4, &labels).unwrap();
            let ridge = RidgeRegression::new(&workers, &standardizer, train, 3);
            let mut solved = Vec::new();
            ridge.each_strength(&workers, |strength, _| solved.push(strength)).map(|()| solved)
        };
        assert_eq!(solved(0.0).unwrap().len(), STRENGTHS.len());
        let some = solved(1e3).unwrap();
        assert!(some.contains(&10.0) && !some.contains(&1e-4), "{some:?}");
        let error = solved(1e6).unwrap_err().to_string();
        assert!(error.contains("singular at strength 10:"), "{error}");
    }

    #[test]
    fn more_features_than_images_and_constant_ones_are_no_trouble() {
        let workers = Workers::new(1);
        let mut features = values(20 * 50, 1.0, 1);
        features.iter_mut().step_by(50).for_each(|x| *x = 3.0);
        let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
        let train = LabelledFeatures::new(&features, 50, &labels).unwrap();
        let standardizer = Standardizer::fit(&features, 50);
        let linear = RidgeRegression::new(&workers, &standardizer, train, 2).solve(&workers, 1e-4).unwrap();
        assert_eq!(linear.predict(&workers, &features), labels);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (features, labels) = clouds(1500, 70, 4, 2.0, 1);
        let train = LabelledFeatures::new(&features, 70, &labels).unwrap();
        let standardizer = Standardizer::fit(&features, 70);
        let fit = |threads| {
            let workers = Workers::new(threads);
            RidgeRegression::new(&workers, &standardizer, train, 4).solve(&workers, 0.01).unwrap()
        };
        assert_eq!(fit(1), fit(3));
    }
}
