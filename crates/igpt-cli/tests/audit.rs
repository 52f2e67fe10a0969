//! `igpt audit` through the binary, with the emoji model that comes with it.

mod program;

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
