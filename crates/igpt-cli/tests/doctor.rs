//! `igpt doctor` through the binary.

mod program;

use program::{igpt, json};

#[test]
fn the_doctor_tells_what_igpt_will_use_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(&igpt(folder.path(), "doctor --json"));
    for name in ["instruction_set", "precision", "cores", "memory", "huge_pages", "disk", "MPI"] {
        assert!(found[name]["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{name}: {found}");
    }
    assert!(["portable", "avx2", "avx512", "amx"].contains(&found["instruction_set"]["value"].as_str().unwrap()));
    assert!(found["cores"]["value"]["cores"].as_u64().unwrap() >= 1);
    assert!(found["disk"]["value"]["bytes_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn where_a_folder_is_not_there_yet_the_disk_above_it_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(&igpt(folder.path(), "doctor --dir runs/mine --json"));
    assert_eq!(found["disk"]["value"]["dir"], ".");
    assert!(found["disk"]["value"]["bytes_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_device_or_an_instruction_set_that_is_not_there_is_refused_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |variable: Option<(&str, &str)>, arguments: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_igpt"));
        command.current_dir(folder.path()).args(arguments.split_whitespace()).envs(variable);
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{arguments}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let train = "pretrain --data emoji --n-px 8 --steps 1 --out run";
    for message in [
        refused(None, "sample --images 1 --out s.png --device cuda:3"),
        refused(Some(("IGPT_DEVICE", "cuda:3")), "sample --images 1 --out s.png"),
        refused(None, &format!("{train} --device cuda:3")),
        refused(None, &format!("{train} --set train.device=cuda:3")),
    ] {
        assert!(message.contains("no device cuda:3 here") && message.contains("cpu"), "{message}");
    }
    for message in [refused(None, "sample --device gpu"), refused(None, &format!("{train} --set train.device=gpu"))] {
        assert!(message.contains("auto, cpu, cuda"), "{message}");
    }
    let message = refused(Some(("IGPT_ISA", "sse9")), "sample --images 1 --out s.png");
    assert!(message.contains("IGPT_ISA=sse9") && message.contains("portable, avx2, avx512, amx"), "{message}");
    assert!(!folder.path().join("run").exists() && !folder.path().join("s.png").exists());
}

#[test]
fn the_device_of_a_run_is_in_its_config_and_its_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let network = "--n-px 8 --colors 8 --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=1";
    let run = format!("pretrain --data emoji {network} --steps 2 --set train.sample_images=0 --out run");
    assert!(igpt(folder.path(), &run).status.success());
    let read = |name: &str| std::fs::read_to_string(folder.path().join("run").join(name)).unwrap();
    assert!(read("config.resolved.toml").contains("device = \"cpu\""));
    assert!(read("metrics.jsonl").lines().next().unwrap().contains("\"device\":\"cpu\""));
}
