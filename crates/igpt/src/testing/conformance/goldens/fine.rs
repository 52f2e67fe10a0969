//! Claims about the masked objective and joint training with a classifier.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fixture::{Golden, Summary, batch, expect_within, hashes, read, relative, weights};
use crate::device::{EngineOptions, FinetuneObjective, Precision, TrainOptions};
use crate::model::{ClassHead, ModelConfig, Objective, ParamLayout};
use crate::testing::conformance::Subject;

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

/// Checks logits, losses and gradients of masked inputs and classes against PyTorch in f32.
pub fn f32_agrees_with_pytorch_on_masks_and_classes(subject: &Subject<'_>) {
    check(subject, Precision::F32);
}

/// Checks logits, losses and gradients of masked inputs and classes against PyTorch in bf16.
pub fn bf16_agrees_with_pytorch_on_masks_and_classes_within_its_rounding(subject: &Subject<'_>) {
    check(subject, Precision::Bf16);
}

fn check(subject: &Subject<'_>, precision: Precision) {
    let parity = match precision {
        Precision::F32 => subject.budget.parity_f32,
        Precision::Bf16 => subject.budget.parity_bf16,
    };
    let mut all = Vec::new();
    for case in CASES {
        for (name, error) in errors(subject, case, precision) {
            // All cases have two blocks.
            let budget = if name.starts_with("loss") { parity.loss } else { parity.result(2) };
            all.push((format!("{case}: {name}"), error, budget));
        }
    }
    expect_within(all);
}

fn errors(subject: &Subject<'_>, case: &str, precision: Precision) -> Vec<(String, f64)> {
    let fine: Fine = read(&format!("fine_{case}"));
    let golden: Golden = read(&fine.case);
    let objective = if fine.masked { Objective::Masked } else { Objective::Autoregressive };
    let class_head = fine.layer.zip(fine.num_labels).map(|(layer, num_labels)| ClassHead { num_labels, layer });
    let network = ModelConfig { objective, class_head, ..golden.network() };
    let mut batch = batch(&network, golden.images);
    let count = batch.tokens().len();
    if fine.masked {
        batch = batch.with_masks(hashes("masks").take(count).map(|h| h % 100 < 15).collect());
    }
    if let Some(head) = class_head {
        batch = batch.with_labels(hashes("labels").take(golden.images).map(|h| h % head.num_labels as u32).collect());
    }
    let fine_tuning = FinetuneObjective { generative_weight: fine.generative_weight, ..FinetuneObjective::default() };
    let options = EngineOptions { micro_batch: 1, ..subject.options(precision) };
    let options = TrainOptions { engine: options, fine_tuning, ..subject.training(precision) };
    let mut engine = subject.train(&network, &weights(&network, &fine.scales), &options);

    let mut errors = Vec::new();
    let mut logits = vec![0.0; count * network.n_vocab];
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
    for tensor in ParamLayout::new(&network).tensors() {
        let error = fine.gradients[&tensor.name].error(&engine.copy_gradient(&tensor.name).unwrap());
        errors.push((format!("gradient of {}", tensor.name), error));
    }
    errors
}
