//! Surprise of a pixel's exact value within its palette colour.
//!
//! A palette keeps few of a picture's values, and its extreme colours take all values beyond them. How rare an exact
//! value is among those of its colour in good pictures is therefore part of a pixel's oddness.

use crate::palette::{Palette, Quantizer};

/// Number of distances from a palette's colour in bytes: 0 to 255·√3.
const DISTANCES: usize = 442;
/// Share of a colour's pixels that goes to values that no good picture has.
const UNSEEN: f64 = 1e-3;
/// Smallest weight, so that a colour without pixels has probabilities, too.
const LEAST: f64 = 1e-9;

/// Unexpected nats of every exact value: its surprise within its palette colour, less the mean surprise.
///
/// The surprise is that among the values of the colour in good pictures. The mean is the entropy of these.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactValueSurprise {
    /// Unexpected nats, indexed by [`symbol`].
    pub(super) nats: Vec<f32>,
}

/// Returns the number of a pixel's exact value: for a grey palette, the grey value; otherwise, the colour and the
/// distance from it.
pub(super) fn symbol(quantizer: &Quantizer, token: u16, pixel: &[u8]) -> u32 {
    match pixel {
        [grey] => u32::from(*grey),
        _ => {
            let own = quantizer.palette().bytes(token);
            let square = |(a, b): (&u8, u8)| (f64::from(*a) - f64::from(b)).powi(2);
            let distance = pixel.iter().zip(own).map(square).sum::<f64>().sqrt().round() as usize;
            u32::from(token) * DISTANCES as u32 + distance.min(DISTANCES - 1) as u32
        }
    }
}

/// Number of different exact values.
pub(super) fn symbols(palette: &Palette) -> usize {
    if palette.channels() == 1 { 256 } else { palette.n_vocab() * DISTANCES }
}

/// Counts of exact values in good pictures.
#[derive(Debug)]
pub(super) struct Counts(Vec<u64>);

impl Counts {
    pub(super) fn new(quantizer: &Quantizer) -> Self {
        Self(vec![0; symbols(quantizer.palette())])
    }

    /// Adds the exact values of a picture.
    pub(super) fn add(&mut self, symbols: &[u32]) {
        symbols.iter().for_each(|symbol| self.0[*symbol as usize] += 1);
    }

    /// Returns the unexpected nats. The counts are smoothed over neighbouring values by weights of 1/4, 1/2, 1/4.
    pub(super) fn within(&self, quantizer: &Quantizer) -> ExactValueSurprise {
        let is_grey = quantizer.palette().channels() == 1;
        let run = if is_grey { 256 } else { DISTANCES };
        let smooth = |counts: &[u64]| -> Vec<f64> {
            let at = |i: Option<usize>| i.and_then(|i| counts.get(i)).map_or(0.0, |count| *count as f64);
            (0..counts.len()).map(|i| at(i.checked_sub(1)) / 4.0 + at(Some(i)) / 2.0 + at(Some(i + 1)) / 4.0).collect()
        };
        let counts: Vec<f64> = self.0.chunks(run).flat_map(smooth).collect();
        let color = |symbol: usize| match is_grey {
            true => usize::from(quantizer.token([symbol as u8; 3])),
            false => symbol / DISTANCES,
        };
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); quantizer.palette().n_vocab()];
        (0..counts.len()).for_each(|symbol| members[color(symbol)].push(symbol));
        let mut nats = vec![0.0; counts.len()];
        for members in members.iter().filter(|members| !members.is_empty()) {
            let all: f64 = members.iter().map(|symbol| counts[*symbol]).sum();
            let weight = |symbol: &usize| counts[*symbol] + UNSEEN * all / members.len() as f64 + LEAST;
            let total: f64 = members.iter().map(weight).sum();
            let surprise = |symbol: &usize| -(weight(symbol) / total).ln();
            let entropy: f64 = members.iter().map(|symbol| weight(symbol) / total * surprise(symbol)).sum();
            members.iter().for_each(|symbol| nats[*symbol] = (surprise(symbol) - entropy) as f32);
        }
        ExactValueSurprise { nats }
    }
}

impl ExactValueSurprise {
    /// Returns the unexpected nats of each of some values.
    pub(super) fn values(&self, symbols: &[u32]) -> Vec<f64> {
        symbols.iter().map(|symbol| f64::from(self.nats[*symbol as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageSize, Pixels};
    use crate::inspect::{InputMode, TiledPicture};

    fn picture(quantizer: &Quantizer, channels: usize, value: impl Fn(usize) -> u8) -> TiledPicture {
        let size = ImageSize::square(16);
        let pixels = Pixels::new(size, channels, (0..256 * channels).map(|i| value(i / channels)).collect());
        TiledPicture::new(&pixels, InputMode::Whole, size, quantizer).unwrap()
    }

    #[test]
    fn a_value_that_no_good_picture_has_surprises_within_its_colour_and_a_usual_one_does_not() {
        let grey: Vec<[f32; 3]> = [-0.5, 0.0, 0.5].map(|v| [v; 3]).to_vec();
        let color = vec![[-0.5, -0.5, -0.5], [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]];
        for (palette, channels) in [(Palette::new(grey, 1), 1), (Palette::new(color, 3), 3)] {
            let quantizer = Quantizer::new(palette.unwrap());
            let mut counts = Counts::new(&quantizer);
            // Greys of 60 to 69, all of the darkest colour, whose grey is 64.
            (0..50).for_each(|_| counts.add(picture(&quantizer, channels, |i| 60 + (i % 10) as u8).details()));
            let within = counts.within(&quantizer);
            let usual = within.values(picture(&quantizer, channels, |i| 60 + (i % 10) as u8).details());
            // On average nothing is unexpected.
            assert!((usual.iter().sum::<f64>() / 256.0).abs() < 0.1, "{usual:?}");
            let dark = within.values(picture(&quantizer, channels, |_| 2).details());
            assert!(dark.iter().all(|nats| *nats > 5.0), "{}", dark[0]);
            // Of a colour without good pixels every value is alike.
            let unseen = within.values(picture(&quantizer, channels, |_| 200).details());
            assert!(unseen.iter().all(|nats| nats.abs() < 1e-3), "{}", unseen[0]);
        }
    }
}
