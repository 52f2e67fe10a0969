//! Settings that are refused, and files that are missing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{assert_has, edit, foreign, model, refusal, saved};
use crate::model::ModelDir;
use crate::palette::Palette;

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
