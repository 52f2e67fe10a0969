//! What answers hold: results that fit together, whatever form a request has.

use std::fs;

use igpt::model::{ModelCard, ModelDir, Objective, ParamLayout, SaveType};
use igpt_server::ServeOptions;
use serde_json::{Value, json};

use crate::support::material::{base64, classifier, form, model, numbers, picture, pixels, requests};
use crate::support::server::{Server, bundled, images, of};

#[test]
fn a_model_without_classes_says_so_when_it_is_asked_to_classify() {
    let server = Server::start(bundled());
    assert_eq!(server.get("/v1/models").json()["models"][0]["can"]["classify"], false);
    let problem = server.post("/v1/classify", &json!({"images": [base64(&picture(16, 1))]})).refused(400);
    assert!(problem.contains("classifier") && problem.contains("igpt finetune"), "{problem}");
}

#[test]
fn the_nearest_image_of_one_that_is_there_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(ServeOptions {
        neighbors: Some(images(folder.path().join("classes"))),
        ..of(folder.path().join("run"))
    });
    assert_eq!(server.get("/v1/models").json()["models"][0]["neighbors"]["images"], 20);
    let file = fs::read(folder.path().join("classes/dog/dog4.png")).unwrap();
    let answer = server.post("/v1/neighbors", &json!({"image": base64(&file), "k": 3})).json();
    let found = answer["neighbors"].as_array().unwrap();
    assert_eq!((&found[0]["name"], &found[0]["label"]), (&"dog4.png".into(), &"dog".into()));
    let near: Vec<f64> = found.iter().map(|image| image["similarity"].as_f64().unwrap()).collect();
    assert!(near.len() == 3 && near[0] > 0.9999 && near.is_sorted_by(|a, b| a >= b), "{near:?}");
    let quantized = server.post("/v1/quantize", &json!({"image": base64(&file)})).json();
    assert_eq!(pixels(&found[0]["png"]), pixels(&quantized["png"]));
}

#[test]
fn predicted_probabilities_are_what_the_scores_are_made_of() {
    let server = Server::start(bundled());
    let drawn = server.post("/v1/sample", &json!({"seed": 3})).json()["images"][0]["tokens"].clone();
    let score = server.post("/v1/score", &json!({"tokens": [drawn]})).json()["scores"][0].clone();
    for row in [0, 7, 15] {
        let answer = server.post("/v1/predict", &json!({"tokens": drawn, "row": row})).json();
        let pixels = answer["probabilities"].as_array().unwrap();
        assert_eq!((&answer["row"], pixels.len()), (&row.into(), 16));
        for (x, probabilities) in pixels.iter().map(numbers).enumerate() {
            assert!(probabilities.len() == 64 && (probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-3);
            // They have four significant digits.
            let at = row * 16 + x;
            let surprise = -probabilities[drawn[at].as_u64().unwrap() as usize].ln();
            assert!((surprise - score["surprise"][at].as_f64().unwrap()).abs() < 1e-3, "{at}");
        }
    }
}

#[test]
fn an_image_in_the_palette_stays_as_it_is() {
    let server = Server::start(bundled());
    let once = server.post("/v1/quantize", &json!({"image": base64(&picture(50, 4))})).json();
    for again in [json!({"image": once["png"]}), json!({"tokens": once["tokens"]})] {
        assert_eq!(server.post("/v1/quantize", &again).json(), once);
    }
}

#[test]
fn a_form_is_answered_as_json_is() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(ServeOptions {
        neighbors: Some(images(folder.path().join("classes"))),
        ..of(folder.path().join("run"))
    });
    for (path, body) in requests(8) {
        let (kind, bytes) = form(&body);
        let answer = server.send("POST", path, &[("Content-Type", kind)], &bytes).json();
        assert_eq!(answer, server.post(path, &body).json(), "{path}");
    }
    // What an empty form leaves out has the documented defaults.
    let (kind, bytes) = form(&json!({}));
    let answer = server.send("POST", "/v1/sample", &[("Content-Type", kind)], &bytes).json();
    let said =
        json!({"n": 1, "first_image": 0, "seed": 0, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "stream": false});
    assert_eq!(answer, server.post("/v1/sample", &said).json());
}

#[test]
fn a_damaged_image_among_several_is_left_out_and_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(of(folder.path().join("run")));
    let (good, other) = (base64(&picture(20, 1)), base64(&picture(9, 2)));
    let cut = base64(&picture(20, 3)[..60]);
    for (path, results) in [("/v1/score", "scores"), ("/v1/classify", "images"), ("/v1/embed", "features")] {
        let whole = server.post(path, &json!({"images": [good, other]})).json();
        assert_eq!(whole["errors"], json!([]), "{path}");
        let answer = server.post(path, &json!({"images": [cut, good, "!!!", other]})).json();
        let errors = answer["errors"].as_array().unwrap();
        assert_eq!(errors.iter().map(|error| &error["index"]).collect::<Vec<_>>(), [0, 2], "{path}");
        assert!(errors.iter().all(|error| error["message"].as_str().unwrap().contains("image")), "{answer}");
        let places = |answer: &Value| match results {
            "features" => answer["index"].clone(),
            _ => answer[results].as_array().unwrap().iter().map(|result| result["index"].clone()).collect(),
        };
        assert_eq!((places(&whole), places(&answer)), (json!([0, 1]), json!([1, 3])), "{path}");
        // Beside its place nothing of an image's result is another.
        let plain = |answer: &Value| {
            let mut results = answer[results].clone();
            for result in results.as_array_mut().unwrap() {
                result.as_object_mut().map(|result| result.remove("index"));
            }
            results
        };
        assert_eq!(plain(&whole), plain(&answer), "{path}");
        let problem = server.post(path, &json!({"images": [cut, "!!!"]})).refused(400);
        assert!(problem.contains("none of the 2") && problem.contains("images[0]"), "{problem}");
        server.post(path, &json!({"images": [cut]})).refused(400);
    }
}

#[test]
fn a_result_that_is_no_number_is_an_error_that_names_the_model_and_the_image() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "whole", Objective::Autoregressive);
    let tokens: Vec<usize> = (0..64).map(|at| at % 6).collect();
    let ask = |path: &str, body: &Value| {
        let mut model = ModelDir::open(folder.path().join("whole")).unwrap();
        let layout = ParamLayout::new(&model.config);
        // Each is a number whose square is one, but one after the other they are none.
        for name in ["c_fc", "c_proj"] {
            let tensor = layout.tensor(&format!("transformer.h.0.mlp.{name}.weight")).unwrap();
            layout.import(tensor, &vec![1e19; tensor.len()], &mut model.weights).unwrap();
        }
        model.save(folder.path().join("damaged"), &ModelCard::default(), SaveType::F32).unwrap();
        let server = Server::start(of(folder.path().join("damaged")));
        let body = body.to_string();
        let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close";
        let length = body.len();
        let answer =
            server.raw(format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
        fs::remove_dir_all(folder.path().join("damaged")).unwrap();
        answer.unwrap().refused(500)
    };
    let some = json!({"tokens": [tokens, tokens]});
    for (path, body) in
        [("/v1/score", &some), ("/v1/predict", &json!({"tokens": tokens, "row": 3})), ("/v1/embed", &some)]
    {
        let problem = ask(path, body);
        assert!(problem.contains("damaged"), "{path}: {problem}");
        assert!(path == "/v1/predict" || problem.contains("image 0"), "{path}: {problem}");
    }
}

#[test]
fn a_classifier_that_was_never_trained_classifies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let mut model = ModelDir::open(folder.path().join("run")).unwrap();
    let layout = ParamLayout::new(&model.config);
    let head = layout.tensor("score.weight").unwrap();
    layout.import(head, &vec![0.0; head.len()], &mut model.weights).unwrap();
    model.save(folder.path().join("untrained"), &ModelCard::default(), SaveType::F32).unwrap();
    let server = Server::start(of(folder.path().join("untrained")));
    assert_eq!(server.get("/v1/models").json()["models"][0]["can"]["classify"], false);
    let problem = server.post("/v1/classify", &json!({"images": [base64(&picture(8, 1))]})).refused(400);
    assert!(problem.contains("untrained") && problem.contains("score.weight"), "{problem}");
}
