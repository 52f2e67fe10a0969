//! Odd images over HTTP: the scores that the library gives, alone and among others, and a map of each image's size.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use igpt::data::{self, OpenOptions, Split};
use igpt::device::{self, Precision};
use igpt::inspect::{InputMode, InspectionFit, InspectionResult, Inspector, NamedPicture};
use igpt::model::{ModelDir, Objective};
use igpt_server::ServeOptions;
use serde_json::{Value, json};

use crate::support::material::{base64, fit, form, model, numbers, picture};
use crate::support::server::{Server, of};

/// The sides of the pictures that are judged here.
const SIDES: [usize; 5] = [8, 40, 13, 9, 30];

/// (score, percentile, p-value) of the pictures of a folder, as `igpt inspect run` has them.
fn offline(folder: &Path, name: &str) -> Vec<[f64; 3]> {
    let model = ModelDir::open(folder.join(name)).unwrap();
    let inspector = Inspector::new(InspectionFit::expect(&folder.join(name), &model).unwrap(), &model, 1);
    let images = data::open(folder.join("new").to_str().unwrap(), &OpenOptions::default()).unwrap();
    let options = device::EngineOptions::new(Precision::F32).threads(1);
    let mut engine = device::open(&model.config, &model.weights, &options).unwrap();
    let mut found = Vec::new();
    let mut take = |_: &NamedPicture, InspectionResult { score, percentile, p_value, .. }: InspectionResult| {
        found.push([score, percentile, p_value]);
        Ok(())
    };
    inspector.inspect_images(&mut *engine, &images.split(Split::All).unwrap(), &mut take, &mut |_, _| ()).unwrap();
    found
}

/// The pictures, in base64, saved in the folder `new`, too.
fn pictures(folder: &Path) -> Vec<String> {
    fs::create_dir_all(folder.join("new")).unwrap();
    let save = |(i, side): (usize, &usize)| {
        let file = picture(*side, 100 + i);
        fs::write(folder.join(format!("new/{i}.png")), &file).unwrap();
        base64(&file)
    };
    SIDES.iter().enumerate().map(save).collect()
}

fn values(image: &Value) -> [f64; 3] {
    ["score", "percentile", "p_value"].map(|name| image[name].as_f64().unwrap())
}

/// Height and width of a PNG file in base64.
fn size(file: &Value) -> [u32; 2] {
    let file = STANDARD.decode(file.as_str().unwrap()).unwrap();
    let reader = ::png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    [reader.info().height, reader.info().width]
}

#[test]
fn an_image_has_the_score_of_the_command_alone_among_others_and_in_a_form() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, view) in [("whole", InputMode::Whole), ("tiles", InputMode::Tiles)] {
        model(folder, name, Objective::Autoregressive);
        fit(folder, name, view);
        let sent = pictures(folder);
        let expected = offline(folder, name);
        let server = Server::start(of(folder.join(name)));
        let body = json!({"images": sent});
        let answer = server.post("/v1/inspect", &body).json();
        let images = answer["images"].as_array().unwrap();
        assert_eq!((images.len(), &answer["held_out"], &answer["errors"]), (5, &30.into(), &json!([])));
        // Equal as numbers of JSON that are read exactly: equal bits.
        assert_eq!(images.iter().map(values).collect::<Vec<_>>(), expected, "{name}");
        let threshold = answer["threshold"].as_f64().unwrap();
        for (i, (image, side)) in images.iter().zip(SIDES).enumerate() {
            let alone = server.post("/v1/inspect", &json!({"images": [sent[i]]})).json();
            assert_eq!((values(&alone["images"][0]), &alone["images"][0]["map"]), (values(image), &image["map"]));
            assert_eq!(size(&image["map"]), [side as u32; 2]);
            assert_eq!((&image["height"], &image["width"]), (&side.into(), &side.into()));
            assert_eq!(image["odd"], image["score"].as_f64().unwrap() > threshold);
        }
        let odd = images.iter().filter(|image| image["odd"] == true).count();
        assert_eq!(answer["odd"], odd);
        let (kind, bytes) = form(&body);
        assert_eq!(server.send("POST", "/v1/inspect", &[("Content-Type", kind)], &bytes).json(), answer);
        // In another order, a damaged one among them.
        let mixed = json!({"images": [sent[4], "!!!", sent[0]]});
        let answer = server.post("/v1/inspect", &mixed).json();
        assert_eq!(answer["errors"][0]["index"], 1);
        let found: Vec<[f64; 3]> = answer["images"].as_array().unwrap().iter().map(values).collect();
        assert_eq!(found, [expected[4], expected[0]]);
    }
}

#[test]
fn what_has_no_fit_or_cannot_keep_its_promise_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let body = json!({"images": [base64(&picture(8, 1))]});
    model(folder, "plain", Objective::Autoregressive);
    let server = Server::start(of(folder.join("plain")));
    let problem = server.post("/v1/inspect", &body).refused(404);
    assert!(problem.contains("no fit") && problem.contains("igpt inspect fit"), "{problem}");
    assert_eq!(server.get("/v1/models").json()["models"][0]["can"]["inspect"], false);

    fit(folder, "plain", InputMode::Whole);
    let server = Server::start(of(folder.join("plain")));
    assert_eq!(server.get("/v1/models").json()["models"][0]["can"]["inspect"], true);
    for (rate, named) in
        [(json!(0.01), "at least 99"), (json!(0), "between 0 and 1"), (json!(1.0), "1"), (json!("x"), "x")]
    {
        let problem = server.post("/v1/inspect", &json!({"images": body["images"], "false_alarms": rate})).refused(400);
        assert!(problem.contains(named) && problem.contains("false_alarms"), "{problem}");
    }
    let wide = server.post("/v1/inspect", &json!({"images": body["images"], "false_alarms": 0.5})).json();
    let usual = server.post("/v1/inspect", &body).json();
    assert!(wide["threshold"].as_f64() < usual["threshold"].as_f64(), "{wide}");

    let mut other = of(folder.join("plain"));
    other.engine = device::EngineOptions::new(Precision::Bf16).threads(1);
    let problem = Server::start(other).post("/v1/inspect", &body).refused(404);
    assert!(problem.contains("--precision f32"), "{problem}");

    model(folder, "masked", Objective::Masked);
    let problem = Server::start(of(folder.join("masked"))).post("/v1/inspect", &body).refused(400);
    assert!(problem.contains("masked pixels"), "{problem}");

    model(folder, "tiles", Objective::Autoregressive);
    fit(folder, "tiles", InputMode::Tiles);
    let server = Server::start(of(folder.join("tiles")));
    let problem = server.post("/v1/inspect", &json!({"images": [base64(&picture(600, 1))]})).refused(400);
    assert!(problem.contains("600×600") && problem.contains("4096"), "{problem}");
    let problem = server.post("/v1/inspect", &json!({"images": [base64(&picture(7, 1))]})).refused(400);
    assert!(problem.contains("7×7") && problem.contains("tiles"), "{problem}");
}

#[test]
fn an_excess_is_beyond_the_fits_reference_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    model(folder, "m", Objective::Autoregressive);
    fit(folder, "m", InputMode::Whole);
    let sent = pictures(folder);
    let scores = |options: ServeOptions, images: &Value| {
        Server::start(options).post("/v1/score", &json!({"images": images})).json()["scores"].clone()
    };
    let all = scores(of(folder.join("m")), &json!(sent));
    for (i, score) in all.as_array().unwrap().iter().enumerate() {
        let [nats, reference, png, excess] =
            ["nats", "reference_nats", "png_nats", "excess"].map(|name| score[name].as_f64().unwrap());
        assert_eq!((&score["reference"], excess), (&"context".into(), nats - reference));
        assert!(png != reference && numbers(&score["surprise"]).len() == 64);
        let alone = scores(of(folder.join("m")), &json!([sent[i]]));
        assert_eq!(alone[0]["excess"], score["excess"]);
    }
    let without = scores(ServeOptions { inspection: None, ..of(folder.join("m")) }, &json!(sent));
    for (score, fitted) in without.as_array().unwrap().iter().zip(all.as_array().unwrap()) {
        assert_eq!((&score["reference"], &score["reference_nats"]), (&"png".into(), &score["png_nats"]));
        assert_eq!((&score["png_nats"], &score["nats"]), (&fitted["png_nats"], &fitted["nats"]));
    }
}
