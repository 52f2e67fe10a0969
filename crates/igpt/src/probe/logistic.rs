//! Multinomial logistic regression by L-BFGS: the paper's linear probe (Chen et al. 2020, section 3.4).
//!
//! Minimised is the mean loss of the training images in nats plus strength / 2 · |W|², where the intercepts are not
//! held back. scikit-learn's `LogisticRegression` sums losses instead: its `C` is 1 / (strength · n) for n training
//! images. With two classes it fits one vector, the difference of ours, and its `C` is 2 / (strength · n).
//!
//! Products run in f32 with the engine's kernels, losses are summed and steps taken in f64.

use igpt_kernels::cross_entropy::cross_entropy;
use igpt_kernels::matmul::{self, Out, Panels, PanelsRef, matmul, matmul_tn};
use igpt_kernels::pool::{chunks, rows};
use igpt_kernels::{Buffer, LANE_PAD, MatMut, MatRef};

use super::design::{Design, ROWS, repack};
use super::lbfgs::{Limits, minimise};
use super::{Examples, Linear, Standardizer, Workers};
use crate::{Error, Result};

/// Columns of the weights' gradient that one piece of work sums.
const BAND: usize = 16;
/// Steps at most.
const ITERATIONS: usize = 500;

/// The training images of a logistic regression, fitted for any strength; each fit starts from the last one's weights.
#[derive(Debug)]
pub struct Logistic<'a> {
    workers: &'a Workers,
    standardizer: &'a Standardizer,
    objective: Objective,
    weights: Vec<f64>,
    /// Largest entry of the gradient at which a fit counts as done.
    pub tolerance: f64,
}

/// A fitted classifier and how it came about.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The classifier.
    pub linear: Linear,
    /// The value minimised: mean nats of the training images and the penalty.
    pub loss: f64,
    /// Steps taken.
    pub iterations: usize,
    /// Losses and gradients computed.
    pub evaluations: usize,
    /// Whether the gradient came below the tolerance.
    pub converged: bool,
}

impl<'a> Logistic<'a> {
    /// Takes the training images; `classes` may be more than they show.
    ///
    /// # Errors
    /// When there are more classes than 65,536.
    pub fn new(
        workers: &'a Workers,
        standardizer: &'a Standardizer,
        train: Examples<'_>,
        classes: usize,
    ) -> Result<Self> {
        let design = Design::new(workers, standardizer, train.features());
        let weights = vec![0.0; (train.width() + 1) * classes];
        let objective = Objective::new(design, train.labels(), classes)?;
        Ok(Self { workers, standardizer, objective, weights, tolerance: 1e-5 })
    }

    /// The classifier for a strength.
    pub fn fit(&mut self, strength: f64) -> Fit {
        let limits = Limits { tolerance: self.tolerance, iterations: ITERATIONS };
        let (workers, objective) = (self.workers, &mut self.objective);
        let outcome = minimise(&mut self.weights, limits, &mut |weights, gradient| {
            objective.evaluate(workers, strength, weights, gradient)
        });
        let weights = self.weights.iter().map(|&w| w as f32).collect();
        let linear = Linear { standardizer: self.standardizer.clone(), weights, classes: self.objective.classes };
        Fit {
            linear,
            loss: outcome.value,
            iterations: outcome.iterations,
            evaluations: outcome.evaluations,
            converged: outcome.converged,
        }
    }
}

/// The loss of some images as a function of the weights, with its memory.
#[derive(Debug)]
pub(super) struct Objective {
    design: Design,
    targets: Vec<u16>,
    classes: usize,
    /// The weights as f32 and as a right operand.
    values: Vec<f32>,
    panels: Panels<f32>,
    losses: Vec<f32>,
    /// (n, classes padded), and the same packed where it is more than one panel.
    dlogits: Buffer<f32>,
    packed: Panels<f32>,
    /// (d + 1, classes padded)
    gradient: Vec<f32>,
}

impl Objective {
    fn new(design: Design, labels: &[u32], classes: usize) -> Result<Self> {
        let targets = labels.iter().map(|&label| u16::try_from(label)).collect::<Result<Vec<u16>, _>>();
        let targets = targets.map_err(|_| Error::Invalid(format!("{classes} classes are more than 65536")))?;
        let (n, inputs, padded) = (design.rows(), design.width() + 1, classes.next_multiple_of(LANE_PAD));
        Ok(Self {
            targets,
            classes,
            values: vec![0.0; inputs * classes],
            panels: Panels::new(inputs, padded),
            losses: vec![0.0; n],
            dlogits: Buffer::zeroed(n * padded),
            packed: Panels::new(if padded > LANE_PAD { n } else { 0 }, padded),
            gradient: vec![0.0; inputs * padded],
            design,
        })
    }

    /// The loss at `weights`, (d + 1, classes), and its gradient.
    fn evaluate(&mut self, workers: &Workers, strength: f64, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, inputs, classes) = (self.design.rows(), self.design.width() + 1, self.classes);
        let padded = self.panels.n();
        self.values.iter_mut().zip(weights).for_each(|(value, &w)| *value = w as f32);
        repack(workers, MatRef::new(&self.values, inputs, classes), &mut self.panels);

        let (isa, x, panels, targets) = (workers.isa, self.design.matrix(), &self.panels, &self.targets);
        let mut scratch: Vec<_> = (0..workers.pool.threads()).map(|_| vec![0.0f32; ROWS * padded]).collect();
        let parts = (chunks(&mut self.losses, ROWS), rows(MatMut::new(&mut self.dlogits, n, padded), ROWS));
        workers.pool.each(parts, &mut scratch, |piece, (losses, dlogits), logits| {
            let (first, m) = (piece * ROWS, losses.len());
            let logits = &mut logits[..m * padded];
            let x = x.view(first, m, 0, inputs);
            matmul(isa, x, panels, None, Out::F32(MatMut::new(logits, m, padded)));
            let d = Some((1.0 / n as f32, dlogits));
            cross_entropy(isa, MatRef::new(logits, m, padded), classes, &targets[first..first + m], losses, d);
        });

        // A single panel is laid out as the matrix is.
        let dlogits: PanelsRef<'_, f32> = if padded == LANE_PAD {
            PanelsRef::new(bytemuck::cast_slice(&self.dlogits), n, padded)
        } else {
            repack(workers, MatRef::new(&self.dlogits, n, padded), &mut self.packed);
            (&self.packed).into()
        };
        let mut scratch: Vec<_> = (0..workers.pool.threads()).map(|_| matmul::Scratch::default()).collect();
        let bands = rows(MatMut::new(&mut self.gradient, inputs, padded), BAND);
        workers.pool.each(bands, &mut scratch, |band, out, scratch| {
            let x = x.view(0, n, band * BAND, out.rows());
            matmul_tn(isa, x, dlogits, out, false, scratch);
        });

        let mut loss = self.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / n as f64;
        let penalised = (inputs - 1) * classes;
        loss += strength / 2.0 * weights[..penalised].iter().map(|w| w * w).sum::<f64>();
        for (gradient, sums) in gradient.chunks_exact_mut(classes).zip(self.gradient.chunks_exact(padded)) {
            gradient.iter_mut().zip(sums).for_each(|(g, &sum)| *g = f64::from(sum));
        }
        gradient.iter_mut().zip(&weights[..penalised]).for_each(|(g, w)| *g += strength * w);
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::clouds;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        // More classes than fill one panel, so that both ways of packing are seen.
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
        let train = Examples::new(&features, 6, &labels).unwrap();
        let mut warm = Logistic::new(&workers, &standardizer, train, 4).unwrap();
        let strong = warm.fit(1.0);
        let warm = warm.fit(1e-3);
        let cold = Logistic::new(&workers, &standardizer, train, 4).unwrap().fit(1e-3);
        assert!(strong.converged && warm.converged && cold.converged);
        assert!((warm.loss - cold.loss).abs() < 1e-6, "{} {}", warm.loss, cold.loss);
        assert!(strong.loss > cold.loss);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (features, labels) = clouds(1300, 40, 3, 2.0, 1);
        let standardizer = Standardizer::fit(&features, 40);
        let train = Examples::new(&features, 40, &labels).unwrap();
        let fit = |threads| {
            let workers = Workers::new(threads);
            Logistic::new(&workers, &standardizer, train, 3).unwrap().fit(1e-3)
        };
        let (one, three) = (fit(1), fit(3));
        assert_eq!((one.linear, one.loss), (three.linear, three.loss));
    }
}
