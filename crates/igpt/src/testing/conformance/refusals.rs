//! Claims that invalid requests are errors with a reason, never panics, and leave the engine unchanged.

use super::{ADAM, MUON, Subject, expect_equal, gradients, tensors_of, weights_of};
use crate::Result;
use crate::data::Batch;
use crate::device::{
    Decoder, Engine, EngineOptions, EngineState, FinetuneObjective, Pooling, Precision, TrainEngine, TrainOptions,
    Update,
};
use crate::model::{ModelConfig, ParamTensor};
use crate::testing::{batch_for, classifier, masked_network, random_batch, random_weights, tiny_network};

/// Panics unless `result` is an error whose message has all `parts`.
#[track_caller]
fn refused<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().expect("this was not refused").to_string();
    parts.iter().for_each(|part| assert!(message.contains(part), "no {part:?} in: {message}"));
}

fn open(subject: &Subject<'_>, network: &ModelConfig) -> Box<dyn Engine> {
    subject.open(network, &random_weights(network), &subject.options(Precision::F32))
}

fn train(subject: &Subject<'_>, network: &ModelConfig) -> Box<dyn TrainEngine> {
    subject.train(network, &random_weights(network), &subject.training(Precision::F32))
}

/// Checks that engines refuse invalid options and weights, with the reason.
///
/// The cases are a wrong number of weights, sizes that don't fit together, too many frozen blocks, and groups that
/// make no tree.
pub fn what_can_not_be_opened_is_refused_with_the_reason(subject: &Subject<'_>) {
    let network = tiny_network();
    let weights = random_weights(&network);
    let options = subject.training(Precision::F32);
    let open = |network: &ModelConfig, weights: &[f32]| subject.backend.open(network, weights, &options.engine);
    let train = |network: &ModelConfig, weights: &[f32]| subject.backend.open_training(network, weights, &options);
    let has = network.parameters().to_string();
    for count in [0, 3, weights.len() - 1] {
        refused(open(&network, &weights[..count]), &[&count.to_string(), &has]);
        refused(train(&network, &weights[..count]), &[&count.to_string(), &has]);
    }
    let more = [&weights[..], &[0.0]].concat();
    refused(open(&network, &more), &[&more.len().to_string()]);
    let deep = classifier(tiny_network(), 3);
    refused(open(&deep, &random_weights(&deep)), &["layer is 3"]);
    refused(train(&deep, &random_weights(&deep)), &["layer is 3"]);
    let uneven = ModelConfig { n_head: 5, ..tiny_network() };
    refused(open(&uneven, &weights), &["36 is not divisible by n_head 5"]);
    let train = |options: &TrainOptions| subject.backend.open_training(&network, &weights, options);
    let fine_tuning = FinetuneObjective { frozen_blocks: 3, ..FinetuneObjective::default() };
    refused(train(&TrainOptions { fine_tuning, ..options }), &["3 blocks are to be frozen", "has 2"]);
    for gradient_groups in [0, 3, 12] {
        refused(train(&TrainOptions { gradient_groups, ..options }), &[&gradient_groups.to_string(), "power of two"]);
    }
}

/// Checks that every pass refuses batches that do not fit: image size, colours, masks, labels.
pub fn batches_that_do_not_fit_are_refused_by_every_pass(subject: &Subject<'_>) {
    let (plain, masked, classes) = (tiny_network(), masked_network(), classifier(tiny_network(), 1));
    let n_ctx = plain.n_ctx();
    let foreign = |at: usize| {
        let mut tokens = random_batch(&plain, 2).tokens().to_vec();
        tokens[at] = 61;
        Batch::new(tokens, n_ctx)
    };
    // A training pass refuses a label even if the images before it were good.
    let late = random_batch(&plain, 3).with_labels(vec![1, 2, 5]);
    for (network, batch, parts) in [
        (&plain, Batch::new(vec![0; 10], 10), ["10 tokens", "8×9"]),
        (&plain, Batch::new(vec![0; 2 * n_ctx + 2], n_ctx + 1), ["73 tokens", "8×9"]),
        (&plain, foreign(0), ["token 61", "61 colours"]),
        (&plain, foreign(2 * n_ctx - 1), ["token 61", "61 colours"]),
        (&plain, batch_for(&masked, 1), ["masked inputs", "next pixel"]),
        (&masked, random_batch(&masked, 1), ["masked pixels", "without masked inputs"]),
        (&classes, late, ["class 5", "5 classes"]),
    ] {
        let options = subject.training(Precision::F32);
        let engine = EngineOptions { micro_batch: 1, ..options.engine };
        let mut engine = subject.train(network, &random_weights(network), &TrainOptions { engine, ..options });
        refused(engine.evaluate(&batch), &parts);
        refused(engine.accumulate(&batch, 1.0), &parts);
        refused(engine.accumulate_last(&batch, 1.0, &mut |_| Ok(())), &parts);
        // Calls that score nothing need neither masks nor labels.
        if parts[1] == "without masked inputs" || parts[1] == "5 classes" {
            continue;
        }
        let mut room = vec![0.0; batch.tokens().len() * network.n_vocab];
        refused(engine.logits(&batch, &mut room), &parts);
        refused(engine.pixel_nats(&batch, &mut room[..batch.tokens().len()]), &parts);
        let room = &mut room[..batch.images() * network.n_embd];
        refused(engine.features(&batch, &[1], Pooling::Mean, room), &parts);
    }
}

/// Checks that a refused batch leaves the gradient unchanged, so that the caller can go on with a corrected batch.
pub fn a_refused_batch_leaves_the_gradient_alone(subject: &Subject<'_>) {
    let network = tiny_network();
    let mut engine = train(subject, &network);
    let foreign = Batch::new(vec![61; network.n_ctx()], network.n_ctx());
    assert!(engine.accumulate(&foreign, 1.0).is_err());
    assert!(gradients(&mut *engine).iter().all(|g| *g == 0.0), "a refused batch left a gradient");
    engine.accumulate(&random_batch(&network, 2), 0.5).unwrap();
    let before = gradients(&mut *engine);
    assert!(engine.accumulate(&foreign, 1.0).is_err());
    expect_equal(&network, &gradients(&mut *engine), &before, "the gradient behind a refused batch");
}

/// Checks that every call refuses an output buffer that is too short or too long.
pub fn room_of_another_size_is_refused(subject: &Subject<'_>) {
    let network = classifier(tiny_network(), 1);
    let mut engine = open(subject, &network);
    let batch = random_batch(&network, 2);
    let (tokens, width) = (batch.tokens().len(), network.n_embd);
    for (len, name) in [
        (tokens, "pixel_nats"),
        (tokens * network.n_vocab, "logits"),
        (2 * 5, "class_logits"),
        (2 * 2 * width, "features"),
        (2 * tokens * width, "features of all positions"),
    ] {
        for given in [0, len - 1, len + 1, 2 * len] {
            let mut room = vec![0.0; given];
            let found = match name {
                "pixel_nats" => engine.pixel_nats(&batch, &mut room),
                "logits" => engine.logits(&batch, &mut room),
                "class_logits" => engine.class_logits(&batch, &mut room),
                "features" => engine.features(&batch, &[0, 2], Pooling::Mean, &mut room),
                _ => engine.features(&batch, &[0, 2], Pooling::None, &mut room),
            };
            let message = found.err().unwrap_or_else(|| panic!("{name} takes {given} instead of {len}")).to_string();
            let says = |count: usize| message.contains(&count.to_string());
            assert!(says(given) && says(len), "{name}: {message}");
        }
    }
}

/// Checks that layers and tensors that don't exist are refused by name.
pub fn layers_and_tensors_that_are_not_there_are_refused_by_name(subject: &Subject<'_>) {
    let network = tiny_network();
    let mut engine = train(subject, &network);
    let width = network.n_embd;
    let batch = random_batch(&network, 2);
    let found = engine.features(&batch, &[0, 3], Pooling::Mean, &mut vec![0.0; 4 * width]);
    refused(found, &["layer 3", "0 to 2"]);
    for name in ["transformer.h.2.ln_1.weight", "score.weight", ""] {
        refused(engine.copy_weight(name), &[name]);
        refused(engine.copy_gradient(name), &[name]);
        let tensor = ParamTensor { name: name.into(), ..tensors_of(&network)[0].clone() };
        EngineState::ALL.iter().for_each(|state| refused(engine.export(*state, &tensor), &[name]));
    }
}

/// Checks that a masked model, or one without a classifier, refuses what it cannot do.
pub fn what_a_model_can_not_do_is_refused_with_the_reason(subject: &Subject<'_>) {
    let network = masked_network();
    let mut engine = train(subject, &network);
    let (plain, masked) = (random_batch(&network, 1), batch_for(&network, 1));
    refused(engine.decoder(1), &["masked pixels"]);
    refused(engine.pixel_nats(&plain, &mut vec![0.0; 72]), &["masked pixels"]);
    refused(engine.pixel_nats(&masked, &mut vec![0.0; 72]), &["masked pixels"]);
    refused(engine.class_logits(&plain, &mut []), &["no classifier", "igpt finetune"]);
    refused(open(subject, &tiny_network()).class_logits(&plain, &mut [0.0; 5]), &["no classifier", "igpt finetune"]);
}

/// Checks that a step of another optimizer is refused by name, and that the weights stay.
pub fn a_step_of_another_optimizer_is_refused_by_name(subject: &Subject<'_>) {
    let network = tiny_network();
    for (own, other, names) in [(ADAM, MUON, ["muon", "adam"]), (MUON, ADAM, ["adam", "muon"])] {
        let options = subject.training_by(Precision::F32, &own);
        let weights = random_weights(&network);
        let mut engine = subject.train(&network, &weights, &options);
        engine.accumulate(&random_batch(&network, 1), 0.1).unwrap();
        let part = format!("{} was given to an engine opened for {}", names[0], names[1]);
        refused(engine.step(&other), &[&part]);
        expect_equal(&network, &weights_of(&*engine), &weights, "weights after a step that was refused");
        assert_eq!(engine.steps(), 0);
        engine.step(&Update { clip: 0.0, ..own }).unwrap();
    }
}

/// Checks that values of a wrong number are refused in place of a part of the gradient or of the other ranks'
/// weights.
pub fn values_of_another_number_are_refused(subject: &Subject<'_>) {
    let network = tiny_network();
    let mut engine = train(subject, &network);
    engine.accumulate(&random_batch(&network, 1), 0.1).unwrap();
    let before = gradients(&mut *engine);
    let len = engine.optimizer_shard()[0].end;
    for (range, count) in [(0..4, 3), (0..4, 5), (0..4, 0), (len - 1..len + 1, 2), (len..len + 4, 4)] {
        let found = engine.copy_gradient_in(range.clone(), &vec![1.0; count]);
        assert!(found.is_err(), "{count} values were taken for {range:?} of {len}");
    }
    expect_equal(&network, &gradients(&mut *engine), &before, "the gradient behind refused values");
    let mut all = Vec::new();
    engine.copy_owned_weights(&mut all).unwrap();
    for count in [0, len - 1, len + 1] {
        all.resize(count, 0.5);
        assert!(engine.set_unowned_weights(&all).is_err(), "{count} weights were taken for {len}");
    }
    expect_equal(&network, &weights_of(&*engine), &random_weights(&network), "weights behind refused values");
}

/// Checks that a decoder refuses invalid rows, tokens, order and buffers, and that its rows go on unchanged.
pub fn a_decoder_refuses_what_makes_no_image(subject: &Subject<'_>) {
    let network = tiny_network();
    let (n_ctx, n_vocab) = (network.n_ctx(), network.n_vocab);
    let image = random_batch(&network, 1);
    let image = image.image(0);
    let engine = open(subject, &network);
    let fresh = || engine.decoder(2).unwrap();
    let mut logits = vec![0.0; 2 * n_vocab];
    let (one, two) = (n_vocab, 2 * n_vocab);
    let mut decoder = fresh();
    // Not started yet.
    refused(decoder.step(&[(0, 1)], &mut logits[..one]), &["row 0"]);
    decoder.start(0, &image[..5], &mut logits[..one]).unwrap();
    refused(decoder.step(&[(0, 1), (1, 1)], &mut logits), &["row 1"]);
    decoder.start(1, &image[..9], &mut logits[..one]).unwrap();
    // Rows that don't exist, or appear twice.
    refused(decoder.start(2, &[], &mut logits[..one]), &["row 2"]);
    refused(decoder.step(&[(2, 1)], &mut logits[..one]), &["row 2"]);
    refused(decoder.copy(0, 2), &["row 2"]);
    refused(decoder.copy(2, 0), &["row 2"]);
    refused(decoder.step(&[(1, 1), (1, 1)], &mut logits), &["row 1", "twice"]);
    // Tokens that are not in the palette, or too many of them.
    refused(decoder.start(0, &[1, 61, 2], &mut logits[..one]), &["token 61", "61 colours"]);
    refused(decoder.step(&[(0, 1), (1, 61)], &mut logits), &["token 61", "61 colours"]);
    for given in [n_ctx, n_ctx + 1] {
        let count = given.to_string();
        refused(decoder.start(0, &vec![0; given], &mut logits[..one]), &[&count, "72"]);
    }
    // Output buffers of a wrong size.
    for len in [0, one - 1, one + 1, two] {
        let mut room = vec![0.0; len];
        refused(decoder.start(0, &image[..5], &mut room), &[&len.to_string(), "61"]);
        refused(decoder.step(&[(0, 1)], &mut room), &[&len.to_string(), "61"]);
    }
    for len in [0, one, two - 1, two + 1] {
        refused(decoder.step(&[(0, 1), (1, 1)], &mut vec![0.0; len]), &[&len.to_string(), "122"]);
    }
    // An empty step is allowed.
    decoder.step(&[], &mut []).unwrap();
    let go_on = |decoder: &mut dyn Decoder| {
        let mut logits = vec![0.0; 2 * n_vocab];
        decoder.step(&[(0, image[5]), (1, image[9])], &mut logits).unwrap();
        logits
    };
    let found = go_on(&mut *decoder);
    let mut other = fresh();
    other.start(0, &image[..5], &mut logits[..one]).unwrap();
    other.start(1, &image[..9], &mut logits[..one]).unwrap();
    assert!(found == go_on(&mut *other), "what was refused has changed a row");
    // At its end, an image has no next pixel.
    decoder.start(0, &image[..n_ctx - 1], &mut logits[..one]).unwrap();
    refused(decoder.step(&[(0, 1)], &mut logits[..one]), &["row 0"]);
}
