//! What a run will take, as `igpt plan` says it.

mod program;

use std::fs;

use program::{igpt, json};

const NETWORK: &str = "--n-px 8 --colors 8 --set model.n_embd=64 --set model.n_layer=2 --set model.n_head=2 --batch 4 \
                       --set train.eval_images=4 --set train.sample_images=4";

#[test]
fn a_forecast_is_of_the_run_that_then_happens_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let found = json(&igpt(folder, &format!("plan {NETWORK} --steps 12 --seconds 0.3 --json")));
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    let ran = json(&igpt(folder, &format!("pretrain {NETWORK} --steps 12 --out run --json")));
    assert_eq!(found["parameters"], ran["parameters"]);
    assert_eq!(found["steps"], 12);
    assert!(found["problem"].is_null() && found["recompute"] == false, "{found}");
    for positive in ["tokens_per_second", "seconds", "token_bytes"] {
        assert!(found[positive].as_f64().unwrap() > 0.0, "{positive}");
    }
    // The values; the file has the tensors' names too.
    let state = fs::metadata(folder.join("run/checkpoints/step-00000012/state.safetensors")).unwrap().len();
    let said = found["checkpoint_bytes"].as_u64().unwrap();
    assert!(said < state && state < said + 10_000, "{said} {state}");
    let memory = found["memory_bytes"].as_object().unwrap();
    let parts: u64 = memory.iter().filter(|(name, _)| *name != "total").map(|(_, bytes)| bytes.as_u64().unwrap()).sum();
    assert!(memory["total"].as_u64().unwrap() >= parts);
    for part in ["weights", "packed", "gradients", "moments", "activations", "scratch", "cache"] {
        assert!(memory[part].as_u64().unwrap() > 0, "{part}");
    }
    // Packed block by block it can't draw on the way, and needs less.
    let again =
        json(&igpt(folder, &format!("plan {NETWORK} --steps 12 --seconds 0.3 --set train.stream_weights=true --json")));
    assert!(
        again["stream_weights"] == true && again["memory_bytes"]["packed"].as_u64() < memory["packed"].as_u64(),
        "{again}"
    );
    // Without a budget there is no time.
    let open = json(&igpt(folder, &format!("plan {NETWORK} --seconds 0.2 --json")));
    assert!(open["seconds"].is_null() && open["steps"].is_null() && open["parameters"] == found["parameters"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_can_not_fit_is_not_tried_and_the_largest_preset_that_can_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // No machine of today trains this batch at once.
    let giant = "--preset xl --n-px 64 --colors 8 --set train.micro_batch=65536 --batch 65536 --precision f32";
    for budget in ["--steps 1", "--minutes 1"] {
        let output = igpt(folder, &format!("plan {giant} {budget} --json"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("of memory, but") && said.contains("memory in all"), "{said}");
        let found: serde_json::Value =
            serde_json::from_str(String::from_utf8_lossy(&output.stdout).lines().last().unwrap()).unwrap();
        assert!(found["tokens_per_second"].is_null() && found["problem"].is_string());
        // Nor is it begun.
        let output = igpt(folder, &format!("pretrain {giant} {budget} --out run"));
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("of memory, but"));
    }
}

#[test]
fn the_config_of_an_extended_run_is_planned_with_all_its_legs_and_a_new_budget_drops_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let phases = "[train]\nsteps = 20\nphases = [{ steps = 100, seconds = 1.0 }]\n";
    fs::write(folder.join("extended.toml"), phases).unwrap();
    let steps = |more: &str| {
        let plan = format!("plan {NETWORK} --config extended.toml --seconds 0.2 --json {more}");
        json(&igpt(folder, &plan))["steps"].as_u64().unwrap()
    };
    assert_eq!((steps(""), steps("--steps 12"), steps("--set train.steps=12")), (120, 12, 12));
    let minutes = "[train]\nminutes = 5\nplan = [{ from_step = 4, steps = 30 }]\n";
    fs::write(folder.join("extended.toml"), minutes).unwrap();
    let new =
        json(&igpt(folder, &format!("pretrain {NETWORK} --config extended.toml --minutes 0.001 --out run --json")));
    assert_ne!(new["steps"], 30, "{new}");
}
