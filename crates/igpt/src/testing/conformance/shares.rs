//! Claims about optimizer shards (ZeRO-1): each rank updates a shard of the parameters and holds only its moments.

use super::{ADAM, MUON, Subject, expect_equal, moments, tensors_of, weights_of};
use crate::device::{EngineState, FinetuneObjective, Precision, TrainEngine, TrainOptions, Update};
use crate::testing::{batch_for, random_weights, tiny_network};

const COUNT: usize = 4;

/// Checks that engines with shards step to the bits of one that owns all weights.
///
/// The check covers weights and moments, whatever is frozen, and results with the new weights.
pub fn engines_of_shares_step_to_the_bits_of_one_that_owns_all(subject: &Subject<'_>) {
    let network = tiny_network();
    for (precision, update, frozen_blocks) in
        [(Precision::F32, ADAM, 0), (Precision::F32, MUON, 0), (Precision::Bf16, MUON, 1)]
    {
        let (mut whole, mut shares) = engines(subject, precision, &update, frozen_blocks);
        for seed in 0..2 {
            let batch = batch_for(&network, 2 + seed);
            whole.accumulate(&batch, 0.01).unwrap();
            let norm = whole.step(&update).unwrap();
            let mut all = Vec::new();
            for engine in &mut shares {
                engine.accumulate(&batch, 0.01).unwrap();
                assert_eq!(engine.step(&update).unwrap(), norm, "the norm is that of the whole gradient");
                engine.copy_owned_weights(&mut all).unwrap();
            }
            shares.iter_mut().for_each(|engine| engine.set_unowned_weights(&all).unwrap());
        }
        let batch = batch_for(&network, 3);
        let expected = whole.evaluate(&batch).unwrap();
        for engine in &mut shares {
            let what = format!("{COUNT} shares with {:?} in {precision:?}", update.optimizer());
            expect_equal(&network, &weights_of(&**engine), &weights_of(&*whole), &what);
            assert!(engine.evaluate(&batch).unwrap() == expected, "{what} do not compute with the others' weights");
        }
        for state in [EngineState::Moment1, EngineState::Moment2] {
            let held: Vec<_> = shares.iter().flat_map(|engine| moments(&**engine, state)).collect();
            assert!(held == moments(&*whole, state), "{state:?} of all shares are not those of one engine");
        }
    }
}

/// Checks that shards make up the weights: contiguous, each as long as what is copied of it.
pub fn shares_make_up_the_weights(subject: &Subject<'_>) {
    let (whole, shares) = engines(subject, Precision::F32, &ADAM, 0);
    let all = whole.optimizer_shard();
    assert_eq!((all.len(), all[0].start), (1, 0), "an engine that owns all has one share");
    let ranges = shares[0].optimizer_shard();
    assert_eq!((ranges.len(), ranges[0].start, ranges[COUNT - 1].end), (COUNT, 0, all[0].end));
    assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
    for (engine, range) in shares.iter().zip(&ranges) {
        assert_eq!(engine.optimizer_shard(), ranges, "every rank knows the same shares");
        let mut values = vec![7.0];
        engine.copy_owned_weights(&mut values).unwrap();
        assert_eq!((values[0], values.len() - 1), (7.0, range.len()), "values are copied behind what is there");
    }
}

/// Checks that each shard holds only its own moments, but all weights and their EMA.
pub fn moments_are_held_by_one_share_each_and_weights_by_all(subject: &Subject<'_>) {
    let tensors = tensors_of(&tiny_network());
    let (_, shares) = engines(subject, Precision::F32, &MUON, 0);
    let held = |state| shares.iter().flat_map(|engine| engine.tensors(state)).collect::<Vec<_>>();
    assert_eq!(held(EngineState::Moment1), tensors);
    let second: Vec<_> = tensors.iter().filter(|tensor| !tensor.hidden).cloned().collect();
    assert_eq!(held(EngineState::Moment2), second);
    for engine in &shares {
        assert_eq!(engine.tensors(EngineState::Weights), tensors);
        assert_eq!(engine.tensors(EngineState::Ema), tensors);
    }
}

type Engines = (Box<dyn TrainEngine>, Vec<Box<dyn TrainEngine>>);

/// Opens one engine that owns all weights, and one for each shard.
fn engines(subject: &Subject<'_>, precision: Precision, update: &Update, frozen_blocks: usize) -> Engines {
    let network = tiny_network();
    let weights = random_weights(&network);
    let fine_tuning = FinetuneObjective { frozen_blocks, ..FinetuneObjective::default() };
    let options = TrainOptions { fine_tuning, ema: true, ..subject.training_by(precision, update) };
    let open = |share| subject.train(&network, &weights, &TrainOptions { share, ..options });
    (open((0, 1)), (0..COUNT).map(|share| open((share, COUNT))).collect())
}
