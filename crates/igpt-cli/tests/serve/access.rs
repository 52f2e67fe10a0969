//! Who is let in, by flags and by the environment.

use std::fs;

use igpt::model::Objective;
use serde_json::json;

use crate::material::model;
use crate::program::igpt;
use crate::server::{Server, command};

#[test]
fn another_address_than_this_machine_s_wants_a_token_or_a_clear_word() {
    let folder = tempfile::tempdir().unwrap();
    let start = |arguments: &str| Server::try_run(&mut command(folder.path(), arguments));
    for arguments in ["--listen 0.0.0.0:0", "--listen [::]:0"] {
        let said = start(arguments).err().unwrap();
        assert!(said.contains("--token") && said.contains("--allow-anyone"), "{arguments}: {said}");
    }
    let said = start("--listen 0.0.0.0:0 --token=").err().unwrap();
    assert!(said.contains("empty"), "{said}");
    for arguments in ["--listen 0.0.0.0:0 --token swordfish", "--listen 0.0.0.0:0 --allow-anyone"] {
        start(arguments).unwrap().get("/healthz").ok();
    }
    start("--listen 0.0.0.0:0 --token swordfish").unwrap().get("/v1/models").refused(401);
    let taken = start("").unwrap();
    let said = start(&format!("--listen {}", taken.address())).err().unwrap();
    assert!(said.contains(taken.address()), "{said}");
}

#[test]
fn a_token_comes_from_a_file_or_the_environment_and_is_one_that_clients_can_send() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let start = |arguments: &str| Server::try_run(&mut command(folder.path(), arguments));
    for (text, end) in [("swordfish", ""), ("swordfish", "\n"), ("swordfish", "\r\n")] {
        fs::write(folder.path().join("token"), format!("{text}{end}")).unwrap();
        let server = start("--model m --token-file token").unwrap();
        server.get("/v1/models").refused(401);
        server.send("GET", "/v1/models", &[("Authorization", "Bearer swordfish")], b"").ok();
        server.terminate();
        assert!(!server.ended().1.contains("swordfish"));
    }
    for text in ["", "\n", "two words", "a\nb\n", " swordfish", "schl\u{fc}ssel", "a\u{1b}b"] {
        fs::write(folder.path().join("token"), text).unwrap();
        let said = start("--model m --token-file token").err().unwrap();
        assert!(said.contains("token") && (text.trim().is_empty() || !said.contains(text)), "{text:?}: {said}");
    }
    fs::write(folder.path().join("token"), "x").unwrap();
    let wrong = [
        ("--token-file none", "none"),
        ("--token-file m", "not a file"),
        ("--token x --token-file token", "two tokens"),
    ];
    for (wrong, named) in wrong {
        let said = start(&format!("--model m {wrong}")).err().unwrap();
        assert!(said.contains(named), "{wrong}: {said}");
    }
    let mut command = command(folder.path(), "--model m");
    let said = Server::try_run(command.env("IGPT_TOKEN", "two words")).err().unwrap();
    assert!(said.contains("token") && !said.contains("two words"), "{said}");
}

#[test]
fn every_flag_has_an_environment_name() {
    let folder = tempfile::tempdir().unwrap();
    let help = String::from_utf8(igpt(folder.path(), "serve --help").stdout).unwrap();
    let flags: Vec<&str> = help.split("\n      --").skip(1).collect();
    assert!(flags.len() >= 19, "{help}");
    for flag in flags {
        let name = flag.split([' ', '\n']).next().unwrap();
        let variable = format!("[env: IGPT_{}", name.replace('-', "_").to_uppercase());
        assert!(flag.contains(&variable), "{variable}: {flag}");
    }
}

#[test]
fn what_the_environment_says_is_done_unless_a_flag_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "other", Objective::Autoregressive);
    let mut command = command(folder.path(), "--max-images 3");
    command.envs([("IGPT_MODEL", "other"), ("IGPT_NO_UI", "true"), ("IGPT_TOKEN", "t"), ("IGPT_MAX_IMAGES", "2")]);
    let server = Server::run(&mut command);
    server.get("/").refused(404);
    server.get("/v1/models").refused(401);
    let facts = server.send("GET", "/v1/models", &[("Authorization", "Bearer t")], b"").json()["models"][0].clone();
    assert_eq!((&facts["name"], &facts["limits"]["images"]), (&"other".into(), &json!(3)));
}
