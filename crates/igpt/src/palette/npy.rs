//! Palettes as NumPy arrays: (n, 3) or (n, 1), in one of three scales.

use std::path::Path;

use super::Palette;
use crate::formats::npy::{Array, header};
use crate::{Error, Result, files};

/// Scale of the numbers in a palette file: signed, unit or byte.
///
/// Files don't contain the scale, so the user must give it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColorScale {
    /// Numbers in [-1, 1], as in the official code and transformers.
    #[default]
    Signed,
    /// Numbers in [0, 1].
    Unit,
    /// Numbers in [0, 255].
    Byte,
}

/// Largest file: 65536 colours of three doubles, and more header than NumPy writes.
const LARGEST: u64 = 4 << 20;

impl ColorScale {
    /// Returns the name of the scale in flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Unit => "unit",
            Self::Byte => "byte",
        }
    }

    fn read(self, x: f64) -> f32 {
        match self {
            Self::Signed => x as f32,
            Self::Unit => (2.0 * x - 1.0) as f32,
            Self::Byte => (x / 127.5 - 1.0) as f32,
        }
    }

    fn write(self, x: f32) -> f32 {
        match self {
            Self::Signed => x,
            Self::Unit => ((f64::from(x) + 1.0) / 2.0) as f32,
            Self::Byte => ((f64::from(x) + 1.0) * 127.5) as f32,
        }
    }
}

impl Palette {
    /// Reads a palette from a `.npy` file of shape (n, 3), or (n, 1) for grey.
    ///
    /// The type is f32, f64 or u8, little endian, in C order.
    ///
    /// # Errors
    /// When the file is not such an array, is cut off, or its colours are not a palette in `scale`.
    pub fn from_npy(path: impl AsRef<Path>, scale: ColorScale) -> Result<Self> {
        let path = path.as_ref();
        let length = files::open(path)?.metadata().map_err(Error::io(path))?.len();
        if length > LARGEST {
            return Err(Error::format(path, format!("{length} bytes, but a palette has at most {LARGEST}")));
        }
        let bytes = files::read(path)?;
        let (values, channels) = colors(&bytes).map_err(|problem| Error::format(path, problem))?;
        let color = |color: &[f64]| {
            let signed = |c: usize| scale.read(color[c % channels]);
            [signed(0), signed(1), signed(2)]
        };
        let colors = values.chunks_exact(channels).map(color).collect();
        Palette::new(colors, channels).map_err(|problem| Error::format(path, problem.to_string()))
    }

    /// Writes the palette as a `.npy` file of f32, (n, 3), or (n, 1) for a grey palette.
    pub fn to_npy(&self, path: impl AsRef<Path>, scale: ColorScale) -> Result<()> {
        let mut bytes = header("<f4", &[self.n_vocab(), self.channels()]);
        for color in self.colors() {
            bytes.extend(color[..self.channels()].iter().flat_map(|&c| scale.write(c).to_le_bytes()));
        }
        files::write(path.as_ref(), &bytes)
    }
}

/// Reads the values of an array (n, 1) or (n, 3), and its number of channels.
fn colors(bytes: &[u8]) -> Result<(Vec<f64>, usize), String> {
    let array = Array::of(bytes)?;
    match array.sides.as_deref() {
        Some(&[_, channels @ (1 | 3)]) => Ok((array.values()?, channels)),
        _ => Err(format!("the array has shape ({}), but a palette is (n, 3), or (n, 1) for grey", array.shape)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let mut bytes = header(descr, shape);
        bytes.extend(data);
        bytes
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn palettes_come_back_from_npy_in_every_scale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/palette.npy");
        let rgb = Palette::new(vec![[-1.0, 0.25, 1.0], [0.1, 0.2, 0.3]], 3).unwrap();
        let grey = Palette::new(vec![[-0.7; 3], [0.3; 3]], 1).unwrap();
        for palette in [rgb, grey] {
            for scale in [ColorScale::Signed, ColorScale::Unit, ColorScale::Byte] {
                palette.to_npy(&path, scale).unwrap();
                let back = Palette::from_npy(&path, scale).unwrap();
                assert_eq!(back.channels(), palette.channels());
                for (a, b) in back.colors().iter().flatten().zip(palette.colors().iter().flatten()) {
                    assert!((a - b).abs() < 1e-7, "{scale:?}: {a} and {b}");
                }
                assert!(scale != ColorScale::Signed || back == palette);
            }
            assert!(Palette::open(&path).unwrap_err().to_string().contains("outside [-1, 1]"));
        }
    }

    #[test]
    fn a_file_longer_than_any_palette_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.npy");
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(
            Palette::from_npy(&path, ColorScale::Signed).unwrap_err().to_string().contains("a palette has at most")
        );
    }

    #[test]
    fn doubles_and_bytes_are_read() {
        let doubles: Vec<u8> = [0.0f64, 0.5, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(colors(&array("<f8", &[3, 1], &doubles)).unwrap(), (vec![0.0, 0.5, 1.0], 1));
        assert_eq!(colors(&array("|u1", &[1, 3], &[1, 2, 255])).unwrap(), (vec![1.0, 2.0, 255.0], 3));
        // Version 2 has a header length of four bytes.
        let mut two = array("<f4", &[1, 1], &f32s(&[0.5]));
        two[6] = 2;
        two.splice(10..10, [0, 0]);
        assert_eq!(colors(&two).unwrap(), (vec![0.5], 1));
    }

    #[test]
    fn damaged_and_foreign_arrays_are_refused_by_name() {
        let problem = |bytes: &[u8]| colors(bytes).unwrap_err();
        let good = array("<f4", &[2, 3], &f32s(&[0.0; 6]));
        assert!(colors(&good).is_ok());
        for cut in [7, 9, 40] {
            assert!(problem(&good[..cut]).contains("cut off"), "{cut}");
        }
        assert!(problem(&good[..good.len() - 1]).contains("takes 24 bytes, but 23 follow"));
        assert!(problem(b"\x89PNG").contains("not a .npy"));
        assert!(problem(&array("<f4", &[6], &f32s(&[0.0; 6]))).contains("shape (6,)"));
        assert!(problem(&array("<f4", &[3, 2], &f32s(&[0.0; 6]))).contains("shape (3, 2,)"));
        for shape in ["(2, x, 3)", "(-2, 3)", "(2, 3", "2, 3.0", "(2, 3, 1)", "((2, 3))"] {
            let text = String::from_utf8_lossy(&good[10..128]).replace("(2, 3,)", &format!("{shape:7}"));
            let mut odd = good[..8].to_vec();
            odd.extend((text.len() as u16).to_le_bytes());
            odd.extend(text.bytes());
            odd.extend(&good[128..]);
            assert!(colors(&odd).is_err(), "{shape}");
        }
        let mut endless = good.clone();
        endless[6] = 2;
        endless[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(problem(&endless).contains("cut off"));
        assert!(problem(&array("<i8", &[1, 1], &[0; 8])).contains("<i8"));
        assert!(problem(&array(">f4", &[1, 1], &[0; 4])).contains(">f4"));
        let huge = array("<f8", &[usize::MAX / 2, 3], &[]);
        assert!(problem(&huge).contains("too large"));
        let fortran = String::from_utf8_lossy(&good[10..128]).replace("False", "True ");
        let mut fortran_bytes = good.clone();
        fortran_bytes.splice(10..128, fortran.bytes());
        assert!(problem(&fortran_bytes).contains("Fortran"));
    }
}
