//! Checks that results of an engine are finite numbers.
//!
//! Results that are not finite are errors wherever they leave an engine. A damaged or diverged model must not end as
//! a table of NaN and an exit status of success.

use crate::device::Engine;
use crate::model::ParamLayout;
use crate::{Error, Result};

/// Refuses `values`, computed for `image`, unless all are finite.
///
/// `what` names a value in the message, for example "the likelihood".
///
/// # Errors
/// [`Error::ResultNotFinite`] with the first value that is not finite; see [`name_suspect_weight`] for the weight behind it.
pub fn expect_finite<T: Copy + Into<f64>>(values: &[T], what: &str, image: impl FnOnce() -> String) -> Result<()> {
    match values.iter().map(|value| (*value).into()).find(|value: &f64| !value.is_finite()) {
        None => Ok(()),
        Some(value) => Err(Error::ResultNotFinite {
            model: "the model".into(),
            what: what.into(),
            image: image(),
            value,
            suspect: None,
        }),
    }
}

/// Adds the largest weight of `engine` to an `error` about a result that is not finite.
///
/// Other errors are returned unchanged.
pub fn name_suspect_weight(engine: &dyn Engine, error: Error) -> Error {
    match error {
        Error::ResultNotFinite { model, what, image, value, suspect: None } => {
            Error::ResultNotFinite { model, what, image, value, suspect: suspect(engine) }
        }
        other => other,
    }
}

/// Returns the name of the tensor with the largest or a non-finite weight, and that weight.
fn suspect(engine: &dyn Engine) -> Option<String> {
    // NaN counts as larger than all.
    let size = |weight: f32| if weight.is_nan() { f32::INFINITY } else { weight.abs() };
    let largest = |values: Vec<f32>| values.into_iter().reduce(|a, b| if size(b) > size(a) { b } else { a });
    let layout = ParamLayout::new(engine.config());
    let tensors = layout.tensors().iter();
    let tensors = tensors.filter_map(|tensor| Some((largest(engine.copy_weight(&tensor.name).ok()?)?, &tensor.name)));
    let (value, name) = tensors.reduce(|a, b| if size(b.0) > size(a.0) { b } else { a })?;
    Some(format!("its largest is {value:e} in {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{EngineOptions, Precision, open};
    use crate::image::ImageSize;
    use crate::model::ModelConfig;

    #[test]
    fn a_result_that_is_no_number_names_the_image_and_the_largest_weight() {
        let config = ModelConfig::new(ImageSize::square(8), 5, 16, 2, 2);
        let layout = ParamLayout::new(&config);
        let mut weights = vec![0.25; layout.parameters()];
        weights[layout.tensor("transformer.h.1.mlp.c_fc.weight").unwrap().offset + 3] = -3e12;
        let engine = open(&config, &weights, &EngineOptions::new(Precision::F32)).unwrap();
        expect_finite(&[1.0f32, -1e30], "the likelihood", || unreachable!()).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = expect_finite(&[1.0, bad], "the likelihood", || "a.png".into()).unwrap_err();
            let message = name_suspect_weight(&*engine, error).of_model("runs/a").to_string();
            for part in ["runs/a: the likelihood of a.png is ", "-3e12 in transformer.h.1.mlp.c_fc.weight"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
