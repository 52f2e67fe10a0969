//! `igpt classify` through the binary, on a tiny model of random weights.

mod program;

use std::path::Path;

use igpt::data::Pixels;
use igpt::model::{Card, ClassHead, ImageSize, Layout, ModelConfig, ModelDir, SaveType};
use igpt::palette::Palette;
use igpt::report::{Text, png};

use program::{igpt, json};

/// Saves a classifier as `folder`, with `weight` as the last of its head's weights and zeros before it, and a picture.
fn classifier(folder: &Path, weight: f32) {
    let palette = Palette::new((0..5).map(|i| [i as f32 / 4.0 - 0.5; 3]).collect(), 1).unwrap();
    let mut config = ModelConfig::new(ImageSize::square(8), 5, 16, 1, 2);
    config.class_head = Some(ClassHead { num_labels: 2, layer: 1 });
    let layout = Layout::new(&config);
    let mut weights = vec![0.0; layout.arena_len()];
    layout.init(1, &mut weights);
    let score = layout.tensor("score.weight").unwrap();
    let values: Vec<f32> = (1..=score.len()).map(|i| if i == score.len() { weight } else { 0.0 }).collect();
    layout.import(score, &values, &mut weights).unwrap();
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder, &Card::default(), SaveType::F32).unwrap();
}

fn picture(folder: &Path) {
    let grey = Pixels::new(ImageSize::square(8), 1, (0..64).map(|i| 4 * i).collect());
    png::save(folder.join("a.png"), &grey, &Text::new("grey")).unwrap();
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
