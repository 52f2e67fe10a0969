//! The masked objective and joint training with a classifier against PyTorch's.

use std::collections::BTreeMap;

use igpt::cpu::{self, Isa};
use igpt::data::Batch;
use igpt::device::{FineTuning, Precision};
use igpt::model::{ClassHead, Layout, ModelConfig, Objective};
use serde::Deserialize;

use super::{Golden, Summary, hashes, read, shape, weights};

#[derive(Deserialize)]
struct Fine {
    case: String,
    masked: bool,
    layer: Option<usize>,
    num_labels: Option<usize>,
    generative_weight: f32,
    scales: BTreeMap<String, f32>,
    nats: Vec<f64>,
    #[serde(default)]
    class_nats: Vec<f64>,
    class_logits: Option<Summary>,
    logits: Summary,
    gradients: BTreeMap<String, Summary>,
}

const CASES: [&str; 4] = ["masked", "joint", "joint_middle", "joint_masked"];

fn errors(case: &str, precision: Precision, isa: Isa) -> Vec<(String, f64)> {
    let fine: Fine = read(&format!("fine_{case}"));
    let golden: Golden = read(&fine.case);
    let objective = if fine.masked { Objective::Masked } else { Objective::Autoregressive };
    let class_head = fine.layer.zip(fine.num_labels).map(|(layer, num_labels)| ClassHead { num_labels, layer });
    let config = ModelConfig { objective, class_head, ..shape(&golden.config) };
    let layout = Layout::new(&config);
    let mut arena = vec![0.0; layout.parameters()];
    for tensor in layout.tensors() {
        layout.import(tensor, &weights(&tensor.name, fine.scales[&tensor.name], tensor.len()), &mut arena).unwrap();
    }
    let count = golden.images * config.n_ctx();
    let tokens = hashes("tokens").take(count).map(|h| (h % config.n_vocab as u32) as u16).collect();
    let mut batch = Batch::new(tokens, config.n_ctx());
    if fine.masked {
        batch = batch.with_masks(hashes("masks").take(count).map(|h| h % 100 < 15).collect());
    }
    if let Some(head) = class_head {
        batch = batch.with_labels(hashes("labels").take(golden.images).map(|h| h % head.num_labels as u32).collect());
    }
    let fine_tuning = FineTuning { generative_weight: fine.generative_weight, frozen_blocks: 0 };
    let options = cpu::Options { threads: 2, isa, micro_batch: 1, fine_tuning, ..cpu::Options::training(precision) };
    let mut engine = cpu::open(&config, &arena, options).unwrap();

    let relative = |have: &[f64], want: &[f64]| {
        assert_eq!(have.len(), want.len());
        have.iter().zip(want).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max)
    };
    let mut errors = Vec::new();
    let mut logits = vec![0.0; count * config.n_vocab];
    engine.logits(&batch, &mut logits).unwrap();
    errors.push(("logits".into(), fine.logits.error(&logits)));
    if let (Some(head), Some(golden)) = (class_head, &fine.class_logits) {
        let mut logits = vec![0.0; batch.images() * head.num_labels];
        engine.class_logits(&batch, &mut logits).unwrap();
        errors.push(("logits of classes".into(), golden.error(&logits)));
    }
    let evaluated = engine.evaluate(&batch).unwrap();
    let trained = engine.accumulate(&batch, 1.0 / count as f32).unwrap();
    for found in [evaluated, trained] {
        errors.push(("loss".into(), relative(&found.nats, &fine.nats)));
        errors.push(("loss of classes".into(), relative(&found.class_nats, &fine.class_nats)));
    }
    let gradients = engine.gradients();
    for tensor in layout.tensors() {
        let error = fine.gradients[&tensor.name].error(&gradients[tensor.range()].to_vec());
        errors.push((format!("gradient of {}", tensor.name), error));
    }
    errors
}

fn check(precision: Precision, budget: impl Fn(&str) -> f64) {
    let mut failures = Vec::new();
    for case in CASES {
        for isa in Isa::available() {
            for (name, error) in errors(case, precision, isa) {
                if error.is_nan() || error > budget(&name) {
                    failures.push(format!("{case} on {}: {name} is off by {error:.1e}", isa.name()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn f32_engine_agrees_with_pytorch_on_masks_and_classes() {
    check(Precision::F32, |_| 1e-4);
}

#[test]
fn bf16_engine_agrees_with_pytorch_on_masks_and_classes_within_its_rounding() {
    // As for the goldens without them.
    check(Precision::Bf16, |name| if name.starts_with("loss") { 1e-2 } else { 2f64.powi(-9) * 48f64.sqrt() });
}
