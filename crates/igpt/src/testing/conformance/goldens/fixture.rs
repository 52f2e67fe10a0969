//! Files of `testdata/goldens`: the models in them, and the errors of results relative to them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::data::Batch;
use crate::image::ImageSize;
use crate::model::{ModelConfig, ParamLayout};

#[derive(Deserialize)]
pub(super) struct Shape {
    height: usize,
    width: usize,
    n_vocab: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: usize,
    biases: bool,
}

/// Summary of a tensor: its norm, its sum under fixed signs, and up to 64 fixed entries.
#[derive(Deserialize)]
pub(super) struct Summary {
    norm: f64,
    signed_sum: f64,
    pub(super) entries: Vec<f64>,
}

#[derive(Deserialize)]
pub(super) struct Golden {
    config: Shape,
    pub(super) images: usize,
    scales: BTreeMap<String, f32>,
    pub(super) nats: Vec<f64>,
    pub(super) logits: Summary,
    pub(super) features: Vec<Summary>,
    pub(super) gradients: BTreeMap<String, Summary>,
    pub(super) gradient_norms: Vec<f64>,
    pub(super) after_three_steps: BTreeMap<String, Summary>,
    pub(super) nats_after_three_steps: Vec<f64>,
}

pub(super) fn read<T: DeserializeOwned>(case: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/goldens").join(format!("{case}.json"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// Returns hash(name, i) for i = 0, 1, …
pub(super) fn hashes(name: &str) -> impl Iterator<Item = u32> {
    let fnv = name.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let key = mix(fnv);
    (0..).map(move |i: u32| mix(key.wrapping_add(i)))
}

/// Returns the weights of a network, tensor after tensor.
pub(super) fn weights(network: &ModelConfig, scales: &BTreeMap<String, f32>) -> Vec<f32> {
    let layout = ParamLayout::new(network);
    assert_eq!(layout.tensors().len(), scales.len());
    let mut weights = Vec::with_capacity(layout.parameters());
    for tensor in layout.tensors() {
        let (base, scale) = (if tensor.name.contains(".ln_") { 1.0 } else { 0.0 }, scales[&tensor.name]);
        let unit = |h: u32| (h >> 8) as f32 / (1 << 23) as f32 - 1.0;
        weights.extend(hashes(&tensor.name).take(tensor.len()).map(|h| base + scale * unit(h)));
    }
    weights
}

pub(super) fn batch(network: &ModelConfig, images: usize) -> Batch {
    let tokens = hashes("tokens").take(images * network.n_ctx()).map(|h| (h % network.n_vocab as u32) as u16);
    Batch::new(tokens.collect(), network.n_ctx())
}

pub(super) fn entries(values: &[f32]) -> Vec<f64> {
    match values.len() {
        ..=64 => values.iter().map(|v| f64::from(*v)).collect(),
        len => hashes("entries").take(64).map(|h| f64::from(values[h as usize % len])).collect(),
    }
}

pub(super) fn length(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Returns the largest relative error of some values.
pub(super) fn relative(have: &[f64], want: &[f64]) -> f64 {
    assert_eq!(have.len(), want.len());
    have.iter().zip(want).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max)
}

impl Summary {
    /// Returns the relative error, the largest of three estimates.
    ///
    /// They are the errors of the norm and of the signed sum, and the L2 distance of the entries. The signed sum's
    /// error is a draw from a bell curve as wide as the L2 distance, so it counts by a third.
    pub(super) fn error(&self, values: &[f32]) -> f64 {
        let norm = length(values.iter().map(|v| f64::from(*v)));
        let signed = |(v, h): (&f32, u32)| f64::from(*v) * if h & 1 == 0 { 1.0 } else { -1.0 };
        let sum: f64 = values.iter().zip(hashes("signs")).map(signed).sum();
        let apart = length(entries(values).iter().zip(&self.entries).map(|(a, b)| a - b));
        let scale = self.norm.max(1e-12);
        // Entries of a sparse tensor may all be zero. Then the whole tensor's norm, spread evenly, is the measure.
        let share = self.norm * (self.entries.len() as f64 / values.len() as f64).sqrt();
        let entries = apart / length(self.entries.iter().copied()).max(share).max(1e-12);
        ((norm - self.norm).abs() / scale).max((sum - self.signed_sum).abs() / scale / 3.0).max(entries)
    }
}

impl Golden {
    pub(super) fn network(&self) -> ModelConfig {
        let s = &self.config;
        let n_px = ImageSize { height: s.height, width: s.width };
        ModelConfig {
            n_inner: s.n_inner,
            biases: s.biases,
            ..ModelConfig::new(n_px, s.n_vocab, s.n_embd, s.n_layer, s.n_head)
        }
    }

    pub(super) fn weights(&self) -> Vec<f32> {
        weights(&self.network(), &self.scales)
    }

    pub(super) fn batch(&self) -> Batch {
        batch(&self.network(), self.images)
    }
}

/// Panics with every error that is above its budget.
// What a test measures is for whoever runs it.
#[allow(clippy::disallowed_macros)]
pub(super) fn expect_within(errors: Vec<(String, f64, f64)>) {
    if std::env::var_os("IGPT_PRINT_ERRORS").is_some() {
        errors.iter().for_each(|(name, error, budget)| eprintln!("{name}: {error:.2e} of {budget:.0e}"));
    }
    let beyond = errors.into_iter().filter(|(_, error, budget)| error.is_nan() || error > budget);
    let beyond: Vec<_> =
        beyond.map(|(name, error, budget)| format!("{name} is off by {error:.1e}, budget {budget:.1e}")).collect();
    assert!(beyond.is_empty(), "{}", beyond.join("\n"));
}
