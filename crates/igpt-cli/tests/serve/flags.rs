//! Flags reach what they are about.

use std::fs;
use std::io::Read;

use igpt::model::Objective;
use serde_json::{Value, json};

use super::ENDLESS;
use crate::client::until;
use crate::material::{base64, classifier, long, model, picture};
use crate::server::{Server, command};

#[test]
fn what_one_request_may_be_is_limited_by_flags() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(folder.path(), "--model m --max-body 1 --max-pixels 1 --max-images 3 --rows 2");
    let limits = &server.get("/v1/models").json()["models"][0]["limits"];
    assert_eq!((&limits["images"], &limits["candidates"]), (&3.into(), &2.into()));
    let head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    server.raw(format!("{head}Content-Length: {}\r\n\r\n", (1 << 20) + 1).as_bytes()).unwrap().refused(413);
    let ask = |side: usize| server.post("/v1/quantize", &json!({"image": base64(&picture(side, 1))}));
    ask(1000).ok();
    ask(1001).refused(400);
}

#[test]
fn how_many_requests_wait_and_for_how_long_is_limited_by_flags() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "--rows 1 --max-images 2000 --queue 1999");
    let stream = server.events("/v1/sample", &long());
    until(|| server.metric("igpt_busy_rows") == 1.0);
    server.post("/v1/sample", &json!({"n": 2})).refused(503);
    drop(stream);
    let server = Server::start(folder.path(), &format!("--rows 1 {ENDLESS} --per-client 1 --timeout 1"));
    let stream = server.events("/v1/sample", &long());
    server.post("/v1/sample", &json!({})).refused(429);
    let (name, data) = stream.last().unwrap();
    assert!(name == "error" && data["error"].as_str().unwrap().contains("1 s"), "{data}");
    server.connect().read_to_end(&mut vec![]).unwrap();
}

#[test]
fn the_folders_that_flags_name_are_the_examples_and_the_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    fs::create_dir(folder.path().join("others")).unwrap();
    (0..20).for_each(|i| fs::write(folder.path().join(format!("others/other{i}.png")), picture(8, i)).unwrap());
    let server = Server::start(folder.path(), "--model run --examples others --neighbors classes");
    let facts = &server.get("/v1/models").json()["models"][0];
    assert_eq!((&facts["name"], &facts["neighbors"]["images"]), (&"run".into(), &20.into()));
    let examples = facts["examples"].as_array().unwrap();
    let is_other = |example: &Value| example["name"].as_str().unwrap().starts_with("other");
    assert!(!examples.is_empty() && examples.iter().all(is_other), "{facts}");
}

#[test]
fn without_its_page_a_server_is_the_api_and_another_name_is_answered_where_a_flag_has_it() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(folder.path(), "--model m --no-ui --allow-host igpt.example.com");
    server.get("/").refused(404);
    let ask = |host: &str| {
        let head = format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.raw(head.as_bytes()).unwrap()
    };
    ask("igpt.example.com").ok();
    ask("evil.example").refused(403);
    let said = Server::try_run(&mut command(folder.path(), "--allow-host a:80")).err().unwrap();
    assert!(said.contains("a:80") && said.contains("port"), "{said}");
}
