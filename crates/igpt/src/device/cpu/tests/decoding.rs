//! The decoder beside the forward pass.

use super::*;

#[test]
fn kv_cache_matches_full_forward() {
    for (config, given) in [(odd(), 13), (ModelConfig::new(ImageSize::square(8), 16, 64, 2, 2), 32)] {
        let weights = random_weights(&config);
        let batch = random_batch(&config, 2);
        let (n_ctx, n_vocab) = (config.n_ctx(), config.n_vocab);
        for isa in Isa::available() {
            for (precision, int8, budget) in
                [(Precision::F32, false, 1e-5), (Precision::Bf16, false, 2e-2), (Precision::Bf16, true, 5e-2)]
            {
                let options = Options { int8, ..options(precision, isa, 2) };
                let mut engine = open(&config, &weights, options).unwrap();
                let mut full = vec![0.0; 2 * n_ctx * n_vocab];
                engine.logits(&batch, &mut full).unwrap();
                let mut decoder = engine.decoder(2).unwrap();
                let mut logits = vec![0.0; 2 * n_vocab];
                // Row 0 starts from nothing, row 1 from some given tokens; then both go on together.
                decoder.start(0, &[], &mut logits[..n_vocab]).unwrap();
                decoder.start(1, &batch.image(1)[..given], &mut logits[n_vocab..]).unwrap();
                for step in 0..n_ctx - given {
                    for (row, position) in [(0, step), (1, given + step)] {
                        let want = &full[(row * n_ctx + position) * n_vocab..][..n_vocab];
                        let error = relative_error(&logits[row * n_vocab..][..n_vocab], want);
                        assert!(error < budget, "{precision:?} {} row {row} at {position}: {error}", isa.name());
                    }
                    if given + step + 1 < n_ctx {
                        let inputs = [(0, batch.image(0)[step]), (1, batch.image(1)[given + step])];
                        decoder.step(&inputs, &mut logits).unwrap();
                    }
                }
            }
        }
    }
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f32| (x as f64) * (x as f64);
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(a - b)).sum();
    (difference / want.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

#[test]
fn a_decoder_row_does_not_depend_on_its_neighbours() {
    let config = odd();
    let engine = open(&config, &random_weights(&config), options(Precision::Bf16, Isa::detect(), 2)).unwrap();
    let image = random_batch(&config, 1);
    let n_vocab = config.n_vocab;
    let draw = |rows: usize, mine: usize| {
        let mut decoder = engine.decoder(rows).unwrap();
        let mut logits = vec![0.0; rows * n_vocab];
        for row in 0..rows {
            decoder.start(row, &[], &mut logits[..n_vocab]).unwrap();
        }
        for t in 0..20 {
            let token = |row: usize| if row == mine { image.image(0)[t] } else { (row + t) as u16 };
            let inputs: Vec<_> = (0..rows).map(|row| (row, token(row))).collect();
            decoder.step(&inputs, &mut logits).unwrap();
        }
        logits[mine * n_vocab..][..n_vocab].to_vec()
    };
    let alone = draw(1, 0);
    assert_eq!(alone, draw(3, 2));
    assert_eq!(alone, draw(17, 9));
}

#[test]
fn a_copied_row_goes_on_to_the_bits_of_the_original() {
    let config = odd();
    let (weights, batch, n_vocab) = (random_weights(&config), random_batch(&config, 2), config.n_vocab);
    for (precision, int8) in [(Precision::F32, false), (Precision::Bf16, false), (Precision::F32, true)] {
        let options = Options { int8, ..options(precision, Isa::detect(), 2) };
        let mut decoder = open(&config, &weights, options).unwrap().decoder(3).unwrap();
        let mut logits = vec![0.0; 2 * n_vocab];
        // The row that is copied over was at another pixel of another image.
        decoder.start(0, &batch.image(0)[..7], &mut logits[..n_vocab]).unwrap();
        decoder.start(2, &batch.image(1)[..20], &mut logits[n_vocab..]).unwrap();
        decoder.copy(0, 2).unwrap();
        for t in 7..config.n_ctx() - 1 {
            let token = batch.image(0)[t];
            decoder.step(&[(0, token), (2, token)], &mut logits).unwrap();
            assert_eq!(logits[..n_vocab], logits[n_vocab..], "pixel {t} of {precision:?}, int8 {int8}");
        }
        assert!(decoder.copy(0, 3).is_err());
    }
}

#[test]
fn a_decoder_keeps_the_weights_it_was_made_with() {
    let config = odd();
    let mut engine = open(&config, &random_weights(&config), options(Precision::F32, Isa::detect(), 1)).unwrap();
    let first = |decoder: &mut dyn crate::device::Decoder| {
        let mut logits = vec![0.0; config.n_vocab];
        decoder.start(0, &[], &mut logits).unwrap();
        logits
    };
    let mut decoder = engine.decoder(1).unwrap();
    let before = first(&mut *decoder);
    engine.accumulate(&random_batch(&config, 1), 1.0).unwrap();
    engine.step(&ADAM).unwrap();
    assert_eq!(before, first(&mut *decoder));
    assert_ne!(before, first(&mut *engine.decoder(1).unwrap()));
}
