//! Reference of quick GELU, the official code's approximation x · sigmoid(1.702 x).

/// Quick GELU: x · sigmoid(1.702 x).
pub fn gelu(x: f64) -> f64 {
    x / (1.0 + (-1.702 * x).exp())
}

/// Derivative of [`gelu`] at `x`.
pub fn gelu_slope(x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-1.702 * x).exp());
    sigmoid + 1.702 * x * sigmoid * (1.0 - sigmoid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, values};

    #[test]
    fn the_slope_is_that_of_the_function() {
        let x: Vec<f64> = values(20, 1).iter().map(|x| 5.0 * x).collect();
        let slopes: Vec<f64> = x.iter().map(|&x| gelu_slope(x)).collect();
        assert_gradient(&slopes, &x, |x| x.iter().map(|&x| gelu(x)).sum());
    }

    #[test]
    fn far_from_zero_it_is_zero_or_the_identity() {
        assert_eq!([gelu(-50.0).abs() < 1e-30, gelu(50.0) == 50.0, gelu(0.0) == 0.0], [true; 3]);
    }
}
