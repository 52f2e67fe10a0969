//! Runs that are killed, and checkpoints that are damaged, through the binary.

mod program;

use std::fs;

use program::{igpt, json};

#[test]
fn a_run_killed_at_random_moments_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    // All hundred of them where time does not matter.
    let kills = if std::env::var_os("IGPT_SOAK").is_some() { 120 } else { 8 };
    let found = json(&igpt(folder.path(), &format!("verify-resume --steps 6 --kills {kills} --out both --json")));
    assert_eq!((&found["bytes_differing"], &found["kills"], &found["steps"]), (&0.into(), &kills.into(), &12.into()));
    assert!(found["kills_in_writes"].as_u64().unwrap() > kills / 4, "{}", found["kills_in_writes"]);
    let names: Vec<&str> =
        found["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    for name in ["checkpoint: weights and moments", "metrics.jsonl", "model/model.safetensors"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(names.iter().any(|name| name.starts_with("samples/")), "{names:?}");
    assert!(found["compared"].as_u64().unwrap() > 100_000);

    // What is there is not taken over.
    let again = igpt(folder.path(), "verify-resume --steps 6 --out both");
    assert!(String::from_utf8_lossy(&again.stderr).contains("both is there already"));
}

#[test]
fn checkpoints_are_listed_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let network = "--n-px 8 --colors 8 --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2 --batch 2";
    let often = "--steps 4 --set train.checkpoint_every=2 --set train.sample_images=0 --set train.eval_images=4";
    json(&igpt(folder.path(), &format!("pretrain {network} {often} --out run --json")));
    let found = json(&igpt(folder.path(), "checkpoints run --json"));
    let rows = found["checkpoints"].as_array().unwrap();
    let whole: Vec<_> = rows.iter().map(|row| (row["step"].as_u64().unwrap(), row["whole"] == true)).collect();
    assert_eq!(whole, [(2, true), (4, true)]);
    assert!(rows[0]["bytes"].as_u64().unwrap() > 1000);

    for file in ["state.safetensors", "checkpoint.toml", "complete"] {
        let path = folder.path().join("run/checkpoints/step-00000004").join(file);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let output = igpt(folder.path(), "checkpoints run --json");
        assert_eq!(output.status.code(), Some(1), "{file}");
        let found: serde_json::Value =
            serde_json::from_str(String::from_utf8_lossy(&output.stdout).lines().last().unwrap()).unwrap();
        assert_eq!(found["damaged"], serde_json::json!([4]), "{file}");
        let problem = found["checkpoints"][1]["problem"].as_str().unwrap();
        assert!(problem.contains("step-00000004"), "{problem}");
        fs::write(&path, good).unwrap();
    }
    let output = igpt(folder.path(), "checkpoints nowhere");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"));
}
