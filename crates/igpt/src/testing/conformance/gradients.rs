//! Claims that gradients are slopes of the loss.

use super::{Subject, expect_equal, gradients, tensors_of, weights_of};
use crate::device::{FinetuneObjective, Precision, TrainOptions};
use crate::model::ModelConfig;
use crate::rng::{Purpose, Rng};
use crate::testing::{batch_for, classifier, masked_network, random_weights, tiny_network};

/// Checks gradients of pixels against central differences, along some direction for each tensor.
pub fn gradients_match_central_differences(subject: &Subject<'_>) {
    check(subject, tiny_network(), FinetuneObjective::default());
}

/// Checks gradients of the masked objective against central differences.
pub fn gradients_of_masked_inputs_match_central_differences(subject: &Subject<'_>) {
    check(subject, masked_network(), FinetuneObjective::default());
}

/// Checks gradients of pixels and classes together, on every layer, and of classes alone.
pub fn gradients_of_the_joint_loss_match_central_differences(subject: &Subject<'_>) {
    for layer in 0..3 {
        let fine_tuning = FinetuneObjective { generative_weight: 0.02, ..FinetuneObjective::default() };
        check(subject, classifier(tiny_network(), layer), fine_tuning);
    }
    let classes_alone = FinetuneObjective { generative_weight: 0.0, ..FinetuneObjective::default() };
    check(subject, classifier(masked_network(), 1), classes_alone);
}

/// Checks gradients of smoothed labels; the loss is the one that training reports.
pub fn gradients_of_smoothed_labels_match_central_differences(subject: &Subject<'_>) {
    for (generative_weight, layer) in [(0.02, 2), (0.0, 1)] {
        let fine_tuning = FinetuneObjective { generative_weight, label_smoothing: 0.3, ..FinetuneObjective::default() };
        check(subject, classifier(tiny_network(), layer), fine_tuning);
    }
}

/// Checks that frozen blocks and the embeddings have no gradient, and that other gradients match central differences.
pub fn gradients_of_frozen_blocks_are_zero_and_others_match_central_differences(subject: &Subject<'_>) {
    for frozen_blocks in 1..3 {
        let fine_tuning = FinetuneObjective { generative_weight: 0.02, frozen_blocks, ..FinetuneObjective::default() };
        check(subject, classifier(tiny_network(), 1), fine_tuning);
    }
}

fn check(subject: &Subject<'_>, network: ModelConfig, fine_tuning: FinetuneObjective) {
    let (weights, batch) = (random_weights(&network), batch_for(&network, 2));
    let options = TrainOptions { fine_tuning, ..subject.training(Precision::F32) };
    let mut engine = subject.train(&network, &weights, &options);
    engine.accumulate(&batch, 1.0).unwrap();
    let gradient = gradients(&mut *engine);
    let loss_at = |weights: &[f32]| {
        let sum = match fine_tuning.label_smoothing > 0.0 {
            true => subject.train(&network, weights, &options).accumulate(&batch, 1.0).unwrap(),
            false => subject.open(&network, weights, &options.engine).evaluate(&batch).unwrap(),
        };
        let generative = if network.class_head.is_some() { fine_tuning.generative_weight as f64 } else { 1.0 };
        generative * sum.nats.iter().sum::<f64>() + batch.n_ctx() as f64 * sum.class_nats.iter().sum::<f64>()
    };
    for (index, tensor) in tensors_of(&network).iter().enumerate() {
        let name = &tensor.name;
        if is_frozen(name, fine_tuning.frozen_blocks) {
            assert!(gradient[tensor.range()].iter().all(|g| *g == 0.0), "{name} is frozen, but has a gradient");
            continue;
        }
        // Along the gradient's signs mixed with random ones the slope is large, so that rounding matters little.
        let mut rng = Rng::new(1, Purpose::Sample, index as u64, 0);
        let direction: Vec<(usize, f32)> = tensor
            .range()
            .filter(|i| gradient[*i] != 0.0)
            .map(|i| (i, if rng.uniform() < 0.8 { gradient[i].signum() } else { -gradient[i].signum() }))
            .collect();
        let slope: f64 = direction.iter().map(|(i, d)| gradient[*i] as f64 * *d as f64).sum();
        let step = (0.05 / slope.abs().max(1e-3)).min(1e-3);
        let moved = |sign: f64| {
            let mut weights = weights.clone();
            direction.iter().for_each(|(i, d)| weights[*i] += (sign * step * *d as f64) as f32);
            loss_at(&weights)
        };
        let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        let error = (numeric - slope).abs() / slope.abs().max(1e-3);
        assert!(error < subject.budget.slope, "{name}: a slope of {slope}, but a central difference of {numeric}");
    }
    expect_equal(&network, &weights_of(&*engine), &weights, "weights after a pass without a step");
}

/// Whether a tensor is frozen: in one of the first blocks, or an embedding if any blocks are frozen.
pub(super) fn is_frozen(name: &str, frozen_blocks: usize) -> bool {
    let below = (0..frozen_blocks).any(|l| name.starts_with(&format!("transformer.h.{l}.")));
    below || frozen_blocks > 0 && (name.contains("wte") || name.contains("wpe"))
}

/// Checks that gradients accumulate over passes until a step clears them.
pub fn passes_add_to_the_gradient_and_a_step_clears_it(subject: &Subject<'_>) {
    let network = tiny_network();
    let batch = batch_for(&network, 2);
    let mut engine = subject.train(&network, &random_weights(&network), &subject.training(Precision::F32));
    engine.accumulate(&batch, 0.25).unwrap();
    let once = gradients(&mut *engine);
    engine.accumulate(&batch, 0.25).unwrap();
    let twice = gradients(&mut *engine);
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| (x as f64).powi(2)).sum::<f64>().sqrt();
    let apart = length(&mut once.iter().zip(&twice).map(|(once, twice)| 2.0 * once - twice));
    assert!(apart < 1e-6 * length(&mut twice.iter().copied()), "two passes are off by {apart:e}");
    engine.step(&super::ADAM).unwrap();
    assert!(gradients(&mut *engine).iter().all(|g| *g == 0.0), "a gradient after a step");
}
