//! A small model and its directory, for the tests of each theme.

mod foreign;
mod pickles;
mod safetensors;
mod saving;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json::read_json;
use super::{ModelCard, ModelDir, SaveType};
use crate::image::ImageSize;
use crate::model::{ModelConfig, ParamLayout};
use crate::palette::Palette;

/// A small odd model: non-square, head size 24, a padded width, 5 colours.
fn model(biases: bool) -> ModelDir {
    let mut config = ModelConfig::new(ImageSize { height: 8, width: 12 }, 5, 72, 2, 3);
    config.biases = biases;
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    for (t, tensor) in layout.tensors().iter().enumerate() {
        let values: Vec<f32> = (0..tensor.len()).map(|i| (t + 1) as f32 + i as f32 / 1024.0).collect();
        layout.import(tensor, &values, &mut weights).unwrap();
    }
    let colors = (0..5).map(|i| [i as f32 / 5.0, -0.3, 0.1]).collect();
    ModelDir { config, palette: Palette::new(colors, 3).unwrap(), weights, extra: Map::new() }
}

fn saved(model: &ModelDir) -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("model");
    model.save(&dir, &ModelCard::default(), SaveType::F32).unwrap();
    (temp, dir)
}

fn edit(dir: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(file);
    let mut value = read_json(&path).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn refusal(dir: &Path) -> String {
    ModelDir::open(dir).expect_err("opened a bad model directory").to_string()
}

#[track_caller]
fn assert_has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
}

fn header_of(dir: &Path) -> Value {
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&bytes[8..8 + len]).unwrap()
}

/// A directory saved by transformers and torch, see `testdata/make_models.py`.
fn foreign(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}
