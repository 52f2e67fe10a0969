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
use super::{Card, ModelDir, SaveType};
use crate::image::ImageSize;
use crate::model::{Layout, ModelConfig};
use crate::palette::Palette;

/// A small odd model: non-square, head size 24, a padded width, 5 colours.
fn model(biases: bool) -> ModelDir {
    let mut config = ModelConfig::new(ImageSize { height: 8, width: 12 }, 5, 72, 2, 3);
    config.biases = biases;
    let layout = Layout::new(&config);
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
    model.save(&dir, &Card::default(), SaveType::F32).unwrap();
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

#[test]
fn save_then_open_gives_the_same_model() {
    for biases in [false, true] {
        let mut before = model(biases);
        before.config.n_inner = 100;
        before.weights = vec![0.5; Layout::new(&before.config).parameters()];
        // Only what lies outside the padding comes back.
        let layout = Layout::new(&before.config);
        let mut expected = vec![0.0; layout.parameters()];
        for tensor in layout.tensors() {
            layout.import(tensor, &vec![0.5; tensor.len()], &mut expected).unwrap();
        }
        before.config.layer_norm_epsilon = 1e-6;
        before.extra.insert("favourite".into(), json!({ "colour": "blue" }));
        let (temp, dir) = saved(&before);
        // A run directory stands for the model inside it.
        for path in [dir.as_path(), temp.path()] {
            let after = ModelDir::open(path).unwrap();
            assert_eq!(after.config, before.config);
            assert_eq!(after.palette, before.palette);
            assert_eq!(after.extra["favourite"], before.extra["favourite"]);
            assert_eq!(after.weights, expected);
        }
    }
}

#[test]
fn objective_and_classifier_come_back_with_the_names_of_the_classes() {
    for layer in [1, 2] {
        let mut before = model(false);
        (before.config.objective, before.config.mask_prob) = (Objective::Masked, 0.35);
        before.config.class_head = Some(ClassHead { num_labels: 3, layer });
        let layout = Layout::new(&before.config);
        before.weights.resize(layout.parameters(), 0.0);
        let score = layout.tensor("score.weight").unwrap();
        layout.import(score, &(0..3 * 72).map(|i| i as f32).collect::<Vec<_>>(), &mut before.weights).unwrap();
        let (_temp, dir) = saved(&before);
        assert_eq!(ModelDir::open(&dir).unwrap().classes(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
        let names = ["cat", "dog", "owl"].map(String::from);
        before.set_classes(&names);
        before.save(&dir, &Card::default(), SaveType::F32).unwrap();
        let after = ModelDir::open(&dir).unwrap();
        assert_eq!((&after.config, after.classes()), (&before.config, names.to_vec()));
        assert_eq!(after.weights, before.weights);
        assert_eq!(header_of(&dir)["score.weight"]["shape"], json!([3, 72]));
        let config = read_json(&dir.join("config.json")).unwrap();
        assert_eq!((&config["igpt_objective"], &config["label2id"]["owl"]), (&json!("masked"), &json!(2)));
        assert_eq!(config.get("igpt_class_layer").is_some(), layer == 1);
        assert_eq!(config["igpt_mask_prob"], 0.35);
        edit(&dir, "config.json", |config| config["igpt_mask_prob"] = json!(0));
        assert_has(&refusal(&dir), &["igpt_mask_prob is 0", "above 0 and below 1"]);
        edit(&dir, "config.json", |config| drop(config.as_object_mut().unwrap().remove("igpt_mask_prob")));
        assert_eq!(ModelDir::open(&dir).unwrap().config.mask_prob, 0.15);
        edit(&dir, "config.json", |config| config["id2label"] = json!({ "0": "cat", "1": "dog" }));
        assert_has(&refusal(&dir), &["score.weight", "[3, 72]", "[2, 72]"]);
    }
    let (_temp, dir) = saved(&model(false));
    let config = read_json(&dir.join("config.json")).unwrap();
    assert!(config.get("igpt_objective").is_none() && config.get("igpt_mask_prob").is_none());
    edit(&dir, "config.json", |config| config["igpt_objective"] = json!("diffusion"));
    assert_has(&refusal(&dir), &["igpt_objective", "diffusion", "masked"]);
}

#[test]
fn a_classifier_as_transformers_saves_it_opens_without_a_generative_head_and_says_so() {
    let mut before = model(false);
    before.config.class_head = Some(ClassHead { num_labels: 3, layer: 2 });
    let layout = Layout::new(&before.config);
    before.weights.resize(layout.parameters(), 0.0);
    let score = layout.tensor("score.weight").unwrap();
    layout.import(score, &[0.5; 3 * 72], &mut before.weights).unwrap();
    before.expect_generative("m").unwrap();
    let (_temp, dir) = saved(&before);
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = ::safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let kept = tensors.into_iter().filter(|(name, _)| name != "lm_head.weight");
    ::safetensors::serialize_to_file(kept, None, &path).unwrap();
    let after = ModelDir::open(&dir).unwrap();
    assert_has(&after.expect_generative("m").unwrap_err().to_string(), &["m is", "never trained", "neither draw"]);
    let (score, config) = (score.range(), &before.config);
    assert_eq!((&after.config, &after.weights[score.clone()]), (config, &before.weights[score]));
    // Without a classifier the head is missed.
    edit(&dir, "config.json", |config| config["architectures"] = json!(["ImageGPTForCausalImageModeling"]));
    assert_has(&refusal(&dir), &["lm_head.weight is missing"]);
}

#[test]
fn zero_biases_are_written_and_left_out_when_read() {
    let (_temp, dir) = saved(&model(false));
    let header = header_of(&dir);
    assert_eq!(header["transformer.h.1.mlp.c_fc.bias"]["shape"], json!([288]));
    assert_eq!(header["__metadata__"]["format"], json!("pt"));
    assert!(!ModelDir::open(&dir).unwrap().config.biases);
}

#[test]
fn bf16_saves_round_to_nearest() {
    let temp = tempfile::tempdir().unwrap();
    let before = model(true);
    before.save(temp.path().join("m"), &Card::default(), SaveType::Bf16).unwrap();
    let after = ModelDir::open(temp.path().join("m")).unwrap();
    let rounded: Vec<f32> = before.weights.iter().map(|w| half::bf16::from_f32(*w).to_f32()).collect();
    assert_eq!(after.weights, rounded);
    assert_eq!(read_json(&temp.path().join("m/config.json")).unwrap()["dtype"], json!("bfloat16"));
}

#[test]
fn the_same_model_is_saved_as_the_same_bytes() {
    let bytes = || {
        let (_temp, dir) = saved(&model(false));
        fs::read(dir.join(WEIGHTS)).unwrap()
    };
    let first = bytes();
    assert!((0..8).all(|_| bytes() == first));
}

#[test]
fn saving_again_replaces_the_model_and_leaves_nothing_behind() {
    let (temp, dir) = saved(&model(false));
    fs::write(dir.join("parity.safetensors"), "of the old weights").unwrap();
    let card = Card { lines: vec!["Hello.".into()], figures: vec![("loss".into(), "1.5 nats per token".into())] };
    model(true).save(&dir, &card, SaveType::F32).unwrap();
    assert!(ModelDir::open(&dir).unwrap().config.biases);
    assert_has(&fs::read_to_string(dir.join("README.md")).unwrap(), &["Hello.", "| loss | 1.5 nats per token |"]);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), FILES.len());
}

#[test]
fn settings_that_are_not_implemented_are_refused_by_name() {
    let (_temp, dir) = saved(&model(false));
    for (key, value) in [
        ("activation_function", json!("gelu_new")),
        ("scale_attn_by_inverse_layer_idx", json!(true)),
        ("reorder_and_upcast_attn", json!(true)),
        ("scale_attn_weights", json!(false)),
        ("tie_word_embeddings", json!(true)),
        ("add_cross_attention", json!(true)),
        ("model_type", json!("gpt2")),
        ("quantization_config", json!({ "bits": 4 })),
        ("n_embd", json!("wide")),
        ("n_embd", json!(-3)),
        ("n_layer", json!(1u64 << 60)),
        ("layer_norm_epsilon", json!(0)),
        ("vocab_size", json!(2)),
        ("vocab_size", json!(0)),
        ("n_embd", json!(1u64 << 40)),
        ("n_head", json!(0)),
        ("n_inner", json!(1u64 << 33)),
        ("n_positions", json!(u64::MAX)),
    ] {
        let good = fs::read(dir.join("config.json")).unwrap();
        edit(&dir, "config.json", |config| config[key] = value);
        assert_has(&refusal(&dir), &["config.json", key]);
        fs::write(dir.join("config.json"), good).unwrap();
    }
    edit(&dir, "config.json", |config| config["attn_pdrop"] = json!(0.1));
    assert!(ModelDir::open(&dir).is_ok(), "dropout has no effect on a finished model");
}

#[test]
fn sizes_that_do_not_fit_together_are_refused() {
    let (_temp, dir) = saved(&model(false));
    let changed = |file: &str, change: &dyn Fn(&mut Value), parts: &[&str]| {
        let good = fs::read(dir.join(file)).unwrap();
        edit(&dir, file, change);
        assert_has(&refusal(&dir), parts);
        fs::write(dir.join(file), good).unwrap();
    };
    changed("config.json", &|c| c["n_positions"] = json!(100), &["preprocessor_config.json", "n_positions 100"]);
    changed("config.json", &|c| c["n_head"] = json!(5), &["n_embd 72 is not divisible by n_head 5"]);
    changed("config.json", &|c| c["vocab_size"] = json!(7), &["5 colours", "vocab_size 7"]);
    changed("config.json", &|c| c["n_layer"] = json!(3), &["model.safetensors", "transformer.h.2", "missing"]);
    changed("config.json", &|c| c["n_layer"] = json!(1), &["transformer.h.1", "not a part"]);
    changed("config.json", &|c| c["n_layer"] = json!(10_000_000), &["n_layer is 10000000"]);
    changed("config.json", &|c| c["n_layer"] = json!(10_001), &["n_layer is 10001", "at most 10000"]);
    changed("config.json", &|c| c["n_embd"] = json!(3 << 20), &["n_embd is 3145728", "at most"]);
    let vast =
        |c: &mut Value| (c["n_layer"], c["n_embd"], c["n_inner"]) = (json!(9999), json!(3 << 18), json!(1 << 24));
    changed("config.json", &vast, &["config.json", "larger than any memory"]);
    changed("config.json", &|c| c["n_embd"] = json!(144), &["wte", "[6, 72]", "[6, 144]"]);
    changed("config.json", &|c| c["n_inner"] = json!(7), &["mlp.c_fc.weight", "[72, 7]"]);
    changed("preprocessor_config.json", &|p| p["size"] = json!({ "height": 1, "width": 96 }), &["height is 1"]);
    changed("preprocessor_config.json", &|p| p["size"] = json!({ "height": -8 }), &["no size"]);
    changed("preprocessor_config.json", &|p| p["clusters"] = json!([[0, 0, 0]]), &["preprocessor_config.json"]);
    changed("preprocessor_config.json", &|p| p["clusters"] = Value::Null, &["clusters must be a list"]);
    changed("preprocessor_config.json", &|p| p["clusters"][1][2] = json!(0.7), &["the colours are not those"]);
    changed("preprocessor_config.json", &|p| p["do_normalize"] = json!(false), &["do_normalize is false"]);
}

#[test]
fn another_palette_than_the_recorded_one_is_refused() {
    let (_temp, dir) = saved(&model(false));
    let mut other = model(false);
    other.palette = Palette::new((0..5).map(|i| [0.0, i as f32 / 5.0, 0.0]).collect(), 3).unwrap();
    let (_other_temp, other_dir) = saved(&other);
    fs::copy(other_dir.join("preprocessor_config.json"), dir.join("preprocessor_config.json")).unwrap();
    assert_has(&refusal(&dir), &["trained with palette", &other.palette.hash(), "preprocessor_config.json"]);
}

#[test]
fn missing_files_are_named() {
    let (temp, dir) = saved(&model(false));
    assert_has(&refusal(&temp.path().join("nowhere")), &["nowhere", "does not exist"]);
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    assert_has(&refusal(&dir), &["no weights", "model.safetensors"]);
    fs::remove_file(dir.join("preprocessor_config.json")).unwrap();
    assert_has(&refusal(&dir), &["no preprocessor_config.json"]);
    fs::remove_file(dir.join("config.json")).unwrap();
    assert_has(&refusal(&dir), &["no config.json"]);
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
