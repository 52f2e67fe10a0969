//! What must not change a bit: threads, micro-batches, what is made again, a restored state, shares.

use super::*;

#[test]
fn without_a_generative_loss_the_shorter_pass_gives_the_bits_of_the_whole_one() {
    // The smallest weight there is: times the scale it is zero, but no reason to leave anything out.
    let whole = f32::from_bits(1);
    for (config, frozen_blocks) in [
        (classifier(odd(), 2), 0),
        (classifier(odd(), 2), 2),
        (classifier(odd(), 1), 0),
        (classifier(odd(), 1), 1),
        (classifier(odd(), 0), 0),
        (classifier(odd(), 0), 1),
        (classifier(masked(), 1), 0),
    ] {
        let (weights, labelled) = (random_weights(&config), batch_for(&config, 3));
        let plain = batch_for(&ModelConfig { class_head: None, ..config.clone() }, 3);
        let scale = 1.0 / plain.tokens().len() as f32;
        for (precision, update) in [(Precision::F32, ADAM), (Precision::Bf16, MUON)] {
            let train = |generative_weight: f32| {
                let fine_tuning = FineTuning { generative_weight, frozen_blocks };
                let training = Some(update.optimizer());
                let options = Options { fine_tuning, training, micro_batch: 1, ..Options::training(precision) };
                let mut engine = open(&config, &weights, options).unwrap();
                let mut bits = Vec::new();
                // The first step, on pixels, leaves gradients everywhere.
                for batch in [&plain, &labelled, &labelled] {
                    let sum = engine.accumulate(batch, scale).unwrap();
                    assert_eq!(sum.nats.is_empty(), generative_weight == 0.0 && batch.labels().is_some());
                    bits.extend(sum.class_nats.iter().map(|nats| nats.to_bits()));
                    bits.extend(engine.gradients().iter().map(|g| g.to_bits() as u64));
                    engine.step(&update).unwrap();
                }
                bits.extend(engine.state().weights.iter().map(|w| w.to_bits() as u64));
                bits
            };
            assert!(train(0.0) == train(whole), "{config:?}, {frozen_blocks} frozen, {precision:?}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_micro_batches_or_what_is_made_again() {
    let updates = [
        (Precision::F32, ADAM),
        (Precision::Bf16, ADAM),
        (Precision::F32, MUON),
        (Precision::Bf16, MUON),
        (Precision::Bf16, MUON_HEADS),
    ];
    check_bits(odd(), FineTuning::default(), &Isa::available(), &updates);
    // Images of several pieces even where tiles make these long, and of an odd number of tokens.
    for side in [24, 17] {
        let large = ModelConfig { n_px: ImageSize::square(side), n_layer: 1, ..odd() };
        check_bits(large, FineTuning::default(), &[Isa::detect()], &updates[3..4]);
    }
}

#[test]
fn bits_of_masked_and_joint_training_do_not_depend_on_those_either() {
    let (isas, updates) = ([Isa::detect()], [(Precision::F32, ADAM), (Precision::Bf16, MUON)]);
    check_bits(classifier(odd(), 1), FineTuning { generative_weight: 0.5, frozen_blocks: 1 }, &isas, &updates);
    check_bits(classifier(masked(), 2), FineTuning::default(), &isas, &updates);
    let deep = ModelConfig { n_layer: 4, ..odd() };
    check_bits(classifier(deep, 3), FineTuning { generative_weight: 0.0, frozen_blocks: 0 }, &isas, &updates);
}

fn check_bits(config: ModelConfig, fine_tuning: FineTuning, isas: &[Isa], updates: &[(Precision, Update)]) {
    let weights = random_weights(&config);
    let batch = batch_for(&config, 5);
    for &isa in isas {
        for &(precision, update) in updates {
            let mut results = Vec::new();
            for (threads, micro_batch) in [(1, 5), (2, 5), (3, 5), (2, 1), (3, 2), (1, 3)] {
                let options = options(precision, isa, threads);
                let recompute = threads != 2;
                let options =
                    Options { micro_batch, recompute, fine_tuning, training: Some(update.optimizer()), ..options };
                let mut engine = open(&config, &weights, options).unwrap();
                let mut bits = Vec::new();
                for _ in 0..2 {
                    let loss = engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32).unwrap();
                    let norm = engine.step(&update).unwrap();
                    bits.extend(loss.nats.iter().chain(&loss.class_nats).map(|nats| nats.to_bits()));
                    bits.push(norm.to_bits() as u64);
                }
                bits.extend(engine.state().weights.iter().map(|w| w.to_bits() as u64));
                results.push(bits);
            }
            assert!(results.iter().all(|bits| bits == &results[0]), "{precision:?} on {}: {update:?}", isa.name());
        }
    }
}

#[test]
fn a_restored_state_goes_on_to_the_same_bits_with_either_optimizer() {
    let config = odd();
    let layout = Layout::new(&config);
    let batch = random_batch(&config, 2);
    for update in [ADAM, MUON] {
        let options = Options { training: Some(update.optimizer()), ..options(Precision::Bf16, Isa::detect(), 2) };
        let go = |engine: &mut dyn Engine| {
            engine.accumulate(&batch, 0.01).unwrap();
            engine.step(&update).unwrap();
        };
        let mut engine = open(&config, &random_weights(&config), options).unwrap();
        go(&mut *engine);
        let mut other = init(&config, 1, options).unwrap();
        go(&mut *other);
        other.restore(engine.state()).unwrap();
        go(&mut *engine);
        go(&mut *other);
        let (a, b) = (engine.state(), other.state());
        assert!((a.weights, a.moment1, a.moment2, a.step) == (b.weights, b.moment1, b.moment2, b.step));
        assert_eq!(a.moment2.len(), layout.second_moments(update.optimizer()).arena_len());
    }
}

#[test]
fn engines_of_shares_step_to_the_bits_of_one_that_owns_all() {
    let config = odd();
    let weights = random_weights(&config);
    for (optimizer, update, frozen_blocks) in
        [(Optimizer::Adam, ADAM, 0), (Optimizer::Muon, MUON, 0), (Optimizer::Muon, MUON_HEADS, 1)]
    {
        let fine_tuning = FineTuning { frozen_blocks, ..FineTuning::default() };
        let options = Options { training: Some(optimizer), fine_tuning, ..Options::training(Precision::F32) };
        let open = |share| super::open(&config, &weights, Options { share, ..options }).unwrap();
        let mut whole = open((0, 1));
        let count = 4;
        let mut shares: Vec<_> = (0..count).map(|share| open((share, count))).collect();
        for seed in 0..2 {
            let batch = batch_for(&config, 2 + seed);
            whole.accumulate(&batch, 0.01).unwrap();
            whole.step(&update).unwrap();
            for engine in &mut shares {
                engine.accumulate(&batch, 0.01).unwrap();
                engine.step(&update).unwrap();
            }
            let parts: Vec<_> = shares.iter().map(|engine| &engine.state().weights[engine.owned()]).collect();
            let all = parts.concat();
            shares.iter_mut().for_each(|engine| engine.renew(&all).unwrap());
        }
        let state = whole.state();
        let batch = batch_for(&config, 3);
        let mut held = 0;
        for engine in &mut shares {
            assert!(engine.state().weights == state.weights, "{count} shares of {optimizer:?}");
            assert!(engine.state().moment1 == &state.moment1[engine.owned()]);
            held += engine.state().moment2.len();
        }
        assert_eq!(held, state.moment2.len());
        // The packed copies are those of the new weights.
        let expected = whole.evaluate(&batch).unwrap();
        assert!(shares.iter_mut().all(|engine| engine.evaluate(&batch).unwrap() == expected));
    }
}
