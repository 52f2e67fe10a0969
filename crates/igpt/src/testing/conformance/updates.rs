//! Claims about what an optimizer's step changes and what it leaves unchanged.

use std::collections::BTreeMap;

use super::gradients::is_frozen;
use super::groups::told;
use super::{ADAM, MUON, Subject, tensors_of, weights_of};
use crate::device::{AdamUpdate, FinetuneObjective, HiddenUpdate, MuonUpdate, Precision, TrainOptions, Update};
use crate::image::ImageSize;
use crate::model::{Initialization, LrGroup, LrMultipliers, ModelConfig, initial_weights};
use crate::testing::{batch_for, classifier, random_batch, random_weights, tiny_network};

const DECAY: AdamUpdate = AdamUpdate { weight_decay: 0.1, ..ADAM.adam };

/// Checks that training overfits one batch to its entropy, in both formats and with both optimizers.
pub fn one_batch_is_overfitted_to_its_entropy(subject: &Subject<'_>) {
    let network = ModelConfig::new(ImageSize::square(8), 16, 32, 2, 2);
    let batch = random_batch(&network, 2);
    for (precision, hidden) in [
        (Precision::F32, ADAM.hidden),
        (Precision::Bf16, ADAM.hidden),
        (Precision::F32, MUON.hidden),
        (Precision::Bf16, MUON.hidden),
    ] {
        let update = Update { adam: AdamUpdate { lr: 3e-3, ..ADAM.adam }, hidden, ..ADAM };
        let weights = initial_weights(&network, Initialization::Paper, 0);
        let mut engine = subject.train(&network, &weights, &subject.training_by(precision, &update));
        for step in 0..160 {
            engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32).unwrap();
            // With its full learning rate, Muon does not come to rest.
            let mut update = update;
            if step >= 128 {
                update.adam.lr *= 0.1;
                update.hidden = match update.hidden {
                    HiddenUpdate::Muon(muon) => HiddenUpdate::Muon(MuonUpdate { lr: 0.1 * muon.lr, ..muon }),
                    HiddenUpdate::Adam => HiddenUpdate::Adam,
                };
            }
            engine.step(&update).unwrap();
        }
        let loss = engine.evaluate(&batch).unwrap().mean();
        let bound = (2f64).ln() / network.n_ctx() as f64 + 0.02;
        assert!(loss < bound, "{precision:?} {hidden:?}: a loss of {loss}, more than {bound}");
    }
}

/// Checks that frozen blocks and embeddings keep every bit, even under weight decay, while everything else changes.
pub fn frozen_blocks_and_embeddings_keep_every_bit(subject: &Subject<'_>) {
    let network = classifier(tiny_network(), 2);
    let before = random_weights(&network);
    for frozen_blocks in [1, 2] {
        for update in [Update { adam: DECAY, ..ADAM }, Update { adam: DECAY, ..MUON }] {
            let fine_tuning = FinetuneObjective { frozen_blocks, ..FinetuneObjective::default() };
            let options = TrainOptions { fine_tuning, ..subject.training_by(Precision::F32, &update) };
            let mut engine = subject.train(&network, &before, &options);
            for _ in 0..2 {
                engine.accumulate(&batch_for(&network, 2), 0.01).unwrap();
                engine.step(&update).unwrap();
            }
            let after = weights_of(&*engine);
            for tensor in tensors_of(&network) {
                let (same, name) = (before[tensor.range()] == after[tensor.range()], &tensor.name);
                assert_eq!(same, is_frozen(name, frozen_blocks), "whether {name} stays with {update:?}");
            }
        }
    }
}

/// Checks that a step clips by the global norm, that 0 turns clipping off, and that weight decay is decoupled.
pub fn a_step_clips_by_the_global_norm(subject: &Subject<'_>) {
    let network = tiny_network();
    // Large enough relative to eps, so that Adam's first step shows the gradient's size.
    let adam = AdamUpdate { eps: 1.0, ..ADAM.adam };
    let step = |scale: f32, clip: f32| {
        let update = Update { clip, adam, ..ADAM };
        let mut engine = subject.train(&network, &random_weights(&network), &subject.training(Precision::F32));
        engine.accumulate(&random_batch(&network, 2), scale).unwrap();
        (engine.step(&update).unwrap(), weights_of(&*engine))
    };
    let (norm, free) = step(0.01, 0.0);
    let (same, generous) = step(0.01, 2.0 * norm);
    assert!(norm > 0.0 && same == norm && free == generous, "a gradient of norm {norm} was clipped at twice that");
    let (before, clipped) = step(0.02, norm);
    assert!((before / norm - 2.0).abs() < 1e-4, "the norm {before} is not that before clipping, twice {norm}");
    let apart = free.iter().zip(&clipped).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "twice the gradient clipped to half steps elsewhere, {apart:e} away");
}

/// Returns the weights after two steps, so that moments count, over the same gradients whatever the weights are.
fn stepped(subject: &Subject<'_>, network: &ModelConfig, update: &Update) -> Vec<f32> {
    let options = subject.training_by(Precision::F32, update);
    let mut engine = subject.train(network, &random_weights(network), &options);
    let buckets = told(&mut *engine, &batch_for(network, 2)).1;
    engine.step(update).unwrap();
    for (range, values) in buckets {
        let twice: Vec<f32> = values.iter().map(|value| 2.0 * value).collect();
        engine.copy_gradient_in(range, &twice).unwrap();
    }
    engine.step(update).unwrap();
    weights_of(&*engine)
}

/// Checks each tensor's learning rate: layer-wise decay, width and head multipliers, for both optimizers.
pub fn the_rate_of_each_tensor_is_that_of_its_block_of_the_networks_width_and_of_the_head(subject: &Subject<'_>) {
    let network = classifier(ModelConfig { n_layer: 3, ..tiny_network() }, 2);
    let (layer_decay, width, head) = (0.5, 0.375, 3.0);
    for update in [Update { adam: DECAY, ..ADAM }, Update { adam: DECAY, ..MUON }] {
        let uneven =
            stepped(subject, &network, &Update { rates: LrMultipliers { layer_decay, width, head }, ..update });
        let mut even = BTreeMap::new();
        for tensor in tensors_of(&network) {
            let name = tensor.name.as_str();
            let above = match name.split('.').nth(2) {
                Some("0") => 2,
                Some("1") => 1,
                _ if name.contains("wte") || name.contains("wpe") => 2,
                _ => 0,
            };
            let classifier = name == "score.weight";
            let wide = tensor.hidden || name == "lm_head.weight" || classifier;
            assert_eq!(
                LrGroup::of(&tensor, 3),
                LrGroup { blocks_above: above, sums_width: wide, classifier },
                "{name}"
            );
            let muon = update.hidden != HiddenUpdate::Adam && tensor.hidden;
            let factor = layer_decay.powi(above as i32) * if wide && !muon { width } else { 1.0 };
            let factor = factor * if classifier { head } else { 1.0 };
            let expected = even.entry(factor.to_bits()).or_insert_with(|| {
                let mut even = Update { rates: LrMultipliers::ONES, ..update };
                even.adam.lr *= factor;
                if let HiddenUpdate::Muon(muon) = &mut even.hidden {
                    muon.lr *= factor;
                }
                stepped(subject, &network, &even)
            });
            assert!(uneven[tensor.range()] == expected[tensor.range()], "{name} with {update:?}");
        }
        assert!(even.len() > 3);
    }
}
