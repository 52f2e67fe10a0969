//! The live page of a run: what is shown, to whom, and what the run's files can't do.
#![cfg(unix)]

#[allow(dead_code, reason = "it is made for the tests of the studio, and not all of it is needed here")]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use support::material::picture;
use support::server::{Server, access};

const ROW: &str = r#"{"step":3,"tokens":1,"epoch":0.1,"split":"train","loss":1.5,"bits_per_dim":1.0,"elapsed_s":1.0}"#;

fn watch(folder: &Path) -> Server {
    Server::watch(&folder.join("run"), access(None, &[]))
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
        server.stop();
        server.ended().unwrap();
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
