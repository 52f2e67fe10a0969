//! `igpt parity` through the binary, on the tiny model that transformers saved and recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/safetensors")
}

/// A copy of the recorded model, to be damaged.
fn copy() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(recorded()).unwrap().map(Result::unwrap) {
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

#[test]
fn igpt_computes_what_transformers_recorded() {
    let output = parity(&recorded());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let last = String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_string();
    let result: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(result["passed"], true);
    assert_eq!(result["images"], 2);
    for part in ["logits", "loss", "features"] {
        assert!(result[part]["relative_error"].as_f64().unwrap() < 1e-5, "{result}");
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
