//! The colours of a palette, and the definition of the nearest one.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::image::Resampling;
use crate::{Error, Result};

/// Tolerance of a component outside [-1, 1]: room for rounding in files that were written in another scale.
const OVERSHOOT: f32 = 1e-3;

/// Palette of a model: the colours of the tokens, and how pictures are scaled before they get these colours.
///
/// Colours are in the official code's signed scale, `x / 127.5 - 1` for a byte `x`. Token `i` is colour `i`. The scaling
/// is part of the palette, because both determine the tokens.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias = "codebook")]
pub struct Palette {
    colors: Vec<[f32; 3]>,
    channels: usize,
    resampling: Resampling,
}

/// Converts a byte to the signed scale.
pub(crate) fn signed(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// Squared Euclidean distance in f32, summed in the order red, green, blue: the arithmetic that decides ties.
#[inline(always)]
pub(crate) fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    let [r, g, b] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    r * r + g * g + b * b
}

impl Palette {
    /// Creates a palette of 2 to 65536 different colours, for bilinear scaling.
    ///
    /// `channels` is 1 (grey: the three components of each colour are equal) or 3.
    ///
    /// # Errors
    /// [`Error::Invalid`] for too few or too many colours, a component that is not finite or outside [-1, 1], equal
    /// colours, or a grey palette with a colour that is not grey.
    pub fn new(colors: Vec<[f32; 3]>, channels: usize) -> Result<Self> {
        let invalid = |problem: String| Err(Error::Invalid(problem));
        if channels != 1 && channels != 3 {
            return invalid(format!("a palette has 1 channel (grey) or 3 (RGB), not {channels}"));
        }
        if colors.is_empty() {
            return invalid("the palette has no colours: make one with igpt palette fit".into());
        }
        if !(2..=65536).contains(&colors.len()) {
            return invalid(format!("the palette has {} colours, but 2 to 65536 are supported", colors.len()));
        }
        let mut seen = HashMap::with_capacity(colors.len());
        for (i, color) in colors.iter().enumerate() {
            for &c in color {
                if !c.is_finite() {
                    return invalid(format!("colour {i} of the palette is {color:?}: components must be numbers"));
                }
                if c.abs() > 1.0 + OVERSHOOT {
                    return invalid(format!(
                        "colour {i} of the palette is {color:?}, outside [-1, 1]: is the scale unit or byte?"
                    ));
                }
            }
            if channels == 1 && (color[0] != color[1] || color[1] != color[2]) {
                return invalid(format!("colour {i} of the grey palette is {color:?}, which is not grey"));
            }
            // Adding zero makes -0 and 0 the same key.
            if let Some(first) = seen.insert(color.map(|c| (c + 0.0).to_bits()), i) {
                return invalid(format!(
                    "colours {first} and {i} of the palette are both {color:?}: one is a duplicate"
                ));
            }
        }
        Ok(Self { colors, channels, resampling: Resampling::default() })
    }

    /// Returns the same colours for pictures that are scaled by another method.
    #[must_use]
    pub fn with_resampling(self, resampling: Resampling) -> Self {
        Self { resampling, ..self }
    }

    /// Returns the method by which pictures are scaled before they get these colours.
    pub fn resampling(&self) -> Resampling {
        self.resampling
    }

    /// Returns the number of colours of the palette.
    pub fn n_vocab(&self) -> usize {
        self.colors.len()
    }

    /// Returns the number of channels: 1 for a grey palette, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the colours, (`n_vocab`, 3), in the signed scale; grey colours have three equal components.
    pub fn colors(&self) -> &[[f32; 3]] {
        &self.colors
    }

    /// Returns the hash that identifies the palette in models, checkpoints and token files.
    ///
    /// It is SHA-256, in hexadecimal, of `n_vocab` and `channels` as little-endian u32, then `channels` little-endian
    /// f32 per colour.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        sha.update((self.colors.len() as u32).to_le_bytes());
        sha.update((self.channels as u32).to_le_bytes());
        for color in &self.colors {
            for c in &color[..self.channels] {
                sha.update((c + 0.0).to_le_bytes());
            }
        }
        crate::checksum::hex(&sha.finalize())
    }

    /// Returns the token of a pixel by definition: the index of its nearest colour.
    ///
    /// The distance is squared Euclidean in f32, in the signed scale; the lowest index wins a tie.
    /// [`crate::palette::Quantizer`] returns the same tokens fast.
    pub fn nearest(&self, pixel: [u8; 3]) -> u16 {
        let pixel = pixel.map(signed);
        let mut best = (f32::INFINITY, 0);
        for (i, &color) in self.colors.iter().enumerate() {
            let d = distance(pixel, color);
            if d < best.0 {
                best = (d, i);
            }
        }
        best.1 as u16
    }

    /// Returns the colour of a token as bytes, rounded half to even like NumPy's `rint`.
    ///
    /// Panics if `token` is not below `n_vocab`.
    pub fn bytes(&self, token: u16) -> [u8; 3] {
        // `as` clamps to 0..=255.
        self.colors[token as usize].map(|c| (127.5 * (c + 1.0)).round_ties_even() as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(colors: Vec<[f32; 3]>, channels: usize) -> String {
        Palette::new(colors, channels).unwrap_err().to_string()
    }

    #[test]
    fn bad_palettes_are_refused_by_name() {
        assert!(error(vec![], 3).contains("no colours"));
        assert!(error(vec![[0.0; 3]], 3).contains("has 1 colours"));
        assert!(error(vec![[0.0; 3]; 65537], 3).contains("has 65537 colours"));
        assert!(error(vec![[0.0; 3], [f32::NAN, 0.0, 0.0]], 3).contains("colour 1"));
        assert!(error(vec![[0.0; 3], [f32::INFINITY; 3]], 3).contains("colour 1"));
        assert!(error(vec![[0.0; 3], [255.0; 3]], 3).contains("outside [-1, 1]"));
        assert!(error(vec![[0.5; 3], [0.0; 3], [-0.0; 3]], 3).contains("colours 1 and 2"));
        assert!(error(vec![[0.5; 3], [0.0, 0.0, 0.1]], 1).contains("not grey"));
        assert!(error(vec![[0.5; 3], [0.0; 3]], 2).contains("not 2"));
        assert!(Palette::new(vec![[1.0001; 3], [-1.0001; 3]], 1).is_ok());
    }

    #[test]
    fn hash_depends_on_channels_and_every_colour() {
        let grey = Palette::new(vec![[-1.0; 3], [1.0; 3]], 1).unwrap();
        assert_eq!(grey.hash().len(), 64);
        assert_ne!(grey.hash(), Palette::new(vec![[-1.0; 3], [1.0; 3]], 3).unwrap().hash());
        assert_ne!(grey.hash(), Palette::new(vec![[1.0; 3], [-1.0; 3]], 1).unwrap().hash());
        // printf '\2\0\0\0\1\0\0\0\0\0\200\277\0\0\200\77' | sha256sum
        assert_eq!(grey.hash(), "19c0900154d2561ea845d930d8790d16756975a7c84d8840d1f0ad52e7d76f42");
    }

    #[test]
    fn nearest_takes_the_lowest_index_on_a_tie() {
        let palette = Palette::new(vec![[1.0, 1.0, 1.0], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]], 3).unwrap();
        // Bytes are never 0 in the signed scale, so the tie is made of mirrored colours around a pixel's value.
        let x = signed(100);
        let mirrored = Palette::new(vec![[1.0; 3], [x + 0.25, x, x], [x - 0.25, x, x]], 3).unwrap();
        assert_eq!(mirrored.nearest([100; 3]), 1);
        assert_eq!(palette.nearest([255; 3]), 0);
        assert_eq!(palette.nearest([120, 127, 127]), 2);
    }

    #[test]
    fn bytes_round_clamp_and_invert_the_signed_scale() {
        let palette = Palette::new(vec![[0.0; 3], [-0.9; 3], [1.001; 3], [-1.001; 3]], 1).unwrap();
        assert_eq!([0, 1, 2, 3].map(|t| palette.bytes(t)[0]), [128, 13, 255, 0]);
        let all = Palette::new((0..=255).map(|x| [signed(x); 3]).collect(), 1).unwrap();
        assert!((0..=255u8).all(|x| all.bytes(u16::from(x)) == [x; 3] && all.nearest([x; 3]) == u16::from(x)));
    }
}
