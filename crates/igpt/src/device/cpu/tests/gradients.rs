//! Gradients against central differences, and that each part of them is told once.

use super::*;

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
