//! Claims about `igpt pretrain` as a program: kill and resume, signals, and every bad input with its message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use tempfile::TempDir;

/// A folder of 60 grey pictures of 8×8, and room for runs beside it.
fn pictures() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("pictures");
    fs::create_dir(&folder).unwrap();
    for i in 0..60u32 {
        let data = (0..64).map(|k| ((k % 8 * (i % 5 + 3) + k / 8 * i) / 8 * 8 % 256) as u8).collect();
        let image = Pixels::new(ImageSize::square(8), 1, data);
        png::save(folder.join(format!("{i:02}.png")), &image, &TextChunks::new("test")).unwrap();
    }
    dir
}

/// `igpt pretrain` on the pictures: a network of a few thousand parameters.
fn command(dir: &Path, run: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    command.arg("pretrain").arg("--data").arg(dir.join("pictures")).arg("--out").arg(dir.join(run));
    let shape = ["model.n_embd=16", "model.n_layer=1", "model.n_head=2", "train.sample_images=2"];
    command.args(["--n-px", "8", "--colors", "5", "--batch", "4", "--precision", "f32", "--json"]);
    command.args(shape.iter().flat_map(|setting| ["--set", setting]));
    command.args(more);
    command
}

fn done(mut command: Command) -> (serde_json::Value, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let last = String::from_utf8(output.stdout).unwrap();
    (serde_json::from_str(last.lines().last().unwrap()).unwrap(), said)
}

/// The one line that a failing command ends with.
fn refused(mut command: Command) -> String {
    let output: Output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said.lines().last().unwrap().to_string()
}

/// Starts a long run and waits until `path` is there.
fn started(dir: &Path, run: &str, more: &[&str], path: &Path) -> Child {
    let mut child = command(dir, run, more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while !path.exists() {
        assert!(
            child.try_wait().unwrap().is_none() && since.elapsed() < Duration::from_secs(120),
            "{path:?} never came"
        );
        std::thread::yield_now();
    }
    child
}

fn model(dir: &Path, run: &str) -> Vec<u8> {
    fs::read(dir.join(run).join("model/model.safetensors")).unwrap()
}

fn checkpoint(dir: &Path, run: &str, step: u64) -> PathBuf {
    dir.join(run).join(format!("checkpoints/step-{step:08}"))
}

#[test]
fn a_run_leaves_its_directory_and_tells_its_figures() {
    let dir = pictures();
    let (result, said) = done(command(dir.path(), "run", &["--steps", "12", "--threads", "2"]));
    assert_eq!((result["steps"].as_u64(), result["stopped"].as_bool()), (Some(12), Some(false)));
    assert!(result["validation_loss"].as_f64().unwrap() < 5f64.ln());
    assert!(said.contains("step 12/12") && !said.contains('\u{1b}'), "{said}");
    for name in [
        "config.resolved.toml",
        "preprocessor_config.json",
        "metrics.jsonl",
        "train.log",
        "checkpoints/last",
        "samples/step-00000012.png",
        "model/config.json",
    ] {
        assert!(dir.path().join("run").join(name).exists(), "{name}");
    }
    // Asked again, it is refused and left as it is; overwritten on request.
    let before = model(dir.path(), "run");
    assert!(refused(command(dir.path(), "run", &["--steps", "3"])).contains("--resume"));
    assert_eq!(model(dir.path(), "run"), before);
    // Threads and micro-batches change nothing; the resolved config repeats the run.
    let config = dir.path().join("run/config.resolved.toml");
    let mut repeat = Command::new(env!("CARGO_BIN_EXE_igpt"));
    repeat.args(["pretrain", "--threads", "1", "--set", "train.micro_batch=1", "--json", "--config"]).arg(config);
    repeat.arg("--out").arg(dir.path().join("again"));
    done(repeat);
    assert!(model(dir.path(), "again") == before);
    done(command(dir.path(), "run", &["--steps", "3", "--overwrite"]));
    assert!(model(dir.path(), "run") != before);
}

#[test]
fn kill_and_resume_gives_the_bytes_of_an_uninterrupted_run() {
    let dir = pictures();
    let budget = "--steps 600 --patience 0 --set train.checkpoint_every=20 --set train.gradient_groups=2";
    let budget: Vec<&str> = budget.split(' ').collect();
    done(command(dir.path(), "whole", &budget));
    let mut child = started(dir.path(), "parts", &budget, &checkpoint(dir.path(), "parts", 20));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.path().join("parts/model").exists(), "the run was over before it was killed");
    let (result, _) = done(command(dir.path(), "parts", &["--resume"]));
    assert_eq!(result["steps"], 600);
    assert!(model(dir.path(), "whole") == model(dir.path(), "parts"));
    // All of a row but its times.
    let rows = |run: &str| {
        let text = fs::read_to_string(dir.path().join(run).join("metrics.jsonl")).unwrap();
        let untimed =
            |row: &str| row.split(",\"tokens_per_s\"").next().unwrap().split(",\"elapsed").next().unwrap().to_string();
        text.lines().map(untimed).collect::<Vec<_>>()
    };
    assert_eq!(rows("whole"), rows("parts"));
}

#[cfg(unix)]
#[test]
fn a_termination_signal_saves_and_resume_goes_on() {
    let dir = pictures();
    let budget = ["--steps", "100000", "--set", "train.checkpoint_every=20", "--set", "train.eval_every=50"];
    let mut child = started(dir.path(), "run", &budget, &checkpoint(dir.path(), "run", 20));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(dir.path().join("run/model/model.safetensors").exists());
    let last = fs::read_to_string(dir.path().join("run/checkpoints/last")).unwrap();
    let step: u64 = last.trim().strip_prefix("step-").unwrap().parse().unwrap();
    assert!((20..100_000).contains(&step), "{step}");
    // What decides the result may not change on resume.
    let message = refused(command(dir.path(), "run", &["--resume", "--lr", "0.5"]));
    assert!(message.contains("another train.lr"), "{message}");
}

#[test]
fn resume_from_a_damaged_checkpoint_takes_the_one_before_and_says_so() {
    let dir = pictures();
    done(command(dir.path(), "run", &["--steps", "20", "--set", "train.checkpoint_every=10"]));
    let before = model(dir.path(), "run");
    let state = checkpoint(dir.path(), "run", 20).join("state.safetensors");
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    let (_, said) = done(command(dir.path(), "run", &["--resume"]));
    assert!(said.contains("step-00000020/state.safetensors") && said.contains("checksum"), "{said}");
    assert!(said.contains("going on after step 10"), "{said}");
    assert!(model(dir.path(), "run") == before);
}

#[test]
fn bad_settings_are_refused_by_name() {
    let dir = pictures();
    let config = dir.path().join("run.toml");
    fs::write(&config, "[train]\nlearning_rate = 1e-3\n").unwrap();
    let config = config.to_str().unwrap();
    for (more, parts) in [
        (&["--steps", "3", "--config", config][..], &["run.toml", "learning_rate", "line 2"][..]),
        (&["--steps", "3", "--set", "train.speed=3"], &["train.speed=3", "speed"]),
        (&["--steps", "3", "--set", "model.n_head=3"], &["n_embd 16 is not divisible by n_head 3"]),
        (&["--steps", "0", "--lr", "0", "--set", "train.gradient_groups=3"], &["steps", "lr", "gradient_groups"]),
        (&[], &["no budget"]),
        (&["--resume"], &["no run to resume"]),
    ] {
        let output = command(dir.path(), "run", more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!dir.path().join("run").exists(), "{more:?} left a run directory");
    }
}

#[test]
fn a_run_directory_that_can_not_be_made_is_refused_at_once() {
    let dir = pictures();
    fs::write(dir.path().join("file"), "").unwrap();
    let message = refused(command(dir.path(), "file/run", &["--steps", "3"]));
    assert!(message.contains("file/run"), "{message}");
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint() {
    let dir = pictures();
    let more = ["--steps", "50", "--lr", "1e30", "--set", "train.warmup_steps=0", "--set", "train.checkpoint_every=1"];
    let message = refused(command(dir.path(), "run", &more));
    assert!(message.contains("at step") && message.contains("lower the learning rate"), "{message}");
}

/// Files may not grow beyond a few blocks, as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_with_a_clear_message_and_keeps_the_last_checkpoint() {
    let dir = pictures();
    done(command(dir.path(), "run", &["--steps", "20", "--set", "train.checkpoint_every=10"]));
    fs::remove_dir_all(checkpoint(dir.path(), "run", 20)).unwrap();
    let inner = command(dir.path(), "run", &["--resume"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    let message = refused(limited);
    assert!(message.contains("state.safetensors") && message.contains("too large"), "{message}");
    let (result, _) = done(command(dir.path(), "run", &["--resume"]));
    assert_eq!(result["steps"], 20);
}

#[test]
fn the_search_for_a_learning_rate_trains_with_the_best() {
    let dir = pictures();
    let (result, said) = done(command(dir.path(), "run", &["--steps", "40", "--lr-search", "1e-6,0.02,1e30"]));
    assert_eq!(result["muon_lr"], 0.02);
    // Adam's keeps its ratio.
    assert!((result["lr"].as_f64().unwrap() - 0.003).abs() < 1e-9);
    assert_eq!(result["lr_search"].as_array().unwrap().len(), 3);
    assert!(said.contains("not finite") && said.contains("<- best"), "{said}");
    assert!(dir.path().join("run/lr-search/result.json").exists());
    assert_eq!(result["steps"], 40);
}

#[test]
fn several_processes_of_a_build_without_mpi_are_refused_with_how_to_build_it() {
    let dir = pictures();
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        let mut several = command(dir.path(), "run", &["--steps", "3"]);
        several.env(variable, "2");
        let message = refused(several);
        assert!(
            message.contains(&format!("{variable} is 2")) && message.contains("cargo build --release -p igpt-mpi"),
            "{message}"
        );
        assert!(!dir.path().join("run").exists());
    }
}
