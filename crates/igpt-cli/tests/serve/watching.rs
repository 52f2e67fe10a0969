//! `igpt watch` and the page of a training: what is shown of a run, to whom, and what its files can't do.
#![cfg(unix)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use igpt::model::Objective;

use super::material::{model, picture};
use crate::server::{Server, until};

const ROW: &str = r#"{"step":3,"tokens":1,"epoch":0.1,"split":"train","loss":1.5,"bits_per_dim":1.0,"elapsed_s":1.0}"#;

/// A training of some seconds, in `folder`/run.
const TRAINING: &str = "pretrain --data emoji --preset nano --n-px 8 --colors 8 --batch 8 --threads 1 \
                        --set model.n_embd=32 --set model.n_layer=1 --set model.n_head=1 --set train.eval_every=40 \
                        --set train.eval_images=8 --set train.sample_every=40 --set train.sample_images=4 --out run \
                        --page 127.0.0.1:0";

fn start(folder: &Path, arguments: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    Server::run(folder, command.current_dir(folder).args(arguments.split_whitespace()))
}

fn watch(folder: &Path) -> Server {
    start(folder, "watch run --listen 127.0.0.1:0")
}

/// A run with a row and a picture, in `folder`/run.
fn run(folder: &Path) {
    fs::create_dir_all(folder.join("run/samples")).unwrap();
    fs::write(folder.join("run/metrics.jsonl"), format!("{ROW}\n")).unwrap();
    fs::write(folder.join("run/train.log"), "begun\n").unwrap();
    fs::write(folder.join("run/samples/step-00000003.png"), picture(8, 1)).unwrap();
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_picture_is_shown_as_one_and_only_if_it_is_one_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let (samples, secret) = (folder.path().join("run/samples"), folder.path().join("step-00000001.png"));
    fs::write(&secret, picture(8, 2)).unwrap();
    symlink(&secret, samples.join("step-00000099.png")).unwrap();
    symlink("step-00000003.png", samples.join("step-00000004.png")).unwrap();
    fs::write(samples.join("step-00000005.png"), "<script>alert(1)</script>").unwrap();
    pipe(&samples.join("step-00000006.png"));
    let server = watch(folder.path());
    let answer = server.get("/api/picture/step-00000003.png").ok();
    assert_eq!((answer.header("content-type"), &answer.body), ("image/png", &picture(8, 1)));
    server.get("/api/picture/step-00000004.png").ok();
    for name in ["99", "5", "6", "7", "../metrics.jsonl", "..%2f..%2fstep-00000001.png"] {
        let name = if name.len() < 3 { format!("step-{name:0>8}.png") } else { name.into() };
        assert_eq!(server.get(&format!("/api/picture/{name}")).status, 404, "{name}");
    }
    let steps: Vec<u64> = server.get("/api/run").json()["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [3, 4, 5]);
    // The folder as a whole may lead elsewhere, too.
    fs::remove_dir_all(&samples).unwrap();
    symlink(folder.path(), &samples).unwrap();
    server.get("/api/picture/step-00000001.png").refused(404);
}

#[test]
fn a_run_whose_root_is_a_link_is_shown_and_files_outside_it_are_not() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let (run, linked) = (folder.path().join("run"), folder.path().join("elsewhere"));
    fs::rename(&run, &linked).unwrap();
    symlink(&linked, &run).unwrap();
    fs::write(folder.path().join("secret"), "swordfish\n").unwrap();
    let server = watch(folder.path());
    assert_eq!(
        (&server.get("/api/run").json()["step"], server.get("/api/run").json()["notes"][0].as_str()),
        (&3.into(), Some("begun"))
    );
    server.get("/api/picture/step-00000003.png").ok();
    for name in [
        "train.log",
        "config.resolved.toml",
        "preprocessor_config.json",
        "baselines.json",
        "summary.json",
        "metrics.jsonl",
    ] {
        let _ = fs::remove_file(linked.join(name));
        symlink(folder.path().join("secret"), linked.join(name)).unwrap();
    }
    let all = watch(folder.path()).get("/api/run").ok();
    assert!(!all.text().contains("swordfish"), "{}", all.text());
    assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "swordfish\n");
}

#[test]
fn pipes_in_a_run_hold_its_page_up_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let names = "config.resolved.toml preprocessor_config.json train.log index.html baselines.json summary.json .lock \
                 samples/step-00000009.png metrics.jsonl";
    for name in names.split_whitespace() {
        pipe(&folder.path().join("run").join(name));
        let server = watch(folder.path());
        server.get("/api/run").ok();
        server.get("/api/picture/step-00000009.png").refused(404);
        server.get("/api/picture/step-00000003.png").ok();
        server.terminate();
        assert_eq!(server.ended().0, Some(0), "{name}");
    }
}

#[test]
fn a_watched_run_is_shown_under_no_foreign_name_and_to_no_other_site() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let server = watch(folder.path());
    for path in ["/", "/api/run", "/api/events", "/api/picture/step-00000003.png"] {
        let ask =
            |headers: &str| server.raw(format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes());
        let said = ask("Host: evil.example\r\n").unwrap().refused(403);
        assert!(said.contains("--allow-host"), "{said}");
        let cross = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
        ask(cross).unwrap().refused(403);
        ask("").unwrap().refused(400);
    }
}

/// Everything that a visitor hears who listens until the server hangs up.
fn listen(server: &Server) -> String {
    let mut visitor = server.connect();
    visitor.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = visitor.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn a_training_tells_how_it_ended_and_waits_for_no_visitor() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &format!("{TRAINING} --minutes 0.1"));
    until(|| server.get("/api/run").json()["step"].as_u64().unwrap() > 0);
    pipe(&folder.path().join("run/samples/step-99999999.png"));
    // It never leaves by itself.
    let heard = listen(&server);
    let (code, words) = server.ended();
    assert_eq!(code, Some(0), "{words}");
    let last = heard.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("end") && last.contains("\"state\":\"finished\""), "{last}");
    let steps = |name: &str| last.split(&format!("\"{name}\":")).nth(1).unwrap().split(',').next().unwrap().to_string();
    assert_eq!(steps("step"), steps("steps"));
}

#[test]
fn a_page_that_is_to_stay_stays_until_it_is_told_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &format!("{TRAINING} --steps 5 --page-stay"));
    until(|| server.get("/api/run").json()["state"] == "finished");
    server.get("/").ok();
    server.terminate();
    let (code, words) = server.ended();
    assert!(code == Some(0) && words.contains("stays"), "{code:?} {words}");
}

#[test]
fn a_page_has_the_same_doors_as_a_server() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    run(folder.path());
    fs::write(folder.path().join("token"), "swordfish\n").unwrap();
    let server = start(folder.path(), "watch run --listen 127.0.0.1:0 --token-file token --allow-host a.example");
    server.get("/api/run").refused(401);
    server.send("GET", "/api/run", &[("Authorization", "Bearer swordfish")], b"").ok();
    let head = "Host: a.example\r\nAuthorization: Bearer swordfish\r\nConnection: close\r\n";
    server.raw(format!("GET /api/run HTTP/1.1\r\n{head}\r\n").as_bytes()).unwrap().ok();
}
