//! The gradient's noise scale (McCandlish et al. 2018, appendix A.1): about how many images a step can use before more of
//! them only repeat what it knows.
//!
//! It is a ratio of two estimates, each of which is right only on average over many steps: average both, then divide.

/// Both parts of the noise scale as one step tells them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct GradientNoise {
    /// Squared norm of the true gradient; of a single step it may come out below 0.
    pub signal: f64,
    /// Variance of the gradient of a single image, summed over the parameters. Divided by the signal it is the noise scale,
    /// in images.
    pub noise: f64,
}

impl GradientNoise {
    /// From the gradient of a batch of `images`, whose norm is `norm`, and its parts by so many equal `groups` (2 or more),
    /// the sum of whose squared norms is `squares`.
    pub fn of(images: usize, norm: f64, groups: usize, squares: f64) -> Self {
        let (small, big) = ((images / groups) as f64, images as f64);
        // A part is the mean over its own images divided by the number of groups.
        let (of_small, of_big) = (groups as f64 * squares, norm * norm);
        Self {
            signal: (big * of_big - small * of_small) / (big - small),
            noise: (of_small - of_big) / (1.0 / small - 1.0 / big),
        }
    }
}
