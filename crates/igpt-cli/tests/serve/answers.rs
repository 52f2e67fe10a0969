//! An answer is what the offline command gives.

use std::fs;
use std::path::Path;

use igpt::formats::png;
use igpt::formats::png::TextChunks;
use igpt::image::ImageSize;
use igpt::image::Pixels;
use igpt::model::Objective;
use serde_json::{Value, json};

use crate::material::{base64, classifier, model, numbers, picture, pixels};
use crate::program::{igpt, json as result};
use crate::server::Server;

/// Bytes of an image of the model that comes with the program.
const IMAGE: usize = 16 * 16 * 3;

/// Saves three pictures of different sizes as `pictures/0.png` and so on.
fn pictures(folder: &Path) -> Vec<Vec<u8>> {
    let files: Vec<_> = [40, 16, 23].iter().enumerate().map(|(i, side)| picture(*side, i)).collect();
    fs::create_dir(folder.join("pictures")).unwrap();
    for (i, file) in files.iter().enumerate() {
        fs::write(folder.join(format!("pictures/{i}.png")), file).unwrap();
    }
    files
}

/// The data of a `.npy` file of this shape.
fn array(path: &Path, shape: &str) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let data = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = String::from_utf8_lossy(&bytes[..data]);
    assert!(header.contains(shape), "{header}");
    bytes[data..].to_vec()
}

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
    png::save(folder.path().join("hole.png"), &hole, &TextChunks::new("hole")).unwrap();
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
