//! Reference of RMS norm with a gain: x / sqrt(mean(x²) + eps) · gain (the official code's `norm`).

/// RMS norm of rows of `gain.len()` channels; returns the rows and the reciprocal root of each.
pub fn rms_norm(x: &[f64], gain: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let width = gain.len();
    let mut y = Vec::with_capacity(x.len());
    let mut rstds = Vec::new();
    for row in x.chunks_exact(width) {
        let rstd = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + eps).sqrt();
        y.extend(row.iter().zip(gain).map(|(x, gain)| x * rstd * gain));
        rstds.push(rstd);
    }
    (y, rstds)
}

/// Gradients `(dx, dgain)` of [`rms_norm`], given the gradient `dy` of its rows.
pub fn rms_norm_backward(dy: &[f64], x: &[f64], gain: &[f64], eps: f64) -> (Vec<f64>, Vec<f64>) {
    let width = gain.len();
    let (_, rstds) = rms_norm(x, gain, eps);
    let mut dx = Vec::with_capacity(x.len());
    let mut dgain = vec![0.0; width];
    for ((dy, x), rstd) in dy.chunks_exact(width).zip(x.chunks_exact(width)).zip(rstds) {
        let mean = (0..width).map(|c| dy[c] * gain[c] * x[c] * rstd).sum::<f64>() / width as f64;
        dx.extend((0..width).map(|c| rstd * (dy[c] * gain[c] - x[c] * rstd * mean)));
        for c in 0..width {
            dgain[c] += dy[c] * x[c] * rstd;
        }
    }
    (dx, dgain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, dot, values};

    #[test]
    fn the_gradient_is_the_slope_of_the_forward_pass() {
        let (width, eps) = (5, 0.1);
        let (x, gain, dy) = (values(3 * width, 1), values(width, 2), values(3 * width, 3));
        let (dx, dgain) = rms_norm_backward(&dy, &x, &gain, eps);
        assert_gradient(&dx, &x, |x| dot(&rms_norm(x, &gain, eps).0, &dy));
        assert_gradient(&dgain, &gain, |gain| dot(&rms_norm(&x, gain, eps).0, &dy));
    }

    #[test]
    fn a_row_of_equal_values_becomes_its_signs_times_the_gain() {
        assert_eq!(rms_norm(&[3.0, -3.0], &[1.0, 2.0], 0.0).0, [1.0, -2.0]);
    }
}
