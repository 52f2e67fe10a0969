//! Models that transformers and torch saved.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{assert_has, edit, foreign, refusal};
use crate::image::{ImageSize, Pixels};
use crate::model::ModelDir;
use crate::model::dir::json::read_json;
use crate::model::dir::model_dir::image_size;
use crate::palette::{Palette, Quantizer};

#[test]
fn every_form_that_transformers_and_torch_save_opens_to_the_same_weights() {
    let whole = ModelDir::open(foreign("safetensors")).unwrap();
    assert!(whole.config.biases);
    assert_eq!(whole.config.n_px, ImageSize { height: 8, width: 10 });
    for form in ["safetensors-sharded", "bin", "bin-sharded"] {
        let other = ModelDir::open(foreign(form)).unwrap();
        assert_eq!(other.config, whole.config, "{form}");
        assert!(other.weights == whole.weights, "{form}");
    }
    for (form, bits) in [("bin-f16", 11), ("bin-bf16", 8)] {
        let other = ModelDir::open(foreign(form)).unwrap();
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= a.abs() * 0.5f32.powi(bits) + 1e-7;
        assert!(whole.weights.iter().zip(&other.weights).all(close), "{form}");
    }
}

#[test]
fn a_shard_name_that_leaves_the_directory_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    for file in fs::read_dir(foreign("safetensors-sharded")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), temp.path().join(file.file_name())).unwrap();
    }
    let index = "model.safetensors.index.json";
    edit(temp.path(), index, |v| v["weight_map"]["lm_head.weight"] = json!("../../etc/passwd"));
    assert_has(&refusal(temp.path()), &[index, "lm_head.weight", "not the name of a file"]);
    edit(temp.path(), index, |v| v["weight_map"]["lm_head.weight"] = json!("model-00009.safetensors"));
    assert_has(&refusal(temp.path()), &["model-00009.safetensors"]);
}

#[test]
fn real_pictures_get_transformers_token_ids() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/processor");
    let processor = read_json(&dir.join("preprocessor_config.json")).unwrap();
    let size = image_size(&processor).unwrap();
    let palette = Palette::from_preprocessor(&processor).unwrap();
    assert_eq!((palette.n_vocab(), palette.channels()), (512, 3));
    let quantizer = Quantizer::new(palette.clone());
    let recorded = read_json(&dir.join("tokens.json")).unwrap();
    for (name, ids) in recorded.as_object().unwrap() {
        let picture = image::open(dir.join(format!("{name}.png"))).unwrap().into_rgb8();
        let pixels = Pixels::new(size, 3, picture.into_raw());
        let mut tokens = vec![0; size.pixels()];
        quantizer.tokens(&pixels, &mut tokens);
        for (i, (&token, id)) in tokens.iter().zip(ids.as_array().unwrap()).enumerate() {
            let id = id.as_u64().unwrap() as usize;
            let distance = |t: usize| -> f64 {
                let color = palette.colors()[t].iter().zip(&pixels.data[3 * i..]);
                color.map(|(c, p)| (f64::from(*c) - (f64::from(*p) / 127.5 - 1.0)).powi(2)).sum()
            };
            // transformers' arithmetic differs in the last bit: another colour only on a tie.
            let tie = (distance(usize::from(token)) - distance(id)).abs() < 1e-6;
            assert!(usize::from(token) == id || tie, "{name}, pixel {i}: {token}, but transformers says {id}");
        }
    }
    assert_eq!(recorded.as_object().unwrap().len(), 8);
}
