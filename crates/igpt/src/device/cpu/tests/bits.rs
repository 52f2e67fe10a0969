//! Threads do not change bits, whatever else changes.

use super::*;
use crate::image::ImageSize;

const UPDATES: [(Precision, Update); 4] =
    [(Precision::F32, ADAM), (Precision::Bf16, ADAM), (Precision::F32, MUON), (Precision::Bf16, MUON)];

#[test]
fn bits_do_not_depend_on_threads() {
    check(tiny_network(), FinetuneObjective::default(), &Isa::available(), &UPDATES);
    // Images of several pieces even where tiles make these long, and of an odd number of tokens.
    for side in [24, 17] {
        let large = ModelConfig { n_px: ImageSize::square(side), n_layer: 1, ..tiny_network() };
        check(large, FinetuneObjective::default(), &[Isa::detect()], &UPDATES[3..]);
    }
}

#[test]
fn bits_of_masked_and_joint_training_do_not_depend_on_threads_either() {
    let (isas, updates) = ([Isa::detect()], [UPDATES[0], UPDATES[3]]);
    let fine_tuning =
        |generative_weight, frozen_blocks| FinetuneObjective { generative_weight, frozen_blocks, label_smoothing: 0.1 };
    check(classifier(tiny_network(), 1), fine_tuning(0.5, 1), &isas, &updates);
    check(classifier(masked_network(), 2), FinetuneObjective::default(), &isas, &updates);
    let deep = ModelConfig { n_layer: 4, ..tiny_network() };
    check(classifier(deep, 3), fine_tuning(0.0, 0), &isas, &updates);
}

fn check(network: ModelConfig, fine_tuning: FinetuneObjective, isas: &[Isa], updates: &[(Precision, Update)]) {
    let batch = batch_for(&network, 5);
    for &isa in isas {
        for &(precision, update) in updates {
            let train = |(threads, micro_batch)| {
                let options = options(precision, threads, &update);
                let engine = EngineOptions { micro_batch, ..options.engine };
                let recompute = threads != 2;
                let options = TrainOptions { engine, recompute, fine_tuning, ema: true, ..options };
                let mut engine = open(isa, &network, &options);
                let mut bits = Vec::new();
                for _ in 0..2 {
                    let loss = engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32).unwrap();
                    let norm = engine.step(&update).unwrap();
                    engine.update_ema(0.3).unwrap();
                    bits.extend(loss.nats.iter().chain(&loss.class_nats).map(|nats| nats.to_bits()));
                    bits.push(norm.to_bits() as u64);
                }
                for state in EngineState::ALL {
                    for tensor in engine.tensors(state) {
                        bits.extend(engine.export(state, &tensor).unwrap().iter().map(|value| value.to_bits() as u64));
                    }
                }
                bits
            };
            let expected = train((1, 5));
            let same = [(2, 5), (3, 2), (2, 1)].into_iter().all(|cut| train(cut) == expected);
            assert!(same, "{precision:?} on {}: {update:?}", isa.name());
        }
    }
}
