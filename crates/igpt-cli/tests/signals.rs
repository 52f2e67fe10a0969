//! Claims about signals: what is lost by none, and what is saved by the first.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

const RUN: &str = "pretrain --data emoji --n-px 8 --colors 16 --batch 4 --threads 1 --set model.n_embd=16 --set \
                   model.n_layer=1 --set model.n_head=1 --set train.eval_images=8 --set train.sample_images=0";

/// A verb under way, and what it says.
struct Running {
    child: Child,
    words: BufReader<ChildStderr>,
}

impl Running {
    /// Starts the program by way of `launcher`, such as `nohup`.
    fn start(folder: &Path, launcher: &str, arguments: &str) -> Self {
        let mut command = match launcher {
            "" => Command::new(env!("CARGO_BIN_EXE_igpt")),
            launcher => {
                let mut command = Command::new(launcher);
                command.arg(env!("CARGO_BIN_EXE_igpt"));
                command
            }
        };
        command.current_dir(folder).args(arguments.split_whitespace());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let words = BufReader::new(child.stderr.take().unwrap());
        Self { child, words }
    }

    /// Waits until a line starts with `start`.
    fn until(&mut self, start: &str) {
        let mut said = String::new();
        loop {
            let before = said.len();
            assert!(self.words.read_line(&mut said).unwrap() > 0, "{start:?} was never said: {said}");
            if said[before..].starts_with(start) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// What it still says, and how it ends.
    fn end(mut self) -> (String, ExitStatus) {
        let mut said = String::new();
        while self.words.read_line(&mut said).unwrap() > 0 {}
        (said, self.child.wait().unwrap())
    }
}

#[test]
fn the_first_signal_while_training_saves_whatever_signal_it_is() {
    for signal in ["INT", "TERM", "HUP", "USR1"] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Running::start(folder.path(), "", &format!("{RUN} --steps 1000000 --out run"));
        run.until("step ");
        run.signal(signal);
        // timeout, terminals and service managers send it, or SIGHUP, once more right away.
        run.signal("HUP");
        let (said, status) = run.end();
        assert!(
            status.success() && said.contains("stopping: checkpoint and model are saved first"),
            "{signal}: {said}"
        );
        assert!(folder.path().join("run/model/model.safetensors").exists(), "{signal}");
        assert!(folder.path().join("run/checkpoints/last").exists(), "{signal}");
    }
}

#[test]
fn nohup_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Running::start(folder.path(), "nohup", &format!("{RUN} --steps 30 --out run"));
    run.until("step ");
    run.signal("HUP");
    let (said, status) = run.end();
    assert!(status.success() && !said.contains("stopping") && said.contains("done after 30 steps"), "{said}");
}

#[test]
fn a_signal_before_the_first_step_ends_at_once_and_costs_no_earlier_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut earlier = Running::start(folder, "", &format!("{RUN} --steps 2 --out run"));
    earlier.until("done");
    assert!(earlier.end().1.success());
    let model = || fs::read(folder.join("run/model/model.safetensors")).unwrap();
    let before = model();
    for (how, code) in [("--overwrite", 2), ("--overwrite", 15)] {
        // Two minutes of work, cut short.
        let slow = RUN.replace("--colors 16", "--colors 512").replace("--n-px 8", "--n-px 64");
        let mut run = Running::start(folder, "", &format!("{slow} --steps 1000000 --out run {how}"));
        run.until("fitting the palette");
        run.signal(&code.to_string());
        let (said, status) = run.end();
        assert_eq!(status.signal(), Some(code), "{said}");
        assert!(!said.contains("step "), "{said}");
        assert!(model() == before && folder.join("run/checkpoints/last").exists());
    }
}

#[test]
fn an_end_while_a_file_is_written_leaves_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut verb = Running::start(folder.path(), "", "embed --data emoji --split all --pool none --out f.csv");
    // The file is begun before the first image.
    loop {
        if fs::read_dir(folder.path()).unwrap().count() > 0 {
            break;
        }
        assert!(verb.child.try_wait().unwrap().is_none(), "it was over before it was met");
        std::thread::yield_now();
    }
    verb.signal("INT");
    let (said, status) = verb.end();
    assert_eq!(status.signal(), Some(2), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn verify_resume_takes_its_runs_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut verb = Running::start(folder.path(), "", "verify-resume --steps 100000 --out both");
    while !folder.path().join("both/session.log").exists() {
        assert!(verb.child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    verb.signal("TERM");
    let (said, status) = verb.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopped before"), "{said}");
    // The run's lock went with it.
    let mut again = Running::start(folder.path(), "", &format!("{RUN} --steps 1 --overwrite --out both/straight"));
    let mut said = String::new();
    while again.words.read_line(&mut said).unwrap() > 0 {}
    again.child.wait().unwrap();
    assert!(!said.contains("process"), "{said}");
}
