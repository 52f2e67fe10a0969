//! What makes no sense is refused with a sentence that names it.

use igpt::model::Objective;
use serde_json::{Value, json};

use crate::support::material::{base64, form, model, picture};
use crate::support::server::{Server, of};

/// A JPEG file of 8×8 pixels.
const JPEG: &str = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6j\
                    q62rZ4C8ybqmx5moq6T/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EAB0QAAICAQUAAAAAAAAAAAAAAAIRAQMEAAUh\
                    ImH/2gAIAQEAAD8AYsBt2FN5CynrXCbJcPzX/9k=";

/// A server of a model of 8×8 pixels and 27 colours.
fn server(objective: Objective) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", objective);
    let server = Server::start(of(folder.path().join("m")));
    (folder, server)
}

/// An image and something else.
fn image(more: Value) -> Value {
    let mut body = json!({"tokens": vec![5; 64]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn values_out_of_range_are_named() {
    let (_folder, server) = server(Objective::Autoregressive);
    let mut strange = vec![5; 64];
    strange[9] = 27;
    let cases = [
        ("sample", json!({"n": 0}), "0"),
        ("sample", json!({"n": -1}), "-1"),
        ("sample", json!({"n": 1.5}), "1.5"),
        ("sample", json!({"n": 99_999}), "99999"),
        ("sample", json!({"n": "four"}), "four"),
        ("sample", json!({"n": -4.0}), "n: "),
        ("sample", json!({"n": 1e30}), "n: "),
        ("sample", json!({"top_k": 2.5}), "top_k: "),
        ("sample", json!({"seed": 1e20}), "seed: "),
        ("complete", image(json!({"rows": 1e30})), "rows: "),
        ("complete", image(json!({"steps": -1})), "steps: "),
        ("embed", json!({"tokens": [vec![5; 64]], "layers": [0.5]}), "layers"),
        ("score", json!({"tokens": [vec![0.5; 64]]}), "tokens[0][0]"),
        ("sample", json!({"seed": -4}), "-4"),
        ("sample", json!({"temperature": -0.5}), "-0.5"),
        ("sample", json!({"top_p": 0}), "top_p"),
        ("sample", json!({"top_p": 1.25}), "1.25"),
        ("sample", json!({"top_k": -3}), "-3"),
        ("sample", json!({"first_image": 1u64 << 32}), "4294967296"),
        ("sample", json!({"first_image": u64::MAX}), "first_image"),
        ("sample", json!({"first_image": u32::MAX, "n": 2}), "4294967295"),
        ("sample", json!({"images": 3}), "images"),
        ("complete", json!({"rows": 3}), "image"),
        ("complete", image(json!({"image": base64(&picture(8, 1))})), "image"),
        ("complete", image(json!({"rows": 8})), "8"),
        ("complete", image(json!({"rows": 9})), "9"),
        ("complete", image(json!({"rows": -1})), "-1"),
        ("complete", image(json!({"completions": 0})), "0"),
        ("complete", image(json!({"completions": 65})), "65"),
        ("complete", image(json!({"mask": vec![true; 63]})), "63"),
        ("complete", image(json!({"mask": vec![false; 64]})), "mask"),
        ("complete", image(json!({"mask": vec![1; 64]})), "mask"),
        ("complete", image(json!({"mask": vec![true; 64], "rows": 4})), "mask"),
        ("complete", image(json!({"mask": vec![true; 64], "candidates": 0})), "0"),
        ("complete", image(json!({"mask": vec![true; 64], "candidates": 1_000_000})), "1000000"),
        ("complete", image(json!({"colour": 3})), "colour"),
        ("complete", json!({"tokens": vec![5; 63]}), "63"),
        ("complete", json!({"tokens": strange}), "27"),
        ("complete", json!({"tokens": [-1]}), "-1"),
        ("complete", json!({"tokens": []}), "0"),
        ("score", json!({"tokens": []}), "0"),
        ("score", json!({"images": []}), "0"),
        ("score", json!({"tokens": [vec![5; 64], vec![5; 65]]}), "65"),
        ("score", json!({"image": base64(&picture(8, 1))}), "image"),
        ("predict", image(json!({"row": 8})), "8"),
        ("predict", image(json!({})), "row"),
        ("embed", json!({"tokens": [vec![5; 64]], "layers": [3]}), "3"),
        ("embed", json!({"tokens": [vec![5; 64]], "layers": []}), "layers"),
        ("embed", json!({"tokens": [vec![5; 64]], "layers": vec![1; 100_000]}), "100000"),
        ("embed", json!({"tokens": [vec![5; 64]], "layers": "most"}), "layers"),
        ("embed", json!({"tokens": [vec![5; 64]], "pool": "sum"}), "sum"),
        ("neighbors", image(json!({})), "--neighbors"),
    ];
    for (path, body, named) in cases {
        let answer = server.post(&format!("/v1/{path}"), &body);
        let problem = answer.refused(if path == "neighbors" { 404 } else { 400 });
        assert!(problem.contains(named), "{path} {body}: {problem}");
    }
}

#[test]
fn whole_numbers_in_any_form_and_null_for_what_may_be_left_out_are_accepted_everywhere() {
    let (_folder, server) = server(Objective::Autoregressive);
    let tokens = vec![5; 64];
    let alike = [
        (
            "sample",
            json!({"n": 2.0, "seed": 3.0, "first_image": 1.0, "top_k": 4.0, "temperature": 1, "top_p": null, "stream": null}),
            json!({"n": 2, "seed": 3, "first_image": 1, "top_k": 4}),
        ),
        (
            "sample",
            json!({"n": null, "seed": null, "first_image": null, "temperature": null, "top_k": null}),
            json!({}),
        ),
        (
            "complete",
            image(
                json!({"image": null, "rows": 6.0, "mask": null, "completions": 2.0, "candidates": null, "steps": null}),
            ),
            image(json!({"rows": 6, "completions": 2})),
        ),
        ("complete", json!({"tokens": vec![5.0; 64], "rows": null, "completions": null}), image(json!({}))),
        ("score", json!({"images": null, "tokens": [vec![5.0; 64]]}), json!({"tokens": [tokens]})),
        ("predict", image(json!({"row": 3.0, "image": null})), image(json!({"row": 3}))),
        (
            "embed",
            json!({"tokens": [tokens], "layers": [1.0], "pool": null}),
            json!({"tokens": [tokens], "layers": [1]}),
        ),
        ("embed", json!({"tokens": [tokens], "layers": null}), json!({"tokens": [tokens]})),
        ("quantize", image(json!({"image": null})), image(json!({}))),
    ];
    for (path, generated, plain) in alike {
        let path = format!("/v1/{path}");
        assert_eq!(server.post(&path, &generated).json(), server.post(&path, &plain).json(), "{path} {generated}");
    }
}

#[test]
fn base64_is_understood_in_every_form() {
    let (_folder, server) = server(Objective::Autoregressive);
    let plain = base64(&picture(23, 1));
    let ask = |image: &str| server.post("/v1/quantize", &json!({"image": image})).json();
    let lines = plain.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>();
    let url = plain.replace('+', "-").replace('/', "_");
    for form in [lines.join("\r\n"), lines.join("\n") + "\n", plain.trim_end_matches('=').into(), url] {
        assert_eq!(ask(&form), ask(&plain), "{form}");
    }
}

#[test]
fn rounds_out_of_range_are_named() {
    let (_folder, server) = server(Objective::Masked);
    let problem = server.post("/v1/complete", &image(json!({"rows": 3, "steps": 0}))).refused(400);
    assert!(problem.contains('0'), "{problem}");
    // More rounds than pixels are as many as there are pixels.
    let ask = |steps: u64| server.post("/v1/complete", &image(json!({"rows": 3, "steps": steps}))).json();
    assert_eq!(ask(1 << 40)["images"], ask(40)["images"]);
}

#[test]
fn extremes_of_what_is_allowed_are_answered() {
    let (_folder, server) = server(Objective::Autoregressive);
    let ask = |settings: Value| server.post("/v1/sample", &settings).json()["images"].clone();
    let likeliest = ask(json!({"temperature": 0}));
    for settings in [json!({"temperature": 1e-300}), json!({"temperature": 1e-40}), json!({"top_p": 1e-300})] {
        assert_eq!(ask(settings.clone()), likeliest, "{settings}");
    }
    assert_eq!(ask(json!({"top_k": 1})), likeliest);
    assert_eq!(ask(json!({"top_k": u32::MAX})), ask(json!({})));
    assert_eq!(ask(json!({"temperature": 1e300})), ask(json!({"temperature": 1e30})));
    assert_ne!(ask(json!({"seed": u64::MAX})), ask(json!({})));
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    let (_folder, server) = server(Objective::Autoregressive);
    let deep = ["[".repeat(200_000), "{\"n\":".repeat(200_000)].map(String::into_bytes);
    let short: [&[u8]; 12] = [
        b"",
        b"{",
        b"{}}",
        b"nonsense",
        b"null",
        b"[]",
        b"[1, 0]",
        b"3",
        b"{\"temperature\": NaN}",
        b"{\"n\": 1e999}",
        b"{\"n\": 1, \"n\": 2}",
        b"\xff\xfe{}",
    ];
    for body in short.into_iter().chain(deep.iter().map(Vec::as_slice)) {
        let answer = server.send("POST", "/v1/sample", &[("Content-Type", "application/json")], body);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
}

#[test]
fn forms_that_are_damaged_are_refused() {
    let (_folder, server) = server(Objective::Autoregressive);
    let (kind, whole) = form(&json!({"image": base64(&picture(8, 1)), "rows": 3}));
    server.send("POST", "/v1/complete", &[("Content-Type", kind)], &whole).ok();
    let no_end = [&whole[..whole.len() - 9], &whole[..whole.len() / 2], &whole[..20], b"", b"nonsense"];
    for body in no_end {
        server.send("POST", "/v1/complete", &[("Content-Type", kind)], body).refused(400);
    }
    for kind in ["multipart/form-data", "multipart/form-data; boundary="] {
        server.send("POST", "/v1/complete", &[("Content-Type", kind)], &whole).refused(400);
    }
    let twice = String::from_utf8(form(&json!({"n": 1})).1).unwrap().replace("--cut--\r\n", "");
    let (kind, once) = form(&json!({"n": 2}));
    let twice = [twice.as_bytes(), &once].concat();
    assert!(server.send("POST", "/v1/sample", &[("Content-Type", kind)], &twice).refused(400).contains("two fields"));
    // Words that some parsers read as numbers, and what is no number.
    for (name, value) in [("temperature", "NaN"), ("temperature", "inf"), ("top_p", "nan"), ("n", "x"), ("none", "1")] {
        let (kind, body) = form(&json!({name: value}));
        let problem = server.send("POST", "/v1/sample", &[("Content-Type", kind)], &body).refused(400);
        assert!(problem.contains(if name == "none" { name } else { value }), "{problem}");
    }
}

#[test]
fn files_that_are_no_whole_images_are_refused() {
    let (_folder, server) = server(Objective::Autoregressive);
    let ask = |image: &str| server.post("/v1/quantize", &json!({"image": image}));
    let png = base64(&picture(8, 1));
    for whole in [&png, JPEG] {
        ask(whole).ok();
        // Four letters are three bytes; the last few bytes say no more than that the file ends.
        for cut in (0..whole.len() - 24).step_by(12) {
            assert_eq!(ask(&whole[..cut]).status, 400, "{cut} of {} letters", whole.len());
        }
    }
    for nothing in ["!!!", "data:", "data:image/png;base64,", "data:image/png,abcd", "aGVsbG8=", &png[1..]] {
        ask(nothing).refused(400);
    }
    ask(&format!("data:image/jpeg;base64,{JPEG}")).ok();
}

#[test]
fn content_of_another_type_is_refused() {
    let (_folder, server) = server(Objective::Autoregressive);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "image/png", "nonsense"] {
        let problem = server.send("POST", "/v1/sample", &[("Content-Type", kind)], b"{}").refused(415);
        assert!(problem.contains("application/json") && problem.contains("multipart/form-data"), "{problem}");
    }
    server.send("POST", "/v1/sample", &[], b"{}").refused(415);
    server.send("POST", "/v1/sample", &[("Content-Type", "application/json; charset=utf-8")], b"{}").ok();
}
