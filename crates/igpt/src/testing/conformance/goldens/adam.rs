//! Claims about forward and backward passes, and three steps of Adam.

use std::collections::BTreeMap;

use super::fixture::{Golden, Summary, entries, expect_within, length, read, relative};
use crate::device::{AdamUpdate, EngineOptions, HiddenUpdate, Pooling, Precision, TrainEngine, TrainOptions, Update};
use crate::model::{LrMultipliers, ModelConfig, ParamLayout};
use crate::testing::conformance::Subject;

const CASES: [&str; 6] = ["head8", "head16_biases", "head24_odd", "head32", "head64_biases", "head64_long"];

pub(super) const ADAM: AdamUpdate = AdamUpdate { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 };

/// Checks all results of all cases against PyTorch in f32.
pub fn f32_agrees_with_pytorch(subject: &Subject<'_>) {
    check(subject, Precision::F32);
}

/// Checks all results of all cases against PyTorch in bf16.
pub fn bf16_agrees_with_pytorch_within_its_rounding(subject: &Subject<'_>) {
    check(subject, Precision::Bf16);
}

fn check(subject: &Subject<'_>, precision: Precision) {
    let parity = match precision {
        Precision::F32 => subject.budget.parity_f32,
        Precision::Bf16 => subject.budget.parity_bf16,
    };
    let mut all = Vec::new();
    for case in CASES {
        let golden: Golden = read(case);
        let network = golden.network();
        let options = EngineOptions { micro_batch: 1, ..subject.options(precision) };
        let options = TrainOptions { engine: options, ..subject.training(precision) };
        let mut engine = subject.train(&network, &golden.weights(), &options);
        for (name, error) in errors(&golden, &mut *engine) {
            let budget = match name.as_str() {
                name if name.starts_with("way of") => parity.way,
                name if name.starts_with("loss") => parity.loss,
                _ => parity.result(network.n_layer),
            };
            all.push((format!("{case}: {name}"), error, budget));
        }
    }
    expect_within(all);
}

/// Returns the relative error of each result that is compared.
fn errors(golden: &Golden, engine: &mut dyn TrainEngine) -> Vec<(String, f64)> {
    let (network, batch) = (golden.network(), golden.batch());
    let (b, t, c) = (batch.images(), batch.n_ctx(), network.n_embd);
    let layout = ParamLayout::new(&network);
    let mut errors = Vec::new();

    let mut logits = vec![0.0; b * t * network.n_vocab];
    engine.logits(&batch, &mut logits).unwrap();
    errors.push(("logits".into(), golden.logits.error(&logits)));
    errors.push(("loss of evaluate".into(), relative(&engine.evaluate(&batch).unwrap().nats, &golden.nats)));
    let mut nats = vec![0.0; b * t];
    engine.pixel_nats(&batch, &mut nats).unwrap();
    let images: Vec<f64> = nats.chunks(t).map(|image| image.iter().map(|v| f64::from(*v)).sum()).collect();
    errors.push(("loss of pixel_nats".into(), relative(&images, &golden.nats)));

    let layers: Vec<usize> = (0..golden.features.len()).collect();
    let mut features = vec![0.0; b * layers.len() * c];
    engine.features(&batch, &layers, Pooling::Mean, &mut features).unwrap();
    for (l, wanted) in golden.features.iter().enumerate() {
        let of_layer: Vec<f32> = features.chunks(c).skip(l).step_by(layers.len()).flatten().copied().collect();
        errors.push((format!("features of layer {l}"), wanted.error(&of_layer)));
    }

    let update = Update { clip: 1.0, adam: ADAM, hidden: HiddenUpdate::Adam, rates: LrMultipliers::ONES };
    let mut norms = Vec::new();
    for step in 0..3 {
        let loss = engine.accumulate(&batch, 1.0 / (b * t) as f32).unwrap();
        if step == 0 {
            errors.push(("loss of accumulate".into(), relative(&loss.nats, &golden.nats)));
            for tensor in layout.tensors() {
                let error = golden.gradients[&tensor.name].error(&engine.copy_gradient(&tensor.name).unwrap());
                errors.push((format!("gradient of {}", tensor.name), error));
            }
        }
        norms.push(f64::from(engine.step(&update).unwrap()));
    }
    errors.push(("gradient norms".into(), relative(&norms, &golden.gradient_norms)));
    travel(&network, &golden.weights(), engine, &golden.after_three_steps, &mut errors);
    let nats = engine.evaluate(&batch).unwrap().nats;
    errors.push(("loss after three steps".into(), relative(&nats, &golden.nats_after_three_steps)));
    errors
}

/// Returns the errors of every tensor of the engine and of its update since `before`.
pub(super) fn travel(
    network: &ModelConfig,
    before: &[f32],
    engine: &dyn TrainEngine,
    golden: &BTreeMap<String, Summary>,
    errors: &mut Vec<(String, f64)>,
) {
    let c = network.n_embd;
    for tensor in ParamLayout::new(network).tensors() {
        let golden = &golden[&tensor.name];
        let name = format!("{} after three steps", tensor.name);
        let mut values = engine.copy_weight(&tensor.name).unwrap();
        // Key biases have no effect: Adam scales up the rounding noise of their gradient (see make_goldens.py).
        if tensor.name.ends_with("c_attn.bias") {
            values[c..2 * c].fill(0.0);
        }
        let start = entries(&before[tensor.range()]);
        let travelled = length(golden.entries.iter().zip(&start).map(|(a, b)| a - b));
        let apart = length(golden.entries.iter().zip(entries(&values)).map(|(a, b)| a - b));
        if !tensor.name.ends_with("c_attn.bias") {
            errors.push((format!("way of {name}"), apart / travelled.max(1e-4)));
        }
        errors.push((name, golden.error(&values)));
    }
}
