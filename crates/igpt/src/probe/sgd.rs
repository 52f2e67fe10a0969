//! Multinomial logistic regression by stochastic gradient descent, for data sets too large for L-BFGS.
//!
//! It uses momentum 0.9, a cosine schedule to zero, and no weight decay (Chen et al. 2020, section 3.4).

use igpt_kernels::cross_entropy::cross_entropy;
use igpt_kernels::matmul::{self, Out, Panels, matmul, matmul_tn};
use igpt_kernels::{LANE_PAD, MatMut, MatRef};

use super::design::Design;
use super::{LabelledFeatures, LinearClassifier, Standardizer, Workers};
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Learning rates to choose from, as in the paper: from 30 down in factors of about three.
pub(crate) const RATES: [f64; 8] = [30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
/// Batch size.
const BATCH: usize = 256;
/// Number of passes over the training images, and smallest number of steps.
const EPOCHS: usize = 20;
const STEPS: usize = 500;
const MOMENTUM: f32 = 0.9;

/// Logistic regression by SGD on a set of training images.
#[derive(Debug)]
pub struct SgdClassifier<'a> {
    standardizer: &'a Standardizer,
    design: Design,
    targets: Vec<u16>,
    classes: usize,
    seed: u64,
}

impl<'a> SgdClassifier<'a> {
    /// Prepares the training images; `classes` may be more than they show, and `seed` decides their order.
    ///
    /// # Errors
    /// When there are more classes than 65,536.
    pub fn new(
        workers: &Workers,
        standardizer: &'a Standardizer,
        train: LabelledFeatures<'_>,
        classes: usize,
        seed: u64,
    ) -> Result<Self> {
        let targets = train.labels().iter().map(|&label| u16::try_from(label)).collect::<Result<Vec<u16>, _>>();
        let targets = targets.map_err(|_| Error::Invalid(format!("{classes} classes are more than 65536")))?;
        let design = Design::new(workers, standardizer, train.features());
        Ok(Self { standardizer, design, targets, classes, seed })
    }

    /// Fits the classifier with learning rate `rate`.
    ///
    /// It runs on the calling thread alone, so that several rates can run at once. If weights become infinite or NaN,
    /// the classifier predicts the first class.
    pub fn fit(&self, workers: &Workers, rate: f64) -> LinearClassifier {
        let (n, inputs, classes) = (self.design.rows(), self.design.width() + 1, self.classes);
        let padded = classes.next_multiple_of(LANE_PAD);
        let batch = BATCH.min(n);
        let steps = (EPOCHS * n / batch).max(STEPS);
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut weights = vec![0.0f32; inputs * padded];
        let (mut momentum, mut gradient) = (weights.clone(), weights.clone());
        let (mut x, mut targets) = (vec![0.0f32; batch * inputs], vec![0u16; batch]);
        let (mut logits, mut losses) = (vec![0.0f32; batch * padded], vec![0.0f32; batch]);
        let mut dlogits = logits.clone();
        let (mut panels, mut packed) = (Panels::<f32>::new(inputs, padded), Panels::<f32>::new(batch, padded));
        let mut scratch = matmul::TnScratch::default();
        let per_epoch = n / batch;
        for step in 0..steps {
            if step % per_epoch == 0 {
                shuffle(&mut order, self.seed, step / per_epoch);
            }
            let images = &order[step % per_epoch * batch..][..batch];
            for ((row, target), &image) in x.chunks_exact_mut(inputs).zip(&mut targets).zip(images) {
                row.copy_from_slice(self.design.matrix().row(image as usize));
                *target = self.targets[image as usize];
            }
            let x = MatRef::new(&x, batch, inputs);
            panels.pack(workers.isa, MatRef::new(&weights, inputs, padded), false);
            matmul(workers.isa, x, &panels, None, Out::F32(MatMut::new(&mut logits, batch, padded)));
            let d = Some((1.0 / batch as f32, MatMut::new(&mut dlogits, batch, padded)));
            cross_entropy(workers.isa, MatRef::new(&logits, batch, padded), classes, &targets, &mut losses, d);
            packed.pack(workers.isa, MatRef::new(&dlogits, batch, padded), false);
            let dw = MatMut::new(&mut gradient, inputs, padded);
            matmul_tn(workers.isa, x, &[(&packed).into()], dw, false, &mut scratch);
            let turn = std::f64::consts::PI * step as f64 / steps as f64;
            let lr = (rate * 0.5 * (1.0 + turn.cos())) as f32;
            for ((w, m), g) in weights.iter_mut().zip(&mut momentum).zip(&gradient) {
                *m = MOMENTUM * *m + g;
                *w -= lr * *m;
            }
        }
        let weights = weights.chunks_exact(padded).flat_map(|row| &row[..classes]).copied().collect();
        LinearClassifier { standardizer: self.standardizer.clone(), weights, classes }
    }
}

/// Fisher-Yates shuffle, keyed by (seed, epoch).
fn shuffle(order: &mut [u32], seed: u64, epoch: usize) {
    let mut rng = Rng::new(seed, Purpose::Probe, 1, epoch as u64);
    order.sort_unstable();
    for i in (1..order.len()).rev() {
        order.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::clouds;
    use crate::probe::{LogisticRegression, accuracy};

    #[test]
    fn a_good_rate_comes_near_the_accuracy_of_the_exact_solution() {
        let (features, labels) = clouds(1000, 8, 4, 1.5, 1);
        let (other, truth) = clouds(1000, 8, 4, 1.5, 2);
        let workers = Workers::new(1);
        let standardizer = Standardizer::fit(&features, 8);
        let train = LabelledFeatures::new(&features, 8, &labels).unwrap();
        let exact = LogisticRegression::new(&workers, &standardizer, train, 4).unwrap().fit(1e-4).linear;
        let found = SgdClassifier::new(&workers, &standardizer, train, 4, 0).unwrap().fit(&workers, 0.1);
        let [exact, found] = [exact, found].map(|linear| accuracy(&linear.predict(&workers, &other), &truth));
        assert!(exact > 0.7 && found > exact - 0.02, "{found} {exact}");
    }
}
