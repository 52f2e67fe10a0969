//! Distortion of pixels by a palette, and how evenly the palette's colours are used.

use super::{ColorHistogram, Quantizer};

/// Distortion of a palette on given pixels: error, used colours and token entropy.
///
/// A coarser palette lowers a model's loss for free, so likelihoods are printed with these figures.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Distortion {
    /// Mean squared error over pixels and channels, (byte − byte of the nearest colour)², in squared 8-bit levels.
    pub mse: f64,
    /// Peak signal-to-noise ratio, `10 log10(255² / mse)`, in dB; infinite without any error.
    pub psnr_db: f64,
    /// Number of colours that are nearest to at least one pixel.
    pub used: usize,
    /// Number of colours that are nearest to no pixel.
    pub dead: usize,
    /// Entropy of the tokens in bits per pixel: the cost of a pixel when only the colours' frequencies are known.
    pub entropy_bits: f64,
    /// Number of pixels in the measurement.
    pub pixels: u64,
}

impl Distortion {
    /// Measures the distortion of the quantizer's palette on a histogram, over the histogram's channels.
    pub fn of(histogram: &ColorHistogram, quantizer: &Quantizer) -> Self {
        let palette = quantizer.palette();
        let channels = histogram.channels();
        let pixels = histogram.pixels();
        let mut counts = vec![0u64; palette.n_vocab()];
        let mut squares = 0.0;
        for &(pixel, count) in histogram.counts() {
            let token = quantizer.token(pixel);
            let shown = palette.bytes(token);
            let square = |c: usize| (f64::from(pixel[c]) - f64::from(shown[c])).powi(2);
            squares += count as f64 * (0..channels).map(square).sum::<f64>();
            counts[token as usize] += count;
        }
        let mse = squares / (pixels as f64 * channels as f64);
        let used = counts.iter().filter(|&&count| count > 0).count();
        let share = |count: u64| count as f64 / pixels as f64;
        let bits = counts.iter().filter(|&&count| count > 0).map(|&count| -share(count) * share(count).log2());
        Self {
            mse,
            psnr_db: 10.0 * (255.0 * 255.0 / mse).log10(),
            used,
            dead: palette.n_vocab() - used,
            entropy_bits: bits.sum(),
            pixels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::Palette;

    #[test]
    fn distortion_of_a_known_picture_is_known() {
        let level = |byte: f32| [byte / 127.5 - 1.0; 3];
        let palette = Palette::new(vec![level(10.0), level(100.0), level(250.0)], 1).unwrap();
        let histogram = ColorHistogram::of(1, [[10; 3], [10; 3], [104; 3], [97; 3]]);
        let found = Distortion::of(&histogram, &Quantizer::new(palette));
        assert_eq!((found.mse, found.used, found.dead, found.entropy_bits), ((16.0 + 9.0) / 4.0, 2, 1, 1.0));
        assert!((found.psnr_db - 10.0 * (65025.0f64 / 6.25).log10()).abs() < 1e-12);
    }
}
