//! Candidates of one completion and their weights: the particles of a particle filter.

/// Candidate completion of an image: one particle.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Row of the decoder.
    pub(super) row: usize,
    /// Pixels so far.
    pub(super) tokens: Vec<u16>,
    /// Log-likelihood of the known pixels that the candidate met since the last resampling.
    pub(super) log_weight: f64,
}

/// Returns weights that sum to 1; equal ones if no candidate makes the known pixels possible.
fn weights(candidates: &[Candidate]) -> Vec<f64> {
    let most = candidates.iter().map(|candidate| candidate.log_weight).fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> = match most.is_finite() {
        true => candidates.iter().map(|candidate| (candidate.log_weight - most).exp()).collect(),
        false => vec![1.0; candidates.len()],
    };
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Effective number of candidates: the number of equally weighted ones with the same information (Kong, Liu and Wong
/// 1994).
pub(super) fn effective(candidates: &[Candidate]) -> f64 {
    1.0 / weights(candidates).iter().map(|weight| weight * weight).sum::<f64>()
}

/// Index of the candidate with the highest weight, the first on a tie.
pub(super) fn weightiest(candidates: &[Candidate]) -> usize {
    (1..candidates.len())
        .fold(0, |best, i| if candidates[i].log_weight > candidates[best].log_weight { i } else { best })
}

/// Draws one candidate in proportion to its weight, by a number in [0, 1).
pub(super) fn choose(candidates: &[Candidate], uniform: f64) -> usize {
    let mut sum = 0.0;
    let chosen = weights(candidates).iter().position(|weight| {
        sum += weight;
        uniform < sum
    });
    chosen.unwrap_or_else(|| weightiest(candidates))
}

/// Resamples all candidates in proportion to their weights (systematic resampling, by one number in [0, 1)); the new
/// weights are equal.
///
/// Survivors keep their places. Returns the rows to copy over those that die, as (from, to).
pub(super) fn resample(candidates: &mut [Candidate], uniform: f64) -> Vec<(usize, usize)> {
    let n = candidates.len();
    let mut copies = vec![0usize; n];
    let (mut sum, mut next) = (0.0, 0);
    for (copies, weight) in copies.iter_mut().zip(weights(candidates)) {
        sum += weight;
        while next < n && (next as f64 + uniform) / (n as f64) < sum {
            *copies += 1;
            next += 1;
        }
    }
    // Rounding may leave some over; the last candidate gets them.
    copies[n - 1] += n - next;
    let extra: Vec<usize> = (0..n).flat_map(|i| std::iter::repeat_n(i, copies[i].saturating_sub(1))).collect();
    let gone: Vec<usize> = (0..n).filter(|&i| copies[i] == 0).collect();
    candidates.iter_mut().for_each(|candidate| candidate.log_weight = 0.0);
    let copied = extra.into_iter().zip(gone).map(|(from, to)| {
        candidates[to].tokens = candidates[from].tokens.clone();
        (candidates[from].row, candidates[to].row)
    });
    copied.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(log_weights: &[f64]) -> Vec<Candidate> {
        let one = |(i, &log_weight): (usize, &f64)| Candidate { row: 10 + i, tokens: vec![i as u16], log_weight };
        log_weights.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_effective_number_counts_equal_weights_and_ignores_impossible_ones() {
        assert!((effective(&candidates(&[-3.0; 5])) - 5.0).abs() < 1e-9);
        assert!((effective(&candidates(&[0.0, f64::NEG_INFINITY, 0.0])) - 2.0).abs() < 1e-9);
        assert!((effective(&candidates(&[-900.0, -2000.0])) - 1.0).abs() < 1e-9);
        assert!((effective(&candidates(&[f64::NEG_INFINITY; 4])) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn choices_follow_the_weights() {
        let three = candidates(&[0.0, 2f64.ln(), 0.0]);
        assert_eq!([0.0, 0.24, 0.26, 0.74, 0.76, 0.99].map(|u| choose(&three, u)), [0, 0, 1, 1, 2, 2]);
        assert_eq!(weightiest(&three), 1);
    }

    proptest! {
        #[test]
        fn each_candidate_is_drawn_as_often_as_its_weight_says_to_within_one(
            log_weights in prop::collection::vec(-6f64..0.0, 1..20), uniform in 0f64..1.0,
        ) {
            let mut drawn = candidates(&log_weights);
            let wanted: Vec<f64> = weights(&drawn).iter().map(|weight| weight * drawn.len() as f64).collect();
            let copied = resample(&mut drawn, uniform);
            for (i, wanted) in wanted.iter().enumerate() {
                let count = drawn.iter().filter(|candidate| candidate.tokens == [i as u16]).count() as f64;
                prop_assert!((count - wanted).abs() <= 1.0, "{count} of {wanted}");
            }
            // Rows stay where they are; the decoder copies what its rows are to hold.
            for (i, candidate) in drawn.iter().enumerate() {
                prop_assert_eq!(candidate.row, 10 + i);
                let from = copied.iter().find(|(_, to)| *to == candidate.row).map_or(candidate.row, |(from, _)| *from);
                prop_assert_eq!(candidate.tokens[0] as usize, from - 10);
            }
        }
    }
}
