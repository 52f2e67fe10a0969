//! NumPy arrays as images and back.

use igpt::data::Images;
use igpt::image::{ImageSize, Pixels};
use numpy::ndarray::Array;
use numpy::{Element, IntoPyArray, IxDyn, PyArrayDyn, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Images as Python hands them over: uint8 (height, width, channels), C-contiguous.
pub(crate) type Arrays<'py> = Vec<PyReadonlyArray3<'py, u8>>;

/// Copies arrays into images.
///
/// # Errors
/// When an array has no pixels, has other than 1 or 3 channels, or is not C-contiguous.
pub(crate) fn pixels(arrays: &Arrays<'_>) -> PyResult<Vec<Pixels>> {
    arrays.iter().enumerate().map(|(i, array)| one(i, array)).collect()
}

fn one(i: usize, array: &PyReadonlyArray3<'_, u8>) -> PyResult<Pixels> {
    let [height, width, channels] = [0, 1, 2].map(|axis| array.shape()[axis]);
    if height == 0 || width == 0 || !(channels == 1 || channels == 3) {
        let shape = format!("({height}, {width}, {channels})");
        return Err(PyValueError::new_err(format!("image {i} has the shape {shape}: wanted (height, width, 1 or 3)")));
    }
    let data = array.as_slice().map_err(|_| PyValueError::new_err(format!("image {i} is not C-contiguous")))?;
    Ok(Pixels::new(ImageSize { height, width }, channels, data.to_vec()))
}

/// Copies arrays into a set of images.
///
/// # Errors
/// As [`pixels`].
pub(crate) fn images(arrays: &Arrays<'_>) -> PyResult<Images> {
    Ok(Images::from_pixels(pixels(arrays)?))
}

/// An array of `shape` that owns `values`.
pub(crate) fn array<'py, T: Element>(py: Python<'py>, values: Vec<T>, shape: &[usize]) -> Bound<'py, PyArrayDyn<T>> {
    Array::from_shape_vec(IxDyn(shape), values).expect("values fill the shape").into_pyarray(py)
}

/// Images of one size as an array uint8 (…, height, width, channels), whose first axes are `lead`.
pub(crate) fn stacked<'py>(
    py: Python<'py>,
    images: Vec<Pixels>,
    lead: &[usize],
    size: ImageSize,
    channels: usize,
) -> Bound<'py, PyArrayDyn<u8>> {
    let shape = [lead, &[size.height, size.width, channels]].concat();
    let mut data = Vec::with_capacity(shape.iter().product());
    images.iter().for_each(|image| data.extend_from_slice(&image.data));
    array(py, data, &shape)
}
