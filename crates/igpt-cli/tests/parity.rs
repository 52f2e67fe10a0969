//! `igpt parity` through the binary, on the tiny model that transformers saved and recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}

fn recorded() -> PathBuf {
    model("safetensors")
}

/// A copy of the recorded model, to be damaged.
fn copy() -> tempfile::TempDir {
    copy_of("safetensors")
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model(name)).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), temp.path().join(file.file_name())).unwrap();
    }
    temp
}

fn parity(dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_igpt")).arg("parity").arg(dir).arg("--json").output().unwrap()
}

/// Runs the verb on a model that it must refuse; gives the message.
fn refusal(dir: &Path) -> String {
    let output = parity(dir);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// The result of a comparison that must succeed.
fn passed(dir: &Path) -> Value {
    let output = parity(dir);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_string();
    let result: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&result["passed"], &result["images"]), (&true.into(), &2.into()));
    result
}

#[test]
fn igpt_computes_what_transformers_recorded() {
    let result = passed(&recorded());
    for part in ["logits", "loss", "features"] {
        assert!(result[part]["relative_error"].as_f64().unwrap() < 1e-5, "{result}");
    }
    assert_eq!(result.get("class_logits"), None);
}

#[test]
fn class_logits_of_classifiers_are_compared_and_of_those_that_generate_everything_else_too() {
    for (name, parts) in [
        ("classifier", vec!["features", "class_logits"]),
        ("classifier-middle", vec!["logits", "loss", "features", "class_logits"]),
    ] {
        let result = passed(&model(name));
        for part in ["logits", "loss", "features", "class_logits"] {
            let error = result.get(part).map(|part| part["relative_error"].as_f64().unwrap());
            assert_eq!(error.is_some(), parts.contains(&part), "{name}: {result}");
            assert!(error.unwrap_or(0.0) < 1e-5, "{name}: {result}");
        }
    }
}

/// Adds `change` to the first value of a tensor in a file that has it as f32.
fn change_first(path: &Path, tensor: &str, change: f32) {
    let mut bytes = std::fs::read(path).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let at = start + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    let value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) + change;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_changed_weight_of_the_classifier_is_noticed() {
    for name in ["classifier", "classifier-middle"] {
        let dir = copy_of(name);
        change_first(&dir.path().join("model.safetensors"), "score.weight", 0.1);
        let output = parity(dir.path());
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && said.contains("from what transformers recorded"), "{said}");
        let result: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert!(result["class_logits"]["relative_error"].as_f64().unwrap() > 1e-4, "{result}");
        assert!(result["features"]["relative_error"].as_f64().unwrap() < 1e-5, "{result}");
    }
}

#[test]
fn another_layer_than_the_recorded_one_is_noticed() {
    let dir = copy_of("classifier-middle");
    let path = dir.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"igpt_class_layer\": 1", "\"igpt_class_layer\": 2")).unwrap();
    assert!(refusal(dir.path()).contains("from what transformers recorded"));
}

#[test]
fn a_recording_of_a_classifier_without_its_classes_is_refused_with_the_remedy() {
    let cases =
        [("classifier", "class_logits"), ("classifier-middle", "class_logits"), ("classifier-middle", "logits")];
    for (name, lost) in cases {
        let dir = copy_of(name);
        let path = dir.path().join("parity.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        // The tensor gets another name.
        let quoted = format!("\"{lost}\"");
        let at = bytes.windows(quoted.len()).position(|window| window == quoted.as_bytes()).unwrap();
        bytes[at + 1] = b'x';
        std::fs::write(&path, bytes).unwrap();
        let message = refusal(dir.path());
        for part in ["parity.safetensors", &format!("{lost} is missing"), "record it again", "scripts/record_parity.py"]
        {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    }
}

#[test]
fn a_changed_weight_is_noticed() {
    let dir = copy();
    let path = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    // The last tensor is wte; its last row is sos, which every image sees.
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&0.5f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let output = parity(dir.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("from what transformers recorded"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"passed\":false"));
}

#[test]
fn a_missing_or_damaged_recording_is_refused_with_the_remedy() {
    let dir = copy();
    let path = dir.path().join("parity.safetensors");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(refusal(dir.path()).contains("parity.safetensors: damaged, record it again"));
    std::fs::remove_file(&path).unwrap();
    assert!(refusal(dir.path()).contains("scripts/record_parity.py"));
}

#[test]
fn hostile_model_files_end_in_one_clear_line() {
    let dir = copy();
    let path = dir.path().join("model.safetensors");
    let good = std::fs::read(&path).unwrap();
    let len = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&good[8..8 + len]).unwrap();
    let with_header = |change: &dyn Fn(&mut Value)| {
        let mut header = header.clone();
        change(&mut header);
        let text = header.to_string();
        [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &good[8 + len..]].concat()
    };
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let (f, wte) = ("transformer.ln_f.weight", "transformer.wte.weight");
    for (bytes, parts) in [
        (good[..good.len() - 100].to_vec(), vec!["truncated"]),
        (huge, vec!["header of 1152921504606846976 bytes"]),
        (with_header(&|h| h[f]["data_offsets"] = serde_json::json!([0, 48])), vec!["overlap"]),
        (with_header(&|h| h[wte]["shape"] = serde_json::json!([12, 6])), vec![wte, "[12, 6]", "[6, 12]"]),
        (
            with_header(&|h| h["x"] = serde_json::json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})),
            vec!["tensor x"],
        ),
        (
            with_header(&|h| {
                let entry = h.as_object_mut().unwrap().remove(f).unwrap();
                h["other"] = entry;
            }),
            vec![f, "missing"],
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let message = refusal(dir.path());
        assert_eq!(message.lines().count(), 1, "{message}");
        for part in [vec!["model.safetensors"], parts].concat() {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    }
}

#[test]
fn a_hostile_pickle_is_refused_and_runs_nothing() {
    let dir = copy();
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/hostile/pytorch_model.bin");
    std::fs::copy(hostile, dir.path().join("pytorch_model.bin")).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_igpt")).args(["parity", "."]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("posix.system") && message.contains("nothing was run"), "{message}");
    // What the pickle would have made.
    assert!(!dir.path().join("hostile-pickle-was-run").exists());
}
