//! Fitting of a palette to given pixels.

use igpt_kernels::pool::Pool;

use super::{ColorHistogram, Palette, grey, kmeans};
use crate::setters::setters;
use crate::{Error, Result};

/// Options for fitting a palette: number of colours, seed, sample size and threads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PaletteFitOptions {
    /// Number of colours of the palette, 2 to 65536; 512 in the paper.
    pub colors: usize,
    /// Seed of the sample of pixels and of k-means++.
    pub seed: u64,
    /// Approximate number of sampled pixels; all pixels if there are no more.
    pub pixels: usize,
    /// Number of threads; 0 means one per core.
    ///
    /// The result does not depend on it.
    pub threads: usize,
}

impl Default for PaletteFitOptions {
    fn default() -> Self {
        Self { colors: 512, seed: 0, pixels: 1 << 24, threads: 0 }
    }
}

setters!(PaletteFitOptions { colors: usize, seed: u64, pixels: usize, threads: usize });

/// Report on the fit of a palette: pixels, distinct colours and passes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PaletteFitReport {
    /// Number of pixels that the palette was fitted to.
    pub pixels: u64,
    /// Number of different colours among the pixels.
    pub distinct: usize,
    /// Number of Lloyd's passes until no point changed sides; 0 for a grey palette, which is solved directly.
    pub passes: usize,
}

/// Fits a palette of `options.colors` colours to the pixels of `histogram`, with a small squared error.
///
/// For grey pixels the error is the smallest possible. For RGB pixels, k-means++ and Lloyd's iteration run to
/// convergence. Colours are in the order of their luma.
///
/// # Errors
/// When the pixels have fewer different colours than requested.
#[doc(alias = "kmeans")]
pub fn fit(histogram: &ColorHistogram, options: &PaletteFitOptions) -> Result<(Palette, PaletteFitReport)> {
    let distinct = histogram.counts().len();
    let wanted = options.colors;
    if distinct < 2 {
        return Err(Error::Invalid(
            "all pixels of the images have the same colour, but a palette has at least 2: add images of other colours, or \
             train with a palette that is there (igpt pretrain --palette FILE)"
                .into(),
        ));
    }
    if !(2..=65536).contains(&wanted) {
        return Err(Error::Invalid(format!("{wanted} colours were asked for, but a palette has 2 to 65536")));
    }
    if wanted > distinct {
        return Err(Error::Invalid(format!(
            "{wanted} colours were asked for, but the images have only {distinct} different ones: ask for at most \
             {distinct} (--colors), or fit to images scaled to another size"
        )));
    }
    let mut report = PaletteFitReport { pixels: histogram.pixels(), distinct, passes: 0 };
    let mut colors = if histogram.channels() == 1 {
        let values: Vec<(u8, u64)> = histogram.counts().iter().map(|(color, count)| (color[0], *count)).collect();
        grey::optimal_levels(&values, wanted).iter().map(|level| [(level / 127.5 - 1.0) as f32; 3]).collect()
    } else {
        let found = kmeans::fit(histogram, wanted, options.seed, Pool::thread_count(options.threads));
        report.passes = found.passes;
        found.centers
    };
    let luma = |c: &[f32; 3]| 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2];
    colors.sort_by(|a, b| {
        luma(a).total_cmp(&luma(b)).then(a[0].total_cmp(&b[0])).then(a[1].total_cmp(&b[1])).then(a[2].total_cmp(&b[2]))
    });
    Ok((Palette::new(colors, histogram.channels())?, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::{Distortion, Quantizer};
    use crate::rng::{Purpose, Rng};

    /// Pixels around `centers` different colours, some more frequent than others.
    fn clouds(centers: u64, pixels: u64) -> ColorHistogram {
        let draw = |i: u64| {
            let mut pixel = Rng::new(1, Purpose::Palette, 2, i);
            let mut center = Rng::new(1, Purpose::Palette, 3, pixel.below(centers).min(pixel.below(centers)));
            [0, 1, 2].map(|_| (20 + center.below(220) + pixel.below(12)) as u8)
        };
        ColorHistogram::of(3, (0..pixels).map(draw))
    }

    fn options(colors: usize, seed: u64, threads: usize) -> PaletteFitOptions {
        PaletteFitOptions { colors, seed, threads, ..PaletteFitOptions::default() }
    }

    #[test]
    fn fit_is_the_same_with_any_number_of_threads() {
        let histogram = clouds(40, 20_000);
        let one = fit(&histogram, &options(32, 7, 1)).unwrap();
        assert!(one.1.passes > 2);
        for threads in [2, 3, 16] {
            assert_eq!(fit(&histogram, &options(32, 7, threads)).unwrap(), one);
        }
        assert_ne!(fit(&histogram, &options(32, 8, 1)).unwrap().0, one.0);
    }

    #[test]
    fn images_of_one_colour_get_no_advice_that_can_not_be_followed() {
        let histogram = ColorHistogram::of(3, (0..50).map(|_| [9, 8, 7]));
        for colors in [1, 2, 512] {
            let message = fit(&histogram, &options(colors, 0, 1)).unwrap_err().to_string();
            assert!(message.contains("the same colour") && message.contains("--palette"), "{message}");
            assert!(!message.contains("--colors"), "{message}");
        }
    }

    #[test]
    fn every_colour_is_the_mean_of_the_pixels_nearest_to_it() {
        let histogram = clouds(40, 20_000);
        let (palette, _) = fit(&histogram, &options(24, 0, 2)).unwrap();
        let mut sums = vec![[0.0; 4]; 24];
        for &(pixel, count) in histogram.counts() {
            let sum = &mut sums[palette.nearest(pixel) as usize];
            for c in 0..3 {
                sum[c] += count as f64 * (f64::from(pixel[c]) / 127.5 - 1.0);
            }
            sum[3] += count as f64;
        }
        for (color, sum) in palette.colors().iter().zip(&sums) {
            for c in 0..3 {
                assert!((f64::from(color[c]) - sum[c] / sum[3]).abs() < 1e-5, "{color:?} and {sum:?}");
            }
        }
    }

    #[test]
    fn as_many_colours_as_occur_lose_nothing() {
        // Far apart and very unequal in number, so that a poor start leaves clusters empty.
        let pixels = (0..64u32)
            .flat_map(|i| vec![[i as u8 * 4, (i * 37 % 256) as u8, 255 - i as u8]; 1 + (i as usize % 7) * 50]);
        let histogram = ColorHistogram::of(3, pixels);
        let (palette, report) = fit(&histogram, &options(64, 3, 2)).unwrap();
        assert_eq!((report.distinct, palette.n_vocab()), (64, 64));
        let found = Distortion::of(&histogram, &Quantizer::new(palette));
        assert_eq!((found.mse, found.dead), (0.0, 0));
    }

    #[test]
    fn too_few_different_colours_are_an_error_that_counts_them() {
        let histogram = ColorHistogram::of(1, (0..=255).step_by(5).map(|x| [x; 3]));
        let problem = fit(&histogram, &options(64, 0, 1)).unwrap_err().to_string();
        assert!(problem.contains("only 52 different"), "{problem}");
        assert!(fit(&histogram, &options(1, 0, 1)).is_err());
        let (palette, _) = fit(&histogram, &options(52, 0, 1)).unwrap();
        assert_eq!((palette.channels(), palette.bytes(1)), (1, [5; 3]));
    }
}
