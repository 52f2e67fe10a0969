//! Claims about an engine's state, as checkpoints hold it tensor by tensor, and about the EMA of the weights.

use std::collections::BTreeMap;

use super::{ADAM, MUON, Subject, expect_equal, gradients, moments, tensors_of, weights_of};
use crate::device::{EngineState, Optimizer, Precision, TrainEngine, TrainOptions};
use crate::model::ParamTensor;
use crate::testing::{batch_for, random_batch, random_weights, tiny_network};
use crate::{Error, Result};

/// Checks that a restored engine goes on to the same bits, with either optimizer, with and without an EMA.
///
/// The engine that is restored may have begun anything else before.
pub fn a_restored_engine_goes_on_to_the_same_bits(subject: &Subject<'_>) {
    let network = tiny_network();
    let batch = batch_for(&network, 2);
    for (precision, update, ema) in [
        (Precision::Bf16, ADAM, false),
        (Precision::F32, ADAM, true),
        (Precision::Bf16, MUON, true),
        (Precision::F32, MUON, false),
    ] {
        let options = TrainOptions { ema, gradient_groups: 2, ..subject.training_by(precision, &update) };
        let group = |engine: &mut dyn TrainEngine| {
            engine.accumulate(&batch, 0.01).unwrap();
            engine.end_group().unwrap();
        };
        let go = |engine: &mut dyn TrainEngine| {
            group(engine);
            group(engine);
            engine.step(&update).unwrap();
            engine.update_ema(0.25).unwrap();
        };
        let mut engine = subject.train(&network, &random_weights(&network), &options);
        go(&mut *engine);
        go(&mut *engine);
        let mut other = subject.train(&network, &vec![0.125; network.parameters()], &options);
        go(&mut *other);
        // A waiting group and a started gradient are forgotten.
        group(&mut *other);
        other.accumulate(&batch, 0.5).unwrap();
        other.import(engine.steps(), &mut |state, tensor| engine.export(state, tensor)).unwrap();
        assert_eq!(other.steps(), 2);
        assert!(gradients(&mut *other).iter().all(|g| *g == 0.0), "a gradient of before the import");
        let what = format!("{:?} in {precision:?}, average {ema}", update.optimizer());
        assert!(other.evaluate(&batch).unwrap() == engine.evaluate(&batch).unwrap(), "{what}: another loss");
        go(&mut *engine);
        go(&mut *other);
        assert_eq!((engine.steps(), other.steps()), (3, 3));
        for state in EngineState::ALL {
            assert!(moments(&*other, state) == moments(&*engine, state), "{what}: {state:?} differ after a step");
        }
    }
}

/// Checks that a state's tensors are those of the layout, except for moments and an EMA that are not kept.
///
/// Under Muon, hidden matrices have no second moment.
pub fn tensors_of_a_state_are_those_of_the_layout(subject: &Subject<'_>) {
    let network = tiny_network();
    let all = tensors_of(&network);
    for optimizer in [Optimizer::Adam, Optimizer::Muon] {
        for ema in [false, true] {
            let options = TrainOptions { optimizer, ema, ..subject.training(Precision::F32) };
            let engine = subject.train(&network, &random_weights(&network), &options);
            assert_eq!((engine.optimizer(), engine.steps()), (optimizer, 0));
            let second = all.iter().filter(|tensor| optimizer == Optimizer::Adam || !tensor.hidden).cloned().collect();
            for (state, wanted) in [
                (EngineState::Weights, all.clone()),
                (EngineState::Ema, if ema { all.clone() } else { Vec::new() }),
                (EngineState::Moment1, all.clone()),
                (EngineState::Moment2, second),
            ] {
                assert_eq!(engine.tensors(state), wanted, "tensors of {state:?} with {optimizer:?}");
                for tensor in &all {
                    let (values, held) = (engine.export(state, tensor), wanted.contains(tensor));
                    let name = &tensor.name;
                    assert_eq!(values.is_ok(), held, "whether there are {state:?} of {name} with {optimizer:?}");
                    assert!(values.is_err() || values.unwrap().len() == tensor.len(), "{state:?} of {name}");
                }
            }
        }
    }
}

/// Checks that imported values are exported bit by bit, whatever the values, and that weights can be read every other
/// way.
pub fn what_is_imported_is_exported(subject: &Subject<'_>) {
    let network = tiny_network();
    for precision in [Precision::F32, Precision::Bf16] {
        let options = TrainOptions { ema: true, ..subject.training(precision) };
        let mut engine = subject.train(&network, &vec![0.0; network.parameters()], &options);
        let values = |state: EngineState, tensor: &ParamTensor| -> Vec<f32> {
            let first =
                EngineState::ALL.iter().position(|other| *other == state).unwrap() * 1_000_003 + tensor.offset * 7;
            (0..tensor.len()).map(|i| (first + i) as f32 * 1.000_123e-6 - 3.0).collect()
        };
        let mut asked = Vec::new();
        engine
            .import(41, &mut |state, tensor| {
                asked.push((state, tensor.clone()));
                Ok(values(state, tensor))
            })
            .unwrap();
        assert_eq!(engine.steps(), 41);
        let tensors = tensors_of(&network);
        assert_eq!(asked.len(), 4 * tensors.len(), "every tensor is asked for once");
        for (state, tensor) in &asked {
            assert!(engine.export(*state, tensor).unwrap() == values(*state, tensor), "{state:?} of {}", tensor.name);
        }
        let expected: Vec<f32> = tensors.iter().flat_map(|tensor| values(EngineState::Weights, tensor)).collect();
        expect_equal(&network, &weights_of(&*engine), &expected, "copied weights");
        expect_equal(&network, &engine.into_weights().unwrap(), &expected, "the weights of a closed engine");
    }
}

/// Checks that weights and EMA start as the given weights, for inference and for training.
pub fn weights_and_average_start_as_what_was_given(subject: &Subject<'_>) {
    let network = tiny_network();
    let weights = random_weights(&network);
    for precision in [Precision::F32, Precision::Bf16] {
        let engine = subject.open(&network, &weights, &subject.options(precision));
        assert_eq!(engine.config(), &network);
        expect_equal(&network, &weights_of(&*engine), &weights, "weights of an engine for inference");
        let options = TrainOptions { ema: true, ..subject.training(precision) };
        let engine = subject.train(&network, &weights, &options);
        assert_eq!(engine.config(), &network);
        expect_equal(&network, &weights_of(&*engine), &weights, "weights of an engine that trains");
        expect_equal(&network, &ema(&*engine), &weights, "the average before training");
        for state in [EngineState::Moment1, EngineState::Moment2] {
            let zero = moments(&*engine, state).iter().all(|(_, values)| values.iter().all(|value| *value == 0.0));
            assert!(zero, "{state:?} before training");
        }
    }
}

/// Checks that the EMA moves towards the weights by the given fraction.
pub fn the_average_follows_the_weights(subject: &Subject<'_>) {
    let network = tiny_network();
    let options = TrainOptions { ema: true, ..subject.training(Precision::F32) };
    let mut engine = subject.train(&network, &random_weights(&network), &options);
    let mut expected: Vec<f64> = ema(&*engine).iter().map(|value| f64::from(*value)).collect();
    for share in [0.9, 0.25, 0.001] {
        engine.accumulate(&random_batch(&network, 2), 0.01).unwrap();
        engine.step(&ADAM).unwrap();
        engine.update_ema(share).unwrap();
        let weights = weights_of(&*engine);
        expected.iter_mut().zip(&weights).for_each(|(a, w)| *a += f64::from(share) * (f64::from(*w) - *a));
        for (found, expected) in ema(&*engine).iter().zip(&expected) {
            let apart = (f64::from(*found) - expected).abs();
            assert!(apart <= subject.budget.ema * expected.abs().max(1.0), "{found} instead of {expected}");
        }
    }
    engine.update_ema(1.0).unwrap();
    let (found, weights) = (ema(&*engine), weights_of(&*engine));
    let near = |(a, w): (&f32, &f32)| f64::from((a - w).abs()) <= subject.budget.ema * f64::from(w.abs().max(1.0));
    assert!(found.iter().zip(&weights).all(near), "all of the way is not the weights");
}

/// Checks that the EMA swaps with the weights and back.
///
/// In between, the network computes with the EMA. Afterwards, it goes on with its weights as if nothing had happened.
pub fn the_average_swaps_with_the_weights_and_back(subject: &Subject<'_>) {
    let network = tiny_network();
    let batch = random_batch(&network, 2);
    for (precision, update) in [(Precision::F32, ADAM), (Precision::Bf16, MUON)] {
        let options = TrainOptions { ema: true, ..subject.training_by(precision, &update) };
        let mut engine = subject.train(&network, &random_weights(&network), &options);
        let step = |engine: &mut dyn TrainEngine| {
            engine.accumulate(&batch, 0.01).unwrap();
            engine.step(&update).unwrap();
            engine.update_ema(0.3).unwrap();
        };
        step(&mut *engine);
        let (weights, averaged) = (weights_of(&*engine), ema(&*engine));
        assert!(weights != averaged, "the average is not apart from the weights");
        let loss = engine.evaluate(&batch).unwrap();
        engine.swap_ema().unwrap();
        expect_equal(&network, &weights_of(&*engine), &averaged, "weights that were swapped with the average");
        expect_equal(&network, &ema(&*engine), &weights, "the average that was swapped with the weights");
        let expected = subject.open(&network, &averaged, &options.engine).evaluate(&batch).unwrap();
        assert!(engine.evaluate(&batch).unwrap() == expected, "the average is not what the network computes with");
        engine.swap_ema().unwrap();
        expect_equal(&network, &weights_of(&*engine), &weights, "weights that were swapped back");
        expect_equal(&network, &ema(&*engine), &averaged, "the average that was swapped back");
        assert!(engine.evaluate(&batch).unwrap() == loss, "the loss of weights that were swapped back");
        // Training goes on as it would have without the swap.
        let mut other = subject.train(&network, &random_weights(&network), &options);
        step(&mut *other);
        step(&mut *other);
        step(&mut *engine);
        expect_equal(&network, &weights_of(&*engine), &weights_of(&*other), "a step after two swaps");
        expect_equal(&network, &ema(&*engine), &ema(&*other), "the average after two swaps");
    }
}

/// Checks that without an EMA, its updates and swaps do nothing.
pub fn without_an_average_the_weights_are_all_there_is(subject: &Subject<'_>) {
    let network = tiny_network();
    let weights = random_weights(&network);
    let mut engine = subject.train(&network, &weights, &subject.training(Precision::F32));
    engine.update_ema(0.5).unwrap();
    engine.swap_ema().unwrap();
    expect_equal(&network, &weights_of(&*engine), &weights, "weights without an average");
}

/// Checks that an import passes on the reader's errors and refuses other shapes by the tensor's name.
pub fn an_import_passes_errors_on_and_refuses_other_shapes(subject: &Subject<'_>) {
    let network = tiny_network();
    for state in EngineState::ALL {
        let options = TrainOptions { ema: true, ..subject.training(Precision::F32) };
        let engine = || subject.train(&network, &random_weights(&network), &options);
        let name = "transformer.h.1.mlp.c_fc.weight";
        let import = |of_it: &mut dyn FnMut(&ParamTensor) -> Result<Vec<f32>>| {
            engine()
                .import(1, &mut |asked, tensor| match asked == state && tensor.name == name {
                    true => of_it(tensor),
                    false => Ok(vec![0.0; tensor.len()]),
                })
                .map_err(|error| error.to_string())
        };
        for len in [0, 36 * 144 - 1, 36 * 144 + 1] {
            let error = import(&mut |_| Ok(vec![0.0; len])).expect_err("values of another number were taken");
            assert!(error.contains(name) && error.contains(&len.to_string()), "{state:?}: {error}");
        }
        let error = import(&mut |_| Err(Error::Invalid("no file".into()))).expect_err("an error was swallowed");
        assert!(error.contains("no file"), "{error}");
    }
}

fn ema(engine: &dyn TrainEngine) -> Vec<f32> {
    let mut values: BTreeMap<_, _> = moments(engine, EngineState::Ema).into_iter().collect();
    tensors_of(engine.config()).iter().flat_map(|tensor| values.remove(&tensor.name).unwrap()).collect()
}
