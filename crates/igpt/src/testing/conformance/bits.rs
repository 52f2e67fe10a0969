//! Claims that bits do not depend on the size of micro-batches, on repetition, or on activation checkpointing.

use super::{ADAM, MUON, Subject, expect_equal, gradients, weights_of};
use crate::device::{EngineOptions, FinetuneObjective, Precision, TrainOptions, Update};
use crate::image::ImageSize;
use crate::model::ModelConfig;
use crate::testing::{batch_for, classifier, masked_network, random_weights, tiny_network};

const UPDATES: [(Precision, Update); 4] =
    [(Precision::F32, ADAM), (Precision::Bf16, ADAM), (Precision::F32, MUON), (Precision::Bf16, MUON)];

/// Checks that training's bits do not depend on micro-batches or activation checkpointing.
///
/// It covers both number formats with both optimizers.
pub fn bits_do_not_depend_on_micro_batches_or_recomputation(subject: &Subject<'_>) {
    check(subject, tiny_network(), FinetuneObjective::default(), &UPDATES);
}

/// Checks the same bits for images of several tiles and of an odd number of tokens.
pub fn bits_of_larger_images_do_not_depend_on_those_either(subject: &Subject<'_>) {
    for side in [24, 17] {
        let large = ModelConfig { n_px: ImageSize::square(side), n_layer: 1, ..tiny_network() };
        check(subject, large, FinetuneObjective::default(), &UPDATES[3..]);
    }
}

/// Checks the same bits for the masked objective, for a classifier with and without pixels, and for frozen blocks.
pub fn bits_of_masked_and_joint_training_do_not_depend_on_those_either(subject: &Subject<'_>) {
    let updates = [UPDATES[0], UPDATES[3]];
    let fine_tuning =
        |generative_weight, frozen_blocks| FinetuneObjective { generative_weight, frozen_blocks, label_smoothing: 0.1 };
    check(subject, classifier(tiny_network(), 1), fine_tuning(0.5, 1), &updates);
    check(subject, classifier(masked_network(), 2), FinetuneObjective::default(), &updates);
    let deep = ModelConfig { n_layer: 4, ..tiny_network() };
    check(subject, classifier(deep, 3), fine_tuning(0.0, 0), &updates);
}

fn check(subject: &Subject<'_>, network: ModelConfig, fine_tuning: FinetuneObjective, updates: &[(Precision, Update)]) {
    let (weights, batch) = (random_weights(&network), batch_for(&network, 5));
    for &(precision, update) in updates {
        let train = |(micro_batch, recompute, stream_weights)| {
            let mut options = TrainOptions { recompute, fine_tuning, ..subject.training_by(precision, &update) };
            options.engine = EngineOptions { micro_batch, stream_weights, ..options.engine };
            let mut engine = subject.train(&network, &weights, &options);
            let mut bits = Vec::new();
            for _ in 0..2 {
                let loss = engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32).unwrap();
                let norm = engine.step(&update).unwrap();
                bits.extend(loss.nats.iter().chain(&loss.class_nats).map(|nats| nats.to_bits()));
                bits.push(norm.to_bits() as u64);
            }
            (bits, weights_of(&*engine))
        };
        let (bits, expected) = train((5, false, false));
        let others = [(5, false, false), (1, true, false), (2, false, true)];
        for (other, cut) in others.iter().map(|cut| (train(*cut), cut)) {
            let what = format!(
                "two steps of {precision:?} with {update:?}, {} images at a time, recompute {}, stream_weights {}",
                cut.0, cut.1, cut.2
            );
            assert!(other.0 == bits, "{what}: losses or norms differ from those of 5 images at a time");
            expect_equal(&network, &other.1, &expected, &what);
        }
    }
}

/// Checks that calls with one image each add up to the bits of one call with all images.
pub fn a_batch_in_several_calls_has_the_gradient_of_one(subject: &Subject<'_>) {
    for network in [tiny_network(), classifier(masked_network(), 1)] {
        for precision in [Precision::F32, Precision::Bf16] {
            let open = || subject.train(&network, &random_weights(&network), &subject.training(precision));
            let batch = batch_for(&network, 4);
            let (mut whole, mut parts) = (open(), open());
            let mut found = whole.accumulate(&batch, 0.1).unwrap();
            for run in [0..1, 1..2, 2..4] {
                let mut behind = parts.accumulate(&batch.slice(run), 0.1).unwrap();
                let count = behind.nats.len();
                assert!(behind.nats == found.nats[..count] && behind.tokens == count * batch.n_ctx());
                found.nats.drain(..count);
                let classes = behind.class_nats.len();
                assert!(behind.class_nats.drain(..).eq(found.class_nats.drain(..classes)));
                assert!(behind.predicted.drain(..).eq(found.predicted.drain(..classes)));
            }
            expect_equal(&network, &gradients(&mut *parts), &gradients(&mut *whole), "the gradient of several calls");
        }
    }
}

/// Checks that every result of a forward pass repeats bit by bit, whatever the micro-batch and the neighbouring
/// images.
pub fn forward_passes_repeat_and_do_not_depend_on_micro_batches_or_neighbours(subject: &Subject<'_>) {
    let network = classifier(tiny_network(), 1);
    let (weights, batch) = (random_weights(&network), batch_for(&network, 5));
    for precision in [Precision::F32, Precision::Bf16] {
        let pass = |micro_batch, stream_weights, images: std::ops::Range<usize>| {
            let batch = batch.slice(images);
            let options = EngineOptions { micro_batch, stream_weights, ..subject.options(precision) };
            let mut engine = subject.open(&network, &weights, &options);
            let mut logits = vec![0.0; batch.tokens().len() * network.n_vocab];
            let mut run = || {
                engine.logits(&batch, &mut logits).unwrap();
                (engine.evaluate(&batch).unwrap(), logits.clone())
            };
            let first = run();
            assert!(run() == first, "a second pass in {precision:?} gives other bits");
            first
        };
        let expected = pass(5, false, 0..5);
        for (micro_batch, stream_weights) in [(1, false), (2, true)] {
            let same = pass(micro_batch, stream_weights, 0..5) == expected;
            assert!(
                same,
                "{micro_batch} images at a time in {precision:?}, stream_weights {stream_weights}, give other bits"
            );
        }
        let alone = pass(0, false, 3..4);
        let values = batch.n_ctx() * network.n_vocab;
        assert!(alone.1 == expected.1[3 * values..4 * values], "an image alone in {precision:?} has other logits");
        assert_eq!(alone.0.nats, expected.0.nats[3..4]);
        assert_eq!(alone.0.class_nats, expected.0.class_nats[3..4]);
    }
}
