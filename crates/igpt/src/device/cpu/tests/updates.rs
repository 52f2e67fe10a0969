//! What an optimiser's step changes and what it leaves alone.

use super::*;

#[test]
fn padding_stays_zero_under_training() {
    let config = odd();
    let layout = Layout::new(&config);
    for update in [ADAM, MUON, MUON_HEADS] {
        for precision in [Precision::F32, Precision::Bf16] {
            let options = Options { training: Some(update.optimizer()), ..options(precision, Isa::detect(), 2) };
            let mut engine = open(&config, &random_weights(&config), options).unwrap();
            for _ in 0..3 {
                engine.accumulate(&random_batch(&config, 2), 0.01).unwrap();
                engine.step(&update).unwrap();
            }
            let state = engine.state();
            for mut arena in [state.weights.to_vec(), state.moment1.to_vec()] {
                for tensor in layout.tensors() {
                    layout.import(tensor, &vec![0.0; tensor.len()], &mut arena).unwrap();
                }
                assert!(arena.iter().all(|value| *value == 0.0), "{update:?}");
            }
        }
    }
}

#[test]
fn an_engine_refuses_the_other_optimizer_by_name() {
    let config = odd();
    let adam = options(Precision::F32, Isa::detect(), 1);
    let mut engine = init(&config, 0, adam).unwrap();
    let other = init(&config, 0, Options { training: Some(Optimizer::Muon), ..adam }).unwrap();
    for error in [engine.step(&MUON).unwrap_err(), engine.restore(other.state()).unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains("muon was given to an engine opened for adam"), "{message}");
    }
}

#[test]
fn one_batch_is_overfitted_to_its_entropy() {
    let config = ModelConfig::new(ImageSize::square(8), 16, 64, 2, 2);
    let batch = random_batch(&config, 4);
    for (precision, muon) in
        [(Precision::F32, None), (Precision::Bf16, None), (Precision::F32, MUON.muon), (Precision::Bf16, MUON.muon)]
    {
        let update = Update { adam: AdamUpdate { lr: 3e-3, ..ADAM.adam }, muon, ..ADAM };
        let options = Options { training: Some(update.optimizer()), ..options(precision, Isa::detect(), 2) };
        let mut engine = init(&config, 0, options).unwrap();
        for _ in 0..250 {
            engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32).unwrap();
            engine.step(&update).unwrap();
        }
        let loss = engine.evaluate(&batch).unwrap().mean();
        let bound = (4f64).ln() / config.n_ctx() as f64 + 0.05;
        assert!(loss < bound, "{precision:?} {muon:?}: {loss} against {bound}");
    }
}

#[test]
fn frozen_blocks_and_embeddings_keep_every_bit() {
    for frozen_blocks in [1, 2] {
        let config = classifier(odd(), 2);
        let layout = Layout::new(&config);
        let decay = AdamUpdate { weight_decay: 0.1, ..ADAM.adam };
        for update in [Update { adam: decay, ..ADAM }, Update { adam: decay, ..MUON }] {
            let fine_tuning = FineTuning { frozen_blocks, ..FineTuning::default() };
            let options =
                Options { fine_tuning, training: Some(update.optimizer()), ..Options::training(Precision::F32) };
            let before = random_weights(&config);
            let mut engine = open(&config, &before, options).unwrap();
            for _ in 0..2 {
                engine.accumulate(&batch_for(&config, 2), 0.01).unwrap();
                engine.step(&update).unwrap();
            }
            let after = engine.state().weights;
            for tensor in layout.tensors() {
                let below = (0..frozen_blocks).any(|l| tensor.name.starts_with(&format!("transformer.h.{l}.")));
                let stays = below || tensor.name.contains("wte") || tensor.name.contains("wpe");
                assert_eq!(before[tensor.range()] == after[tensor.range()], stays, "{} {update:?}", tensor.name);
            }
        }
    }
    let options = Options {
        fine_tuning: FineTuning { frozen_blocks: 3, ..FineTuning::default() },
        ..Options::training(Precision::F32)
    };
    assert!(init(&odd(), 0, options).err().unwrap().to_string().contains("3 blocks are to be frozen"));
}

/// The weights after two steps, so that moments count, over the same gradients whatever the weights are.
fn stepped(config: &ModelConfig, update: &Update) -> Vec<f32> {
    let options = Options { training: Some(update.optimizer()), ..options(Precision::F32, Isa::detect(), 2) };
    let mut engine = open(config, &random_weights(config), options).unwrap();
    for seed in 1..3u32 {
        let gradients = engine.gradients();
        gradients.copy_from_slice(&random_weights(config));
        gradients.iter_mut().for_each(|value| *value *= 0.01 * seed as f32);
        engine.step(update).unwrap();
    }
    engine.state().weights.to_vec()
}

#[test]
fn the_rate_of_each_tensor_is_that_of_its_block_and_of_the_networks_width() {
    let config = classifier(ModelConfig { n_layer: 3, ..odd() }, 2);
    let decay = AdamUpdate { weight_decay: 0.1, ..ADAM.adam };
    let (layer_decay, width) = (0.5, 0.375);
    for update in [Update { adam: decay, ..ADAM }, Update { adam: decay, ..MUON }] {
        let uneven = stepped(&config, &Update { rates: Rates { layer_decay, width }, ..update });
        let mut even = std::collections::BTreeMap::new();
        for tensor in Layout::new(&config).tensors() {
            let name = tensor.name.as_str();
            let above = match name.split('.').nth(2) {
                Some("0") => 2,
                Some("1") => 1,
                _ if name.contains("wte") || name.contains("wpe") => 2,
                _ => 0,
            };
            let wide = tensor.hidden || name == "lm_head.weight" || name == "score.weight";
            assert_eq!(RateGroup::of(tensor, 3), RateGroup { blocks_above: above, sums_width: wide }, "{name}");
            let muon = update.muon.is_some() && tensor.hidden;
            let factor = layer_decay.powi(above as i32) * if wide && !muon { width } else { 1.0 };
            let expected = even.entry(factor.to_bits()).or_insert_with(|| {
                let mut even = Update { rates: Rates::EVEN, ..update };
                even.adam.lr *= factor;
                even.muon.iter_mut().for_each(|muon| muon.lr *= factor);
                stepped(&config, &even)
            });
            assert!(uneven[tensor.range()] == expected[tensor.range()], "{name} {update:?}");
        }
        assert!(even.len() > 3);
    }
}
