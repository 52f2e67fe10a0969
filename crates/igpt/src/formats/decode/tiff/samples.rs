//! Conversion of a TIFF file's samples, of any width and order, to those of a picture.

use crate::formats::decode::{
    Problem,
    problem::room,
    raw::{Alpha, Raw},
};
use crate::image::ImageSize;

/// What the samples of a pixel mean.
pub(super) enum Meaning {
    /// Brightness, or darkness.
    Grey {
        inverted: bool,
    },
    Rgb,
    /// An index into colours.
    Palette(Vec<[u8; 3]>),
    /// Four inks.
    Cmyk,
    /// Brightness and two differences of colour, as in JPEG.
    YCbCr,
}

impl Meaning {
    /// A palette of 16-bit values, all red ones first.
    pub(super) fn palette(map: &[u64]) -> Self {
        // Some writers give 8 bits only.
        let shift = if map.iter().all(|&value| value < 256) { 0 } else { 8 };
        let colors = map.len() / 3;
        Self::Palette((0..colors).map(|i| [0, 1, 2].map(|c| (map[c * colors + i] >> shift) as u8)).collect())
    }

    /// Samples of a pixel, without those that the file has beside them.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// All samples of a page as they are stored.
pub(super) struct Samples {
    pub(super) size: ImageSize,
    /// In the processor's own byte order; those of less than 8 bits packed, the first of a byte highest.
    pub(super) data: Vec<u8>,
    /// Bytes of a row.
    pub(super) stride: usize,
    /// Bytes of a plane where each sample has a plane of its own, otherwise 0.
    pub(super) plane: usize,
    /// Samples of a pixel.
    pub(super) count: usize,
    pub(super) bits: usize,
    pub(super) float: bool,
}

impl Samples {
    /// The picture, with the opacity that `alpha` says the place of.
    pub(super) fn picture(mut self, meaning: Meaning, alpha: Option<(usize, Alpha)>) -> Result<Raw, Problem> {
        let colors = meaning.samples();
        let chosen: Vec<usize> = (0..colors).chain(alpha.map(|(place, _)| place)).collect();
        let kind = alpha.map_or(Alpha::None, |(_, kind)| kind);
        let levels = if self.float { Levels::Float(self.scale(&chosen)?) } else { Levels::of(self.bits)? };
        let deep = matches!(levels, Levels::Sixteen);
        let plain = matches!(meaning, Meaning::Grey { inverted: false } | Meaning::Rgb);
        if plain && matches!(levels, Levels::Eight | Levels::Sixteen) && self.plane == 0 && self.count == chosen.len() {
            let data = std::mem::take(&mut self.data);
            return Ok(Raw { size: self.size, channels: colors, alpha: kind, deep, data });
        }
        let channels = if matches!(meaning, Meaning::Grey { .. }) { 1 } else { 3 };
        // What is not simply copied comes with 8 bits, but for opacity, where roundings would add up.
        let deep = deep && matches!(meaning, Meaning::Grey { .. } | Meaning::Rgb);
        let samples = channels + usize::from(kind != Alpha::None);
        let mut data = room((self.size.pixels() * samples * if deep { 2 } else { 1 }) as u64)?;
        let mut pixel = [0u16; 5];
        for y in 0..self.size.height {
            for x in 0..self.size.width {
                for (value, &s) in pixel.iter_mut().zip(&chosen) {
                    *value = match (&meaning, &levels) {
                        (Meaning::Palette(_), _) => self.whole(y, x, s),
                        (_, Levels::Few(factor)) => self.whole(y, x, s) * factor,
                        (_, Levels::Float(scale)) => (self.fraction(y, x, s) * scale + 0.5) as u16,
                        (_, Levels::Sixteen) if !deep => ((u32::from(self.whole(y, x, s)) + 128) / 257) as u16,
                        _ => self.whole(y, x, s),
                    };
                }
                if matches!(meaning, Meaning::Grey { inverted: true }) {
                    pixel[0] = if deep { u16::MAX } else { 255 } - pixel[0];
                }
                match &meaning {
                    Meaning::Palette(map) => data.extend(map.get(usize::from(pixel[0])).unwrap_or(&[0; 3])),
                    Meaning::Cmyk => data.extend(rgb_of_inks([0, 1, 2, 3].map(|i| pixel[i]))),
                    Meaning::YCbCr => data.extend(rgb_of_ycbcr([0, 1, 2].map(|i| f32::from(pixel[i])))),
                    _ if deep => pixel[..samples].iter().for_each(|value| data.extend(value.to_ne_bytes())),
                    _ => data.extend(pixel[..samples].iter().map(|&value| value as u8)),
                }
            }
        }
        Ok(Raw { size: self.size, channels, alpha: kind, deep, data })
    }

    /// The byte at which the row of sample `s` of a pixel begins, and the bit in that row at which the sample does.
    fn place(&self, y: usize, x: usize, s: usize) -> (usize, usize) {
        match self.plane {
            0 => (y * self.stride, (x * self.count + s) * self.bits),
            plane => (s * plane + y * self.stride, x * self.bits),
        }
    }

    fn bytes<const N: usize>(&self, y: usize, x: usize, s: usize) -> [u8; N] {
        let (row, bit) = self.place(y, x, s);
        self.data.get(row + bit / 8..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    /// A whole number.
    fn whole(&self, y: usize, x: usize, s: usize) -> u16 {
        match self.bits {
            16 => u16::from_ne_bytes(self.bytes(y, x, s)),
            8 => self.bytes::<1>(y, x, s)[0].into(),
            bits => {
                let [byte] = self.bytes::<1>(y, x, s);
                let shift = 8 - bits - self.place(y, x, s).1 % 8;
                u16::from(byte >> shift) & ((1 << bits) - 1)
            }
        }
    }

    /// A floating-point number.
    fn fraction(&self, y: usize, x: usize, s: usize) -> f64 {
        match self.bits {
            16 => half::f16::from_ne_bytes(self.bytes(y, x, s)).to_f64(),
            32 => f32::from_ne_bytes(self.bytes(y, x, s)).into(),
            _ => f64::from_ne_bytes(self.bytes(y, x, s)),
        }
    }

    /// What floating-point values must be multiplied by to be levels up to 255.
    fn scale(&self, chosen: &[usize]) -> Result<f64, Problem> {
        let (mut least, mut most, mut whole) = (f64::INFINITY, f64::NEG_INFINITY, true);
        for y in 0..self.size.height {
            for x in 0..self.size.width {
                for &s in chosen {
                    let value = self.fraction(y, x, s);
                    if value.is_nan() {
                        return Err(Problem::unsupported("a TIFF file of floating-point values that are no numbers"));
                    }
                    (least, most, whole) = (least.min(value), most.max(value), whole && value.fract() == 0.0);
                }
            }
        }
        match () {
            () if least >= 0.0 && most <= 1.0 => Ok(255.0),
            () if least >= 0.0 && most <= 255.0 && whole => Ok(1.0),
            () => Err(Problem::unsupported(format!(
                "a TIFF file of floating-point values from {least} to {most}, which are neither 0 to 1 nor whole ones up \
                 to 255"
            ))),
        }
    }
}

/// How samples become levels.
enum Levels {
    Eight,
    Sixteen,
    /// Less than 8 bits, each step of so many levels.
    Few(u16),
    Float(f64),
}

impl Levels {
    fn of(bits: usize) -> Result<Self, Problem> {
        match bits {
            8 => Ok(Self::Eight),
            16 => Ok(Self::Sixteen),
            1 | 2 | 4 => Ok(Self::Few(255 / ((1 << bits) - 1))),
            _ => Err(Problem::unsupported(format!("a TIFF file of {bits} bits a sample"))),
        }
    }
}

/// Colours of four inks, as Pillow has them.
fn rgb_of_inks([c, m, y, k]: [u16; 4]) -> [u8; 3] {
    let light = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * light + 128;
        light.saturating_sub(((product >> 8) + product) >> 8) as u8
    })
}

/// Colours of brightness and differences (JFIF).
fn rgb_of_ycbcr([y, cb, cr]: [f32; 3]) -> [u8; 3] {
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    let values = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    values.map(|value| (value + 0.5).clamp(0.0, 255.0) as u8)
}
