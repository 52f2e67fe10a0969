//! `igpt classify` through the binary, on a tiny model of random weights.

mod program;

use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ClassHead, ModelCard, ModelConfig, ModelDir, Objective, ParamLayout, SaveType};
use igpt::palette::Palette;

use program::{igpt, json};
use serde_json::Value;

/// Saves a classifier as `folder`, with `weight` as the last of its head's weights and zeros before it.
fn classifier(folder: &Path, weight: f32) {
    classifier_by(folder, Objective::Autoregressive, &|i, count| if i + 1 == count { weight } else { 0.0 });
}

/// Saves a classifier as `folder`, whose head has the weight `score(i, count)` as number i of so many.
fn classifier_by(folder: &Path, objective: Objective, score_weight: &dyn Fn(usize, usize) -> f32) {
    let palette = Palette::new((0..5).map(|i| [i as f32 / 4.0 - 0.5; 3]).collect(), 1).unwrap();
    let mut config = ModelConfig::new(ImageSize::square(8), 5, 16, 1, 2);
    config.class_head = Some(ClassHead { num_labels: 2, layer: 1 });
    (config.objective, config.mask_prob) = (objective, 0.5);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    let score = layout.tensor("score.weight").unwrap();
    let values: Vec<f32> = (0..score.len()).map(|i| score_weight(i, score.len())).collect();
    layout.import(score, &values, &mut weights).unwrap();
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder, &ModelCard::default(), SaveType::F32).unwrap();
}

fn picture(folder: &Path) {
    let grey = Pixels::new(ImageSize::square(8), 1, (0..64).map(|i| 4 * i).collect());
    png::save(folder.join("a.png"), &grey, &TextChunks::new("grey")).unwrap();
}

#[test]
fn a_classifier_of_zeros_is_refused_as_never_trained() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    picture(folder);
    std::fs::create_dir(folder.join("run")).unwrap();
    classifier(&folder.join("run/model"), 0.0);
    for (model, run) in [("run", "run"), ("run/model", "RUN")] {
        let output = igpt(folder, &format!("classify --model {model} a.png --json"));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{message}");
        let next = format!("igpt finetune --resume --out {run}\n");
        for part in [&format!("{model} has a classifier that was never trained"), "score.weight", &next] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

#[test]
fn a_classifier_with_one_weight_that_is_not_zero_names_classes() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path());
    classifier(&folder.path().join("m"), 0.5);
    let found = json(&igpt(folder.path(), "classify --model m a.png --json"));
    assert_ne!(found["images"][0]["probabilities"]["LABEL_0"], 0.5, "{found}");
}

#[test]
fn the_class_of_most_votes_is_named_first_and_alone_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut names = Vec::new();
    for i in 0..60 {
        let name = format!("{i}.png");
        let noise = (0..64).map(|k: usize| ((k * k * 31 + i * (k * 17 + 29)) % 251) as u8).collect();
        png::save(folder.join(&name), &Pixels::new(ImageSize::square(8), 1, noise), &TextChunks::new("noise")).unwrap();
        names.push(name);
    }
    let files = names.join(" ");
    // A head by which votes and mean probabilities of some picture differ.
    let is_outvoted = |image: &Value| image["probability"].as_f64().unwrap() < 0.5;
    let heads = (0..60).map(|seed| {
        classifier_by(folder, Objective::Masked, &|i, _| {
            ((i * i * 37 + seed * (i * 13 + 11)) % 23) as f32 / 11.0 - 1.0
        });
        json(&igpt(folder, &format!("classify --model . {files} --json")))["images"].as_array().unwrap().clone()
    });
    let images = heads.into_iter().find(|images| images.iter().any(is_outvoted)).expect("votes that differ");
    let text = String::from_utf8(igpt(folder, &format!("classify --model . {files}")).stdout).unwrap();
    assert_eq!((images.len(), text.lines().count()), (60, 60));
    for (image, line) in images.iter().zip(text.lines()) {
        assert!(line.contains(&format!(".png: {} ", image["class"].as_str().unwrap())), "{line}: {image}");
    }
}

#[test]
fn a_picture_that_can_not_be_read_is_named_and_the_others_are_classified() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    picture(folder);
    std::fs::write(folder.join("bad.png"), "no picture").unwrap();
    classifier(&folder.join("m"), 0.5);
    let output = igpt(folder, "classify --model m bad.png a.png");
    let [text, message] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(text.starts_with("a.png: ") && message.contains("skipped bad.png: "), "{text}{message}");
    assert!(message.contains("1 of 2 images are damaged and were skipped"), "{message}");
    let output = igpt(folder, "classify --model m bad.png a.png --json");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
    assert!(found["unread"][0].as_str().unwrap().contains("bad.png"), "{found}");
    let output = igpt(folder, "classify --model m bad.png");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("no image of bad.png could be decoded"), "{message}");
}

#[test]
fn of_a_folder_every_image_is_classified() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["train", "test", "x/y"] {
        std::fs::create_dir_all(folder.join("pics").join(name)).unwrap();
        picture(&folder.join("pics").join(name));
    }
    picture(folder);
    classifier(&folder.join("m"), 0.5);
    let found = json(&igpt(folder, "classify --model m pics a.png --json"));
    let names: Vec<_> = found["images"].as_array().unwrap().iter().map(|image| image["file"].clone()).collect();
    assert_eq!(names, ["pics/test/a.png", "pics/train/a.png", "pics/x/y/a.png", "a.png"]);
    assert!(found["images"][0]["trained_on"].is_null(), "{found}");
}
