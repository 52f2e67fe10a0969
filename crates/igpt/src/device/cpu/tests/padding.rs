//! The padding of the arenas.

use super::*;
use crate::device::cpu::setup::Setup;
use crate::device::cpu::training::TrainingEngine;
use igpt_kernels::{Scalar, bf16};

#[test]
fn padding_stays_zero_under_training() {
    for update in [ADAM, MUON] {
        check::<f32>(Precision::F32, &update);
        check::<bf16>(Precision::Bf16, &update);
    }
}

fn check<S: Scalar>(precision: Precision, update: &Update) {
    let network = tiny_network();
    let options = TrainOptions { ema: true, ..options(precision, 2, update) };
    let setup = Setup::training(Isa::detect(), &options);
    let mut engine = TrainingEngine::<S>::new(&network, &random_weights(&network), &setup, &options);
    for _ in 0..3 {
        engine.accumulate(&random_batch(&network, 2), 0.01).unwrap();
        engine.step(update).unwrap();
        engine.update_ema(0.5).unwrap();
    }
    for state in EngineState::ALL {
        let (layout, arena) = engine.held(state);
        let mut padding = arena.to_vec();
        for tensor in layout.tensors() {
            tensor.import(&vec![0.0; tensor.of.len()], &mut padding).unwrap();
        }
        assert!(padding.iter().all(|value| *value == 0.0), "{state:?} of {update:?}");
        assert!(padding.len() > layout.tensors().iter().map(|tensor| tensor.of.len()).sum(), "nothing is padded");
    }
}
