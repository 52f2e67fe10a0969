//! Three steps of Muon against PyTorch's, q, k and v as whole matrices and by heads.

use std::collections::BTreeMap;

use igpt::cpu::Isa;
use igpt::device::{MuonUpdate, Optimizer, Precision, Update};
use igpt::model::Rates;
use serde::Deserialize;

use super::{ADAM, Summary, open, read, travel};

#[derive(Deserialize)]
struct Trained {
    after_three_steps: BTreeMap<String, Summary>,
    nats_after_three_steps: Vec<f64>,
}

const CASES: [&str; 3] = ["head16_biases", "head24_odd", "head64_long"];

/// The largest error of each kind: of a tensor, of the way that a hidden matrix went, of that of another tensor, of
/// the loss.
fn errors(case: &str, cut: &str, precision: Precision, isa: Isa) -> [f64; 4] {
    let golden: BTreeMap<String, Trained> = read(&format!("muon_{case}"));
    let golden = &golden[cut];
    let mut model = open(case, precision, isa, Optimizer::Muon);
    let muon = MuonUpdate { lr: 0.02, momentum: 0.95, weight_decay: 0.1, heads: cut == "heads" };
    let update = Update { clip: 1.0, adam: ADAM, muon: Some(muon), rates: Rates::EVEN };
    for _ in 0..3 {
        model.engine.accumulate(&model.batch, 1.0 / model.batch.tokens().len() as f32).unwrap();
        model.engine.step(&update).unwrap();
    }
    let mut found = Vec::new();
    let after = model.engine.state().weights;
    travel(&model.layout, &model.arena, after, model.golden.config.n_embd, &golden.after_three_steps, &mut found);
    let mut worst = [0.0; 4];
    for (name, error) in found {
        let hidden = model.layout.tensors().iter().any(|t| t.hidden && name.contains(&t.name));
        let kind = match (name.starts_with("way of"), hidden) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        assert!(error.is_finite(), "{name}");
        worst[kind] = f64::max(worst[kind], error);
    }
    let nats = model.engine.evaluate(&model.batch).unwrap().nats;
    for (have, want) in nats.iter().zip(&golden.nats_after_three_steps) {
        worst[3] = f64::max(worst[3], (have - want).abs() / want);
    }
    worst
}

fn check(precision: Precision, budgets: [f64; 4]) {
    for case in CASES {
        for cut in ["whole", "heads"] {
            for isa in Isa::available() {
                let errors = errors(case, cut, precision, isa);
                if std::env::var_os("IGPT_PRINT_ERRORS").is_some() {
                    eprintln!("{case} {cut} {}: {errors:.6?}", isa.name());
                }
                let within = errors.iter().zip(budgets).all(|(error, budget)| *error <= budget);
                assert!(within, "{case} {cut} on {}: {errors:.6?}, budgets {budgets:.6?}", isa.name());
            }
        }
    }
}

#[test]
fn f32_engine_agrees_with_pytorch_on_muon() {
    // Newton–Schulz raises tiny singular values, and with them the gradient's rounding, up to 485 times; Adam's part is
    // the worst, as in the goldens of Adam alone.
    check(Precision::F32, [1e-5, 1e-4, 1e-3, 1e-5]);
}

#[test]
fn bf16_engine_agrees_with_pytorch_on_muon_within_its_rounding() {
    check(Precision::Bf16, [1e-2, 0.1, 0.5, 5e-3]);
}
