//! What a forward pass sees, scores and refuses.

use super::*;

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
