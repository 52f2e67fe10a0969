//! Short runs come to the losses and weights that are recorded in `golden_runs.json`, to the last bit: f32 on the
//! portable instruction set. A change that is meant to change results records them anew with
//! `IGPT_WRITE_GOLDENS=1 cargo test -p igpt-cli --test golden_runs`, and says so.
//!
//! The record is of Linux on x86-64: exponentials and powers come from the system's own mathematics.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Widths that are no multiple of a lane, a batch of two groups, each of two micro-batches.
const NETWORK: &str = "--n-px 8 --colors 10 --set model.n_embd=24 --set model.n_layer=2 --set model.n_head=2";
const BUDGET: &str = "--steps 6 --batch 8 --set train.gradient_groups=2 --set train.micro_batch=2 \
                      --set train.eval_every=3 --set train.eval_images=20 --set train.warmup_steps=2 \
                      --set train.probe_images=0 --set train.sample_images=0";

/// Each run's name, verb and settings; those of fine-tuning begin with the model of another.
const RUNS: [(&str, &str, &str); 7] = [
    ("adam", "pretrain", "--recipe paper --lr 3e-3"),
    ("muon", "pretrain", "--recipe modern --set train.ema=0.5"),
    ("augmented", "pretrain", "--recipe paper --lr 3e-3 --augment crop-flip --set train.weight_decay=0.1"),
    ("masked", "pretrain", "--recipe modern --objective masked"),
    ("classes-adam", "finetune", "--recipe paper --lr 3e-3 --model adam"),
    (
        "classes-muon",
        "finetune",
        "--model muon --generative-weight 0.5 --freeze 1 --balanced --lr 1.5e-3 --muon-lr 0.01 --set train.schedule=constant",
    ),
    (
        "classes-masked",
        "finetune",
        "--model masked --generative-weight 0 --lr 1.5e-3 --muon-lr 0.01 --set train.schedule=constant",
    ),
];

#[test]
fn short_runs_come_to_the_recorded_losses_and_weights_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = BTreeMap::new();
    for (name, verb, settings) in RUNS {
        let network = if verb == "pretrain" { NETWORK } else { "" };
        train(folder.path(), &format!("{verb} --data emoji --out {name} {network} {BUDGET} {settings}"));
        found.insert(name, result(&folder.path().join(name)));
    }
    // A run in two sessions is the same run.
    let muon = RUNS[1].2;
    train(
        folder.path(),
        &format!("pretrain --data emoji --out parts {NETWORK} {BUDGET} {muon} --set train.checkpoint_every=3"),
    );
    fs::remove_dir_all(folder.path().join("parts/checkpoints/step-00000006")).unwrap();
    train(folder.path(), "pretrain --resume --out parts");
    assert_eq!(result(&folder.path().join("parts"))["weights"], found["muon"]["weights"]);

    let found = json!(found);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden_runs.json");
    if std::env::var_os("IGPT_WRITE_GOLDENS").is_some() {
        fs::write(&path, format!("{found:#}\n")).unwrap();
    }
    let recorded: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (name, ..) in RUNS {
        assert_eq!(found[name], recorded[name], "{name}");
    }
}

#[test]
fn a_run_of_an_earlier_version_goes_on_to_the_losses_and_weights_that_it_came_to() {
    let earlier = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/earlier");
    let folder = tempfile::tempdir().unwrap();
    copy(&earlier.join("stopped"), &folder.path().join("run"));
    train(folder.path(), "checkpoints run");
    train(folder.path(), "pretrain --resume --out run");
    let run = folder.path().join("run");
    assert_eq!(result(&run), result(&earlier.join("whole")));
    // Weights and moments, by their checksum.
    let state = |meta: &Path| {
        let text = fs::read_to_string(meta).unwrap();
        text.lines().find(|line| line.starts_with("\"state.safetensors\" = ")).unwrap().to_owned()
    };
    let meta = run.join("checkpoints/step-00000006/checkpoint.toml");
    assert_eq!(state(&meta), state(&earlier.join("whole/checkpoint.toml")));
    let text = fs::read_to_string(meta).unwrap();
    assert!(text.contains("[config.train.optimizer]\nkind = \"muon\"\nlr = 0.01\n"), "{text}");
    for gone in ["muon_", "batch_end", "zero_projections"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn train(folder: &Path, arguments: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    command.current_dir(folder).env("IGPT_ISA", "portable").args(arguments.split_whitespace());
    if arguments.contains("--data") || arguments.contains("--model") {
        command.args(["--precision", "f32", "--threads", "2"]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a run's metrics say of each step, and the hash of its model's tensors.
fn result(run: &Path) -> Value {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let kept = ["step", "split", "loss", "class_loss", "accuracy", "grad_norm", "gradient_noise"];
    let rows = rows.map(|row| {
        let words = kept.iter().filter(|key| !row[**key].is_null()).map(|key| format!("{key} {}", row[*key]));
        words.collect::<Vec<_>>().join(", ")
    });
    json!({ "rows": rows.collect::<Vec<_>>(), "weights": tensors(&run.join("model/model.safetensors")) })
}

/// The SHA-256 of each tensor's name and values, in the order of the names.
fn tensors(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let (len, rest) = bytes.split_first_chunk().unwrap();
    let (header, values) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    let mut hash = Sha256::new();
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let [from, to] = [0, 1].map(|end| tensor["data_offsets"][end].as_u64().unwrap() as usize);
        hash.update(name);
        hash.update(&values[from..to]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
