//! Multinomial logistic regression by L-BFGS: the paper's linear probe (Chen et al. 2020, section 3.4).
//!
//! It minimises the mean loss of the training images in nats plus strength / 2 · |W|²; the intercepts are not
//! penalised. scikit-learn's `LogisticRegression` sums losses instead: its `C` is 1 / (strength · n) for n training
//! images. With two classes it fits one vector, the difference of the two here, and its `C` is 2 / (strength · n).
//!
//! Products run in f32 with the engine's kernels; losses are summed and steps taken in f64. Features of neighbouring
//! positions or pixels are strongly correlated, which makes the loss ill-conditioned. L-BFGS therefore gets a
//! preconditioner: the inverse of the Hessian at equal probabilities, XᵀX / (n · classes) + strength · I in each class.

use igpt_kernels::cross_entropy::cross_entropy;
use igpt_kernels::matmul::{STRIP_COLS, matmul_narrow, matmul_tn_narrow};
use igpt_kernels::pool::chunks;
use igpt_kernels::{Buffer, MatMut, MatRef};

use super::cholesky::Cholesky;
use super::design::Design;
use super::lbfgs::{Limits, minimise};
use super::ridge::gram;
use super::{LabelledFeatures, LinearClassifier, Standardizer, Workers};
use crate::{Error, Result};

/// Bytes of the images that go from scores to gradient together, while they are in the core's own cache.
const BLOCK_BYTES: usize = 128 << 10;
/// Largest number of units of parallel work, and of bytes of their gradients; each sums its own gradient.
const PIECES: usize = 64;
const PIECES_BYTES: usize = 64 << 20;
/// Largest number of steps.
const ITERATIONS: usize = 500;
/// Number of features beyond which there is no preconditioner: its factorisation would take longer than it saves.
const PRECONDITIONED: usize = 3072;

/// Logistic regression on a set of training images, fitted for any strength.
///
/// Each fit starts from the weights of the previous one.
#[derive(Debug)]
pub struct LogisticRegression<'a> {
    workers: &'a Workers,
    standardizer: &'a Standardizer,
    objective: Objective,
    /// XᵀX / n of the standardised features, (d, d); `None` if there are too many features.
    gram: Option<Vec<f64>>,
    weights: Vec<f64>,
    /// Tolerance: the largest entry of the gradient at which a fit counts as converged.
    pub tolerance: f64,
}

/// Result of a logistic regression: the fitted classifier and its convergence.
#[derive(Clone, Debug)]
pub struct LogisticFit {
    /// Fitted classifier.
    pub linear: LinearClassifier,
    /// Minimised value: the mean loss of the training images in nats, plus the penalty.
    pub loss: f64,
    /// Steps of L-BFGS.
    pub iterations: usize,
    /// Number of losses and gradients computed.
    pub evaluations: usize,
    /// Whether the fit converged: the gradient is below the tolerance, or rounding hides any further decrease.
    pub converged: bool,
}

impl<'a> LogisticRegression<'a> {
    /// Prepares the regression on training images; `classes` may be more than they show.
    ///
    /// # Errors
    /// When there are more classes than 65,536.
    pub fn new(
        workers: &'a Workers,
        standardizer: &'a Standardizer,
        train: LabelledFeatures<'_>,
        classes: usize,
    ) -> Result<Self> {
        let design = Design::new(workers, standardizer, train.features());
        let weights = vec![0.0; (train.width() + 1) * classes];
        let n = train.images() as f64;
        let gram = (train.width() <= PRECONDITIONED).then(|| {
            let mut gram = gram(workers, &design);
            gram.iter_mut().for_each(|sum| *sum /= n);
            gram
        });
        let objective = Objective::new(design, train.labels(), classes)?;
        Ok(Self { workers, standardizer, objective, gram, weights, tolerance: 1e-5 })
    }

    /// Fits the classifier with a penalty of `strength`.
    pub fn fit(&mut self, strength: f64) -> LogisticFit {
        let limits = Limits { tolerance: self.tolerance, iterations: ITERATIONS };
        let preconditioner = self.preconditioner(strength);
        let (workers, objective) = (self.workers, &mut self.objective);
        let precondition = |d: &mut [f64]| preconditioner.iter().for_each(|preconditioner| preconditioner.apply(d));
        let outcome = minimise(&mut self.weights, limits, &precondition, &mut |weights, gradient| {
            objective.evaluate(workers, strength, weights, gradient)
        });
        let (classes, inputs) = (self.objective.classes, self.weights.len() / self.objective.classes);
        let weights = (0..inputs * classes).map(|i| self.weights[i % classes * inputs + i / classes] as f32).collect();
        let linear = LinearClassifier { standardizer: self.standardizer.clone(), weights, classes };
        LogisticFit {
            linear,
            loss: outcome.value,
            iterations: outcome.iterations,
            evaluations: outcome.evaluations,
            converged: outcome.converged,
        }
    }
}

impl LogisticRegression<'_> {
    /// Inverse Hessian at equal probabilities; `None` if it can't be computed.
    fn preconditioner(&self, strength: f64) -> Option<Preconditioner> {
        let classes = self.objective.classes;
        let width = self.standardizer.width();
        let mut hessian: Vec<f64> = self.gram.as_ref()?.iter().map(|x| x / classes as f64).collect();
        hessian.iter_mut().step_by(width + 1).for_each(|x| *x += strength);
        let factor = Cholesky::new(self.workers, hessian, width)?;
        Some(Preconditioner { factor, width, classes })
    }
}

/// Inverse of a Hessian that is the same in each class; for an intercept it is the number of classes.
#[derive(Debug)]
struct Preconditioner {
    factor: Cholesky,
    width: usize,
    classes: usize,
}

impl Preconditioner {
    /// Multiplies `vector`, (classes, d + 1), in place.
    fn apply(&self, vector: &mut [f64]) {
        let Self { factor, width, classes } = self;
        let mut columns = vec![0.0; width * classes];
        for (class, vector) in vector.chunks_exact(width + 1).enumerate() {
            columns.iter_mut().skip(class).step_by(*classes).zip(vector).for_each(|(x, &v)| *x = v);
        }
        factor.solve(&mut columns, *classes);
        for (class, vector) in vector.chunks_exact_mut(width + 1).enumerate() {
            columns.iter().skip(class).step_by(*classes).zip(vector.iter_mut()).for_each(|(&x, v)| *v = x);
            vector[*width] *= *classes as f64;
        }
    }
}

/// Loss of some images as a function of the weights, with its buffers.
#[derive(Debug)]
pub(super) struct Objective {
    design: Design,
    targets: Vec<u16>,
    classes: usize,
    /// Weights as f32, `[classes / 16][d + 1][16]`.
    strips: Vec<f32>,
    losses: Vec<f32>,
    /// Number of images in a block, and in a piece of several blocks.
    block: usize,
    piece: usize,
    /// Gradients of the pieces, (pieces, classes, stride of the design).
    gradients: Buffer<f32>,
}

impl Objective {
    fn new(design: Design, labels: &[u32], classes: usize) -> Result<Self> {
        let targets = labels.iter().map(|&label| u16::try_from(label)).collect::<Result<Vec<u16>, _>>();
        let targets = targets.map_err(|_| Error::Invalid(format!("{classes} classes are more than 65536")))?;
        let (n, stride, padded) = (design.rows(), design.padded().cols(), classes.next_multiple_of(STRIP_COLS));
        let block = (BLOCK_BYTES / (4 * (stride + 2 * padded))).clamp(32, 512);
        let pieces = (PIECES_BYTES / (4 * classes * stride)).clamp(1, PIECES);
        let piece = n.div_ceil(pieces).next_multiple_of(block);
        Ok(Self {
            targets,
            classes,
            strips: vec![0.0; (design.width() + 1) * padded],
            losses: vec![0.0; n],
            block,
            piece,
            gradients: Buffer::zeroed(n.div_ceil(piece) * classes * stride),
            design,
        })
    }

    /// Computes the loss at `weights`, (classes, d + 1), and its gradient.
    fn evaluate(&mut self, workers: &Workers, strength: f64, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let Self { design, targets, classes, strips, losses, block, piece: images, gradients } = self;
        let (x, n, inputs, classes) = (design.padded(), design.rows(), design.width() + 1, *classes);
        let (stride, padded) = (x.cols(), classes.next_multiple_of(STRIP_COLS));
        workers.pool.for_each(chunks(strips, inputs * STRIP_COLS), |strip, values| {
            let classes = weights.chunks_exact(inputs).skip(strip * STRIP_COLS).take(STRIP_COLS);
            for (column, weights) in classes.enumerate() {
                let values = values.iter_mut().skip(column).step_by(STRIP_COLS);
                values.zip(weights).for_each(|(value, &w)| *value = w as f32);
            }
        });

        let (isa, images, block) = (workers.isa, *images, *block);
        let scratch = || (vec![0.0f32; block * padded], vec![0.0f32; block * padded]);
        let mut scratch: Vec<_> = (0..workers.pool.threads()).map(|_| scratch()).collect();
        let pieces = (chunks(losses, images), chunks(gradients, classes * stride));
        workers.pool.each(pieces, &mut scratch, |piece, (losses, gradient), (logits, dlogits)| {
            gradient.fill(0.0);
            for (i, losses) in losses.chunks_mut(block).enumerate() {
                let (first, m) = (piece * images + i * block, losses.len());
                let (x, targets) = (x.view(first, m, 0, stride), &targets[first..first + m]);
                let (logits, dlogits) = (&mut logits[..m * padded], &mut dlogits[..m * padded]);
                matmul_narrow(isa, x.view(0, m, 0, inputs), strips, MatMut::new(logits, m, padded));
                let d = Some((1.0 / n as f32, MatMut::new(dlogits, m, padded)));
                cross_entropy(isa, MatRef::new(logits, m, padded), classes, targets, losses, d);
                let dlogits = MatRef::strided(dlogits, m, classes, padded);
                matmul_tn_narrow(isa, dlogits, x, MatMut::new(gradient, classes, stride));
            }
        });

        workers.pool.for_each(chunks(gradient, inputs), |class, gradient| {
            let weights = &weights[class * inputs..][..inputs - 1];
            gradient.fill(0.0);
            gradient.iter_mut().zip(weights).for_each(|(g, w)| *g = strength * w);
            for piece in gradients.chunks_exact(classes * stride) {
                gradient.iter_mut().zip(&piece[class * stride..]).for_each(|(g, &sum)| *g += f64::from(sum));
            }
        });
        let mean = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / n as f64;
        let penalised = weights.chunks_exact(inputs).flat_map(|weights| &weights[..inputs - 1]);
        mean + strength / 2.0 * penalised.map(|w| w * w).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::clouds;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        // There are more classes than fill one strip, and more images than one block.
        for classes in [3, 40] {
            let (features, labels) = clouds(1100, 7, classes, 1.0, 1);
            let workers = Workers::new(2);
            let standardizer = Standardizer::fit(&features, 7);
            let design = Design::new(&workers, &standardizer, &features);
            let classes = classes as usize;
            let mut objective = Objective::new(design, &labels, classes).unwrap();
            let weights: Vec<f64> = (0..8 * classes).map(|i| ((i * 37) % 17) as f64 / 20.0 - 0.4).collect();
            let mut gradient = vec![0.0; weights.len()];
            objective.evaluate(&workers, 0.1, &weights, &mut gradient);
            for i in (0..weights.len()).step_by(5) {
                let mut at = |shift: f64| {
                    let mut weights = weights.clone();
                    weights[i] += shift;
                    objective.evaluate(&workers, 0.1, &weights, &mut vec![0.0; weights.len()])
                };
                let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((slope - gradient[i]).abs() < 1e-4, "{i}: {slope} {}", gradient[i]);
            }
        }
    }

    #[test]
    fn a_warm_start_ends_where_a_cold_one_does() {
        let (features, labels) = clouds(400, 6, 4, 2.0, 1);
        let workers = Workers::new(1);
        let standardizer = Standardizer::fit(&features, 6);
        let train = LabelledFeatures::new(&features, 6, &labels).unwrap();
        let mut warm = LogisticRegression::new(&workers, &standardizer, train, 4).unwrap();
        let strong = warm.fit(1.0);
        let warm = warm.fit(1e-3);
        let cold = LogisticRegression::new(&workers, &standardizer, train, 4).unwrap().fit(1e-3);
        assert!(strong.converged && warm.converged && cold.converged);
        assert!((warm.loss - cold.loss).abs() < 1e-6, "{} {}", warm.loss, cold.loss);
        assert!(strong.loss > cold.loss);
    }

    #[test]
    fn features_much_alike_take_few_steps_at_any_strength() {
        let (noise, labels) = clouds(600, 64, 4, 6.0, 1);
        // Each feature is mostly its neighbour, as for pixels: curvatures of the loss differ by a factor of ten
        // thousand.
        let features: Vec<f32> = noise
            .chunks_exact(64)
            .flat_map(|row| {
                row.iter().scan(0.0f32, |sum, x| {
                    *sum += x;
                    Some(*sum)
                })
            })
            .collect();
        let workers = Workers::new(1);
        let standardizer = Standardizer::fit(&features, 64);
        let train = LabelledFeatures::new(&features, 64, &labels).unwrap();
        let mut logistic = LogisticRegression::new(&workers, &standardizer, train, 4).unwrap();
        for strength in crate::probe::solver::STRENGTHS {
            let fit = logistic.fit(strength);
            assert!(fit.converged && fit.iterations < 150, "{strength}: {} steps", fit.iterations);
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (features, labels) = clouds(1300, 40, 3, 2.0, 1);
        let standardizer = Standardizer::fit(&features, 40);
        let train = LabelledFeatures::new(&features, 40, &labels).unwrap();
        let fit = |threads| {
            let workers = Workers::new(threads);
            LogisticRegression::new(&workers, &standardizer, train, 3).unwrap().fit(1e-3)
        };
        let (one, three) = (fit(1), fit(3));
        assert_eq!((one.linear, one.loss), (three.linear, three.loss));
    }
}
