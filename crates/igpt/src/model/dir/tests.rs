use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use super::*;
use crate::image::{ImageSize, Pixels};
use crate::model::{ClassHead, Layout, Objective};
use crate::palette::Quantizer;

/// A small odd model: non-square, head size 24, a padded width, 5 colours.
fn model(biases: bool) -> ModelDir {
    let mut config = ModelConfig::new(ImageSize { height: 8, width: 12 }, 5, 72, 2, 3);
    config.biases = biases;
    let layout = Layout::new(&config);
    let mut weights = vec![0.0; layout.arena_len()];
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
        before.weights = vec![0.5; Layout::new(&before.config).arena_len()];
        // Only what lies outside the padding comes back.
        let layout = Layout::new(&before.config);
        let mut expected = vec![0.0; layout.arena_len()];
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
        before.weights.resize(layout.arena_len(), 0.0);
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
    before.weights.resize(layout.arena_len(), 0.0);
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

/// Rewrites model.safetensors with a changed header and the same data.
fn with_header(dir: &Path, change: impl FnOnce(&mut Value)) -> String {
    let path = dir.join("model.safetensors");
    let good = fs::read(&path).unwrap();
    let len = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut header = header_of(dir);
    change(&mut header);
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&good[8 + len..]);
    fs::write(&path, bytes).unwrap();
    let message = refusal(dir);
    fs::write(&path, good).unwrap();
    assert_has(&message, &["model.safetensors"]);
    message
}

#[test]
fn hostile_safetensors_headers_are_refused() {
    let (_temp, dir) = saved(&model(false));
    let fc = "transformer.h.0.mlp.c_fc.weight";
    let f = "transformer.ln_f.weight";
    let start = |h: &Value, name: &str| h[name]["data_offsets"][0].as_u64().unwrap();

    assert_has(&with_header(&dir, |h| drop(h.as_object_mut().unwrap().remove(f))), &["hole"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!([288, 72])), &[fc, "[288, 72]", "[72, 288]"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!([1])), &[fc, "doesn't fill"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!([1u64 << 40, 1u64 << 40])), &[fc, "doesn't fill"]);
    assert_has(&with_header(&dir, |h| h[fc]["shape"] = json!("round")), &[fc, "bad header entry"]);
    assert_has(&with_header(&dir, |h| h[fc]["dtype"] = json!("F8_E5M2")), &[fc, "F8_E5M2"]);
    assert_has(&with_header(&dir, |h| h[fc]["data_offsets"] = json!([0, 1u64 << 62])), &[fc, "not inside"]);
    assert_has(&with_header(&dir, |h| h[fc]["data_offsets"] = json!([8, 4])), &[fc, "not inside"]);
    let overlap = with_header(&dir, |h| {
        let at = start(h, fc) - 4;
        h[fc]["data_offsets"] = json!([at, at + 72 * 288 * 4]);
    });
    assert_has(&overlap, &["overlap"]);
    let renamed = with_header(&dir, |h| {
        let entry = h.as_object_mut().unwrap().remove(f).unwrap();
        h["transformer.ln_g.weight"] = entry;
    });
    assert_has(&renamed, &[f, "missing"]);
    let extra =
        with_header(&dir, |h| h["score.weight"] = json!({ "dtype": "F32", "shape": [0], "data_offsets": [0, 0] }));
    assert_has(&extra, &["score.weight", "not a part"]);
    assert_has(&with_header(&dir, |h| h["__metadata__"] = json!({ "format": 1 })), &["__metadata__"]);
}

#[test]
fn truncated_and_oversized_safetensors_are_refused() {
    let (_temp, dir) = saved(&model(false));
    let path = dir.join("model.safetensors");
    let good = fs::read(&path).unwrap();
    for len in [0, 7, 8, 100, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert_has(&refusal(&dir), &["model.safetensors", "truncated"]);
    }
    let mut longer = good.clone();
    longer.push(0);
    fs::write(&path, longer).unwrap();
    assert_has(&refusal(&dir), &["model.safetensors", "damaged"]);
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    fs::write(&path, huge).unwrap();
    assert_has(&refusal(&dir), &["header of 1152921504606846976 bytes"]);
    let mut infinite = good;
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, infinite).unwrap();
    assert_has(&refusal(&dir), &["model.safetensors", "NaN"]);
}

#[test]
fn a_weight_with_a_flipped_exponent_bit_is_refused_by_name() {
    for dtype in [SaveType::F32, SaveType::Bf16] {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("model");
        model(false).save(&dir, &Card::default(), dtype).unwrap();
        let path = dir.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let (name, length) = ("transformer.h.1.mlp.c_fc.weight", bytes.len());
        let start = header_of(&dir)[name]["data_offsets"][0].as_u64().unwrap() as usize;
        let data = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
        let size = if dtype == SaveType::F32 { 4 } else { 2 };
        // The second element is above 2 already; its exponent's highest bit is set, so a small one is put there.
        let small = 0.01f32.to_le_bytes();
        bytes[data + start + size..][..size].copy_from_slice(&small[4 - size..]);
        fs::write(&path, &bytes).unwrap();
        ModelDir::open(&dir).unwrap();
        bytes[data + start + 2 * size - 1] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length as u64);
        assert_has(&refusal(&dir), &["model.safetensors", name, "element 1 is", "e36", "damaged"]);
    }
}

#[test]
fn a_git_lfs_pointer_is_called_one() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 305000000\n";
    for (file, form) in [("model.safetensors", "safetensors"), ("pytorch_model.bin", "bin"), ("config.json", "bin")] {
        let temp = tempfile::tempdir().unwrap();
        for file in fs::read_dir(foreign(form)).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), temp.path().join(file.file_name())).unwrap();
        }
        fs::write(temp.path().join(file), pointer).unwrap();
        assert_has(&refusal(temp.path()), &[file, "Git LFS pointer", "git lfs pull"]);
    }
}

#[test]
fn a_name_on_the_hub_is_told_what_to_fetch() {
    let message = refusal(Path::new("openai/imagegpt-small"));
    for part in
        ["huggingface-cli download openai/imagegpt-small --local-dir imagegpt-small", "preprocessor_config.json"]
    {
        assert_has(&message, &[part]);
    }
    for path in ["imagegpt-small", "./openai/imagegpt-small", "/openai/imagegpt-small", "a/b/c", "src/no-such"] {
        assert!(!refusal(Path::new(path)).contains("huggingface"), "{path}");
    }
}

#[test]
fn how_pictures_are_scaled_is_kept_with_the_model() {
    let (_temp, dir) = saved(&model(false));
    let file = "preprocessor_config.json";
    assert_eq!(ModelDir::open(&dir).unwrap().palette.resampling(), Resampling::Bilinear);
    for (key, value, resampling) in [
        ("resample", json!(0), Resampling::Nearest),
        ("resample", json!(3), Resampling::Bicubic),
        ("do_resize", json!(false), Resampling::Off),
    ] {
        edit(&dir, file, |processor| processor[key] = value);
        let opened = ModelDir::open(&dir).unwrap();
        assert_eq!(opened.palette.resampling(), resampling);
        let (_again, copy) = saved(&opened);
        assert_eq!(ModelDir::open(&copy).unwrap().palette, opened.palette);
    }
    edit(&dir, file, |processor| (processor["do_resize"], processor["resample"]) = (json!(true), json!(1)));
    assert_has(&refusal(&dir), &[file, "resample is 1", "Lanczos"]);
}

/// A directory saved by transformers and torch, see `testdata/make_models.py`.
fn foreign(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}

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

/// The archive of the tiny model with another pickle in it.
fn with_pickle(pickle: &[u8]) -> String {
    let temp = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(foreign("bin").join(file), temp.path().join(file)).unwrap();
    }
    let mut zip = zip::ZipWriter::new(fs::File::create(temp.path().join("pytorch_model.bin")).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", &[0u8; 64])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    let message = refusal(temp.path());
    assert_has(&message, &["pytorch_model.bin"]);
    message
}

#[test]
fn hostile_pickles_run_nothing_and_are_refused() {
    // os.system("touch …"), as `pickle.dumps` of an object with a malicious __reduce__ writes it.
    let shell = with_pickle(b"\x80\x02cposix\nsystem\nq\0X\x09\0\0\0touch pwnq\x01\x85q\x02Rq\x03.");
    assert_has(&shell, &["posix.system", "refused, nothing was run"]);
    assert_has(&with_pickle(b"\x80\x02cbuiltins\neval\n(tR."), &["builtins.eval"]);
    assert_has(&with_pickle(b"\x80\x02ctorch\nload\n."), &["torch.load"]);
    assert_has(&with_pickle(b"\x80\x04\x95."), &["protocol 4"]);
    assert_has(&with_pickle(b"\x80\x02(i__main__\nX\n."), &["opcode 0x69"]);
    assert_has(&with_pickle(b"\x80\x02}q\0"), &["truncated"]);
    assert_has(&with_pickle(b"\x80\x02."), &["empty stack"]);
    assert_has(&with_pickle(b"\x80\x02N."), &["holds None"]);
    assert_has(&with_pickle(b"\x80\x02}K\x01K\x02s."), &["key of its state dict is an integer"]);
    assert_has(&with_pickle(b"\x80\x02h\x05."), &["recalls"]);
    assert_has(&with_pickle(b"\x80\x02t."), &["misses a mark"]);
    assert_has(&with_pickle(b"\x80\x02}(K\x01u."), &["key without a value"]);
    assert_has(&with_pickle(b"\x80\x02X\xff\xff\xff\xffabc."), &["truncated"]);
    assert_has(&with_pickle(b"\x80\x02X\x01\0\0\0aQ."), &["tuple was expected"]);
    assert_has(&with_pickle(b"\x80\x02ccollections\nOrderedDict\n)Rccollections\nOrderedDict\nb."), &["state"]);
}

#[test]
fn pickled_tensors_outside_their_storage_are_refused() {
    // A state dict with one tensor "a" of the given offset and single side; its storage data/0 has 64 bytes.
    let tensor = |offset: i32, side: i32, key: u8| {
        let mut p =
            b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
                .to_vec();
        p.extend_from_slice(b"X\x01\0\0\0");
        p.push(key);
        p.extend_from_slice(b"X\x03\0\0\0cpuK\x10tQJ");
        p.extend_from_slice(&offset.to_le_bytes());
        p.push(b'J');
        p.extend_from_slice(&side.to_le_bytes());
        p.extend_from_slice(b"\x85K\x01\x85\x89}tRs.");
        p
    };
    assert_has(&with_pickle(&tensor(0, 17, b'0')), &["tensor a", "don't lie inside its storage of 64 bytes"]);
    assert_has(&with_pickle(&tensor(1, 16, b'0')), &["tensor a", "inside its storage"]);
    assert_has(&with_pickle(&tensor(i32::MAX, i32::MAX, b'0')), &["tensor a", "inside its storage"]);
    assert_has(&with_pickle(&tensor(0, -1, b'0')), &["side of -1"]);
    assert_has(&with_pickle(&tensor(-1, 1, b'0')), &["starts at element -1"]);
    assert_has(&with_pickle(&tensor(0, 16, b'1')), &["tensor a", "data/1 is missing"]);
    // In itself whole: refused only because the model has no such tensor.
    assert_has(&with_pickle(&tensor(0, 16, b'0')), &["pytorch_model.bin", "wte.weight is missing"]);
}

/// `x/data.pkl` of a state dict that repeats: what follows `prefix` again and again, then the end.
fn repeated(prefix: &[u8], part: &[u8], times: usize, end: &[u8]) -> Vec<u8> {
    [prefix, &part.repeat(times), end].concat()
}

#[test]
fn no_opcode_takes_time_or_memory_by_the_product_of_two_lengths() {
    // A tensor and 200,000 numbers in a tuple that 200,000 reductions refer to; none may walk or copy it.
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0";
    let tensor = [&rebuild[..], b"K\x01\x85K\x01\x85\x89}tR"].concat();
    let tuple = repeated(&[&b"\x80\x02("[..], &tensor].concat(), b"K\x01", 200_000, b"tq\x00");
    let calls = repeated(b"ctorch._utils\n_rebuild_parameter\nq\x01", b"h\x01h\x00R", 200_000, b".");
    assert_has(&with_pickle(&[&tuple[..], &calls].concat()), &["holds a tensor, but a state dict"]);
    let sides = repeated(&[&b"\x80\x02"[..], rebuild, b"("].concat(), b"K\x01", 200_000, b"tq\x00h\x00\x89}tR.");
    assert_has(&with_pickle(&sides), &["200000 sides or strides"]);
    // A name of a megabyte as the key of half a million entries.
    let name = vec![b'n'; 1 << 20];
    let head = [&b"\x80\x02}q\x00(X"[..], &(1u32 << 20).to_le_bytes(), &name, b"q\x01h\x01"].concat();
    let message = with_pickle(&repeated(&head, b"h\x01h\x01", 500_000, b"u."));
    assert_has(&message, &["nnn…", "expected a tensor"]);
    assert!(message.len() < 1000, "{} characters", message.len());
    // 100,000 tensors in a storage whose name has a megabyte.
    let storage = [
        &b"\x80\x02}q\x00(X\x07\0\0\0storagectorch\nFloatStorage\nX"[..],
        &(1u32 << 20).to_le_bytes(),
        &name,
        b"X\x03\0\0\0cpuK\x10tQq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02(h\x01K\0K\x01\x85K\x01\x85\x89}tq\x03(",
    ];
    let message = with_pickle(&repeated(&storage.concat(), b"h\x02h\x03R", 100_000, b"u."));
    assert_has(&message, &["not a dict"]);
}

/// A state dict of tensors of these names, all the `shape` with `strides` in storage 0, which has 64 bytes.
fn tensors(names: &[&str], shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
    let mut p = b"\x80\x02}".to_vec();
    for name in names {
        p.extend_from_slice(b"X");
        p.extend_from_slice(&(name.len() as u32).to_le_bytes());
        p.extend_from_slice(name.as_bytes());
        p.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n");
        p.extend_from_slice(b"X\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0");
        for [a, b] in [shape, strides] {
            p.extend_from_slice(&[b'K', a, b'K', b, b'\x86']);
        }
        p.extend_from_slice(b"\x89}tRs");
    }
    p.push(b'.');
    p
}

#[test]
fn tensors_that_use_their_storage_several_times_are_refused() {
    // 255 × 255 values out of one, or out of sixteen.
    for (shape, strides) in [([255, 255], [0, 0]), ([255, 15], [0, 1]), ([8, 8], [1, 1])] {
        let message = with_pickle(&tensors(&["a"], shape, strides));
        assert_has(&message, &["tensor a", "several times", "contiguous"]);
    }
    assert_has(&with_pickle(&tensors(&["a", "b", "a"], [4, 4], [4, 1])), &["a is twice in its state dict"]);
    // A thousand tensors that are all the same 64 bytes: more than the file is long, since most is said once.
    let mut shared = tensors(&["a"], [4, 4], [4, 1]);
    let remembered = shared.len() - 2;
    shared.splice(remembered.., *b"q\x0fs");
    for i in 0..1000 {
        shared.extend_from_slice(b"X\x03\0\0\0");
        shared.extend_from_slice(format!("{i:03}").as_bytes());
        shared.extend_from_slice(b"h\x0fs");
    }
    shared.push(b'.');
    assert_has(&with_pickle(&shared), &["take more than the file's", "several are made of the same"]);
    // A transposed matrix is as torch saves one.
    assert_has(&with_pickle(&tensors(&["a"], [4, 4], [1, 4])), &["wte.weight is missing"]);
}

#[test]
fn every_member_of_an_archive_is_held_against_its_checksum() {
    let temp = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(foreign("bin").join(file), temp.path().join(file)).unwrap();
    }
    let path = temp.path().join("pytorch_model.bin");
    let good = fs::read(foreign("bin").join("pytorch_model.bin")).unwrap();
    fs::write(&path, &good).unwrap();
    let weights = ModelDir::open(temp.path()).unwrap().weights;
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(good.clone())).unwrap();
    let mut checked = 0;
    for i in 0..zip.len() {
        let (name, start, size) = {
            let member = zip.by_index(i).unwrap();
            (member.name().to_string(), member.data_start() as usize, member.size() as usize)
        };
        if size == 0 || name.ends_with("byteorder") {
            continue;
        }
        let mut damaged = good.clone();
        damaged[start + size / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_has(&refusal(temp.path()), &["pytorch_model.bin", &name, "damaged"]);
        checked += 1;
    }
    assert!(checked > 10, "{checked} members");
    fs::write(&path, good).unwrap();
    assert_eq!(ModelDir::open(temp.path()).unwrap().weights, weights);
}

#[test]
fn damaged_archives_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(foreign("bin").join(file), temp.path().join(file)).unwrap();
    }
    let good = fs::read(foreign("bin").join("pytorch_model.bin")).unwrap();
    let path = temp.path().join("pytorch_model.bin");
    for len in [0, 10, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert_has(&refusal(temp.path()), &["pytorch_model.bin", "zip archive"]);
    }
}
