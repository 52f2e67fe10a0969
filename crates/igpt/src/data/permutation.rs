//! Seeded shuffles as functions: the image at a position of an epoch, without a list of all the others.
//!
//! Swap-or-not (Hoang, Morris and Rogaway, CRYPTO 2012). A round pairs every number x of 0..n with `key - x` (modulo n)
//! and swaps the two, or not, by one random bit per pair. Each round is its own inverse, so all rounds together are a
//! permutation of any n. Bits and keys come from the counter-based generator. The permutation is therefore a pure
//! function of (seed, epoch) and costs the same memory for ten images as for a billion.

use crate::rng::{Purpose, Rng};

/// Rounds per bit of n, as in the paper, and more rounds for small n: enough that the tests below can't tell the result
/// from chance.
const ROUNDS_A_BIT: u32 = 6;
const MORE_ROUNDS: u32 = 24;
/// Position of the round in the generator's counter, above the numbers.
const ROUND_SHIFT: u32 = 36;

/// A seeded permutation of the numbers 0..n, evaluated without a list.
#[derive(Clone, Debug)]
pub struct Permutation {
    seed: u64,
    epoch: u64,
    n: u64,
    /// One key per round.
    keys: Vec<u64>,
}

impl Permutation {
    /// Creates the permutation of 0..`n` for an epoch; panics unless `n` is from 1 to 2^32.
    pub fn new(n: u64, seed: u64, epoch: u64) -> Self {
        assert!((1..=1 << 32).contains(&n), "an order of {n} images");
        let rounds = ROUNDS_A_BIT * (u64::BITS - (n - 1).leading_zeros()) + MORE_ROUNDS;
        let mut rng = Rng::new(seed, Purpose::Shuffle, epoch, 0);
        Self { seed, epoch, n, keys: (0..rounds).map(|_| rng.below(n)).collect() }
    }

    /// Returns the number at `position`; both are below n.
    pub fn at(&self, position: u64) -> u64 {
        debug_assert!(position < self.n);
        let mut x = position;
        for (round, &key) in (1u64..).zip(&self.keys) {
            let partner = if key >= x { key - x } else { key + self.n - x };
            let pair = round << ROUND_SHIFT | x.max(partner);
            if Rng::new(self.seed, Purpose::Shuffle, self.epoch, pair).next_u32() & 1 == 1 {
                x = partner;
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(n: u64, seed: u64, epoch: u64) -> Vec<u64> {
        let permutation = Permutation::new(n, seed, epoch);
        (0..n).map(|position| permutation.at(position)).collect()
    }

    /// How far the counts are from all being the same, in standard deviations of chi-squared.
    fn excess(counts: &[u64]) -> f64 {
        let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
        let chi: f64 = counts.iter().map(|&c| (c as f64 - mean).powi(2) / mean).sum();
        let freedom = (counts.len() - 1) as f64;
        (chi - freedom) / (2.0 * freedom).sqrt()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_number_stands_at_one_position(n in 1u64..700, seed: u64, epoch in 0u64..1 << 32) {
            let mut all = order(n, seed, epoch);
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn positions_of_the_largest_sets_do_not_meet(n in (1u64 << 32) - 99..=1 << 32, seed: u64, from in 0u64..1 << 31) {
            let permutation = Permutation::new(n, seed, 0);
            let mut some: Vec<u64> = (from..from + 50).map(|position| permutation.at(position)).collect();
            prop_assert!(some.iter().all(|&image| image < n));
            some.sort_unstable();
            some.dedup();
            prop_assert_eq!(some.len(), 50);
        }
    }

    #[test]
    fn orders_differ_by_seed_and_by_epoch() {
        let one = order(1000, 3, 5);
        assert_eq!(one, order(1000, 3, 5));
        for other in [order(1000, 3, 6), order(1000, 4, 5)] {
            let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 8, "{same} of 1000 images stand where they stood");
        }
    }

    #[test]
    fn all_orders_of_five_images_are_as_frequent() {
        let mut counts = [0; 120];
        for epoch in 0..12_000 {
            let order = order(5, 11, epoch);
            // The order's number: at each position, how many of the later ones are smaller.
            let smaller = |i: usize| order[i + 1..].iter().filter(|&&other| other < order[i]).count();
            counts[(0..5).fold(0, |number, i| number * (5 - i) + smaller(i))] += 1;
        }
        assert!(excess(&counts).abs() < 4.0, "{}", excess(&counts));
    }

    #[test]
    fn every_image_is_as_often_at_every_position() {
        const N: usize = 37;
        let mut counts = vec![0; N * N];
        for seed in 0..600 {
            order(N as u64, seed, 0).into_iter().enumerate().for_each(|(i, image)| counts[i * N + image as usize] += 1);
        }
        assert!(excess(&counts).abs() < 4.0, "{}", excess(&counts));
    }

    #[test]
    fn neighbours_in_a_large_set_are_strangers() {
        const PARTS: u64 = 16;
        let n = 40_000;
        let order = order(n, 1, 2);
        for apart in [1, 2, 17] {
            let mut counts = vec![0; (PARTS * PARTS) as usize];
            for (a, b) in order.iter().zip(&order[apart..]) {
                counts[(a * PARTS / n * PARTS + b * PARTS / n) as usize] += 1;
            }
            assert!(excess(&counts).abs() < 4.0, "{apart} apart: {}", excess(&counts));
        }
    }
}
