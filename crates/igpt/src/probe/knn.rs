//! Weighted k-NN probe of Wu et al. (2018), which has nothing to train and nothing to choose.

use igpt_kernels::matmul::{Out, Panels, matmul};
use igpt_kernels::pool::chunks;
use igpt_kernels::{LANE_PAD, MatMut, MatRef};

use super::{LabelledFeatures, Standardizer, Workers};

/// Number of neighbours that vote.
const NEIGHBOURS: usize = 20;
/// Temperature T: a neighbour's vote is e^(cosine / T).
const TEMPERATURE: f64 = 0.07;
/// Number of images classified per unit of parallel work.
const QUERIES: usize = 32;
/// Number of training images compared at once.
const BLOCK: usize = 2048;

/// Weighted k-NN classifier: training images, standardised and scaled to length one.
#[derive(Debug)]
pub struct KnnClassifier {
    standardizer: Standardizer,
    /// Training images of every block, (d, images).
    blocks: Vec<Panels<f32>>,
    labels: Vec<u32>,
    classes: usize,
}

impl KnnClassifier {
    /// Stores the training images; `classes` may be more than they show.
    pub fn new(workers: &Workers, standardizer: &Standardizer, train: LabelledFeatures<'_>, classes: usize) -> Self {
        let width = train.width();
        let units = directions(standardizer, train.features());
        let blocks = units.chunks(BLOCK * width).map(|block| {
            let images = block.len() / width;
            let mut panels = Panels::new(width, images.next_multiple_of(LANE_PAD));
            panels.pack(workers.isa, MatRef::new(block, images, width), true);
            panels
        });
        Self { standardizer: standardizer.clone(), blocks: blocks.collect(), labels: train.labels().to_vec(), classes }
    }

    /// Predicts the classes of (n, d) features.
    pub fn predict(&self, workers: &Workers, features: &[f32]) -> Vec<u32> {
        let width = self.standardizer.width();
        let units = directions(&self.standardizer, features);
        let mut predicted = vec![0u32; units.len() / width];
        let mut scratch: Vec<_> = (0..workers.pool.threads()).map(|_| vec![0.0f32; QUERIES * BLOCK]).collect();
        workers.pool.each(chunks(&mut predicted, QUERIES), &mut scratch, |piece, predicted, cosines| {
            let m = predicted.len();
            let queries = MatRef::new(&units[piece * QUERIES * width..][..m * width], m, width);
            let mut nearest: Vec<Vec<(f32, usize)>> = vec![Vec::with_capacity(NEIGHBOURS + 1); m];
            for (b, block) in self.blocks.iter().enumerate() {
                let cosines = &mut cosines[..m * block.n()];
                matmul(workers.isa, queries, block, None, Out::F32(MatMut::new(cosines, m, block.n())));
                let images = BLOCK.min(self.labels.len() - b * BLOCK);
                for (nearest, cosines) in nearest.iter_mut().zip(cosines.chunks_exact(block.n())) {
                    for (i, &cosine) in cosines[..images].iter().enumerate() {
                        insert(nearest, cosine, b * BLOCK + i);
                    }
                }
            }
            for (predicted, nearest) in predicted.iter_mut().zip(nearest) {
                *predicted = self.vote(&nearest);
            }
        });
        predicted
    }

    fn vote(&self, nearest: &[(f32, usize)]) -> u32 {
        let mut votes = vec![0.0f64; self.classes];
        for &(cosine, image) in nearest {
            votes[self.labels[image] as usize] += (f64::from(cosine) / TEMPERATURE).exp();
        }
        (1..self.classes).fold(0, |best, c| if votes[c] > votes[best] { c } else { best }) as u32
    }
}

/// Inserts a cosine into the largest ones, which are sorted in descending order; on a tie the earlier image comes
/// first.
fn insert(nearest: &mut Vec<(f32, usize)>, cosine: f32, image: usize) {
    if nearest.len() == NEIGHBOURS && nearest.last().is_some_and(|&(least, _)| cosine <= least) {
        return;
    }
    let at = nearest.partition_point(|&(other, _)| other >= cosine);
    nearest.insert(at, (cosine, image));
    nearest.truncate(NEIGHBOURS);
}

/// Standardised features, scaled to length one, (n, d).
fn directions(standardizer: &Standardizer, features: &[f32]) -> Vec<f32> {
    let width = standardizer.width();
    let mut units = vec![0.0f32; features.len()];
    for (unit, x) in units.chunks_exact_mut(width).zip(features.chunks_exact(width)) {
        standardizer.apply(x, unit);
        let length = unit.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(1e-12);
        unit.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::clouds;

    #[test]
    fn predictions_are_those_of_the_textbook_vote() {
        let (width, classes) = (6, 3);
        // There is more than one block of training images.
        let (features, labels) = clouds(BLOCK + 77, width, classes, 2.0, 1);
        let (queries, _) = clouds(70, width, classes, 2.0, 2);
        let standardizer = Standardizer::fit(&features, width);
        let train = LabelledFeatures::new(&features, width, &labels).unwrap();
        let predicted = [1, 3].map(|threads| {
            let workers = Workers::new(threads);
            KnnClassifier::new(&workers, &standardizer, train, classes as usize).predict(&workers, &queries)
        });
        assert_eq!(predicted[0], predicted[1]);
        let (train, queries) = (directions(&standardizer, &features), directions(&standardizer, &queries));
        let mut wrong = 0;
        for (query, &predicted) in queries.chunks(width).zip(&predicted[0]) {
            let cosine = |x: &[f32]| x.iter().zip(query).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let mut all: Vec<(f64, u32)> = train.chunks(width).map(cosine).zip(labels.iter().copied()).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut votes = [0.0; 3];
            all[..20].iter().for_each(|(cosine, label)| votes[*label as usize] += (cosine / 0.07).exp());
            wrong += usize::from((0..3).any(|c| votes[c] > votes[predicted as usize]));
        }
        assert_eq!(wrong, 0);
    }
}
