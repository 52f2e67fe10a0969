//! A tensor as stored in a file, in any format: the position of its bytes and their conversion to f32.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};

use crate::{Error, Result, files};

/// The element type of a stored tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
    /// Integers such as counts; never weights.
    U32,
    /// Any other type, by its name: tolerated (mask buffers), but never a weight.
    Other(String),
}

impl Dtype {
    pub(super) fn from_safetensors(name: &str) -> Self {
        match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "U32" => Self::U32,
            other => Self::Other(other.into()),
        }
    }

    /// Bytes per element, if known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::F32 | Self::U32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::Other(_) => None,
        }
    }
}

/// A tensor in a file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Steps between neighbours along each side, in elements.
    pub(super) strides: Vec<usize>,
    pub(super) file: Arc<Path>,
    /// Position of the first element in the file, in bytes.
    pub(super) start: u64,
}

impl Stored {
    /// Creates a tensor in row-major order.
    pub(super) fn contiguous(name: String, dtype: Dtype, shape: Vec<usize>, file: Arc<Path>, start: u64) -> Self {
        let mut strides = vec![1usize; shape.len()];
        for side in (1..shape.len()).rev() {
            strides[side - 1] = strides[side].saturating_mul(shape[side]);
        }
        Self { name, dtype, shape, strides, file, start }
    }

    /// Number of elements; `None` on overflow.
    #[cfg(feature = "archives")]
    pub(super) fn elements(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(1u64, |product, &side| product.checked_mul(side as u64))
    }

    /// Number of elements from the first to the last, gaps included; `None` on overflow.
    pub(super) fn span(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape
            .iter()
            .zip(&self.strides)
            .try_fold(1u64, |span, (&side, &stride)| span.checked_add((side as u64 - 1).checked_mul(stride as u64)?))
    }

    /// Reads the values in row-major order. The creator of `self` has checked that `span` lies inside the file.
    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        let bad = |problem: String| Error::format(&*self.file, format!("tensor {}: {problem}", self.name));
        let kind = match &self.dtype {
            Dtype::U32 => Some("U32"),
            Dtype::Other(kind) => Some(kind.as_str()),
            _ => None,
        };
        if let Some(kind) = kind {
            return Err(bad(format!("its type is {kind}, but weights are read as f32, f16 or bf16")));
        }
        let bytes = self.bytes()?;
        let values: Vec<f32> = match self.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            _ => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        };
        let values = match (self.shape.as_slice(), self.strides.as_slice()) {
            (&[rows, cols], &[down, right]) if (down, right) != (cols, 1) => {
                (0..rows * cols).map(|i| values[i / cols * down + i % cols * right]).collect()
            }
            (&[len], &[step]) if step != 1 => (0..len).map(|i| values[i * step]).collect(),
            _ => values,
        };
        // A flipped bit makes a small weight huge; norms square its effect on the residual stream.
        match values.iter().position(|v| !(v * v).is_finite()) {
            Some(i) => Err(bad(format!("element {i} is {:e}, which no weight is: damaged, copy it again", values[i]))),
            None => Ok(values),
        }
    }

    /// Reads the integers of a tensor in row-major order.
    ///
    /// # Errors
    /// When the tensor has another type, or can't be read.
    pub(crate) fn read_u32(&self) -> Result<Vec<u32>> {
        if self.dtype != Dtype::U32 {
            let problem = format!("tensor {}: it holds {:?} where whole numbers belong", self.name, self.dtype);
            return Err(Error::format(&*self.file, problem));
        }
        Ok(self.bytes()?.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    /// Reads the tensor's bytes as they are in the file.
    fn bytes(&self) -> Result<Vec<u8>> {
        let (Some(size), Some(span)) = (self.dtype.size(), self.span()) else {
            let problem = format!("tensor {}: its size overflows", self.name);
            return Err(Error::format(&*self.file, problem));
        };
        let mut file = files::open(&self.file)?;
        file.seek(SeekFrom::Start(self.start)).map_err(Error::io(&*self.file))?;
        let mut bytes = vec![0; span as usize * size as usize];
        file.read_exact(&mut bytes).map_err(Error::io(&*self.file))?;
        Ok(bytes)
    }
}
