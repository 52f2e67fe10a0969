//! Claims about features of layers and their pooling.

use super::Subject;
use crate::device::{Engine, EngineOptions, Pooling, Precision};
use crate::model::Objective;
use crate::testing::{masked_network, random_batch, random_weights, tiny_network};

/// Checks that a layer's features do not depend on the other layers in the call, their order or repetitions.
pub fn features_of_a_layer_do_not_depend_on_the_others_asked_for(subject: &Subject<'_>) {
    for network in [tiny_network(), masked_network()] {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut engine = subject.open(&network, &random_weights(&network), &subject.options(precision));
            let batch = random_batch(&network, 2);
            let width = network.n_embd;
            let mut features = |layers: &[usize]| {
                let mut out = vec![f32::NAN; 2 * layers.len() * width];
                engine.features(&batch, layers, Pooling::Mean, &mut out).unwrap();
                out
            };
            let all = features(&[0, 1, 2]);
            assert!(all.iter().all(|value| value.is_finite()), "features that were not written");
            let turned = features(&[2, 0, 2, 1]);
            for layer in 0..3 {
                let one = features(&[layer]);
                for image in 0..2 {
                    let of_one = &one[image * width..][..width];
                    assert_eq!(of_one, &all[(image * 3 + layer) * width..][..width], "layer {layer}");
                    for slot in (0..4).filter(|slot| [2, 0, 2, 1][*slot] == layer) {
                        assert_eq!(of_one, &turned[(image * 4 + slot) * width..][..width], "layer {layer} at {slot}");
                    }
                }
            }
            assert_eq!(features(&[]), [0.0; 0]);
        }
    }
}

/// Checks that pooled features (mean, max and last) are the features of all positions, pooled.
pub fn pooled_features_are_those_of_all_positions_pooled(subject: &Subject<'_>) {
    for network in [tiny_network(), masked_network()] {
        let options = EngineOptions { micro_batch: 2, ..subject.options(Precision::F32) };
        let mut engine = subject.open(&network, &random_weights(&network), &options);
        let (batch, layers) = (random_batch(&network, 3), [2, 0]);
        let (positions, width) = (network.n_ctx(), network.n_embd);
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
                let of_all = column.iter().map(|&x| x as f64).sum::<f64>() / positions as f64;
                let apart = (mean[i * width + j] - of_all as f32).abs() as f64;
                let size = column.iter().map(|&x| x.abs() as f64).sum::<f64>() / positions as f64;
                assert!(apart <= subject.budget.sums * size, "a mean that is off by {apart:e}");
                assert_eq!(max[i * width + j], column.iter().copied().fold(f32::MIN, f32::max));
                assert_eq!(last[i * width + j], column[positions - 1]);
            }
        }
    }
}

/// Checks that a position's features depend on what it sees; the first position of an autoregressive model sees only
/// sos.
pub fn features_of_a_position_depend_on_what_it_sees(subject: &Subject<'_>) {
    for network in [tiny_network(), masked_network()] {
        let batch = random_batch(&network, 2);
        let mut engine = subject.open(&network, &random_weights(&network), &subject.options(Precision::F32));
        let first = first_positions(&mut *engine, &batch);
        let same = first[..network.n_embd] == first[network.n_embd..];
        assert_eq!(same, network.objective == Objective::Autoregressive, "{:?}", network.objective);
    }
}

/// Returns the features of the last layer at each image's first position.
fn first_positions(engine: &mut dyn Engine, batch: &crate::data::Batch) -> Vec<f32> {
    let values = batch.n_ctx() * engine.config().n_embd;
    let mut out = vec![0.0; batch.images() * values];
    engine.features(batch, &[2], Pooling::None, &mut out).unwrap();
    let width = engine.config().n_embd;
    out.chunks(values).flat_map(|image| image[..width].to_vec()).collect()
}
