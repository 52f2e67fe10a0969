//! Claims about standard streams that close or are full, and about names that try to look like something else.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

mod program;
use program::{igpt, json, with};

const RUN: &str = "pretrain --data emoji --n-px 8 --colors 16 --batch 4 --threads 1 --set model.n_embd=16 --set \
                   model.n_layer=1 --set model.n_head=1 --set train.eval_images=8 --set train.sample_images=0";

/// What a shell does in `folder`, with the program as `$igpt`.
fn shell(folder: &Path, script: &str) -> std::process::Output {
    let mut bash = Command::new("bash");
    bash.env("igpt", env!("CARGO_BIN_EXE_igpt")).current_dir(folder).args(["-c", script]).output().unwrap()
}

fn words(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_run_whose_reader_goes_is_trained_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    command.current_dir(folder.path()).args(RUN.split_whitespace()).args(["--steps", "5", "--out", "run"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(child.wait().unwrap().success(), "after {line}");
    assert!(folder.path().join("run/model/model.safetensors").exists());
}

#[test]
fn standard_output_without_a_reader_ends_a_verb_quietly_and_a_full_one_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["completions bash", "--help", "doctor --json"] {
        let gone = shell(folder.path(), &format!("$igpt {verb} | true; exit ${{PIPESTATUS[0]}}"));
        assert_eq!(gone.status.code(), Some(0), "{verb}: {}", words(&gone));
        assert!(!words(&gone).contains("panicked"), "{verb}");
    }
    if !Path::new("/dev/full").exists() {
        return;
    }
    for verb in ["completions bash", "--help", "doctor --json"] {
        let full = shell(folder.path(), &format!("$igpt {verb} >/dev/full"));
        assert_eq!(full.status.code(), Some(1), "{verb}");
        assert!(words(&full).contains("standard output"), "{verb}: {}", words(&full));
    }
}

#[test]
fn exit_codes_do_not_depend_on_who_listens() {
    let folder = tempfile::tempdir().unwrap();
    for to in ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let code = |verb: &str| shell(folder.path(), &format!("$igpt {verb} {to}")).status.code();
        assert_eq!(code("sample -n 1 --out a.png"), Some(0), "{to}");
        assert_eq!(code("checkpoints nothing"), Some(1), "{to}");
        assert_eq!(code("nonsense"), Some(2), "{to}");
    }
    // A picture that was opened in the place of a closed stream would have got our words.
    assert_eq!(fs::read(folder.path().join("a.png")).unwrap()[..4], *b"\x89PNG");
}

#[test]
fn names_stay_on_their_line_and_send_nothing_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("data/cat\nstep 5: done\u{1b}]0;x\u{7}");
    fs::create_dir_all(&class).unwrap();
    for i in 0..4 {
        fs::write(class.join(format!("{i}\n  damaged: 0\u{1b}[2J.png")), b"no picture").unwrap();
    }
    let told = igpt(folder.path(), "data check --data data --threads 1 --json");
    assert_eq!(json(&told)["found"]["damaged"], 4);
    let text = words(&told) + &String::from_utf8_lossy(&told.stdout);
    assert!(text.contains("\\u{1b}"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}']) && !text.lines().any(|line| line == "  damaged: 0.png"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("step 5")), "{text}");
    let told = with(folder.path(), &["eval", "--model", "a\u{1b}[2J\nstep 7: done"]);
    assert!(!words(&told).contains('\u{1b}') && !words(&told).contains("\nstep 7"), "{}", words(&told));
    let told = with(folder.path(), &["non\u{9b}1msense\u{1b}[2J"]);
    assert!(!words(&told).contains(['\u{1b}', '\u{9b}']), "{}", words(&told));
}

#[test]
fn sizes_that_no_machine_has_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        ("sample -n 1000000000 --out x.npy", "1000000000 images"),
        ("sample -n 18446744073709551615 --out x.npy", "at most 2^32 images"),
        ("complete -n 1 --completions 1000000000 --out x.npy", "65536 times"),
        ("audit -n 1000000000 --held-out 1", "1000000000 images"),
        ("data tokenize --n-px 0 --out t", "sides of 8 to 64"),
        ("data tokenize --n-px 100000 --out t", "sides of 8 to 64"),
        ("data tokenize --n-px 8 --colors 4 --shard-images 0 --out t", "shards must not be empty"),
        ("palette fit --colors 1099511627776 --out p.npy", "2 to 65536"),
        ("palette fit --n-px 100000 --out p.npy", "at most 64"),
        ("bench forward --n-embd 1099511627776", "--n-embd 1099511627776"),
        ("bench kernels --n-embd 65536 --n-layer 4096 --n-head 64", "larger than any memory"),
        ("bench data --n-px 0", "--n-px 0"),
    ] {
        let mut bash = Command::new("bash");
        bash.env("igpt", env!("CARGO_BIN_EXE_igpt")).current_dir(folder.path());
        // bash counts KiB.
        let refused = bash.args(["-c", &format!("ulimit -v 4194304; $igpt {arguments}")]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{arguments}: {}", words(&refused));
        assert!(words(&refused).contains(part), "{arguments}: {}", words(&refused));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of what was refused");
}
