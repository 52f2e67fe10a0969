//! Streams: the events of an answer are that answer in parts.

use igpt::model::Objective;
use igpt_server::ServeOptions;
use serde_json::{Value, json};

use crate::support::material::{SIDE, base64, model, numbers, picture};
use crate::support::server::{Server, of};

const PIXELS: usize = SIDE * SIDE;

/// What a page knows when all events are in: every image's tokens, begun with those `given`.
fn drawn(given: &[Value], images: usize, pixels: &[Value]) -> Vec<Vec<Value>> {
    let mut drawn = vec![given.to_vec(); images];
    for event in pixels {
        let image = &mut drawn[event["image"].as_u64().unwrap() as usize];
        let tokens = event["tokens"].as_array().unwrap();
        assert!(!tokens.is_empty());
        let from = event["from"].as_u64().map(|from| from as usize);
        for (i, token) in tokens.iter().enumerate() {
            let at = from.map_or_else(|| event["at"][i].as_u64().unwrap() as usize, |from| from + i);
            image[at] = token.clone();
        }
    }
    drawn
}

/// Asks twice, once for events; gives the events' data and the answer.
fn both(server: &Server, path: &str, body: &Value) -> (Value, Vec<Value>, Value) {
    let mut events: Vec<(String, Value)> = server.events(path, body).collect();
    let (last, done) = events.pop().unwrap();
    let (first, start) = events.remove(0);
    assert_eq!((first.as_str(), last.as_str()), ("start", "done"));
    assert!(events.iter().all(|(name, _)| name == "pixels"));
    let answer = server.post(path, body).json();
    assert_eq!(done, answer);
    for name in ["method", "candidates"] {
        assert_eq!(start[name], answer[name], "{name}");
    }
    assert_eq!(start["images"], answer["images"].as_array().unwrap().len());
    (start, events.into_iter().map(|(_, data)| data).collect(), answer)
}

/// The picture that is completed here: its tokens, of which those that `hidden` picks are taken out.
fn holed(server: &Server, hidden: impl Fn(usize) -> bool) -> Vec<Value> {
    let quantized = server.post("/v1/quantize", &json!({"image": base64(&picture(SIDE, 5))})).json();
    let tokens = quantized["tokens"].as_array().unwrap().iter().enumerate();
    tokens.map(|(at, token)| if hidden(at) { Value::Null } else { token.clone() }).collect()
}

fn tokens(answer: &Value) -> Vec<Vec<Value>> {
    answer["images"].as_array().unwrap().iter().map(|image| image["tokens"].as_array().unwrap().clone()).collect()
}

#[test]
fn events_of_samples_put_together_are_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(ServeOptions { rows: 2, ..of(folder.path().join("m")) });
    let (start, events, answer) = both(&server, "/v1/sample", &json!({"n": 5, "seed": 1}));
    assert_eq!((&start["method"], &start["known"]), (&"sample".into(), &0.into()));
    assert_eq!(drawn(&vec![Value::Null; PIXELS], 5, &events), tokens(&answer));
}

#[test]
fn events_of_completed_rows_put_together_are_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(ServeOptions { rows: 2, ..of(folder.path().join("m")) });
    let body = json!({"image": base64(&picture(SIDE, 5)), "rows": 3, "completions": 3});
    let (start, events, answer) = both(&server, "/v1/complete", &body);
    assert_eq!((&start["method"], &start["known"]), (&"rows".into(), &(3 * SIDE).into()));
    assert_eq!(drawn(&holed(&server, |at| at >= 3 * SIDE), 3, &events), tokens(&answer));
}

#[test]
fn events_of_a_hole_put_together_are_the_answer_though_the_leading_candidate_changes() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(of(folder.path().join("m")));
    let hidden = |at: usize| (18..22).contains(&at) || (35..39).contains(&at);
    let mask: Vec<bool> = (0..PIXELS).map(hidden).collect();
    let body = json!({"image": base64(&picture(SIDE, 5)), "mask": mask, "completions": 2, "candidates": 6});
    let (start, events, answer) = both(&server, "/v1/complete", &body);
    assert_eq!((&start["method"], &start["known"]), (&"particles".into(), &(PIXELS - 8).into()));
    assert_eq!(drawn(&holed(&server, hidden), 2, &events), tokens(&answer));
    for effective in events.iter().filter_map(|event| event["effective"].as_f64()) {
        assert!((1.0..=6.0).contains(&effective), "{effective}");
    }
}

#[test]
fn events_of_a_masked_model_put_together_are_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Masked);
    let server = Server::start(of(folder.path().join("m")));
    let mask: Vec<bool> = (0..PIXELS).map(|at| at % 3 == 0).collect();
    let body = json!({"image": base64(&picture(SIDE, 5)), "mask": mask, "completions": 2, "steps": 4});
    let (start, events, answer) = both(&server, "/v1/complete", &body);
    assert_eq!((&start["method"], &answer["steps"]), (&"masked".into(), &4.into()));
    assert_eq!(drawn(&holed(&server, |at| at % 3 == 0), 2, &events), tokens(&answer));
    for event in &events {
        assert_eq!(numbers(&event["at"]).len(), numbers(&event["tokens"]).len());
    }
}

#[test]
fn what_cannot_be_streamed_is_refused_before_the_first_event() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(of(folder.path().join("m")));
    server.post("/v1/sample", &json!({"n": 0, "stream": true})).refused(400);
    server.post("/v1/complete", &json!({"rows": 2, "stream": true})).refused(400);
}
