//! `igpt watch` and the page of a training, which other processes run.
#![cfg(unix)]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use crate::client::until;
use crate::server::Server;

/// A training of some seconds, in `folder`/run.
const TRAINING: &str = "pretrain --data emoji --preset nano --n-px 8 --colors 8 --batch 8 --threads 1 \
                        --set model.n_embd=32 --set model.n_layer=1 --set model.n_head=1 --set train.eval_every=40 \
                        --set train.eval_images=8 --set train.sample_every=40 --set train.sample_images=4 --out run \
                        --page 127.0.0.1:0";

fn start(folder: &Path, arguments: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    Server::run(command.current_dir(folder).args(arguments.split_whitespace()))
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
    let pipe = folder.path().join("run/samples/step-99999999.png");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
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
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::write(folder.path().join("token"), "swordfish\n").unwrap();
    let server = start(folder.path(), "watch run --listen 127.0.0.1:0 --token-file token --allow-host a.example");
    server.get("/api/run").refused(401);
    server.send("GET", "/api/run", &[("Authorization", "Bearer swordfish")], b"").ok();
    let head = "Host: a.example\r\nAuthorization: Bearer swordfish\r\nConnection: close\r\n";
    server.raw(format!("GET /api/run HTTP/1.1\r\n{head}\r\n").as_bytes()).unwrap().ok();
}
