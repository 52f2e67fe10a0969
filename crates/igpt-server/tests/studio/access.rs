//! Who is let in, and what the page and all answers keep to themselves.

use std::collections::BTreeSet;
use std::fs;

use igpt::model::Objective;
use igpt_server::{Access, ServeOptions};
use serde_json::json;

use crate::support::material::{classifier, form, model, requests};
use crate::support::server::{Server, access, bundled, images, of};

#[test]
fn nobody_is_let_in_without_the_token_but_to_the_page_and_signs_of_life() {
    let server = Server::start(ServeOptions { access: access(Some("swordfish"), &[]), ..bundled() });
    let with = |path: &str, headers: &[(&str, &str)]| server.send("GET", path, headers, b"");
    for path in ["/", "/studio.js", "/studio.css", "/base.css", "/healthz", "/readyz", "/openapi.json"] {
        with(path, &[]).ok();
    }
    for path in ["/v1/models", "/metrics", "/v1/models?token=swordfish"] {
        let answer = with(path, &[]);
        assert!(answer.refused(401).contains("oken"));
        for wrong in ["swordfish", "Bearer", "Bearer ", "Bearer swordfis", "Bearer swordfishh", "Basic swordfish"] {
            with(path, &[("Authorization", wrong)]).refused(401);
        }
        with(path, &[("Authorization", "Bearer swordfish")]).ok();
    }
    for (path, body) in requests(16) {
        server.post(path, &body).refused(401);
        // Neither is anything read from a stranger.
        server.send("POST", path, &[("Content-Type", "application/json")], b"{").refused(401);
    }
    let (path, body) = &requests(16)[0];
    let headers = [("Content-Type", "application/json"), ("Authorization", "Bearer swordfish")];
    server.send("POST", path, &headers, body.to_string().as_bytes()).ok();
}

#[test]
fn only_names_that_lead_here_and_the_servers_own_pages_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server =
        Server::start(ServeOptions { access: access(None, &["igpt.example.com"]), ..of(folder.path().join("m")) });
    let port = server.address().split(':').next_back().unwrap();
    let own = server.address().to_string();
    let ask = |line: &str, headers: &str| {
        let body = "{\"n\": 1}";
        let head = format!("{line} HTTP/1.1\r\n{headers}Content-Type: application/json\r\nConnection: close\r\n");
        server.raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap()
    };
    for host in [
        &own,
        &format!("localhost:{port}"),
        "[::1]",
        "10.1.2.3:99",
        "a.localhost",
        "igpt.example.com",
        "IGPT.example.com:443",
    ] {
        for line in ["GET /", "GET /v1/models", "POST /v1/sample"] {
            ask(line, &format!("Host: {host}\r\n")).ok();
        }
    }
    for line in ["GET /", "GET /studio.js", "GET /v1/models", "POST /v1/sample", "GET /healthz", "GET /nothing"] {
        for host in ["evil.example", "evil.example:8000", "igpt.example.com.evil.example"] {
            let said = ask(line, &format!("Host: {host}\r\n")).refused(403);
            assert!(said.contains("--allow-host"), "{said}");
        }
        ask(line, "").refused(400);
        ask(line, "Host: a b\r\n").refused(400);
        let twice = format!("Host: {own}\r\nHost: {own}\r\n");
        ask(line, &twice).refused(400);
    }
    let from = |line: &str, more: &str| ask(line, &format!("Host: {own}\r\n{more}")).status;
    for other in ["http://evil.example", "http://127.0.0.1:1", "https://evil.example", "null"] {
        assert_eq!(from("POST /v1/sample", &format!("Origin: {other}\r\n")), 403, "{other}");
    }
    for site in ["cross-site", "same-site"] {
        let link = format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: navigate\r\n");
        assert_eq!(from("GET /", &link), 200);
        for line in ["GET /v1/models", "GET /metrics", "POST /v1/sample"] {
            assert_eq!(from(line, &link), 403, "{line}");
            assert_eq!(from(line, &format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: no-cors\r\n")), 403, "{line}");
        }
    }
    let own_page = format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n");
    assert_eq!(from("POST /v1/sample", &own_page), 200);
    assert_eq!(from("POST /v1/sample", "Origin: https://igpt.example.com\r\nSec-Fetch-Site: same-origin\r\n"), 200);
    // A form of another site needs no permission of the browser's to be sent.
    let (kind, form) = form(&json!({"n": 1}));
    let headers = [("Content-Type", kind), ("Origin", "http://evil.example")];
    server.send("POST", "/v1/sample", &headers, &form).refused(403);
    server.send("POST", "/v1/sample", &headers[..1], &form).ok();
    let said = Access::new("127.0.0.1:0", None, false, &["a:80".into()]).unwrap_err().to_string();
    assert!(said.contains("a:80") && said.contains("port"), "{said}");
}

#[test]
fn the_page_is_whole_and_has_nothing_from_elsewhere() {
    let server = Server::start(bundled());
    let page = server.get("/").ok();
    assert!(page.header("content-type").starts_with("text/html"));
    let page = page.text();
    for banned in ["<script>", "<style", "style=\"", "onclick", "javascript:", "src=\"http", "href=\"http"] {
        assert!(!page.contains(banned), "{banned}");
    }
    let quoted = |text: &str, before: &str| -> Vec<String> {
        text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap().to_string()).collect()
    };
    let mut wanted = [quoted(page, "src=\""), quoted(page, "href=\"")].concat();
    let mut seen = BTreeSet::new();
    while let Some(path) = wanted.pop() {
        // Parts of the page itself, or data in it.
        if path.starts_with('#') || path.starts_with("data:") || !seen.insert(path.clone()) {
            continue;
        }
        let name = path.trim_start_matches(['.', '/']);
        let asset = server.get(&format!("/{name}")).ok();
        let kind = if name.ends_with(".js") { "text/javascript" } else { "text/css" };
        assert!(asset.header("content-type").starts_with(kind), "{path}: {}", asset.header("content-type"));
        wanted.extend(quoted(asset.text(), "from \"").into_iter().filter(|module| module.ends_with(".js")));
    }
    assert!(["studio.js", "studio.css", "base.css"].iter().all(|name| seen.iter().any(|path| path.ends_with(name))));
}

#[test]
fn the_page_is_left_out_if_the_api_alone_is_wanted() {
    let server = Server::start(ServeOptions { ui: false, ..bundled() });
    for path in ["/", "/index.html", "/studio.js", "/studio.css", "/base.css"] {
        server.get(path).refused(404);
    }
    server.get("/v1/models").ok();
    server.get("/openapi.json").ok();
}

#[test]
fn no_answer_tells_a_path_of_the_host_or_lets_other_sites_read_it() {
    // Each answer is searched by the server's `checked`, and so are its headers.
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(ServeOptions {
        examples: Some(images(folder.path().join("classes"))),
        neighbors: Some(images(folder.path().join("classes"))),
        ..of(folder.path().join("run"))
    });
    let models = server.get("/v1/models").json();
    assert_eq!(models["models"][0]["name"], "run");
    let examples = models["models"][0]["examples"].as_array().unwrap();
    assert!(!examples.is_empty() && examples.len() <= 12);
    assert!(examples.iter().all(|example| !example["name"].as_str().unwrap().contains('/')), "{examples:?}");
    for path in ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing"] {
        server.send("GET", path, &[("Origin", "http://elsewhere.example")], b"");
    }
    // Files are removed that a careless server would open late, and then name.
    fs::remove_dir_all(folder.path().join("classes")).unwrap();
    for (path, body) in requests(8) {
        server.post(path, &body).ok();
        let mut wrong = body.clone();
        wrong["nothing"] = 1.into();
        server.post(path, &wrong).refused(400);
        server.send("POST", path, &[("Content-Type", "application/json")], b"{").refused(400);
        server.send("POST", path, &[("Content-Type", "text/plain")], b"{}").refused(415);
        server.send("OPTIONS", path, &[("Origin", "http://elsewhere.example")], b"").refused(403);
    }
    for path in
        ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/studio.js/../../Cargo.toml", "//etc/passwd", "/v1/"]
    {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        server.raw(head.as_bytes()).unwrap().refused(404);
    }
}
