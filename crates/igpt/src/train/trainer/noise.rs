//! Gradient noise scale (McCandlish et al. 2018, appendix A.1).
//!
//! It is roughly the largest batch, in images, before more images add little information to a step. It is a ratio of
//! two estimates, each of which is right only on average over many steps: average both, then divide.

/// Gradient noise and signal, estimated from one step.
///
/// The gradient noise scale (McCandlish et al. 2018, appendix A.1) is the mean `noise` over many steps, divided by the
/// mean `signal`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GradientNoise {
    /// Squared norm of the true gradient; the estimate from a single step may be below 0.
    pub signal: f64,
    /// Variance of the gradient of a single image, summed over the parameters.
    ///
    /// Divided by the signal it is the noise scale, in images.
    pub noise: f64,
}

impl GradientNoise {
    /// Estimates noise and signal from the gradient of a batch of `images` and those of its groups.
    ///
    /// `norm` is the norm of the batch's gradient, `groups` the number of equal groups (2 or more), and `squares` the
    /// sum of the squared norms of their parts of the gradient.
    pub fn of(images: usize, norm: f64, groups: usize, squares: f64) -> Self {
        let (small, big) = ((images / groups) as f64, images as f64);
        // A part is the mean over its own images, divided by the number of groups.
        let (of_small, of_big) = (groups as f64 * squares, norm * norm);
        Self {
            signal: (big * of_big - small * of_small) / (big - small),
            noise: (of_small - of_big) / (1.0 / small - 1.0 / big),
        }
    }
}
