//! Basic statistics: Wilson interval of a proportion, quantiles, area under the ROC curve and its interval.
//!
//! ```
//! use igpt::stats::{auroc, wilson};
//!
//! let [low, high] = wilson(0.9, 100);
//! assert!(low > 0.82 && high < 0.95);
//! assert_eq!(auroc(&[0.1, 0.2], &[0.3, 0.4]), Some(1.0));
//! ```

/// Wilson's (1927) 95 % confidence interval of a proportion `share` among `n` cases.
pub fn wilson(share: f64, n: usize) -> [f64; 2] {
    let (n, z) = (n as f64, 1.959_963_984_540_054);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    [(centre - reach).max(0.0), (centre + reach).min(1.0)]
}

/// Quantile of `values`: the value below which a share `q` of them lies; the smallest for 0.
///
/// `None` if `values` is empty.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((q * last as f64).round() as usize).copied()
}

/// Area under the ROC curve of a score that separates `odd` from `usual` cases.
///
/// This is the probability that an odd case has a higher score than a usual one, where ties count half. 0.5 is chance.
/// `None` if either slice is empty.
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

/// 95 % confidence interval of `area`, an area under the ROC curve.
///
/// The area was computed from `usual` and `odd` scores (their counts). The interval's ends are the true areas from which
/// it is 1.96 standard errors away, by Hanley and McNeil's (1982) variance at the true area (Newcombe 2006, method 5).
/// Like Wilson's interval, it is neither empty at 1 nor leaves the range from 0 to 1. Panics if either count is 0.
pub fn auroc_interval(area: f64, usual: usize, odd: usize) -> [f64; 2] {
    assert!(usual > 0 && odd > 0, "{usual} usual and {odd} odd scores");
    let (m, n, z) = (usual as f64, odd as f64, 1.959_963_984_540_054);
    let more = (m + n) / 2.0 - 1.0;
    let variance = |t: f64| t * (1.0 - t) * (1.0 + more * ((1.0 - t) / (2.0 - t) + t / (1.0 + t))) / (m * n);
    // Between the area and the end the distance grows from 0 beyond the errors that shrink to 0.
    let bound = |end: f64| {
        let (mut inside, mut outside) = (area, end);
        for _ in 0..60 {
            let middle = (inside + outside) / 2.0;
            let is_inside = (middle - area).abs() <= z * variance(middle).max(0.0).sqrt();
            *(if is_inside { &mut inside } else { &mut outside }) = middle;
        }
        (inside + outside) / 2.0
    };
    [bound(0.0), bound(1.0)]
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
    fn the_interval_of_an_auroc_covers_it_about_as_often_as_it_says() {
        use crate::rng::{Purpose, Rng};
        // Normal scores, the odd ones shifted by 1.5: Φ(1.5 / √2).
        let truth = 0.855_578;
        let covered = (0..400).filter(|&round| {
            let mut rng = Rng::new(1, Purpose::Sample, 0, round);
            let usual: Vec<f64> = (0..40).map(|_| rng.normal()).collect();
            let odd: Vec<f64> = (0..25).map(|_| 1.5 + rng.normal()).collect();
            let [low, high] = auroc_interval(auroc(&usual, &odd).unwrap(), 40, 25);
            (low..high).contains(&truth)
        });
        let covered = covered.count();
        assert!((370..=397).contains(&covered), "{covered} of 400");
        let [low, high] = auroc_interval(1.0, 60, 40);
        assert!((0.9..0.99).contains(&low) && high > 1.0 - 1e-9, "{low} {high}");
        let [low, high] = auroc_interval(0.0, 5, 5);
        assert!(low < 1e-9 && (0.2..0.6).contains(&high), "{low} {high}");
        let [wide, narrow] = [10, 1000].map(|n| auroc_interval(0.8, n, n)).map(|[low, high]| high - low);
        assert!(narrow < wide / 5.0, "{wide} {narrow}");
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
