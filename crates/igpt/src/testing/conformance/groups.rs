//! Claims about gradient groups, the binary tree that sums them, and gradient buckets, which are final early.

use std::ops::Range;

use super::{ADAM, MUON, Subject, expect_equal, gradients, weights_of};
use crate::data::Batch;
use crate::device::{EngineOptions, FinetuneObjective, Precision, TrainEngine, TrainOptions};
use crate::model::ModelConfig;
use crate::testing::{batch_for, classifier, random_weights, tiny_network};
use crate::{Error, Result};

const SCALE: f32 = 0.01;

/// Number of images of each group in these claims.
const IMAGES: usize = 2;

/// Checks that a batch in groups has the gradient of its binary tree, in the next step, too.
///
/// No sums may be left from the step before.
pub fn a_batch_in_groups_has_the_gradient_of_its_binary_tree(subject: &Subject<'_>) {
    for (network, precision) in [(tiny_network(), Precision::F32), (classifier(tiny_network(), 1), Precision::Bf16)] {
        for groups in [2, 4] {
            let expected = tree(&alone(subject, &network, precision, groups));
            for (micro_batch, images_of_call) in [(1, 2), (2, 1)] {
                let mut engine = open(subject, &network, precision, groups, micro_batch);
                let what = format!("{groups} groups in {precision:?}, {images_of_call} images a call");
                for _ in 0..2 {
                    for group in 0..groups {
                        for call in 0..IMAGES / images_of_call {
                            let first = group * IMAGES + call * images_of_call;
                            let batch = batch_for(&network, groups * IMAGES).slice(first..first + images_of_call);
                            engine.accumulate(&batch, SCALE).unwrap();
                        }
                        engine.end_group().unwrap();
                    }
                    expect_equal(&network, &gradients(&mut *engine), &expected, &what);
                    // The weights stay, so that the second gradient equals the first.
                    engine.step(&still(&*engine)).unwrap();
                }
            }
        }
    }
}

/// Checks that the squared norm is the group's, and the whole batch's after the last group.
pub fn the_squared_norm_is_that_of_the_group_and_at_the_end_that_of_the_batch(subject: &Subject<'_>) {
    let network = tiny_network();
    let groups = alone(subject, &network, Precision::F32, 2);
    let mut engine = open(subject, &network, Precision::F32, 2, 0);
    let square = |values: &[f32]| values.iter().map(|x| (*x as f64).powi(2)).sum::<f64>();
    let near = |found: f64, wanted: f64, what: &str| {
        assert!((found - wanted).abs() < 1e-5 * wanted, "{what}: {found}, but the gradient has {wanted}");
    };
    for (i, group) in groups.iter().enumerate() {
        engine.accumulate(&group_of(&network, 2, i), SCALE).unwrap();
        near(engine.squared_norm().unwrap(), square(group), "the squared norm of a group");
        engine.end_group().unwrap();
    }
    let whole = square(&tree(&groups));
    near(engine.squared_norm().unwrap(), whole, "the squared norm of the batch");
    let norm = engine.step(&ADAM).unwrap();
    near(norm as f64, whole.sqrt(), "the norm that a step returns");
}

/// Checks that buckets cover the gradient once, with its final values.
///
/// The cases have no, one or three groups before the last, and train different parts.
pub fn buckets_cover_the_gradient_once_with_the_values_that_stay(subject: &Subject<'_>) {
    let classified = classifier(tiny_network(), 1);
    let frozen = FinetuneObjective { frozen_blocks: 1, ..FinetuneObjective::default() };
    let classes_alone = FinetuneObjective { generative_weight: 0.0, ..FinetuneObjective::default() };
    for (network, fine_tuning, groups) in [
        (tiny_network(), FinetuneObjective::default(), 1),
        (tiny_network(), FinetuneObjective::default(), 4),
        (classified.clone(), FinetuneObjective::default(), 2),
        (classified.clone(), frozen, 1),
        (classified, classes_alone, 1),
    ] {
        let weights = random_weights(&network);
        let mut options = TrainOptions { fine_tuning, gradient_groups: groups, ..subject.training(Precision::F32) };
        options.engine.micro_batch = 2;
        let open = || subject.train(&network, &weights, &options);
        let (mut plain, mut telling) = (open(), open());
        let batches = [4, 5].map(|images| batch_for(&network, images));
        for engine in [&mut plain, &mut telling] {
            for _ in 1..groups {
                engine.accumulate(&batches[0], SCALE).unwrap();
                engine.end_group().unwrap();
            }
            engine.accumulate(&batches[0], SCALE).unwrap();
        }
        let (found, buckets) = told(&mut *telling, &batches[1]);
        assert_eq!(found, plain.accumulate(&batches[1], SCALE).unwrap(), "the losses of the last micro-batch");
        plain.end_group().unwrap();
        let expected = gradients(&mut *plain);
        expect_equal(&network, &gradients(&mut *telling), &expected, "the gradient whose parts were told");
        cover(&buckets);
        // What was reported is final: it survives when the gradient is overwritten.
        let len = buckets.iter().map(|(range, _)| range.end).max().unwrap();
        telling.copy_gradient_in(0..len, &vec![0.0; len]).unwrap();
        assert!(gradients(&mut *telling).iter().all(|g| *g == 0.0), "the buckets leave out a part of the gradient");
        for (range, values) in &buckets {
            telling.copy_gradient_in(range.clone(), values).unwrap();
        }
        expect_equal(&network, &gradients(&mut *telling), &expected, "the gradient put together of its buckets");
    }
}

/// Checks that buckets do not depend on images or micro-batches, since ranks sum bucket by bucket.
pub fn buckets_do_not_depend_on_images_or_micro_batches(subject: &Subject<'_>) {
    let network = tiny_network();
    let ranges = |images, micro_batch| {
        let mut engine = open(subject, &network, Precision::F32, 1, micro_batch);
        let buckets = told(&mut *engine, &batch_for(&network, images)).1;
        buckets.into_iter().map(|(range, _)| range).collect::<Vec<_>>()
    };
    assert_eq!(ranges(3, 1), ranges(4, 4));
}

/// Checks that an error of the gradient-ready hook is returned, and that the engine goes on.
pub fn an_error_of_the_one_who_is_told_is_passed_on(subject: &Subject<'_>) {
    let network = tiny_network();
    let mut engine = open(subject, &network, Precision::F32, 2, 0);
    let mut calls = 0;
    let found = engine.accumulate_last(&batch_for(&network, 2), SCALE, &mut |_| {
        calls += 1;
        Err(Error::Invalid("the other rank is gone".into()))
    });
    let message = found.expect_err("an error was swallowed").to_string();
    assert!(message.contains("the other rank is gone") && calls == 1, "{calls} calls: {message}");
}

/// Checks that two ranks with half the groups each sum up to one engine's bits.
///
/// The sum of the two ranks is the upper part of the tree.
pub fn ranks_sum_their_groups_to_the_bits_of_one_engine(subject: &Subject<'_>) {
    let network = tiny_network();
    for (precision, update) in [(Precision::F32, ADAM), (Precision::Bf16, MUON)] {
        let open = |groups| {
            let options = TrainOptions { gradient_groups: groups, ..subject.training_by(precision, &update) };
            subject.train(&network, &random_weights(&network), &options)
        };
        let mut whole = open(4);
        let mut ranks = [open(2), open(2)];
        for _ in 0..2 {
            for group in 0..4 {
                whole.accumulate(&group_of(&network, 4, group), SCALE).unwrap();
                whole.end_group().unwrap();
            }
            let buckets = [0, 1].map(|rank| {
                let engine = &mut *ranks[rank];
                engine.accumulate(&group_of(&network, 4, 2 * rank), SCALE).unwrap();
                engine.end_group().unwrap();
                told(engine, &group_of(&network, 4, 2 * rank + 1)).1
            });
            for engine in &mut ranks {
                for ((range, a), (_, b)) in buckets[0].iter().zip(&buckets[1]) {
                    let sum: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + b).collect();
                    engine.copy_gradient_in(range.clone(), &sum).unwrap();
                }
            }
            let norm = whole.step(&update).unwrap();
            for engine in &mut ranks {
                assert_eq!(engine.step(&update).unwrap(), norm);
                let what = format!("a step of two ranks in {precision:?}");
                expect_equal(&network, &weights_of(&**engine), &weights_of(&*whole), &what);
            }
        }
    }
}

/// Checks that the end of a single group changes nothing.
pub fn the_end_of_the_only_group_changes_nothing(subject: &Subject<'_>) {
    let network = tiny_network();
    let mut engine = open(subject, &network, Precision::F32, 1, 0);
    engine.accumulate(&group_of(&network, 1, 0), SCALE).unwrap();
    let before = gradients(&mut *engine);
    engine.end_group().unwrap();
    expect_equal(&network, &gradients(&mut *engine), &before, "the gradient of a single group behind its end");
}

fn open(
    subject: &Subject<'_>,
    network: &ModelConfig,
    precision: Precision,
    groups: usize,
    micro_batch: usize,
) -> Box<dyn TrainEngine> {
    let options = subject.training(precision);
    let engine = EngineOptions { micro_batch, ..options.engine };
    subject.train(network, &random_weights(network), &TrainOptions { engine, gradient_groups: groups, ..options })
}

fn group_of(network: &ModelConfig, groups: usize, group: usize) -> Batch {
    batch_for(network, groups * IMAGES).slice(group * IMAGES..(group + 1) * IMAGES)
}

/// Returns the gradient of each group, from an engine without groups.
fn alone(subject: &Subject<'_>, network: &ModelConfig, precision: Precision, groups: usize) -> Vec<Vec<f32>> {
    let of_group = |group| {
        let mut engine = open(subject, network, precision, 1, 0);
        engine.accumulate(&group_of(network, groups, group), SCALE).unwrap();
        gradients(&mut *engine)
    };
    (0..groups).map(of_group).collect()
}

/// Sums gradients in pairs, the sums in pairs, and so on.
fn tree(gradients: &[Vec<f32>]) -> Vec<f32> {
    if let [one] = gradients {
        return one.clone();
    }
    let (left, right) = gradients.split_at(gradients.len() / 2);
    tree(left).iter().zip(tree(right)).map(|(left, right)| left + right).collect()
}

/// Returns a step that leaves the weights unchanged.
fn still(engine: &dyn TrainEngine) -> crate::device::Update {
    assert_eq!(engine.optimizer(), ADAM.optimizer());
    let mut still = ADAM;
    still.adam.lr = 0.0;
    still
}

/// A bucket's range and values.
pub(super) type Told = (Range<usize>, Vec<f32>);

/// Runs the last micro-batch; returns its losses and the buckets in the order of their arrival.
pub(super) fn told(engine: &mut dyn TrainEngine, batch: &Batch) -> (crate::device::LossSum, Vec<Told>) {
    let mut buckets = Vec::new();
    let found = engine.accumulate_last(batch, SCALE, &mut |bucket| -> Result<()> {
        // Values are appended to what is there.
        let mut values = vec![7.0];
        bucket.copy_to_host(&mut values)?;
        assert_eq!((values[0], values.len()), (7.0, bucket.range().len() + 1), "values of {:?}", bucket.range());
        buckets.push((bucket.range(), values.split_off(1)));
        Ok(())
    });
    (found.unwrap(), buckets)
}

/// Panics unless the buckets cover all places from 0 on exactly once.
fn cover(buckets: &[Told]) {
    let mut ranges: Vec<_> = buckets.iter().map(|(range, _)| range.clone()).collect();
    ranges.sort_by_key(|range| range.start);
    let mut end = 0;
    for range in &ranges {
        assert!(range.start == end && range.end > end, "buckets leave a gap or overlap at {end}: {ranges:?}");
        end = range.end;
    }
}
