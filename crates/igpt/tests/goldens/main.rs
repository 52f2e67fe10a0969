//! The engine against PyTorch: tiny models of several shapes, on every instruction set of this machine.
//!
//! The fixtures in `testdata/goldens` come from `testdata/make_goldens.py`, whose head gives the formula of the
//! weights and tokens and says how a tensor is summarised.

// What a test leaves out or measures is for whoever runs it.
#![allow(clippy::disallowed_macros)]

mod fine;
mod muon;

use std::collections::BTreeMap;
use std::path::Path;

use igpt::cpu::{self, Isa};
use igpt::data::Batch;
use igpt::device::{AdamUpdate, Engine, Optimizer, Pooling, Precision, Update};
use igpt::image::ImageSize;
use igpt::model::{Layout, ModelConfig, Rates};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Shape {
    height: usize,
    width: usize,
    n_vocab: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: usize,
    biases: bool,
}

/// A tensor by its norm, its sum under fixed signs, and up to 64 fixed entries.
#[derive(Deserialize)]
struct Summary {
    norm: f64,
    signed_sum: f64,
    entries: Vec<f64>,
}

#[derive(Deserialize)]
struct Golden {
    config: Shape,
    images: usize,
    scales: BTreeMap<String, f32>,
    nats: Vec<f64>,
    logits: Summary,
    features: Vec<Summary>,
    gradients: BTreeMap<String, Summary>,
    gradient_norms: Vec<f64>,
    after_three_steps: BTreeMap<String, Summary>,
    nats_after_three_steps: Vec<f64>,
}

const CASES: [&str; 6] = ["head8", "head16_biases", "head24_odd", "head32", "head64_biases", "head64_long"];

const ADAM: AdamUpdate = AdamUpdate { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 };

fn read<T: DeserializeOwned>(case: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/goldens").join(format!("{case}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// hash(name, i) for i = 0, 1, …
fn hashes(name: &str) -> impl Iterator<Item = u32> {
    let fnv = name.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let key = mix(fnv);
    (0..).map(move |i: u32| mix(key.wrapping_add(i)))
}

fn weights(name: &str, scale: f32, count: usize) -> Vec<f32> {
    let base = if name.contains(".ln_") { 1.0 } else { 0.0 };
    hashes(name).take(count).map(|h| base + scale * ((h >> 8) as f32 / (1 << 23) as f32 - 1.0)).collect()
}

fn entries(values: &[f32]) -> Vec<f64> {
    match values.len() {
        ..=64 => values.iter().map(|v| f64::from(*v)).collect(),
        len => hashes("entries").take(64).map(|h| f64::from(values[h as usize % len])).collect(),
    }
}

fn length(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

impl Summary {
    /// The relative error, the largest of three estimates: of the norm, of the signed sum (whose error is a draw from
    /// a bell curve as wide as the L2 distance, so it is counted by thirds), and the L2 distance of the entries.
    fn error(&self, values: &[f32]) -> f64 {
        let norm = length(values.iter().map(|v| f64::from(*v)));
        let signed = |(v, h): (&f32, u32)| f64::from(*v) * if h & 1 == 0 { 1.0 } else { -1.0 };
        let sum: f64 = values.iter().zip(hashes("signs")).map(signed).sum();
        let apart = length(entries(values).iter().zip(&self.entries).map(|(a, b)| a - b));
        let scale = self.norm.max(1e-12);
        // Entries of a sparse tensor may all be zero; then the whole tensor's norm, spread evenly, is the measure.
        let share = self.norm * (self.entries.len() as f64 / values.len() as f64).sqrt();
        let entries = apart / length(self.entries.iter().copied()).max(share).max(1e-12);
        ((norm - self.norm).abs() / scale).max((sum - self.signed_sum).abs() / scale / 3.0).max(entries)
    }
}

struct Model {
    golden: Golden,
    layout: Layout,
    engine: Box<dyn Engine>,
    batch: Batch,
    arena: Vec<f32>,
}

fn shape(s: &Shape) -> ModelConfig {
    let n_px = ImageSize { height: s.height, width: s.width };
    ModelConfig {
        n_inner: s.n_inner,
        biases: s.biases,
        ..ModelConfig::new(n_px, s.n_vocab, s.n_embd, s.n_layer, s.n_head)
    }
}

fn open(case: &str, precision: Precision, isa: Isa, optimizer: Optimizer) -> Model {
    let golden: Golden = read(case);
    let s = &golden.config;
    let config = shape(s);
    let layout = Layout::new(&config);
    let mut arena = vec![0.0; layout.parameters()];
    for tensor in layout.tensors() {
        let values = weights(&tensor.name, golden.scales[&tensor.name], tensor.len());
        layout.import(tensor, &values, &mut arena).unwrap();
    }
    assert_eq!(layout.tensors().len(), golden.scales.len());
    let count = golden.images * config.n_ctx();
    let tokens = hashes("tokens").take(count).map(|h| (h % s.n_vocab as u32) as u16).collect();
    let batch = Batch::new(tokens, config.n_ctx());
    let options = cpu::Options {
        threads: 2,
        isa,
        training: Some(optimizer),
        micro_batch: 1,
        ..cpu::Options::training(precision)
    };
    let engine = cpu::open(&config, &arena, options).unwrap();
    Model { golden, layout, engine, batch, arena }
}

/// What is compared, each with its relative error.
fn errors(model: &mut Model) -> Vec<(String, f64)> {
    let Model { golden, layout, engine, batch, arena } = model;
    let (b, t, c) = (batch.images(), batch.n_ctx(), golden.config.n_embd);
    let relative = |have: &[f64], want: &[f64]| {
        assert_eq!(have.len(), want.len());
        have.iter().zip(want).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max)
    };
    let mut errors = Vec::new();

    let mut logits = vec![0.0; b * t * golden.config.n_vocab];
    engine.logits(batch, &mut logits).unwrap();
    errors.push(("logits".into(), golden.logits.error(&logits)));
    errors.push(("loss of evaluate".into(), relative(&engine.evaluate(batch).unwrap().nats, &golden.nats)));
    let mut nats = vec![0.0; b * t];
    engine.pixel_nats(batch, &mut nats).unwrap();
    let images: Vec<f64> = nats.chunks(t).map(|image| image.iter().map(|v| f64::from(*v)).sum()).collect();
    errors.push(("loss of pixel_nats".into(), relative(&images, &golden.nats)));

    let layers: Vec<usize> = (0..golden.features.len()).collect();
    let mut features = vec![0.0; b * layers.len() * c];
    engine.features(batch, &layers, Pooling::Mean, &mut features).unwrap();
    for (l, wanted) in golden.features.iter().enumerate() {
        let of_layer: Vec<f32> = features.chunks(c).skip(l).step_by(layers.len()).flatten().copied().collect();
        errors.push((format!("features of layer {l}"), wanted.error(&of_layer)));
    }

    let update = Update { clip: 1.0, adam: ADAM, muon: None, rates: Rates::EVEN };
    let mut norms = Vec::new();
    for step in 0..3 {
        let loss = engine.accumulate(batch, 1.0 / (b * t) as f32).unwrap();
        if step == 0 {
            errors.push(("loss of accumulate".into(), relative(&loss.nats, &golden.nats)));
            let gradients = engine.gradients();
            for tensor in layout.tensors() {
                let error = golden.gradients[&tensor.name].error(&gradients[tensor.range()].to_vec());
                errors.push((format!("gradient of {}", tensor.name), error));
            }
        }
        norms.push(f64::from(engine.step(&update).unwrap()));
    }
    errors.push(("gradient norms".into(), relative(&norms, &golden.gradient_norms)));
    travel(layout, arena, engine.state().weights, c, &golden.after_three_steps, &mut errors);
    let nats = engine.evaluate(batch).unwrap().nats;
    errors.push(("loss after three steps".into(), relative(&nats, &golden.nats_after_three_steps)));
    errors
}

/// How far every tensor of `after` is off, and how far the way that it went from `before` is.
fn travel(
    layout: &Layout,
    before: &[f32],
    after: &[f32],
    c: usize,
    golden: &BTreeMap<String, Summary>,
    errors: &mut Vec<(String, f64)>,
) {
    for tensor in layout.tensors() {
        let golden = &golden[&tensor.name];
        let name = format!("{} after three steps", tensor.name);
        let mut values = after[tensor.range()].to_vec();
        // Key biases have no effect: Adam scales up the rounding noise of their gradient (see make_goldens.py).
        if tensor.name.ends_with("c_attn.bias") {
            values[c..2 * c].fill(0.0);
        }
        let start = entries(&before[tensor.range()].to_vec());
        let travelled = length(golden.entries.iter().zip(&start).map(|(a, b)| a - b));
        let apart = length(golden.entries.iter().zip(entries(&values)).map(|(a, b)| a - b));
        if !tensor.name.ends_with("c_attn.bias") {
            errors.push((format!("way of {name}"), apart / travelled.max(1e-4)));
        }
        errors.push((name, golden.error(&values)));
    }
}

/// Runs every case on every instruction set and lists whatever exceeds its budget.
fn check(precision: Precision, budget: impl Fn(&str, &Golden) -> f64) {
    let mut failures = Vec::new();
    for case in CASES {
        for isa in Isa::available() {
            let mut model = open(case, precision, isa, Optimizer::Adam);
            for (name, error) in errors(&mut model) {
                let budget = budget(&name, &model.golden);
                if std::env::var_os("IGPT_PRINT_ERRORS").is_some() {
                    eprintln!("{case} {} {name}: {error:.2e} of {budget:.0e}", isa.name());
                }
                if error.is_nan() || error > budget {
                    failures
                        .push(format!("{case} on {}: {name} is off by {error:.1e}, budget {budget:.1e}", isa.name()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn f32_engine_agrees_with_pytorch() {
    // Adam divides by the gradient's own size, so entries whose gradient is near rounding noise may move anywhere:
    // they hardly count in the parameters, more in the way that these went.
    check(Precision::F32, |name, _| if name.starts_with("way of") { 1e-3 } else { 1e-4 });
}

#[test]
fn bf16_engine_agrees_with_pytorch_within_its_rounding() {
    // A bf16 has 8 significant bits: rounding to nearest is off by 2^-9 at most, 2^-9/√3 in the mean square. A block
    // rounds about eight times on the way of a value (weights, norm, qkv, attention, its product; norm, middle,
    // product), forward and again backward; independent errors add as the root of their number.
    check(Precision::Bf16, |name, golden| {
        let roundings = 16.0 * (golden.config.n_layer + 1) as f64;
        let budget = 2f64.powi(-9) * roundings.sqrt();
        match name {
            // The sign-like first steps of Adam turn a small error of a small gradient into a step the other way.
            _ if name.starts_with("way of") => 0.5,
            _ if name.starts_with("loss") => 1e-2,
            _ => budget,
        }
    });
}
