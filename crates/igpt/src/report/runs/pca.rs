//! First two principal components of features, by power iteration on their covariance.

/// Number of iterations; a picture needs no more.
const STEPS: usize = 200;

/// Points in the plane of the first two principal components.
pub(super) struct Pca {
    /// One point per row of the features.
    pub(super) points: Vec<(f64, f64)>,
    /// Shares of the variance along the two components.
    pub(super) explained: [f64; 2],
}

impl Pca {
    /// Fits the components to features (n, width), which it centres.
    ///
    /// The larger part of each component points to positive values, so that the same features always make the same
    /// picture.
    pub(super) fn fit(features: &[f32], width: usize) -> Self {
        let n = (features.len() / width).max(1) as f64;
        let mut means = vec![0.0; width];
        for row in features.chunks_exact(width) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / n);
        }
        let centred: Vec<f64> = features
            .chunks_exact(width)
            .flat_map(|row| row.iter().zip(&means).map(|(&x, mean)| f64::from(x) - mean))
            .collect();
        let variance: f64 = centred.iter().map(|x| x * x).sum();
        let mut components: Vec<Vec<f64>> = Vec::new();
        let mut explained = [0.0; 2];
        for explained in &mut explained {
            let (component, value) = strongest(&centred, width, &components);
            *explained = if variance > 0.0 { value / variance } else { 0.0 };
            components.push(component);
        }
        let point = |row: &[f64]| (dot(row, &components[0]), dot(row, &components[1]));
        Self { points: centred.chunks_exact(width).map(point).collect(), explained }
    }
}

/// Direction with the largest sum of squares among those orthogonal to `before`, and that sum.
fn strongest(rows: &[f64], width: usize, before: &[Vec<f64>]) -> (Vec<f64>, f64) {
    // Any start works that is not orthogonal to the result.
    let mut direction: Vec<f64> = (0..width).map(|i| 1.0 + ((i * 7919) % 13) as f64 / 13.0).collect();
    let mut value = 0.0;
    for _ in 0..STEPS {
        for other in before {
            let along = dot(&direction, other);
            direction.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let length = dot(&direction, &direction).sqrt();
        if length < 1e-12 {
            return (vec![0.0; width], 0.0);
        }
        direction.iter_mut().for_each(|x| *x /= length);
        let mut next = vec![0.0; width];
        value = 0.0;
        for row in rows.chunks_exact(width) {
            let along = dot(row, &direction);
            value += along * along;
            next.iter_mut().zip(row).for_each(|(x, r)| *x += along * r);
        }
        if dot(&next, &next) == 0.0 {
            return (direction, 0.0);
        }
        direction = next;
    }
    let length = dot(&direction, &direction).sqrt();
    let sign = if direction.iter().sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
    direction.iter_mut().for_each(|x| *x *= sign / length);
    (direction, value)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_found_in_the_order_of_their_variance() {
        // The features vary along two orthogonal directions of 5 dimensions, the second with a quarter of the first's
        // variance.
        let [a, b] = [[0.6f64, 0.0, 0.8, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]];
        let at = |i: i32| (f64::from(i % 11) - 5.0, 0.5 * (f64::from(i / 11) - 5.0));
        let points: Vec<(f64, f64)> = (0..11 * 11).map(at).collect();
        let features: Vec<f32> =
            points.iter().flat_map(|(x, y)| (0..5).map(move |d| (3.0 + x * a[d] + y * b[d]) as f32)).collect();
        let pca = Pca::fit(&features, 5);
        assert!((pca.explained[0] - 0.8).abs() < 1e-6 && (pca.explained[1] - 0.2).abs() < 1e-6, "{:?}", pca.explained);
        for ((x, y), (px, py)) in points.iter().zip(&pca.points) {
            assert!((x - px).abs() < 1e-4 && (y - py).abs() < 1e-4, "{x} {y} {px} {py}");
        }
    }

    #[test]
    fn equal_features_lie_on_one_point() {
        let pca = Pca::fit(&[2.0; 12], 4);
        assert_eq!((pca.points, pca.explained), (vec![(0.0, 0.0); 3], [0.0; 2]));
    }
}
