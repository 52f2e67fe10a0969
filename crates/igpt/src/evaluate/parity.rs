//! Parity with transformers: comparison of the engine's results with those of transformers on the same files.
//!
//! The results are logits, loss, features and class logits. `scripts/record_parity.py` records the other side
//! beforehand, so that the comparison needs no Python and a model can carry its own proof.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::data::Batch;
use crate::device::{Engine, Pooling};
use crate::model::ModelDir;
use crate::{Error, Result, files};

/// Recording of what transformers computed for some token sequences.
#[derive(Clone, Debug)]
pub struct ReferenceRecording {
    tokens: Batch,
    /// Results of the generative head; `None` for a classifier whose generative head was never trained.
    generative: Option<Generative>,
    /// Features, (B, n_layer + 1, n_embd): means over positions of `ln_1(h^l)`, the last of `ln_f`'s output.
    features: Vec<f32>,
    /// Class logits, (B, num_labels); `None` without a classifier.
    class_logits: Option<Vec<f32>>,
}

/// Recorded results of the generative head.
#[derive(Clone, Debug)]
struct Generative {
    /// Logits, (B, T, n_vocab).
    logits: Vec<f32>,
    /// Nats per token of each image, (B).
    loss: Vec<f32>,
}

/// Difference between a computed and a recorded tensor.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct TensorDifference {
    /// Largest absolute difference of two values.
    pub largest_error: f64,
    /// Largest absolute difference in units of the largest recorded value.
    pub relative_error: f64,
}

/// Differences between an engine and a recording, from [`ReferenceRecording::compare`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct ParityReport {
    /// Number of images compared.
    pub images: usize,
    /// Difference of the logits of every position; `None` for a classifier without a trained generative head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<TensorDifference>,
    /// Difference of the nats per token of each image; `None` without logits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<TensorDifference>,
    /// Difference of the pooled features of every layer.
    pub features: TensorDifference,
    /// Difference of the class logits; `None` without a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_logits: Option<TensorDifference>,
}

impl ParityReport {
    /// Returns all differences with their names.
    pub fn parts(&self) -> Vec<(&'static str, TensorDifference)> {
        let parts = [
            ("logits", self.logits),
            ("loss", self.loss),
            ("features", Some(self.features)),
            ("class logits", self.class_logits),
        ];
        parts.into_iter().filter_map(|(name, part)| Some((name, part?))).collect()
    }

    /// Returns the largest of the relative errors.
    pub fn worst(&self) -> f64 {
        // `f64::max` would ignore NaN, which must count as an error.
        let larger = |a: f64, b: f64| if b.is_nan() || b > a { b } else { a };
        self.parts().iter().map(|(_, part)| part.relative_error).fold(0.0, larger)
    }
}

impl ReferenceRecording {
    /// Reads a recording for a model of `model`'s shape.
    ///
    /// It must contain everything that the model can compute: pixels for a generative model, classes for a
    /// classifier.
    ///
    /// # Errors
    /// When there is none, or it is damaged, belongs to another model or lacks a part; the message says how to make
    /// one.
    pub fn open(path: &Path, model: &ModelDir) -> Result<Self> {
        let config = &model.config;
        let bad = |problem: String| Error::format(path, problem);
        let command = format!("python scripts/record_parity.py {}", path.parent().unwrap_or(Path::new(".")).display());
        if !path.exists() {
            return Err(Error::NotFound(format!("no {}: record one with {command}", path.display())));
        }
        let bytes = files::read(path)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(format!("damaged, record it again: {e}")))?;
        let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
            let view = file
                .tensor(name)
                .map_err(|_| bad(format!("tensor {name} is missing: record it again with {command}")))?;
            if view.dtype() != dtype || view.shape() != shape {
                let (have, of) = (view.dtype(), view.shape());
                return Err(bad(format!(
                    "tensor {name} is {have} of shape {of:?}, but the model needs {dtype} of {shape:?}"
                )));
            }
            Ok(view.data().as_chunks().0)
        };
        let t = config.n_ctx();
        let images = file.tensor("tokens").ok().and_then(|view| view.shape().first().copied()).unwrap_or(1);
        let tokens = tensor("tokens", Dtype::I32, &[images, t])?.iter().map(|b| {
            let token = i32::from_le_bytes(*b);
            match u16::try_from(token) {
                Ok(token) if usize::from(token) < config.n_vocab => Ok(token),
                _ => Err(bad(format!("token {token} is not one of the model's {} colours", config.n_vocab))),
            }
        });
        let tokens = Batch::new(tokens.collect::<Result<_>>()?, t);
        let floats = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            Ok(tensor(name, Dtype::F32, shape)?.iter().map(|b| f32::from_le_bytes(*b)).collect())
        };
        let generative = match model.generates() {
            true => Some(Generative {
                logits: floats("logits", &[images, t, config.n_vocab])?,
                loss: floats("loss", &[images])?,
            }),
            false => None,
        };
        let classes = config.class_head.map(|head| floats("class_logits", &[images, head.num_labels]));
        let features = floats("features", &[images, config.n_layer + 1, config.n_embd])?;
        Ok(Self { tokens, generative, features, class_logits: classes.transpose()? })
    }

    /// Computes the same results with `engine` and returns the differences.
    pub fn compare(&self, engine: &mut dyn Engine) -> Result<ParityReport> {
        let layers: Vec<usize> = (0..=engine.config().n_layer).collect();
        let mut features = vec![0.0; self.features.len()];
        engine.features(&self.tokens, &layers, Pooling::Mean, &mut features)?;
        let (logits, loss) = match &self.generative {
            Some(recorded) => {
                let (logits, loss) = self.compare_generative(recorded, engine)?;
                (Some(logits), Some(loss))
            }
            None => (None, None),
        };
        let class_logits = match &self.class_logits {
            Some(recorded) => {
                let mut logits = vec![0.0; recorded.len()];
                engine.class_logits(&self.tokens, &mut logits)?;
                Some(difference(&logits, recorded))
            }
            None => None,
        };
        let features = difference(&features, &self.features);
        Ok(ParityReport { images: self.tokens.images(), logits, loss, features, class_logits })
    }

    /// Returns the differences of logits and loss.
    fn compare_generative(
        &self,
        recorded: &Generative,
        engine: &mut dyn Engine,
    ) -> Result<(TensorDifference, TensorDifference)> {
        let mut logits = vec![0.0; recorded.logits.len()];
        engine.logits(&self.tokens, &mut logits)?;
        let nats = engine.evaluate(&self.tokens)?.nats;
        let loss: Vec<f32> = nats.iter().map(|n| (n / self.tokens.n_ctx() as f64) as f32).collect();
        Ok((difference(&logits, &recorded.logits), difference(&loss, &recorded.loss)))
    }
}

fn difference(ours: &[f32], recorded: &[f32]) -> TensorDifference {
    // `f64::max` would ignore NaN, which must count as an error.
    let larger = |a: f64, b: f64| if a.is_nan() || a >= b { a } else { b };
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, larger);
    let pairs = ours.iter().zip(recorded);
    let largest_error = largest(&mut pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()));
    let scale = largest(&mut recorded.iter().map(|v| f64::from(v.abs())));
    let relative_error = if largest_error == 0.0 { 0.0 } else { largest_error / scale };
    TensorDifference { largest_error, relative_error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_counts_as_an_error() {
        for (ours, recorded) in [([f32::NAN, 1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, f32::NAN])] {
            assert!(difference(&ours, &recorded).largest_error.is_nan());
        }
        assert_eq!(
            difference(&[1.0, -2.0], &[1.5, -2.0]),
            TensorDifference { largest_error: 0.5, relative_error: 0.25 }
        );
        assert_eq!(difference(&[0.0], &[0.0]).relative_error, 0.0);
    }
}
