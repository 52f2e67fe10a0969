//! Claims about what a forward pass sees and scores: the next pixel, masked pixels, classes.

use super::{ADAM, MUON, Subject, expect_equal, gradients, weights_of};
use crate::data::Batch;
use crate::device::{Engine, EngineOptions, FinetuneObjective, Precision, TrainOptions};
use crate::model::{Initialization, ModelConfig, initial_weights};
use crate::testing::{batch_for, classifier, masked_network, random_batch, random_weights, tiny_network};

/// Checks causality: a changed pixel changes the logits of later pixels only.
pub fn changing_a_pixel_leaves_the_logits_up_to_it_alone(subject: &Subject<'_>) {
    let network = tiny_network();
    let (n_ctx, n_vocab) = (network.n_ctx(), network.n_vocab);
    for precision in [Precision::F32, Precision::Bf16] {
        let mut engine = subject.open(&network, &random_weights(&network), &subject.options(precision));
        let before = random_batch(&network, 1);
        let base = logits(&mut *engine, &before);
        for t in [0, 1, 8, 31, n_ctx - 2] {
            let mut tokens = before.tokens().to_vec();
            tokens[t] = (tokens[t] + 1) % n_vocab as u16;
            let changed = logits(&mut *engine, &Batch::new(tokens, n_ctx));
            let end = (t + 1) * n_vocab;
            assert_eq!(base[..end], changed[..end], "{precision:?}: logits up to {t}");
            assert_ne!(base[end..end + n_vocab], changed[end..end + n_vocab], "{precision:?}: logits after {t}");
        }
    }
}

/// Checks that in an untrained model all colours are equally likely.
pub fn a_fresh_model_knows_nothing(subject: &Subject<'_>) {
    let network = tiny_network();
    let weights = initial_weights(&network, Initialization::Paper, 0);
    let mut engine = subject.open(&network, &weights, &subject.options(Precision::F32));
    let loss = engine.evaluate(&random_batch(&network, 1)).unwrap().mean();
    assert!((loss - (61f64).ln()).abs() < 1e-6, "a loss of {loss} instead of ln 61");
}

/// Checks that the nats of pixels sum to an image's nats, in evaluation and in training.
pub fn pixel_nats_sum_to_the_images_nats(subject: &Subject<'_>) {
    let network = tiny_network();
    for precision in [Precision::F32, Precision::Bf16] {
        let (weights, batch) = (random_weights(&network), random_batch(&network, 3));
        let mut engine = subject.train(&network, &weights, &subject.training(precision));
        let mut nats = vec![0.0; batch.tokens().len()];
        engine.pixel_nats(&batch, &mut nats).unwrap();
        let sums = nats.chunks(network.n_ctx()).map(|image| image.iter().map(|n| *n as f64).sum::<f64>());
        let found = engine.evaluate(&batch).unwrap();
        for (sum, found) in sums.zip(&found.nats) {
            assert!((sum - found).abs() <= subject.budget.sums * sum, "{precision:?}: {found} instead of {sum}");
        }
        assert_eq!(found.tokens, batch.tokens().len());
        assert_eq!(engine.accumulate(&batch, 1.0).unwrap(), found, "losses of training and of evaluation");
    }
}

/// Checks that a masked model sees all positions but the masked ones.
pub fn what_is_masked_is_not_seen_and_everything_else_is(subject: &Subject<'_>) {
    let network = masked_network();
    let mut engine = subject.open(&network, &random_weights(&network), &subject.options(Precision::F32));
    let n_ctx = network.n_ctx();
    let mut at = vec![false; n_ctx];
    at[n_ctx - 1] = true;
    let tokens = random_batch(&network, 1).tokens().to_vec();
    let mut other = tokens.clone();
    other[n_ctx - 1] = (other[n_ctx - 1] + 1) % 61;
    let [seen, changed] = [tokens, other].map(|tokens| Batch::new(tokens, n_ctx));
    let mut first = |batch: &Batch| logits(&mut *engine, batch)[..network.n_vocab].to_vec();
    let hidden = first(&seen.clone().with_masks(at.clone()));
    assert_eq!(hidden, first(&changed.clone().with_masks(at)), "a masked pixel is seen");
    // The first pixel's logits depend on the last pixel.
    assert_ne!(first(&seen), first(&changed), "a pixel is not seen");
    assert_ne!(first(&seen), hidden, "a mask changes nothing");
}

/// Checks that a masked loss is the mean over the masked positions times the tokens, and 0 without masked positions.
pub fn a_masked_loss_is_the_mean_over_the_masked_positions_times_the_tokens(subject: &Subject<'_>) {
    let network = masked_network();
    let mut engine = subject.train(&network, &random_weights(&network), &subject.training(Precision::F32));
    let (n_ctx, n_vocab) = (network.n_ctx(), network.n_vocab);
    // None of the first image's positions and three of the second's are masked.
    let mut at = vec![false; 2 * n_ctx];
    [5, 6, 70].iter().for_each(|t| at[n_ctx + t] = true);
    let batch = random_batch(&network, 2).with_masks(at);
    let logits = logits(&mut *engine, &batch);
    let nats = |t: usize| {
        let row: Vec<f64> = logits[(n_ctx + t) * n_vocab..][..n_vocab].iter().map(|x| *x as f64).collect();
        row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[batch.image(1)[t] as usize]
    };
    let mean = (nats(5) + nats(6) + nats(70)) / 3.0;
    for found in [engine.evaluate(&batch).unwrap(), engine.accumulate(&batch, 1.0).unwrap()] {
        assert_eq!(found.nats[0], 0.0, "the loss of an image without masks");
        assert!((found.nats[1] - mean * n_ctx as f64).abs() < 1e-3, "{found:?} {mean}");
    }
    assert!(gradients(&mut *engine).iter().all(|g| g.is_finite()), "a gradient that is no number");
}

/// Checks that the loss of classes is the cross-entropy of their logits, and the prediction the likeliest class.
pub fn nats_of_classes_are_those_of_their_logits(subject: &Subject<'_>) {
    for network in [classifier(tiny_network(), 0), classifier(tiny_network(), 2), classifier(masked_network(), 1)] {
        let batch = batch_for(&network, 6);
        let options = subject.training(Precision::F32);
        let mut engine = subject.train(&network, &random_weights(&network), &options);
        let mut logits = vec![0.0; 6 * 5];
        engine.class_logits(&batch, &mut logits).unwrap();
        for found in [engine.evaluate(&batch).unwrap(), engine.accumulate(&batch, 0.1).unwrap()] {
            assert_eq!((found.class_nats.len(), found.predicted.len()), (6, 6));
            for (i, logits) in logits.chunks(5).enumerate() {
                let label = batch.labels().unwrap()[i] as usize;
                let nats = logits.iter().map(|x| (*x as f64).exp()).sum::<f64>().ln() - logits[label] as f64;
                assert!((found.class_nats[i] - nats).abs() < 1e-5, "image {i}: {found:?}, but {nats}");
                let largest = logits.iter().copied().fold(f32::MIN, f32::max);
                assert_eq!(logits[found.predicted[i] as usize], largest, "image {i}");
            }
        }
        let found = engine.evaluate(&batch.without_labels()).unwrap();
        assert!(found.class_nats.is_empty() && found.predicted.is_empty(), "classes without labels: {found:?}");
    }
}

/// Checks that label smoothing changes the loss in training only.
///
/// The smoothed loss is (1 - s) × the nats of the label + s × the mean nats of all classes
/// (torch.nn.CrossEntropyLoss's label smoothing).
pub fn smoothed_labels_count_in_training_alone(subject: &Subject<'_>) {
    let network = classifier(tiny_network(), 2);
    let batch = batch_for(&network, 6);
    let fine_tuning = FinetuneObjective { label_smoothing: 0.25, ..FinetuneObjective::default() };
    let options = TrainOptions { fine_tuning, ..subject.training(Precision::F32) };
    let mut engine = subject.train(&network, &random_weights(&network), &options);
    let mut logits = vec![0.0; 6 * 5];
    engine.class_logits(&batch, &mut logits).unwrap();
    let (plain, trained) = (engine.evaluate(&batch).unwrap(), engine.accumulate(&batch, 0.1).unwrap());
    assert_eq!((trained.nats, trained.predicted), (plain.nats, plain.predicted), "anything but the classes' nats");
    for (i, logits) in logits.chunks(5).enumerate() {
        let total = logits.iter().map(|x| (*x as f64).exp()).sum::<f64>().ln();
        let nats = |class: usize| total - logits[class] as f64;
        let label = nats(batch.labels().unwrap()[i] as usize);
        let smoothed = 0.75 * label + 0.25 * (0..5).map(nats).sum::<f64>() / 5.0;
        assert!((plain.class_nats[i] - label).abs() < 1e-5, "image {i}: evaluation is of the label itself");
        assert!((trained.class_nats[i] - smoothed).abs() < 1e-5, "image {i}: {:?}, but {smoothed}", trained.class_nats);
    }
}

/// Checks that the shorter pass without a generative loss has the same losses, gradients and steps as the whole pass.
pub fn without_a_generative_loss_the_shorter_pass_gives_what_the_whole_one_gives(subject: &Subject<'_>) {
    // The smallest positive weight: times the scale it is zero, but no part of the pass is skipped for it.
    let whole = f32::from_bits(1);
    for (network, frozen_blocks) in [
        (classifier(tiny_network(), 2), 0),
        (classifier(tiny_network(), 2), 2),
        (classifier(tiny_network(), 1), 0),
        (classifier(tiny_network(), 1), 1),
        (classifier(tiny_network(), 0), 0),
        (classifier(tiny_network(), 0), 1),
        (classifier(masked_network(), 1), 0),
    ] {
        let (weights, labelled) = (random_weights(&network), batch_for(&network, 3));
        let plain = batch_for(&ModelConfig { class_head: None, ..network.clone() }, 3);
        let scale = 1.0 / plain.tokens().len() as f32;
        for (precision, update) in [(Precision::F32, ADAM), (Precision::Bf16, MUON)] {
            let train = |generative_weight: f32| {
                let fine_tuning =
                    FinetuneObjective { generative_weight, frozen_blocks, ..FinetuneObjective::default() };
                let options = subject.training_by(precision, &update);
                let engine = EngineOptions { micro_batch: 1, ..options.engine };
                let options = TrainOptions { engine, fine_tuning, ..options };
                let mut engine = subject.train(&network, &weights, &options);
                let mut found = Vec::new();
                // The first step, on pixels, leaves gradients everywhere.
                for batch in [&plain, &labelled, &labelled] {
                    let sum = engine.accumulate(batch, scale).unwrap();
                    let unscored = generative_weight == 0.0 && batch.labels().is_some();
                    assert_eq!((sum.nats.is_empty(), sum.tokens == 0), (unscored, unscored), "pixels scored");
                    found.push((sum.class_nats, gradients(&mut *engine)));
                    engine.step(&update).unwrap();
                }
                (found, weights_of(&*engine))
            };
            let (short, long) = (train(0.0), train(whole));
            let what = format!("{:?}, {frozen_blocks} frozen, {precision:?}", network.class_head);
            for (short, long) in short.0.iter().zip(&long.0) {
                assert_eq!(short.0, long.0, "{what}: losses of classes");
                expect_equal(&network, &short.1, &long.1, &what);
            }
            expect_equal(&network, &short.1, &long.1, &what);
        }
    }
}

fn logits(engine: &mut dyn Engine, batch: &Batch) -> Vec<f32> {
    let mut logits = vec![0.0; batch.tokens().len() * engine.config().n_vocab];
    engine.logits(batch, &mut logits).unwrap();
    logits
}
