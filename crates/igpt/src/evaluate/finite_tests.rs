//! No figure leaves a damaged model: weights that are finite each, but whose products are not.

use super::*;
use crate::data::{Batch, Images, TokenSet, sources::packed::PackedSource};
use crate::device::{Engine, EngineOptions, Pooling, Precision, open};
use crate::generate::{self, SamplingSettings};
use crate::image::ImageSize;
use crate::model::{ClassHead, ModelConfig, Objective, ParamLayout};
use crate::palette::{Palette, Quantizer};
use crate::ranks::Collective;

/// A model whose attention makes 1e30 of everything, in a matrix that the message must name.
fn damaged(objective: Objective, options: EngineOptions) -> Box<dyn Engine> {
    let config = ModelConfig::new(ImageSize::square(8), 7, 32, 2, 2);
    let config = ModelConfig { objective, class_head: Some(ClassHead { num_labels: 3, layer: 2 }), ..config };
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    for (name, value) in [("attn.c_attn", 1e14), ("attn.c_proj", 1e15)] {
        let tensor = layout.tensor(&format!("transformer.h.1.{name}.weight")).unwrap();
        let values: Vec<f32> = (0..tensor.len()).map(|i| if i % 3 == 0 { -value } else { value }).collect();
        layout.import(tensor, &values, &mut weights).unwrap();
    }
    open(&config, &weights, &options).unwrap()
}

fn set() -> TokenSet {
    let tokens = (0..2 * 64).map(|i| (i * i % 7) as u16).collect();
    let names = vec!["first.png".into(), "second.png".into()];
    TokenSet { tokens, n_px: ImageSize::square(8), labels: vec![None; 2], names, damaged: Vec::new() }
}

#[track_caller]
fn assert_refused<T>(result: crate::Result<T>, image: &str) {
    let message = result.err().expect("a figure of a damaged model").to_string();
    for part in [image, "e15 in transformer.h.1.attn.c_proj.weight", "damaged or diverged"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
}

#[test]
fn figures_that_are_no_numbers_are_errors_that_name_image_and_weight() {
    for precision in [Precision::F32, Precision::Bf16] {
        let options = EngineOptions::new(precision);
        for objective in [Objective::Autoregressive, Objective::Masked] {
            let mut engine = damaged(objective, options);
            assert_refused(likelihood(&mut Collective::solo(), &mut *engine, &set(), 1, &mut |_| ()), "first.png");
            assert_refused(classify(&mut *engine, &Batch::new(set().tokens, 64), 5), "image 5");
            let mut source = PackedSource::new(ImageSize::square(8), 1);
            source.push_file("train", &(0..128).map(|i| i as u8).collect::<Vec<_>>(), [0, 0]);
            let images = Images::all(std::sync::Arc::new(source));
            let palette = Palette::new((0..7).map(|i| [i as f32 / 4.0 - 1.0; 3]).collect(), 1).unwrap();
            let quantizer = Quantizer::new(palette);
            for pooling in [Pooling::Mean, Pooling::None] {
                let mut take = |_: &TokenSet, _: &[f32]| panic!("taken");
                let found = features(
                    &mut Collective::solo(),
                    &mut *engine,
                    &images,
                    &quantizer,
                    (&[1, 2], pooling),
                    &mut take,
                    &mut |_| (),
                );
                assert_refused(found, "train/00000");
            }
        }
        let mut engine = damaged(Objective::Autoregressive, options);
        let baselines = NgramBaselines::fit(&set(), 7);
        assert_refused(surprise(&mut *engine, &set(), Reference::Context(&baselines), &mut |_| ()), "first.png");
        assert_refused(surprise_maps(&mut *engine, &set(), 1..2), "second.png");
    }
}

#[test]
fn nothing_is_drawn_from_scores_that_are_no_numbers() {
    for int8 in [false, true] {
        let options = EngineOptions { int8, ..EngineOptions::new(Precision::F32) };
        let mut engine = damaged(Objective::Autoregressive, options);
        let drawn = generate::sample(&*engine, 2, 0, &SamplingSettings::default(), 0, &mut |_, _| ());
        assert_refused(drawn, "pixel 0 of drawn image 0");
        // The known pixels are read in one pass, or position by position behind it.
        let given: Vec<u16> = (0..20).map(|i| i % 7).collect();
        let drawn = generate::complete(&*engine, &[&given], 3, 1, &SamplingSettings::default(), 0, &mut |_, _| ());
        assert_refused(drawn, "pixel 20 of drawn image 3");
        assert_refused(likelihood_by_decoding(&mut Collective::solo(), &*engine, &set(), 1, &mut |_| ()), "first.png");
        if !int8 {
            engine = damaged(Objective::Masked, options);
            let known: Vec<Option<u16>> = (0..64).map(|i| (i % 2 == 0).then_some(i % 7)).collect();
            let filled = generate::infill::infill(&mut *engine, &known, 4, 1, 2, &SamplingSettings::default());
            assert_refused(filled, "of drawn image 4");
        }
    }
}

#[test]
fn a_residual_stream_too_large_to_square_is_not_read_as_zero() {
    // Each weight is finite and so is each sum, but the norm's mean of squares is not: 1 / infinity would be 0.
    let config = ModelConfig::new(ImageSize::square(8), 7, 32, 1, 2);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    let wte = layout.tensor("transformer.wte.weight").unwrap();
    layout.import(wte, &vec![1e19; wte.len()], &mut weights).unwrap();
    let mut engine = open(&config, &weights, &EngineOptions::new(Precision::F32)).unwrap();
    let message = likelihood(&mut Collective::solo(), &mut *engine, &set(), 1, &mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("1e19 in transformer.wte.weight"), "{message}");
}
