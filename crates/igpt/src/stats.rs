//! Plain statistics: an interval, quantiles, and the area under the ROC curve.

/// Wilson's (1927) 95 % interval of a share of `n`.
pub fn wilson(share: f64, n: usize) -> [f64; 2] {
    let (n, z) = (n as f64, 1.959_963_984_540_054);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    [(centre - reach).max(0.0), (centre + reach).min(1.0)]
}

/// The value below which a share `q` of `values` lies; the smallest for 0. `None` where there are none.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((q * last as f64).round() as usize).copied()
}

/// How well a score tells `odd` from `usual`: the probability that one of `odd` has the higher score, ties counting
/// half; the area under the ROC curve. 0.5 is chance. `None` where either is empty.
pub fn auroc(usual: &[f64], odd: &[f64]) -> Option<f64> {
    if usual.is_empty() || odd.is_empty() {
        return None;
    }
    let mut scores: Vec<(f64, bool)> =
        usual.iter().map(|&score| (score, false)).chain(odd.iter().map(|&score| (score, true))).collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won) = (0.0, 0.0);
    for ties in scores.chunk_by(|a, b| a.0 == b.0) {
        let odd = ties.iter().filter(|(_, odd)| *odd).count() as f64;
        let usual = ties.len() as f64 - odd;
        won += odd * (below + usual / 2.0);
        below += usual;
    }
    Some(won / (usual.len() as f64 * odd.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // statsmodels' proportion_confint(81, 263, method="wilson")
        let [low, high] = wilson(81.0 / 263.0, 263);
        assert!((low - 0.255_29).abs() < 1e-4 && (high - 0.366_21).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0.0, 10)[0], 0.0);
        assert!(wilson(1.0, 10)[1] > 1.0 - 1e-12);
    }

    #[test]
    fn quantiles_are_values_in_their_order() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(&values, q)), [Some(1.0), Some(3.0), Some(5.0)]);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_order() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), Some(0.0));
        assert_eq!(auroc(&[1.0, 1.0, 1.0], &[1.0]), Some(0.5));
        let (usual, odd) = ([0.3, 2.0, 1.0, 5.0, 2.0], [2.0, 7.0, 0.1]);
        let won = |(&u, &o): (&f64, &f64)| if o > u { 1.0 } else { f64::from(u8::from(o == u)) / 2.0 };
        let pairs: f64 = usual.iter().flat_map(|u| odd.iter().map(move |o| (u, o))).map(won).sum();
        assert!((auroc(&usual, &odd).unwrap() - pairs / 15.0).abs() < 1e-12);
        assert_eq!(auroc(&[], &[1.0]), None);
    }
}
