//! The engine against itself and against finite differences; `tests/goldens` compares it with PyTorch.

use super::*;
use crate::data::{Batch, Masking};
use crate::model::{AdamUpdate, ClassHead, ImageSize, MuonUpdate, Objective, Pooling, RateGroup, Rates, State, Update};
use crate::rng::{Purpose, Rng};

const ADAM: Update = Update {
    clip: 1.0,
    adam: AdamUpdate { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 },
    muon: None,
    rates: Rates::EVEN,
};

const MUON: Update =
    Update { muon: Some(MuonUpdate { lr: 0.02, momentum: 0.9, weight_decay: 0.1, heads: false }), ..ADAM };

const MUON_HEADS: Update =
    Update { muon: Some(MuonUpdate { lr: 0.02, momentum: 0.9, weight_decay: 0.1, heads: true }), ..ADAM };

/// A network with nothing round about it: padded channels, heads and colours, and biases.
fn odd() -> ModelConfig {
    let mut config = ModelConfig::new(ImageSize { height: 8, width: 9 }, 61, 36, 2, 3);
    config.biases = true;
    config
}

/// Random weights of a size that makes every part of the network matter.
fn random_weights(config: &ModelConfig) -> Vec<f32> {
    let layout = Layout::new(config);
    let mut arena = vec![0.0; layout.arena_len()];
    for (index, tensor) in layout.tensors().iter().enumerate() {
        let mut rng = Rng::new(7, Purpose::Init, index as u64, 0);
        let centre = if tensor.name.contains("ln_") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..tensor.len()).map(|_| (centre + 0.15 * rng.normal()) as f32).collect();
        layout.import(tensor, &values, &mut arena).unwrap();
    }
    arena
}

fn random_batch(config: &ModelConfig, images: usize) -> Batch {
    let mut rng = Rng::new(3, Purpose::Sample, 0, 0);
    let tokens = (0..images * config.n_ctx()).map(|_| rng.below(config.n_vocab as u64) as u16).collect();
    Batch::new(tokens, config.n_ctx())
}

fn options(precision: Precision, isa: Isa, threads: usize) -> Options {
    Options { threads, isa, ..Options::training(precision) }
}

/// The odd network with masked inputs.
fn masked() -> ModelConfig {
    ModelConfig { objective: Objective::Masked, ..odd() }
}

/// `config` with a classifier of five classes on `layer`.
fn classifier(config: ModelConfig, layer: usize) -> ModelConfig {
    ModelConfig { class_head: Some(ClassHead { num_labels: 5, layer }), ..config }
}

/// A batch for `config`: masked if it wants that, labelled if it has a classifier.
fn batch_for(config: &ModelConfig, images: usize) -> Batch {
    let mut batch = random_batch(config, images);
    if config.objective == Objective::Masked {
        batch = Masking::training(1, 0.3).mask(batch, 0);
    }
    match config.class_head {
        Some(head) => batch.with_labels((0..images as u32).map(|i| (i * 3 + 1) % head.num_labels as u32).collect()),
        None => batch,
    }
}

#[test]
fn gradients_match_central_differences() {
    check_gradients(odd(), FineTuning::default());
}

#[test]
fn gradients_of_masked_inputs_match_central_differences() {
    check_gradients(masked(), FineTuning::default());
}

#[test]
fn gradients_of_the_joint_loss_match_central_differences() {
    for layer in 0..3 {
        check_gradients(classifier(odd(), layer), FineTuning { generative_weight: 0.02, frozen_blocks: 0 });
    }
    check_gradients(classifier(masked(), 1), FineTuning { generative_weight: 0.0, frozen_blocks: 0 });
    for frozen_blocks in 1..3 {
        check_gradients(classifier(odd(), 1), FineTuning { generative_weight: 0.02, frozen_blocks });
    }
}

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

/// Those of what is frozen must be zero.
fn check_gradients(config: ModelConfig, fine_tuning: FineTuning) {
    let weights = random_weights(&config);
    let batch = batch_for(&config, 2);
    let frozen = |name: &str| {
        let block = name.strip_prefix("transformer.h.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let embedding = name.contains("wte") || name.contains("wpe");
        fine_tuning.frozen_blocks > 0 && (embedding || block.is_some_and(|block| block < fine_tuning.frozen_blocks))
    };
    for isa in Isa::available() {
        let options = Options { fine_tuning, ..options(Precision::F32, isa, 2) };
        let mut engine = open(&config, &weights, options).unwrap();
        engine.accumulate(&batch, 1.0).unwrap();
        let gradients = engine.gradients().to_vec();
        let zeros = vec![0.0; weights.len()];
        let mut loss_at = |weights: &[f32]| {
            engine
                .restore(State { weights, optimizer: Optimizer::Adam, moment1: &zeros, moment2: &zeros, step: 0 })
                .unwrap();
            let sum = engine.evaluate(&batch).unwrap();
            let generative = if config.class_head.is_some() { fine_tuning.generative_weight as f64 } else { 1.0 };
            let classes = batch.n_ctx() as f64 * sum.class_nats.iter().sum::<f64>();
            generative * sum.nats.iter().sum::<f64>() + classes
        };
        for (index, tensor) in Layout::new(&config).tensors().iter().enumerate() {
            if frozen(&tensor.name) {
                assert!(gradients[tensor.range()].iter().all(|g| *g == 0.0), "{}", tensor.name);
                continue;
            }
            // Along the gradient's signs mixed with chance the slope is large, so that rounding matters little.
            let mut rng = Rng::new(1, Purpose::Sample, index as u64, 0);
            let direction: Vec<(usize, f32)> = tensor
                .range()
                .filter(|i| gradients[*i] != 0.0)
                .map(|i| (i, if rng.uniform() < 0.8 { gradients[i].signum() } else { -gradients[i].signum() }))
                .collect();
            let slope: f64 = direction.iter().map(|(i, d)| gradients[*i] as f64 * *d as f64).sum();
            let step = (0.05 / slope.abs().max(1e-3)).min(1e-3);
            let mut moved = |sign: f64| {
                let mut weights = weights.clone();
                for (i, d) in &direction {
                    weights[*i] += (sign * step * *d as f64) as f32;
                }
                loss_at(&weights)
            };
            let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let error = (numeric - slope).abs() / slope.abs().max(1e-3);
            assert!(error < 2e-2, "{} on {}: {slope} against {numeric}", tensor.name, isa.name());
        }
    }
}

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
fn bits_do_not_depend_on_threads_or_micro_batches_or_what_is_made_again() {
    let updates = [
        (Precision::F32, ADAM),
        (Precision::Bf16, ADAM),
        (Precision::F32, MUON),
        (Precision::Bf16, MUON),
        (Precision::Bf16, MUON_HEADS),
    ];
    check_bits(odd(), FineTuning::default(), &Isa::available(), &updates);
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
fn kv_cache_matches_full_forward() {
    for (config, given) in [(odd(), 13), (ModelConfig::new(ImageSize::square(8), 16, 64, 2, 2), 32)] {
        let weights = random_weights(&config);
        let batch = random_batch(&config, 2);
        let (n_ctx, n_vocab) = (config.n_ctx(), config.n_vocab);
        for isa in Isa::available() {
            for (precision, int8, budget) in
                [(Precision::F32, false, 1e-5), (Precision::Bf16, false, 2e-2), (Precision::Bf16, true, 5e-2)]
            {
                let options = Options { int8, ..options(precision, isa, 2) };
                let mut engine = open(&config, &weights, options).unwrap();
                let mut full = vec![0.0; 2 * n_ctx * n_vocab];
                engine.logits(&batch, &mut full).unwrap();
                let mut decoder = engine.decoder(2).unwrap();
                let mut logits = vec![0.0; 2 * n_vocab];
                // Row 0 starts from nothing, row 1 from some given tokens; then both go on together.
                decoder.start(0, &[], &mut logits[..n_vocab]).unwrap();
                decoder.start(1, &batch.image(1)[..given], &mut logits[n_vocab..]).unwrap();
                for step in 0..n_ctx - given {
                    for (row, position) in [(0, step), (1, given + step)] {
                        let want = &full[(row * n_ctx + position) * n_vocab..][..n_vocab];
                        let error = relative_error(&logits[row * n_vocab..][..n_vocab], want);
                        assert!(error < budget, "{precision:?} {} row {row} at {position}: {error}", isa.name());
                    }
                    if given + step + 1 < n_ctx {
                        let inputs = [(0, batch.image(0)[step]), (1, batch.image(1)[given + step])];
                        decoder.step(&inputs, &mut logits).unwrap();
                    }
                }
            }
        }
    }
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f32| (x as f64) * (x as f64);
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(a - b)).sum();
    (difference / want.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

#[test]
fn a_decoder_row_does_not_depend_on_its_neighbours() {
    let config = odd();
    let engine = open(&config, &random_weights(&config), options(Precision::Bf16, Isa::detect(), 2)).unwrap();
    let image = random_batch(&config, 1);
    let n_vocab = config.n_vocab;
    let draw = |rows: usize, mine: usize| {
        let mut decoder = engine.decoder(rows).unwrap();
        let mut logits = vec![0.0; rows * n_vocab];
        for row in 0..rows {
            decoder.start(row, &[], &mut logits[..n_vocab]).unwrap();
        }
        for t in 0..20 {
            let token = |row: usize| if row == mine { image.image(0)[t] } else { (row + t) as u16 };
            let inputs: Vec<_> = (0..rows).map(|row| (row, token(row))).collect();
            decoder.step(&inputs, &mut logits).unwrap();
        }
        logits[mine * n_vocab..][..n_vocab].to_vec()
    };
    let alone = draw(1, 0);
    assert_eq!(alone, draw(3, 2));
    assert_eq!(alone, draw(17, 9));
}

#[test]
fn a_copied_row_goes_on_to_the_bits_of_the_original() {
    let config = odd();
    let (weights, batch, n_vocab) = (random_weights(&config), random_batch(&config, 2), config.n_vocab);
    for (precision, int8) in [(Precision::F32, false), (Precision::Bf16, false), (Precision::F32, true)] {
        let options = Options { int8, ..options(precision, Isa::detect(), 2) };
        let mut decoder = open(&config, &weights, options).unwrap().decoder(3).unwrap();
        let mut logits = vec![0.0; 2 * n_vocab];
        // The row that is copied over was at another pixel of another image.
        decoder.start(0, &batch.image(0)[..7], &mut logits[..n_vocab]).unwrap();
        decoder.start(2, &batch.image(1)[..20], &mut logits[n_vocab..]).unwrap();
        decoder.copy(0, 2).unwrap();
        for t in 7..config.n_ctx() - 1 {
            let token = batch.image(0)[t];
            decoder.step(&[(0, token), (2, token)], &mut logits).unwrap();
            assert_eq!(logits[..n_vocab], logits[n_vocab..], "pixel {t} of {precision:?}, int8 {int8}");
        }
        assert!(decoder.copy(0, 3).is_err());
    }
}

#[test]
fn changing_a_pixel_leaves_the_logits_up_to_it_alone() {
    let config = odd();
    let mut engine = open(&config, &random_weights(&config), options(Precision::Bf16, Isa::detect(), 2)).unwrap();
    let (n_ctx, n_vocab) = (config.n_ctx(), config.n_vocab);
    let before = random_batch(&config, 1);
    let mut base = vec![0.0; n_ctx * n_vocab];
    engine.logits(&before, &mut base).unwrap();
    for t in [0, 1, 8, 31, n_ctx - 2] {
        let mut tokens = before.tokens().to_vec();
        tokens[t] = (tokens[t] + 1) % n_vocab as u16;
        let mut changed = vec![0.0; n_ctx * n_vocab];
        engine.logits(&Batch::new(tokens, n_ctx), &mut changed).unwrap();
        assert_eq!(base[..(t + 1) * n_vocab], changed[..(t + 1) * n_vocab], "logits up to {t}");
        assert_ne!(base[(t + 1) * n_vocab..], changed[(t + 1) * n_vocab..], "logits after {t}");
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
fn a_fresh_model_knows_nothing() {
    let config = odd();
    let mut engine = init(&config, 0, Options::inference(Precision::F32)).unwrap();
    let loss = engine.evaluate(&random_batch(&config, 1)).unwrap().mean();
    assert!((loss - (61f64).ln()).abs() < 1e-6, "{loss}");
}

#[test]
fn pixel_nats_sum_to_the_images_nats() {
    let config = odd();
    let mut engine = open(&config, &random_weights(&config), Options::inference(Precision::F32)).unwrap();
    let batch = random_batch(&config, 3);
    let mut nats = vec![0.0; batch.tokens().len()];
    engine.pixel_nats(&batch, &mut nats).unwrap();
    let sums: Vec<f64> = nats.chunks(config.n_ctx()).map(|image| image.iter().map(|n| *n as f64).sum()).collect();
    assert_eq!(engine.evaluate(&batch).unwrap().nats, sums);
}

#[test]
fn features_of_a_layer_do_not_depend_on_the_others_asked_for() {
    let config = odd();
    let mut engine = open(&config, &random_weights(&config), Options::inference(Precision::F32)).unwrap();
    let batch = random_batch(&config, 2);
    let width = config.n_embd;
    let mut all = vec![0.0; 2 * 3 * width];
    engine.features(&batch, &[0, 1, 2], Pooling::Mean, &mut all).unwrap();
    for layer in 0..3 {
        let mut one = vec![0.0; 2 * width];
        engine.features(&batch, &[layer], Pooling::Mean, &mut one).unwrap();
        for image in 0..2 {
            assert_eq!(one[image * width..][..width], all[(image * 3 + layer) * width..][..width], "layer {layer}");
        }
    }
    let error = engine.features(&batch, &[3], Pooling::Mean, &mut vec![0.0; 2 * width]).unwrap_err().to_string();
    assert!(error.contains("layer 3") && error.contains("0 to 2"), "{error}");
}

#[test]
fn pooled_features_are_those_of_all_positions_pooled() {
    let config = odd();
    let options = Options { micro_batch: 2, ..Options::inference(Precision::F32) };
    let mut engine = open(&config, &random_weights(&config), options).unwrap();
    let (batch, layers) = (random_batch(&config, 3), [2, 0]);
    let (positions, width) = (config.n_ctx(), config.n_embd);
    let mut features = |pooling: Pooling| {
        let mut out = vec![0.0; 3 * layers.len() * pooling.rows(positions) * width];
        engine.features(&batch, &layers, pooling, &mut out).unwrap();
        out
    };
    let all = features(Pooling::None);
    let [mean, max, last] = [Pooling::Mean, Pooling::Max, Pooling::Last].map(&mut features);
    for (i, rows) in all.chunks(positions * width).enumerate() {
        for j in 0..width {
            let column: Vec<f32> = rows.iter().skip(j).step_by(width).copied().collect();
            let sum: f64 = column.iter().map(|&x| x as f64).sum();
            assert_eq!(mean[i * width + j], (sum / positions as f64) as f32);
            assert_eq!(max[i * width + j], column.iter().copied().fold(f32::MIN, f32::max));
            assert_eq!(last[i * width + j], column[positions - 1]);
        }
    }
}

#[test]
fn a_decoder_keeps_the_weights_it_was_made_with() {
    let config = odd();
    let mut engine = open(&config, &random_weights(&config), options(Precision::F32, Isa::detect(), 1)).unwrap();
    let first = |decoder: &mut dyn crate::model::Decoder| {
        let mut logits = vec![0.0; config.n_vocab];
        decoder.start(0, &[], &mut logits).unwrap();
        logits
    };
    let mut decoder = engine.decoder(1).unwrap();
    let before = first(&mut *decoder);
    engine.accumulate(&random_batch(&config, 1), 1.0).unwrap();
    engine.step(&ADAM).unwrap();
    assert_eq!(before, first(&mut *decoder));
    assert_ne!(before, first(&mut *engine.decoder(1).unwrap()));
}

#[test]
fn wrong_tokens_and_sizes_are_refused() {
    let config = odd();
    let mut engine = open(&config, &random_weights(&config), Options::inference(Precision::F32)).unwrap();
    let short = Batch::new(vec![0; 10], 10);
    assert!(engine.evaluate(&short).unwrap_err().to_string().contains("10 tokens"));
    let foreign = Batch::new(vec![61; config.n_ctx()], config.n_ctx());
    assert!(engine.evaluate(&foreign).unwrap_err().to_string().contains("61 colours"));
    assert!(engine.accumulate(&foreign, 1.0).unwrap_err().to_string().contains("without training"));
    assert!(open(&config, &[0.0; 3], Options::inference(Precision::F32)).is_err());
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

#[test]
fn what_is_masked_is_not_seen_and_everything_else_is() {
    let config = masked();
    let mut engine = open(&config, &random_weights(&config), options(Precision::F32, Isa::detect(), 2)).unwrap();
    let n_ctx = config.n_ctx();
    let logits = |engine: &mut dyn Engine, batch: &Batch| {
        let mut logits = vec![0.0; n_ctx * config.n_vocab];
        engine.logits(batch, &mut logits).unwrap();
        logits
    };
    let mut at = vec![false; n_ctx];
    at[n_ctx - 1] = true;
    let tokens = random_batch(&config, 1).tokens().to_vec();
    let mut other = tokens.clone();
    other[n_ctx - 1] = (other[n_ctx - 1] + 1) % 61;
    let [seen, changed] = [tokens, other].map(|tokens| Batch::new(tokens, n_ctx));
    let first = |logits: Vec<f32>| logits[..config.n_vocab].to_vec();
    let hidden = first(logits(&mut *engine, &seen.clone().with_masks(at.clone())));
    assert_eq!(hidden, first(logits(&mut *engine, &changed.clone().with_masks(at))));
    // The first pixel's logits depend on the last pixel.
    assert_ne!(first(logits(&mut *engine, &seen)), first(logits(&mut *engine, &changed)));
    assert_ne!(first(logits(&mut *engine, &seen)), hidden);
}

#[test]
fn a_masked_loss_is_the_mean_over_the_masked_positions_times_the_tokens() {
    let config = masked();
    let mut engine = open(&config, &random_weights(&config), options(Precision::F32, Isa::detect(), 2)).unwrap();
    let (n_ctx, n_vocab) = (config.n_ctx(), config.n_vocab);
    let batch = random_batch(&config, 2);
    // None of the first image's positions, three of the second's.
    let mut at = vec![false; 2 * n_ctx];
    [5, 6, 70].iter().for_each(|t| at[n_ctx + t] = true);
    let batch = batch.with_masks(at);
    let mut logits = vec![0.0; 2 * n_ctx * n_vocab];
    engine.logits(&batch, &mut logits).unwrap();
    let nats = |t: usize| {
        let row: Vec<f64> = logits[(n_ctx + t) * n_vocab..][..n_vocab].iter().map(|x| *x as f64).collect();
        row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[batch.image(1)[t] as usize]
    };
    let mean = (nats(5) + nats(6) + nats(70)) / 3.0;
    for found in [engine.evaluate(&batch).unwrap(), engine.accumulate(&batch, 1.0).unwrap()] {
        assert_eq!(found.nats[0], 0.0);
        assert!((found.nats[1] - mean * n_ctx as f64).abs() < 1e-3, "{found:?} {mean}");
    }
    assert!(engine.gradients().iter().all(|g| g.is_finite()));
}

#[test]
fn what_a_model_can_not_do_is_refused_with_the_reason() {
    let config = masked();
    let mut engine = open(&config, &random_weights(&config), options(Precision::F32, Isa::detect(), 1)).unwrap();
    let plain = random_batch(&config, 1);
    let message = |error: Error| error.to_string();
    assert!(message(engine.decoder(1).err().unwrap()).contains("masked pixels"));
    assert!(message(engine.pixel_nats(&plain, &mut vec![0.0; 72]).unwrap_err()).contains("masked pixels"));
    assert!(message(engine.evaluate(&plain).unwrap_err()).contains("without masked inputs"));
    assert!(message(engine.class_logits(&plain, &mut []).unwrap_err()).contains("igpt finetune"));
    let config = classifier(odd(), 2);
    let mut engine = open(&config, &random_weights(&config), options(Precision::F32, Isa::detect(), 1)).unwrap();
    assert!(message(engine.evaluate(&batch_for(&masked(), 1)).unwrap_err()).contains("masked inputs"));
    assert!(message(engine.evaluate(&plain.with_labels(vec![5])).unwrap_err()).contains("class 5"));
    assert!(
        message(open(&classifier(odd(), 3), &[], Options::training(Precision::F32)).err().unwrap())
            .contains("layer is 3")
    );
}

#[test]
fn every_part_of_the_gradient_is_told_once_and_as_it_stays() {
    let classified = classifier(odd(), 1);
    let frozen = FineTuning { frozen_blocks: 1, ..FineTuning::default() };
    let classes_alone = FineTuning { generative_weight: 0.0, ..FineTuning::default() };
    for (config, fine_tuning) in [
        (odd(), FineTuning::default()),
        (classified.clone(), FineTuning::default()),
        (classified.clone(), frozen),
        (classified, classes_alone),
    ] {
        let weights = random_weights(&config);
        let options = Options { fine_tuning, micro_batch: 2, ..Options::training(Precision::F32) };
        let open = || super::open(&config, &weights, options).unwrap();
        let (mut plain, mut telling) = (open(), open());
        let batch = batch_for(&config, 5);
        let mut told = vec![f32::NAN; plain.layout().arena_len()];
        let mut ranges = Vec::new();
        let found = telling
            .accumulate_ready(&batch, 0.1, &mut |range, values| {
                told[range.clone()].copy_from_slice(values);
                ranges.push(range);
            })
            .unwrap();
        assert_eq!(found, plain.accumulate(&batch, 0.1).unwrap());
        assert!(told == plain.gradients());
        assert!(told == telling.gradients());
        // From the end to the beginning, without a gap or an overlap.
        assert_eq!((ranges[0].end, ranges.last().unwrap().start), (told.len(), 0));
        assert!(ranges.windows(2).all(|pair| pair[1].end == pair[0].start), "{ranges:?}");
        if fine_tuning == FineTuning::default() {
            assert_eq!(ranges.len(), config.n_layer + 1);
        }
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
            let parts: Vec<_> =
                shares.iter().map(|engine| (engine.owned(), engine.state().weights[engine.owned()].to_vec())).collect();
            for engine in &mut shares {
                let own = engine.owned();
                let others: Vec<_> = parts.iter().filter(|(range, _)| *range != own).cloned().collect();
                engine.renew(&others).unwrap();
            }
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
