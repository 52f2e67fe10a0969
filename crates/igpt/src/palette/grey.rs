//! The best grey palette: k-means in one dimension, solved exactly.
//!
//! On a line every cluster is a run of values, so dynamic programming over at most 256 values finds the optimum that
//! Lloyd's iteration only approaches (Wang and Song 2011, Ckmeans.1d.dp).

/// Computes the `k` levels with the smallest squared error over `(value, count)`, in bytes.
///
/// Values are ascending. `k` is at most their number.
pub(super) fn optimal_levels(values: &[(u8, u64)], k: usize) -> Vec<f64> {
    let n = values.len();
    // Sums over the first i values of the count, of value times count and of its square times count.
    let mut sums = vec![[0.0; 3]; n + 1];
    for (i, &(value, count)) in values.iter().enumerate() {
        let (x, w) = (f64::from(value), count as f64);
        sums[i + 1] = [sums[i][0] + w, sums[i][1] + w * x, sums[i][2] + w * x * x];
    }
    let run = |from: usize, to: usize| [0, 1, 2].map(|m| sums[to][m] - sums[from][m]);
    let error = |from: usize, to: usize| {
        let [count, sum, squares] = run(from, to);
        squares - sum * sum / count
    };
    // best[i]: error of the first i values in the present number of clusters; starts[c][i]: start of the last of c + 1
    // clusters.
    let mut best: Vec<f64> = (0..=n).map(|i| if i == 0 { 0.0 } else { error(0, i) }).collect();
    let mut starts = vec![vec![0; n + 1]];
    for clusters in 2..=k {
        let mut next = vec![f64::INFINITY; n + 1];
        let mut start = vec![0; n + 1];
        for i in clusters..=n {
            for (from, before) in best.iter().enumerate().take(i).skip(clusters - 1) {
                let e = before + error(from, i);
                if e < next[i] {
                    (next[i], start[i]) = (e, from);
                }
            }
        }
        best = next;
        starts.push(start);
    }
    let mut levels = Vec::with_capacity(k);
    let mut end = n;
    for start in starts.iter().rev() {
        let [count, sum, _] = run(start[end], end);
        levels.push(sum / count);
        end = start[end];
    }
    levels.reverse();
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    fn error(values: &[(u8, u64)], levels: &[f64]) -> f64 {
        let nearest = |v: u8| levels.iter().map(|l| (f64::from(v) - l).powi(2)).fold(f64::INFINITY, f64::min);
        values.iter().map(|&(v, w)| w as f64 * nearest(v)).sum()
    }

    #[test]
    fn no_partition_into_runs_is_better() {
        let mut rng = Rng::new(1, Purpose::Palette, 0, 0);
        for _ in 0..20 {
            let values: Vec<(u8, u64)> = (0..9).map(|i| (20 * i + rng.below(20) as u8, 1 + rng.below(50))).collect();
            let levels = optimal_levels(&values, 3);
            let found = error(&values, &levels);
            for a in 1..8 {
                for b in a + 1..9 {
                    let mean = |part: &[(u8, u64)]| {
                        let count: u64 = part.iter().map(|p| p.1).sum();
                        part.iter().map(|p| f64::from(p.0) * p.1 as f64).sum::<f64>() / count as f64
                    };
                    let other = [mean(&values[..a]), mean(&values[a..b]), mean(&values[b..])];
                    assert!(found <= error(&values, &other) + 1e-6);
                }
            }
        }
    }

    #[test]
    fn as_many_levels_as_values_are_the_values() {
        let values = [(0, 5), (3, 1), (255, 9)];
        assert_eq!(optimal_levels(&values, 3), [0.0, 3.0, 255.0]);
    }
}
