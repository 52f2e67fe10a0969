use super::*;
use crate::device::{self, Engine, Precision};
use crate::image::ImageSize;
use crate::model::ModelConfig;
use crate::testing::random_weights;

/// A network of random weights, output matrix included.
fn engine(objective: Objective) -> Box<dyn Engine> {
    let config = ModelConfig { objective, ..ModelConfig::new(ImageSize::square(8), 8, 16, 2, 2) };
    device::open(&config, &random_weights(&config), &device::EngineOptions::new(Precision::F32)).unwrap()
}

fn fill(known: &[Option<u16>], attempts: usize, rounds: usize, seed: u64) -> Vec<Vec<u16>> {
    let mut engine = engine(Objective::Masked);
    let settings = SamplingSettings { seed, ..SamplingSettings::default() };
    let mut infill = Infill::new(&*engine, known, 3, attempts, rounds, &settings).unwrap();
    let mut told = vec![known.to_vec(); attempts];
    while !infill.is_done() {
        for filled in infill.round(&mut *engine).unwrap() {
            for (pixel, token) in filled.pixels.iter().zip(&filled.tokens) {
                // Each missing pixel is drawn once.
                assert_eq!(told[filled.attempt][*pixel].replace(*token), None);
            }
        }
    }
    let images = infill.images();
    let told: Vec<Vec<u16>> = told.into_iter().map(|image| image.into_iter().map(Option::unwrap).collect()).collect();
    assert_eq!(told, images);
    images
}

fn holed() -> Vec<Option<u16>> {
    (0..64).map(|t| (!(9..45).contains(&t)).then_some(t as u16 % 8)).collect()
}

#[test]
fn known_pixels_are_kept_and_every_missing_one_is_drawn_once() {
    for rounds in [1, 3, 16, 99] {
        let images = fill(&holed(), 3, rounds, 0);
        for image in &images {
            assert!(holed().iter().zip(image).all(|(known, token)| known.is_none_or(|known| known == *token)));
        }
        assert_ne!(images[0], images[1]);
    }
}

#[test]
fn an_attempt_does_not_depend_on_those_beside_it() {
    let all = fill(&holed(), 3, 4, 7);
    assert_eq!(fill(&holed(), 1, 4, 7)[0], all[0]);
    assert_eq!(fill(&holed(), 2, 4, 7), all[..2]);
    assert_ne!(fill(&holed(), 1, 4, 8)[0], all[0]);
}

#[test]
fn later_rounds_see_what_earlier_ones_drew() {
    // With the likeliest colour always taken, rounds would not matter if they did not see each other.
    let greedy = SamplingSettings { temperature: 0.0, ..SamplingSettings::default() };
    let images = |rounds| {
        let mut engine = engine(Objective::Masked);
        let mut infill = Infill::new(&*engine, &[None; 64], 0, 1, rounds, &greedy).unwrap();
        while !infill.is_done() {
            infill.round(&mut *engine).unwrap();
        }
        infill.images()
    };
    assert_ne!(images(1), images(64));
}

#[test]
fn what_can_not_be_filled_is_refused() {
    let masked = engine(Objective::Masked);
    let refused = |known: &[Option<u16>], attempts, rounds| {
        Infill::new(&*masked, known, 0, attempts, rounds, &SamplingSettings::default()).err().unwrap().to_string()
    };
    assert!(refused(&[Some(0); 64], 1, 1).contains("0 missing"));
    assert!(refused(&[None; 63], 1, 1).contains("63 pixels"));
    assert!(refused(&[None, Some(8)].repeat(32), 1, 1).contains("token 8"));
    assert!(refused(&holed(), 1, 0).contains("0 rounds"));
    let next_pixel = engine(Objective::Autoregressive);
    assert!(Infill::new(&*next_pixel, &holed(), 0, 1, 1, &SamplingSettings::default()).is_err());
}
