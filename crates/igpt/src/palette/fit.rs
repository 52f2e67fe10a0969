//! A palette for given images.

use super::{Histogram, Palette, grey, kmeans};
use crate::{Error, Result};

/// How to fit a palette.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Colours of the palette, 2 to 65536; 512 in the paper.
    pub colors: usize,
    /// Seed of the pixels that are looked at and of k-means++.
    pub seed: u64,
    /// About how many pixels to look at: all when there are no more.
    pub pixels: usize,
    /// Threads; 0 is one for each core. The result does not depend on it.
    pub threads: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { colors: 512, seed: 0, pixels: 1 << 24, threads: 0 }
    }
}

/// How the fit went.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Pixels looked at.
    pub pixels: u64,
    /// Different colours among them.
    pub distinct: usize,
    /// Lloyd's passes until no point changed sides; 0 for a grey palette, which is solved directly.
    pub passes: usize,
}

/// The palette of `options.colors` with a small squared error on the pixels of `histogram`: the smallest possible for
/// grey pixels, k-means++ and Lloyd's iteration to convergence for RGB. Colours are in the order of their luma.
///
/// # Errors
/// When the pixels have fewer different colours than asked for.
pub fn fit_histogram(histogram: &Histogram, options: &FitOptions) -> Result<(Palette, FitReport)> {
    let distinct = histogram.counts().len();
    let wanted = options.colors;
    if !(2..=65536).contains(&wanted) {
        return Err(Error::Invalid(format!("{wanted} colours were asked for, but a palette has 2 to 65536")));
    }
    if wanted > distinct {
        return Err(Error::Invalid(format!(
            "{wanted} colours were asked for, but the images have only {distinct} different ones: ask for at most \
             {distinct} (--colors), or fit to images scaled to another size"
        )));
    }
    let mut report = FitReport { pixels: histogram.pixels(), distinct, passes: 0 };
    let mut colors = if histogram.channels() == 1 {
        let values: Vec<(u8, u64)> = histogram.counts().iter().map(|(color, count)| (color[0], *count)).collect();
        grey::optimal_levels(&values, wanted).iter().map(|level| [(level / 127.5 - 1.0) as f32; 3]).collect()
    } else {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let found = kmeans::fit(histogram, wanted, options.seed, threads);
        report.passes = found.passes;
        found.centers
    };
    let luma = |c: &[f32; 3]| 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2];
    colors.sort_by(|a, b| {
        luma(a).total_cmp(&luma(b)).then(a[0].total_cmp(&b[0])).then(a[1].total_cmp(&b[1])).then(a[2].total_cmp(&b[2]))
    });
    Ok((Palette::new(colors, histogram.channels())?, report))
}
