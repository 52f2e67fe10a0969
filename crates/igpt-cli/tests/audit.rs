//! `igpt audit` through the binary, with the emoji model that comes with it.

mod program;

use igpt::data::{self, OpenOptions, Split};
use igpt::model::{ModelCard, ModelDir, Objective, SaveType};
use igpt::palette::Quantizer;
use igpt::report::csv_field;
use igpt::stats::quantile;
use serde_json::Value;

use program::{igpt, json};

#[test]
fn samples_stand_beside_their_nearest_training_images() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(&igpt(folder.path(), "audit -n 4 --train-images 60 --held-out 20 --out audit --json"));
    assert_eq!((&found["samples"], &found["train_images"], &found["layer"]), (&4.into(), &60.into(), &3.into()));
    for space in ["pixels", "features"] {
        assert!(found[space]["held_out_median_distance"].as_f64().unwrap() > 0.0, "{found}");
        assert_eq!(found[space]["copies"], 0);
    }
    let [trained, unseen] = ["train", "held_out"].map(|part| found[format!("{part}_nats_per_token")].as_f64().unwrap());
    assert!(((1.0 - trained / unseen) - found["gap"].as_f64().unwrap()).abs() < 1e-9);
    let picture = std::fs::File::open(folder.path().join("audit/nearest.png")).unwrap();
    let picture = png::Decoder::new(std::io::BufReader::new(picture)).read_info().unwrap();
    // Three triples in a row of 16 pixels, 8 times enlarged; the fourth stands below.
    assert_eq!((picture.info().width, picture.info().height), (9 * 128 + 8 * 2, 2 * 128 + 2));
}

#[test]
fn a_layer_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = igpt(folder.path(), "audit -n 1 --train-images 10 --held-out 5 --layer 7");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("--layer 7: the model has 0 to 6"), "{message}");
}

#[test]
fn each_sample_has_its_nearest_training_image_by_number_name_and_distance() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "audit -n 3 --seed 5 --train-images 40 --held-out 10 --out audit --json";
    let found = json(&igpt(folder.path(), arguments));
    json(&igpt(folder.path(), "sample -n 3 --seed 5 --out samples.npy --json"));
    let nearest = found["nearest"].as_array().unwrap();
    assert_eq!(nearest.len(), 3);

    // The same by a plain search among the training images spread evenly.
    let emoji = data::open("emoji", &OpenOptions::default()).unwrap();
    let (train, all) = (emoji.train.spread(40), emoji.split(Split::All).unwrap());
    let model = ModelDir::bundled().unwrap();
    let quantizer = Quantizer::new(model.palette);
    let set = data::tokenize(&train, model.config.n_px, &quantizer).unwrap();
    let file = std::fs::read(folder.path().join("samples.npy")).unwrap();
    let values = 16 * 16 * 3;
    let samples = &file[file.len() - 3 * values..];
    for (i, (sample, row)) in samples.chunks(values).zip(nearest).enumerate() {
        let distance = |image: usize| {
            let pixels = quantizer.pixels(set.image(image), set.n_px).data;
            let squares = pixels.iter().zip(sample).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
            (squares.sum::<f64>() / values as f64).sqrt()
        };
        let best = (0..40).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
        assert_eq!((&row["sample"], &row["pixels"]["image"]), (&i.into(), &train.indices()[best].into()), "{row}");
        assert!((row["pixels"]["distance"].as_f64().unwrap() - distance(best)).abs() < 1e-3, "{row}");
        for space in ["pixels", "features"] {
            let number = row[space]["image"].as_u64().unwrap();
            assert!(train.indices().contains(&(number as u32)), "{row}");
            assert_eq!(row[space]["name"], all.name(number as usize));
        }
    }
    for space in ["pixels", "features"] {
        let distances: Vec<f64> = nearest.iter().map(|row| row[space]["distance"].as_f64().unwrap()).collect();
        assert_eq!(quantile(&distances, 0.5), found[space]["median_distance"].as_f64());
    }

    let table = std::fs::read_to_string(folder.path().join("audit/nearest.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0],
        "sample,pixels_image,pixels_name,pixels_distance,features_image,features_name,features_distance"
    );
    let field = |neighbor: &Value| {
        let (name, distance) = (neighbor["name"].as_str().unwrap(), neighbor["distance"].as_f64().unwrap());
        format!("{},{},{distance:.4}", neighbor["image"], csv_field(name))
    };
    let rows: Vec<String> = nearest
        .iter()
        .map(|row| format!("{},{},{}", row["sample"], field(&row["pixels"]), field(&row["features"])))
        .collect();
    assert_eq!(lines[1..], rows);
}

#[test]
fn a_model_of_masked_pixels_is_refused_before_data_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = ModelDir::bundled().unwrap();
    model.config.objective = Objective::Masked;
    model.save(folder.path().join("masked"), &ModelCard::default(), SaveType::F32).unwrap();
    let output = igpt(folder.path(), "audit --model masked --data nowhere");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("masked was trained on masked pixels"), "{message}");
    assert!(
        message.contains("draws none pixel by pixel") && message.contains("--objective autoregressive"),
        "{message}"
    );
}
