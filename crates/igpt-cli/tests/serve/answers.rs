//! An answer is what the offline command gives.

use std::fs;

use igpt::formats::png::{self, Text};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{Card, Layout, ModelDir, Objective, SaveType};
use serde_json::{Value, json};

use super::material::{array, base64, classifier, form, model, numbers, picture, pictures, pixels, requests};
use crate::program::{igpt, json as result};
use crate::server::Server;

/// Bytes of an image of the model that comes with the program.
const IMAGE: usize = 16 * 16 * 3;

/// The images of an answer, whose tokens and files must be the same.
fn images(server: &Server, answer: &Value) -> Vec<u8> {
    let models = server.get("/v1/models").json();
    let color = |token: &Value| {
        let text = models["models"][0]["palette"][token.as_u64().unwrap() as usize].as_str().unwrap();
        [1, 3, 5].map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
    };
    let images = answer["images"].as_array().unwrap().iter().flat_map(|image| {
        let colors: Vec<u8> = image["tokens"].as_array().unwrap().iter().flat_map(color).collect();
        assert_eq!(pixels(&image["png"]), colors);
        colors
    });
    images.collect()
}

#[test]
fn samples_are_those_of_the_command_from_any_number_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "--seed 7 --temperature 0.9 --top-k 20 --top-p 0.9";
    result(&igpt(folder.path(), &format!("sample -n 4 {settings} --out s.npy --json")));
    let offline = array(&folder.path().join("s.npy"), "(4, 16, 16, 3,)");
    let server = Server::start(folder.path(), "");
    let body = json!({"n": 3, "first_image": 1, "seed": 7, "temperature": 0.9, "top_k": 20, "top_p": 0.9});
    let answer = server.post("/v1/sample", &body).json();
    assert_eq!((&answer["method"], &answer["seed"]), (&"sample".into(), &7.into()));
    assert!(images(&server, &answer) == offline[IMAGE..]);
    // The last number that there is.
    server.post("/v1/sample", &json!({"first_image": u32::MAX, "n": 1})).ok();
}

#[test]
fn completions_are_those_of_the_command_for_pictures_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let files = pictures(folder.path());
    let complete = "complete --data pictures --split all -n 3 --rows 13 --completions 2 --seed 3 --out c.npy --json";
    result(&igpt(folder.path(), complete));
    let offline = array(&folder.path().join("c.npy"), "(6, 16, 16, 3,)");
    let server = Server::start(folder.path(), "");
    for (i, file) in files.iter().enumerate() {
        let image = format!("data:image/png;base64,{}", base64(file));
        let body = json!({"image": image, "rows": 13, "completions": 2, "seed": 3, "first_image": i});
        let answer = server.post("/v1/complete", &body).json();
        assert_eq!(answer["method"], "rows");
        assert!(images(&server, &answer) == offline[i * 2 * IMAGE..][..2 * IMAGE], "{i}");
    }
}

#[test]
fn a_hole_is_filled_as_by_the_command_and_every_known_pixel_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let files = pictures(folder.path());
    let mask: Vec<bool> = (0..256).map(|at| (13..15).contains(&(at / 16)) && (4..9).contains(&(at % 16))).collect();
    let white = mask.iter().map(|hidden| if *hidden { 255 } else { 0 }).collect();
    let hole = Pixels::new(ImageSize::square(16), 1, white);
    png::save(folder.path().join("hole.png"), &hole, &Text::new("hole")).unwrap();
    let complete = "complete --data pictures --split all -n 1 --mask hole.png --candidates 9 --completions 2 --seed 8";
    result(&igpt(folder.path(), &format!("{complete} --out c.npy --json")));
    // Room for the candidates of one completion.
    let server = Server::start(folder.path(), "--rows 12");
    let body = json!({"image": base64(&files[0]), "mask": mask, "candidates": 9, "completions": 2, "seed": 8});
    let answer = server.post("/v1/complete", &body).json();
    assert_eq!((&answer["method"], &answer["candidates"]), (&"particles".into(), &9.into()));
    assert!(images(&server, &answer) == array(&folder.path().join("c.npy"), "(2, 16, 16, 3,)"));
    let given = server.post("/v1/quantize", &json!({"image": base64(&files[0])})).json();
    for image in answer["images"].as_array().unwrap() {
        for at in (0..256).filter(|at| !mask[*at]) {
            assert_eq!(image["tokens"][at], given["tokens"][at], "{at}");
        }
        let effective = image["effective_candidates"].as_f64().unwrap();
        assert!((1.0..=9.0).contains(&effective), "{effective}");
    }
}

#[test]
fn a_model_of_masked_pixels_fills_holes_in_rounds_as_by_the_command_and_scores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "masked", Objective::Masked);
    fs::create_dir(folder.path().join("one")).unwrap();
    fs::write(folder.path().join("one/0.png"), picture(8, 3)).unwrap();
    let complete = "complete --model masked --data one --split all -n 1 --rows 3 --completions 3 --steps 5 --seed 2";
    result(&igpt(folder.path(), &format!("{complete} --out c.npy --json")));
    let server = Server::start(folder.path(), "--model masked");
    let body = json!({"image": base64(&picture(8, 3)), "rows": 3, "completions": 3, "steps": 5, "seed": 2});
    let answer = server.post("/v1/complete", &body).json();
    assert_eq!((&answer["method"], &answer["steps"]), (&"masked".into(), &5.into()));
    assert!(images(&server, &answer) == array(&folder.path().join("c.npy"), "(3, 8, 8, 3,)"));
    let facts = &server.get("/v1/models").json()["models"][0];
    assert_eq!((&facts["objective"], &facts["can"]["score"]), (&"masked".into(), &false.into()));
    server.post("/v1/score", &json!({"images": [base64(&picture(8, 3))]})).refused(400);
}

#[test]
fn scores_are_those_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let files = pictures(folder.path());
    let offline = result(&igpt(folder.path(), "score --data pictures --split all --reference png --out odd --json"));
    let server = Server::start(folder.path(), "");
    let sent: Vec<String> = files.iter().map(|file| base64(file)).collect();
    let answer = server.post("/v1/score", &json!({"images": sent})).json();
    let scores = answer["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 3);
    for (i, score) in scores.iter().enumerate() {
        let expected = offline["oddest"].as_array().unwrap().iter().find(|image| image["name"] == format!("{i}.png"));
        let expected = expected.unwrap();
        assert_eq!(
            (&score["nats"], &score["png_nats"], &score["excess"]),
            (&expected["nats"], &expected["reference"], &expected["excess"])
        );
        let (nats, surprise) = (score["nats"].as_f64().unwrap(), numbers(&score["surprise"]));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-4 * b.abs();
        assert!(surprise.len() == 256 && close(surprise.iter().sum(), nats), "{nats}");
        assert!(close(score["nats_per_pixel"].as_f64().unwrap(), nats / 256.0));
        assert!(close(score["bits_per_dim"].as_f64().unwrap(), nats / IMAGE as f64 / 2f64.ln()));
    }
}

#[test]
fn features_are_those_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let files = pictures(folder.path());
    for pool in ["mean", "max", "last"] {
        let embed = "embed --data pictures --split all --layers 0,4 --out f.npy --json --pool";
        result(&igpt(folder.path(), &format!("{embed} {pool}")));
        let offline = array(&folder.path().join("f.npy"), "(3, 2, 128,)");
        let offline: Vec<f32> = offline.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        let server = Server::start(folder.path(), "");
        let sent: Vec<String> = files.iter().map(|file| base64(file)).collect();
        let answer = server.post("/v1/embed", &json!({"images": sent, "layers": [0, 4], "pool": pool})).json();
        assert_eq!((&answer["layers"], &answer["n_embd"]), (&json!([0, 4]), &128.into()));
        let features = answer["features"].as_array().unwrap().iter().flat_map(|image| image.as_array().unwrap());
        let features: Vec<f32> = features.flat_map(numbers).map(|value| value as f32).collect();
        assert!(features == offline, "{pool}");
    }
}

#[test]
fn classes_are_those_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(folder.path(), "--model run");
    let files = ["cat/cat3", "dog/dog0"].map(|name| format!("classes/{name}.png"));
    let offline = result(&igpt(folder.path(), &format!("classify --model run --json {}", files.join(" "))));
    let sent = files.map(|name| base64(&fs::read(folder.path().join(name)).unwrap()));
    let answer = server.post("/v1/classify", &json!({"images": sent})).json();
    assert_eq!(answer["classes"], json!(["cat", "dog"]));
    assert_eq!(server.get("/v1/models").json()["models"][0]["classes"], answer["classes"]);
    for (image, expected) in answer["images"].as_array().unwrap().iter().zip(offline["images"].as_array().unwrap()) {
        assert_eq!((&image["class"], &image["probability"]), (&expected["class"], &expected["probability"]));
        let probabilities = ["cat", "dog"].map(|class| expected["probabilities"][class].as_f64().unwrap());
        assert_eq!(numbers(&image["probabilities"]), probabilities);
    }
}

#[test]
fn a_model_without_classes_says_so_when_it_is_asked_to_classify() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    assert_eq!(server.get("/v1/models").json()["models"][0]["can"]["classify"], false);
    let problem = server.post("/v1/classify", &json!({"images": [base64(&picture(16, 1))]})).refused(400);
    assert!(problem.contains("classifier") && problem.contains("igpt finetune"), "{problem}");
}

#[test]
fn the_nearest_image_of_one_that_is_there_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(folder.path(), "--model run --neighbors classes");
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
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
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
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let once = server.post("/v1/quantize", &json!({"image": base64(&picture(50, 4))})).json();
    for again in [json!({"image": once["png"]}), json!({"tokens": once["tokens"]})] {
        assert_eq!(server.post("/v1/quantize", &again).json(), once);
    }
}

#[test]
fn a_form_is_answered_as_json_is() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let server = Server::start(folder.path(), "--model run --neighbors classes");
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
    let server = Server::start(folder.path(), "--model run");
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
        let layout = Layout::new(&model.config);
        // Each is a number whose square is one, but one after the other they are none.
        for name in ["c_fc", "c_proj"] {
            let tensor = layout.tensor(&format!("transformer.h.0.mlp.{name}.weight")).unwrap();
            layout.import(tensor, &vec![1e19; tensor.len()], &mut model.weights).unwrap();
        }
        model.save(folder.path().join("damaged"), &Card::default(), SaveType::F32).unwrap();
        let server = Server::start(folder.path(), "--model damaged");
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
    let layout = Layout::new(&model.config);
    let head = layout.tensor("score.weight").unwrap();
    layout.import(head, &vec![0.0; head.len()], &mut model.weights).unwrap();
    model.save(folder.path().join("untrained"), &Card::default(), SaveType::F32).unwrap();
    let server = Server::start(folder.path(), "--model untrained");
    assert_eq!(server.get("/v1/models").json()["models"][0]["can"]["classify"], false);
    let problem = server.post("/v1/classify", &json!({"images": [base64(&picture(8, 1))]})).refused(400);
    assert!(problem.contains("untrained") && problem.contains("score.weight"), "{problem}");
}
