//! Claims about several processes that a real `mpirun` starts: `cargo test -p igpt-mpi`. With
//! the environment's `MPIRUN` it is another program, that of the library that `MPICC` has the build link.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::train::Metrics;
use tempfile::TempDir;

/// Seconds without a sign of life after which a rank is lost, in tests.
const TIMEOUT: u64 = 5;
/// The longest that a run may take to end after one of its ranks is lost, in all.
const END: Duration = Duration::from_secs(TIMEOUT + 25);

/// Writes the process's number to `pid-RANK`, then becomes the program.
const NUMBERED: &str = r#"echo $$ > "pid-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}.new" &&
    mv "pid-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}.new" "pid-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" && exec "$@""#;

/// A folder of 60 grey pictures of 8×8, and room for runs beside it.
fn pictures() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    more_pictures(&dir.path().join("pictures"), 60);
    dir
}

fn more_pictures(folder: &Path, count: u32) {
    fs::create_dir(folder).unwrap();
    for i in 0..count {
        let data = (0..64).map(|k| ((k % 8 * (i % 5 + 3) + k / 8 * i) / 8 * 8 % 256) as u8).collect();
        let image = Pixels::new(ImageSize::square(8), 1, data);
        png::save(folder.join(format!("{i:02}.png")), &image, &TextChunks::new("test")).unwrap();
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// `igpt pretrain` on the pictures: a network of a few thousand parameters.
fn pretrain(run: &str, more: &[&str]) -> Vec<OsString> {
    let mut command = words(&[env!("CARGO_BIN_EXE_igpt-mpi"), "pretrain", "--data", "pictures", "--out", run]);
    command.extend(words(&["--n-px", "8", "--colors", "5", "--batch", "8", "--precision", "f32", "--json"]));
    for setting in ["model.n_embd=16", "model.n_layer=1", "model.n_head=2", "train.sample_images=2"] {
        command.extend(words(&["--set", setting]));
    }
    command.extend(words(more));
    command
}

/// `mpirun` in `dir` with so many processes of each command, the first being rank 0.
fn mpirun(dir: &Path, commands: &[(usize, Vec<OsString>)]) -> Command {
    let mut mpirun = Command::new(std::env::var_os("MPIRUN").unwrap_or("mpirun".into()));
    mpirun.current_dir(dir).env("IGPT_MPI_TIMEOUT", TIMEOUT.to_string());
    // What OpenMPI wants of root, and of more ranks than cores.
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"] {
        mpirun.env(name, "1");
    }
    for (i, (count, command)) in commands.iter().enumerate() {
        if i > 0 {
            mpirun.arg(":");
        }
        mpirun.arg("-n").arg(count.to_string()).args(command);
    }
    mpirun
}

fn among(dir: &Path, size: usize, command: Vec<OsString>) -> Command {
    mpirun(dir, &[(size, command)])
}

fn alone(dir: &Path, command: &[OsString]) -> Command {
    let mut alone = Command::new(&command[0]);
    alone.current_dir(dir).args(&command[1..]);
    alone
}

fn done(mut command: Command) -> (Vec<serde_json::Value>, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let value = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (lines.lines().map(value).collect(), said)
}

/// What a failing command says.
fn refused(mut command: Command) -> String {
    let begun = Instant::now();
    let output: Output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !said.contains("panicked"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(90), "it took {:?}: {said}", begun.elapsed());
    said
}

/// Starts a long run of numbered processes and waits until `path` is there.
fn started(dir: &Path, size: usize, command: Vec<OsString>, path: &Path) -> Child {
    let numbered = [words(&["sh", "-c", NUMBERED, "sh"]), command].concat();
    let mut mpirun = among(dir, size, numbered);
    let mut child = mpirun.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    // A file is there before its first line is, and a run before its first step is not saved.
    while !fs::metadata(dir.join(path)).is_ok_and(|there| there.len() > 0) {
        assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(120), "no {path:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Sends a signal to a rank.
fn signal(dir: &Path, signal: &str, rank: usize) {
    let pid = fs::read_to_string(dir.join(format!("pid-{rank}"))).unwrap();
    send(signal, pid.trim());
}

fn send(signal: &str, pid: impl AsRef<OsStr>) {
    assert!(Command::new("kill").arg(signal).arg(pid).status().unwrap().success());
}

/// What a run that ends by itself in time has said.
fn ended(child: Child, fails: bool) -> String {
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(begun.elapsed() < END, "it took {:?}: {said}", begun.elapsed());
    assert_eq!(!output.status.success(), fails, "{said}");
    said
}

fn model(dir: &Path, run: &str) -> Vec<u8> {
    fs::read(dir.join(run).join("model/model.safetensors")).unwrap()
}

fn losses(dir: &Path, run: &str) -> Vec<(u64, String, u64)> {
    let rows = Metrics::read(&dir.join(run).join("metrics.jsonl")).unwrap();
    rows.into_iter().map(|row| (row.step, row.split, row.loss.to_bits())).collect()
}

fn checkpoint(run: &str, step: u64) -> PathBuf {
    format!("{run}/checkpoints/step-{step:08}/complete").into()
}

#[test]
fn one_two_and_four_ranks_train_to_the_same_bytes() {
    let dir = pictures();
    let dir = dir.path();
    let budget = ["--steps", "12", "--set", "train.gradient_groups=4", "--augment", "cifar"];
    done(alone(dir, &pretrain("alone", &budget)));
    for size in [1, 2, 4] {
        let run = size.to_string();
        let (results, said) = done(among(dir, size, pretrain(&run, &budget)));
        assert_eq!(results.len(), 1, "one rank speaks: {results:?}");
        assert_eq!(said.matches("step 12/12").count(), 1, "{said}");
        assert!(model(dir, &run) == model(dir, "alone"), "{size} ranks");
        assert_eq!(losses(dir, &run), losses(dir, "alone"));
        // Each rank has written the moments that it owns.
        let files = fs::read_dir(dir.join(&run).join("checkpoints/step-00000012")).unwrap();
        let shards = files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("-of-")).count();
        assert_eq!(shards, size - 1);
        let checkpoints = words(&[env!("CARGO_BIN_EXE_igpt-mpi"), "checkpoints", &run, "--json"]);
        assert_eq!(done(alone(dir, &checkpoints)).0[0]["damaged"], serde_json::json!([]));
    }
}

#[test]
fn where_no_groups_are_set_each_rank_gets_one_and_the_user_is_told() {
    let dir = pictures();
    let dir = dir.path();
    let (_, said) = done(among(dir, 2, pretrain("two", &["--steps", "4"])));
    assert!(said.contains("train.gradient_groups = 2"), "{said}");
    done(alone(dir, &pretrain("alone", &["--steps", "4", "--set", "train.gradient_groups=2"])));
    assert!(model(dir, "two") == model(dir, "alone"));
}

#[test]
fn a_killed_rank_ends_the_run_which_goes_on_to_the_same_bytes_on_another_number_of_ranks() {
    let dir = pictures();
    let dir = dir.path();
    let every = ["--set", "train.checkpoint_every=3", "--set", "train.eval_every=0"];
    let budget = [&["--steps", "120", "--set", "train.gradient_groups=4"], &every[..]].concat();
    done(alone(dir, &pretrain("whole", &budget)));
    let run = started(dir, 4, pretrain("parts", &budget), &checkpoint("parts", 3));
    signal(dir, "-KILL", 2);
    let said = ended(run, true);
    // This is mpirun's to say: OpenMPI names the rank, MPICH only a process and its host. It may be another's, which
    // MPICH aborts when it reads the killed one's memory.
    let by_open_mpi = said.contains("rank 2") && said.contains("on node") && said.contains("signal 9");
    let killed = said.contains("EXIT CODE: 9");
    let aborted = said.contains("EXIT CODE: 6") && said.contains("No such process");
    assert!(by_open_mpi || (said.contains("RUNNING AT") && (killed || aborted)), "{said}");
    assert!(!dir.join("parts/model").exists(), "the run was over before it was killed");
    let (_, said) = done(among(dir, 2, pretrain("parts", &["--resume"])));
    assert!(said.contains("going on after step"), "{said}");
    assert!(model(dir, "parts") == model(dir, "whole"));
    assert_eq!(losses(dir, "parts"), losses(dir, "whole"));
}

#[test]
fn a_stopped_rank_is_named_with_its_host_and_ends_the_run() {
    let dir = pictures();
    let dir = dir.path();
    let budget = ["--steps", "100000", "--set", "train.checkpoint_every=1", "--set", "train.eval_every=0"];
    let run = started(dir, 4, pretrain("run", &budget), &checkpoint("run", 2));
    signal(dir, "-STOP", 2);
    let said = ended(run, true);
    assert!(said.contains("igpt: rank 2 on host ") && said.contains("no sign of life for 5 s"), "{said}");
    assert!(said.contains("--resume") && said.contains("IGPT_MPI_TIMEOUT"), "{said}");
    let newest = fs::read_to_string(dir.join("run/checkpoints/last")).unwrap();
    let step: u64 = newest.trim().strip_prefix("step-").unwrap().parse().unwrap();
    let (results, said) = done(among(dir, 2, pretrain("other", &["--steps", "1"])));
    assert_eq!(results[0]["steps"], 1, "{said}");
    assert!(dir.join(checkpoint("run", step)).exists());
}

#[test]
fn a_signal_to_mpirun_saves_and_ends_and_the_run_goes_on() {
    let dir = pictures();
    let dir = dir.path();
    let budget = ["--steps", "100000", "--set", "train.checkpoint_every=0", "--set", "train.eval_every=0"];
    let run = started(dir, 2, pretrain("run", &budget), Path::new("run/metrics.jsonl"));
    send("-USR1", run.id().to_string());
    let said = ended(run, false);
    assert!(said.contains("stopped after") && said.contains("--resume"), "{said}");
    assert!(dir.join("run/checkpoints/last").exists());
}

#[test]
fn ranks_that_differ_are_refused_by_name() {
    let dir = pictures();
    let dir = dir.path();
    more_pictures(&dir.join("elsewhere"), 50);
    let other = dir.join("igpt-other");
    fs::copy(env!("CARGO_BIN_EXE_igpt-mpi"), &other).unwrap();
    let mut bytes = fs::OpenOptions::new().append(true).open(&other).unwrap();
    std::io::Write::write_all(&mut bytes, b"other").unwrap();
    drop(bytes);

    let same = || pretrain("run", &["--steps", "3"]);
    let portable = [words(&["env", "IGPT_ISA=portable"]), same()].concat();
    let unequal = pretrain("run", &["--steps", "3", "--lr", "0.5"]);
    let program = [vec![other.into_os_string()], same()[1..].to_vec()].concat();
    // The same name of other pictures.
    let moved = "mkdir -p moved && cd moved && ln -sfn ../elsewhere pictures && exec \"$@\"";
    let data = [words(&["sh", "-c", moved, "sh"]), same()].concat();
    for (theirs, wanted) in [
        (portable, &["another instruction set", ": portable, not "][..]),
        (unequal, &["another train.lr", ": 0.5, not "]),
        (program, &["another program"]),
        (data, &["another train split of pictures", ": 40 images", "not 48 images"]),
    ] {
        let said = refused(mpirun(dir, &[(1, same()), (1, theirs)]));
        let line = said.lines().find(|line| line.starts_with("igpt: ")).unwrap_or_default();
        assert!(line.starts_with("igpt: rank 1 on host ") && line.contains("than rank 0 on host "), "{said}");
        assert!(wanted.iter().all(|part| line.contains(part)), "{wanted:?}: {said}");
        assert!(!dir.join("run/model").exists());
        let _ = fs::remove_dir_all(dir.join("run"));
    }
}

#[test]
fn an_error_of_one_rank_ends_all_and_says_whose() {
    let dir = pictures();
    let dir = dir.path();
    let elsewhere = [words(&["sh", "-c", "cd / && exec \"$@\"", "sh"]), pretrain("run", &["--steps", "3"])].concat();
    let said = refused(mpirun(dir, &[(1, pretrain("run", &["--steps", "3"])), (1, elsewhere)]));
    assert!(said.contains("igpt: rank 1 on host ") && said.contains("there is no folder \"pictures\""), "{said}");
}

#[test]
fn numbers_of_ranks_that_can_not_divide_the_work_are_refused() {
    let dir = pictures();
    let dir = dir.path();
    let said = refused(among(dir, 3, pretrain("run", &["--steps", "3"])));
    assert!(said.contains("3 ranks were started, but must be a power of two: start 2 or 4"), "{said}");
    let said = refused(among(dir, 4, pretrain("run", &["--steps", "3", "--set", "train.gradient_groups=2"])));
    assert!(said.contains("4 ranks can't divide train.gradient_groups 2"), "{said}");
    assert!(!dir.join("run").exists());
}

#[test]
fn evaluation_features_and_probes_are_divided_and_give_the_figures_of_one_process() {
    let dir = pictures();
    let dir = dir.path();
    fs::create_dir(dir.join("classes")).unwrap();
    ["a", "b"].iter().for_each(|class| more_pictures(&dir.join("classes").join(class), 41));
    done(alone(dir, &pretrain("run", &["--steps", "2"])));
    let igpt =
        |said: &str| words(&[&[env!("CARGO_BIN_EXE_igpt-mpi")], &said.split(' ').collect::<Vec<_>>()[..]].concat());

    let eval = igpt("eval --model run --data pictures --split all --json");
    let embed = |out: &str| igpt(&format!("embed --model run --data pictures --out {out} --json"));
    let probe = igpt("probe --model run --data classes --solver ridge --concat 2 --labels-per-class 3 --json");
    let [of_eval, mut of_probe] = [&eval, &probe].map(|command| done(alone(dir, command)).0.remove(0));
    done(alone(dir, &embed("one.npy")));
    for size in [2, 4] {
        let (mut found, said) = done(among(dir, size, eval.clone()));
        assert_eq!(found.len(), 1, "only rank 0 tells: {said}");
        for figure in ["nats_per_image", "interval95", "images", "baselines", "palette_mse"] {
            assert_eq!(found[0][figure], of_eval[figure], "{figure}, {size} ranks");
        }
        let out = format!("{size}.npy");
        assert_eq!(done(among(dir, size, embed(&out))).0.len(), 1);
        let bytes = |file: &str| fs::read(dir.join(file)).unwrap();
        assert!(bytes(&out) == bytes("one.npy") && bytes(&format!("{size}.tsv")) == bytes("one.tsv"), "{size} ranks");
        found = done(among(dir, size, probe.clone())).0;
        assert_eq!(found.len(), 1);
        for report in [&mut found[0], &mut of_probe] {
            ["seconds", "command"].iter().for_each(|key| drop(report.as_object_mut().unwrap().remove(*key)));
        }
        assert_eq!(found[0], of_probe, "{size} ranks");
    }

    let of_test = igpt("eval --model run --data pictures --split test --json");
    let said = refused(mpirun(dir, &[(1, eval.clone()), (1, of_test)]));
    assert!(said.contains("rank 1") && said.contains("another --split") && said.contains("not \"all\""), "{said}");
    let said = refused(mpirun(dir, &[(1, eval), (1, embed("two.npy"))]));
    assert!(said.contains("another command") && said.contains("embed, not eval"), "{said}");
    assert!(!dir.join("two.npy").exists());
}

#[test]
fn other_verbs_are_done_once() {
    let dir = pictures();
    let dir = dir.path();
    done(among(dir, 2, pretrain("run", &["--steps", "2"])));
    let sample =
        words(&[env!("CARGO_BIN_EXE_igpt-mpi"), "sample", "--model", "run", "-n", "2", "--out", "a.png", "--json"]);
    let (results, said) = done(among(dir, 2, sample));
    assert!(results.len() == 1 && dir.join("a.png").exists(), "{said}");
}
