//! Claims about three steps of Muon.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::adam::{ADAM, travel};
use super::fixture::{Golden, Summary, expect_within, read, relative};
use crate::device::{EngineOptions, HiddenUpdate, MuonUpdate, Optimizer, Precision, TrainOptions, Update};
use crate::model::{LrMultipliers, ParamLayout};
use crate::testing::conformance::Subject;

#[derive(Deserialize)]
struct Trained {
    after_three_steps: BTreeMap<String, Summary>,
    nats_after_three_steps: Vec<f64>,
}

const CASES: [&str; 3] = ["head16_biases", "head24_odd", "head64_long"];

/// Checks weights, their updates and the loss under Muon against PyTorch in f32.
pub fn f32_agrees_with_pytorch_on_muon(subject: &Subject<'_>) {
    check(subject, Precision::F32, subject.budget.muon_f32);
}

/// Checks weights, their updates and the loss under Muon against PyTorch in bf16.
pub fn bf16_agrees_with_pytorch_on_muon_within_its_rounding(subject: &Subject<'_>) {
    check(subject, Precision::Bf16, subject.budget.muon_bf16);
}

fn check(subject: &Subject<'_>, precision: Precision, [of_tensor, hidden_way, other_way, loss]: [f64; 4]) {
    let muon = MuonUpdate { lr: 0.02, momentum: 0.95, weight_decay: 0.1 };
    let update = Update { clip: 1.0, adam: ADAM, hidden: HiddenUpdate::Muon(muon), rates: LrMultipliers::ONES };
    let mut all = Vec::new();
    for case in CASES {
        let golden: Trained = read(&format!("muon_{case}"));
        let start: Golden = read(case);
        let (network, batch) = (start.network(), start.batch());
        let options = EngineOptions { micro_batch: 1, ..subject.options(precision) };
        let options = TrainOptions { engine: options, optimizer: Optimizer::Muon, ..subject.training(precision) };
        let mut engine = subject.train(&network, &start.weights(), &options);
        for _ in 0..3 {
            engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32).unwrap();
            engine.step(&update).unwrap();
        }
        let mut found = Vec::new();
        travel(&network, &start.weights(), &*engine, &golden.after_three_steps, &mut found);
        for (name, error) in found {
            let hidden = ParamLayout::new(&network).tensors().iter().any(|t| t.hidden && name.contains(&t.name));
            let budget = match (name.starts_with("way of"), hidden) {
                (false, _) => of_tensor,
                (true, true) => hidden_way,
                (true, false) => other_way,
            };
            all.push((format!("{case}: {name}"), error, budget));
        }
        let nats = engine.evaluate(&batch).unwrap().nats;
        all.push((format!("{case}: loss after three steps"), relative(&nats, &golden.nats_after_three_steps), loss));
    }
    expect_within(all);
}
