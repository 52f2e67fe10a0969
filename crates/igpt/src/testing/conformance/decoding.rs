//! Claims about decoders, compared with the forward pass.

use super::{ADAM, Subject};
use crate::data::Batch;
use crate::device::{Decoder, Engine, EngineOptions, Precision};
use crate::image::ImageSize;
use crate::model::ModelConfig;
use crate::testing::{random_batch, random_weights, tiny_network};

/// Returns the formats that decoders are tested in, each with its tolerance.
fn formats(subject: &Subject<'_>) -> Vec<(Precision, bool, f64)> {
    let [f32, bf16, int8] = subject.budget.decoding;
    let mut all = vec![(Precision::F32, false, f32), (Precision::Bf16, false, bf16)];
    if subject.int8 {
        all.push((Precision::Bf16, true, int8));
        all.push((Precision::F32, true, int8));
    }
    all
}

fn open(subject: &Subject<'_>, network: &ModelConfig, precision: Precision, int8: bool) -> Box<dyn Engine> {
    let options = EngineOptions { int8, ..subject.options(precision) };
    subject.open(network, &random_weights(network), &options)
}

/// Checks that a decoder's logits match the forward pass, from nothing and from given tokens next to another row.
pub fn a_decoder_matches_the_full_forward_pass(subject: &Subject<'_>) {
    for (network, given) in [(tiny_network(), 13), (ModelConfig::new(ImageSize::square(8), 16, 64, 2, 2), 32)] {
        let batch = random_batch(&network, 2);
        let (n_ctx, n_vocab) = (network.n_ctx(), network.n_vocab);
        for (precision, int8, budget) in formats(subject) {
            let mut engine = open(subject, &network, precision, int8);
            let full = full(&mut *engine, &batch);
            let mut decoder = engine.decoder(2).unwrap();
            assert_eq!(decoder.rows(), 2);
            let mut logits = vec![0.0; 2 * n_vocab];
            // Row 0 starts from nothing, row 1 from some given tokens; then both go on together.
            decoder.start(0, &[], &mut logits[..n_vocab]).unwrap();
            decoder.start(1, &batch.image(1)[..given], &mut logits[n_vocab..]).unwrap();
            for step in 0..n_ctx - given {
                for (row, position) in [(0, step), (1, given + step)] {
                    let want = &full[(row * n_ctx + position) * n_vocab..][..n_vocab];
                    let error = relative_error(&logits[row * n_vocab..][..n_vocab], want);
                    let format = if int8 { "8 bits" } else { "all bits" };
                    assert!(error < budget, "{precision:?}, {format}: row {row} at {position} is off by {error:.1e}");
                }
                if given + step + 1 < n_ctx {
                    let inputs = [(0, batch.image(0)[step]), (1, batch.image(1)[given + step])];
                    decoder.step(&inputs, &mut logits).unwrap();
                }
            }
        }
    }
}

/// Checks that prefill matches the forward pass at every length, in a row that held another image before.
pub fn prefill_matches_the_full_forward_pass_at_every_length(subject: &Subject<'_>) {
    // More tokens than an engine processes at once in a cache block or a tile.
    let network = ModelConfig { n_px: ImageSize { height: 17, width: 9 }, ..tiny_network() };
    let (n_ctx, n_vocab) = (network.n_ctx(), network.n_vocab);
    let batch = random_batch(&network, 1);
    for (precision, int8, budget) in formats(subject) {
        let mut engine = open(subject, &network, precision, int8);
        let full = full(&mut *engine, &batch);
        let mut decoder = engine.decoder(2).unwrap();
        let mut logits = vec![0.0; n_vocab];
        for given in [n_ctx - 1, 0, 1, 2, 7, 8, 15, 16, 17, 31, 64, 127, 128, 129, n_ctx - 1] {
            decoder.start(1, &batch.image(0)[..given], &mut logits).unwrap();
            let error = relative_error(&logits, &full[given * n_vocab..][..n_vocab]);
            assert!(error < budget, "{precision:?}, int8 {int8}: {given} given tokens are off by {error:.1e}");
        }
    }
}

fn full(engine: &mut dyn Engine, batch: &Batch) -> Vec<f32> {
    let mut logits = vec![0.0; batch.tokens().len() * engine.config().n_vocab];
    engine.logits(batch, &mut logits).unwrap();
    logits
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f32| (x as f64) * (x as f64);
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(a - b)).sum();
    (difference / want.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

/// Checks that a row's logits do not depend on the other rows: their number, their inputs or their order.
pub fn a_row_does_not_depend_on_its_neighbours(subject: &Subject<'_>) {
    let network = tiny_network();
    let image = random_batch(&network, 1);
    let n_vocab = network.n_vocab;
    for (precision, int8, _) in formats(subject) {
        let engine = open(subject, &network, precision, int8);
        let draw = |rows: usize, mine: usize| {
            let mut decoder = engine.decoder(rows).unwrap();
            let mut logits = vec![0.0; rows * n_vocab];
            for row in 0..rows {
                decoder.start(row, &[], &mut logits[..n_vocab]).unwrap();
            }
            let mut place = 0;
            for t in 0..20 {
                let token = |row: usize| if row == mine { image.image(0)[t] } else { (row + t) as u16 };
                // Every third step without some of the others, every second step in reverse order.
                let fed = |row: &usize| *row == mine || t % 3 != 0 || row.is_multiple_of(2);
                let mut inputs: Vec<_> = (0..rows).filter(fed).map(|row| (row, token(row))).collect();
                if t % 2 == 1 {
                    inputs.reverse();
                }
                place = inputs.iter().position(|(row, _)| *row == mine).unwrap();
                decoder.step(&inputs, &mut logits[..inputs.len() * n_vocab]).unwrap();
            }
            logits[place * n_vocab..][..n_vocab].to_vec()
        };
        let alone = draw(1, 0);
        for (rows, mine) in [(3, 2), (17, 9)] {
            assert!(draw(rows, mine) == alone, "{precision:?}, int8 {int8}: row {mine} of {rows} has other bits");
        }
    }
}

/// Checks that a copied row goes on with the original's bits, over a row that was at another pixel of another image.
pub fn a_copied_row_goes_on_to_the_bits_of_the_original(subject: &Subject<'_>) {
    let network = tiny_network();
    let (batch, n_vocab) = (random_batch(&network, 2), network.n_vocab);
    for (precision, int8, _) in formats(subject) {
        let mut decoder = open(subject, &network, precision, int8).decoder(3).unwrap();
        let mut logits = vec![0.0; 2 * n_vocab];
        decoder.start(0, &batch.image(0)[..7], &mut logits[..n_vocab]).unwrap();
        decoder.start(2, &batch.image(1)[..20], &mut logits[n_vocab..]).unwrap();
        decoder.copy(0, 2).unwrap();
        decoder.copy(0, 0).unwrap();
        for t in 7..network.n_ctx() - 1 {
            let token = batch.image(0)[t];
            decoder.step(&[(0, token), (2, token)], &mut logits).unwrap();
            assert_eq!(logits[..n_vocab], logits[n_vocab..], "pixel {t} of {precision:?}, int8 {int8}");
        }
    }
}

/// Checks that a restarted row forgets its image, after any number of restarts and whatever the row held before.
pub fn a_row_that_is_started_anew_forgets_its_image(subject: &Subject<'_>) {
    let network = tiny_network();
    let (batch, n_vocab) = (random_batch(&network, 2), network.n_vocab);
    for (precision, int8, _) in formats(subject) {
        let mut decoder = open(subject, &network, precision, int8).decoder(1).unwrap();
        let mut draw = |image: &[u16], given: usize| {
            let mut logits = vec![0.0; n_vocab];
            decoder.start(0, &image[..given], &mut logits).unwrap();
            image[given..40].iter().for_each(|token| decoder.step(&[(0, *token)], &mut logits).unwrap());
            logits
        };
        let first = draw(batch.image(0), 5);
        draw(batch.image(1), 30);
        assert!(draw(batch.image(0), 5) == first, "{precision:?}, int8 {int8}: other bits for the second time");
    }
}

/// Checks that a decoder keeps its weights while its engine is trained on, or gone.
pub fn a_decoder_keeps_the_weights_it_was_made_with(subject: &Subject<'_>) {
    let network = tiny_network();
    for int8 in [false, true].into_iter().filter(|int8| subject.int8 || !int8) {
        let mut options = subject.training(Precision::F32);
        options.engine.int8 = int8;
        let mut engine = subject.train(&network, &random_weights(&network), &options);
        let first = |decoder: &mut dyn Decoder| {
            let mut logits = vec![0.0; network.n_vocab];
            decoder.start(0, &[], &mut logits).unwrap();
            logits
        };
        let mut decoder = engine.decoder(1).unwrap();
        let before = first(&mut *decoder);
        engine.accumulate(&random_batch(&network, 1), 1.0).unwrap();
        engine.step(&ADAM).unwrap();
        assert_eq!(before, first(&mut *decoder));
        assert_ne!(before, first(&mut *engine.decoder(1).unwrap()), "a new decoder has the old weights");
        drop(engine);
        assert_eq!(before, first(&mut *decoder));
    }
}

/// Checks that 8-bit weights are used if they are requested: the logits change.
pub fn eight_bits_are_used_where_they_are_asked_for(subject: &Subject<'_>) {
    if !subject.int8 {
        return;
    }
    let network = tiny_network();
    let logits = |int8| {
        let mut logits = vec![0.0; network.n_vocab];
        let mut decoder = open(subject, &network, Precision::F32, int8).decoder(1).unwrap();
        decoder.start(0, &[], &mut logits).unwrap();
        logits
    };
    assert_ne!(logits(false), logits(true));
}

/// Checks that an engine has decoders exactly if [`Engine::draws`](crate::device::Engine::draws) says so.
pub fn an_engine_has_decoders_exactly_if_it_says_so(subject: &Subject<'_>) {
    let network = tiny_network();
    assert!(open(subject, &network, Precision::F32, false).has_decoders(), "no decoder of a usual engine");
    let options = EngineOptions { stream_weights: true, ..subject.options(Precision::F32) };
    let engine = subject.open(&network, &random_weights(&network), &options);
    assert_eq!(engine.decoder(1).is_ok(), engine.has_decoders(), "repacked");
}
