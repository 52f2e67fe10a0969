//! Masked positions (Chen et al. 2020, section 2.1): each pixel is masked independently with the same probability.
//!
//! The draws of an image are a function of the seed, their use, and the image's number. Therefore they do not depend on
//! batches, and a resumed run draws the same masks.

use super::Batch;
use crate::rng::{Purpose, Rng};

/// Random masks for a masked model: draws the masked positions of images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masking {
    /// Probability of masking a position, above 0.
    pub probability: f64,
    seed: u64,
    stream: u64,
}

impl Masking {
    /// Creates masks for training: an image's number is its position in the endless sequence of epochs.
    pub fn training(seed: u64, probability: f64) -> Self {
        Self { probability, seed, stream: 0 }
    }

    /// Creates masks for evaluation, which are always the same, so that losses are comparable.
    ///
    /// An image's number is its index in the set. `vote` selects one of several sets of masks.
    pub fn evaluation(probability: f64, vote: u64) -> Self {
        Self { probability, seed: 0, stream: 1 + vote }
    }

    /// Masks a batch whose first image has the number `first`.
    ///
    /// Every image has a masked position, because the loss over no position is undefined. If chance leaves all visible,
    /// one is drawn.
    pub fn mask(&self, batch: Batch, first: u64) -> Batch {
        let n_ctx = batch.n_ctx();
        let mut masked = vec![false; batch.tokens().len()];
        for (number, masked) in (first..).zip(masked.chunks_exact_mut(n_ctx)) {
            let mut rng = Rng::new(self.seed, Purpose::Mask, self.stream, number);
            masked.iter_mut().for_each(|masked| *masked = rng.uniform() < self.probability);
            if !masked.contains(&true) {
                masked[rng.below(n_ctx as u64) as usize] = true;
            }
        }
        batch.with_masks(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MASK_PROB;

    fn masks(masking: Masking, images: usize, first: u64) -> Vec<bool> {
        masking.mask(Batch::new(vec![0; images * 64], 64), first).masked().unwrap().to_vec()
    }

    #[test]
    fn an_images_masks_do_not_depend_on_its_batch() {
        let masking = Masking::training(3, MASK_PROB);
        let all = masks(masking, 6, 10);
        assert_eq!([masks(masking, 2, 10), masks(masking, 3, 12), masks(masking, 1, 15)].concat(), all);
        assert_ne!(masks(masking, 6, 11), all);
        assert_ne!(masks(Masking::training(4, MASK_PROB), 6, 10), all);
        assert_ne!(masks(Masking::evaluation(MASK_PROB, 0), 6, 10), masks(Masking::evaluation(MASK_PROB, 1), 6, 10));
    }

    #[test]
    fn about_the_asked_share_is_masked_and_never_nothing() {
        let all = masks(Masking::training(1, MASK_PROB), 1000, 0);
        let share = all.iter().filter(|masked| **masked).count() as f64 / all.len() as f64;
        // Five standard errors.
        assert!((share - 0.15).abs() < 5.0 * (0.15 * 0.85 / 64000f64).sqrt(), "{share}");
        let rare = masks(Masking::training(1, 1e-9), 50, 0);
        assert!(rare.chunks_exact(64).all(|image| image.iter().filter(|masked| **masked).count() == 1));
    }
}
