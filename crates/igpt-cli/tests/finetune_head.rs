//! Claims about the recipe of fine-tuning, calibrated probabilities and linear heads, as programs.

mod program;

use std::fs;
use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ModelDir, ParamLayout};
use igpt::train::{Decay, RunConfig, open_model_dir};
use program::{igpt, json};
use serde_json::Value;
use tempfile::TempDir;

/// Striped pictures of 8×8 in two classes, across and down, of which some are called the other, and a model of them.
fn pictures() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (part, count) in [("train", 40), ("validation", 30), ("test", 30)] {
        for i in 0..2 * count {
            let (down, called_other) = (i % 2 == 1, i % 14 >= 12);
            let stripe = |k: usize| ((if down { k % 8 } else { k / 8 }) + i) % 4 < 2;
            let data =
                (0..64).map(|k| if stripe(k) { 100 + (i * 37 % 150) as u8 } else { (i * 11 % 60) as u8 }).collect();
            let folder = dir.path().join("data").join(part).join(if down != called_other { "down" } else { "across" });
            fs::create_dir_all(&folder).unwrap();
            let pixels = Pixels::new(ImageSize::square(8), 1, data);
            png::save(folder.join(format!("{i:02}.png")), &pixels, &TextChunks::new("test")).unwrap();
        }
    }
    let network = "--n-px 8 --colors 6 --set model.n_embd=16 --set model.n_layer=2 --set model.n_head=2";
    let pretrain = format!("pretrain --data data --out pre {network} --batch 8 --steps 60 --precision f32 --json");
    json(&igpt(dir.path(), &pretrain));
    dir
}

fn finetune(dir: &Path, out: &str, more: &str) -> Value {
    json(&igpt(dir, &format!("finetune --data data --precision f32 --batch 8 --json --out {out} {more}")))
}

fn refused(dir: &Path, arguments: &str) -> String {
    let output = igpt(dir, arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap().into()
}

fn tensor(model: &ModelDir, name: &str) -> Vec<f32> {
    model.weights[ParamLayout::new(&model.config).tensor(name).unwrap().range()].to_vec()
}

#[test]
fn the_saved_model_itself_is_calibrated_and_says_so() {
    let dir = pictures();
    let dir = dir.path();
    // Trained so briefly that it is right, but not sure of it.
    let model = dir.join("pre").display().to_string();
    let more = format!("--model {model} --steps 100 --lr 3e-3 --generative-weight 0 --set train.eval_every=100");
    let result = finetune(dir, "run", &more);
    let temperature = result["temperature"].as_f64().unwrap();
    let [before, after] = ["uncalibrated_error", "calibration_error"].map(|key| result[key].as_f64().unwrap());
    assert!(temperature < 0.95 && after < before && before < 1.0, "{result}");
    let card = fs::read_to_string(dir.join("run/model/README.md")).unwrap();
    assert!(card.contains("are calibrated") && card.contains(&format!("{temperature:.3}")), "{card}");
    assert!(card.contains("| expected calibration error there (15 bins) |"), "{card}");

    let model = ModelDir::open(dir.join("run")).unwrap();
    fs::rename(dir.join("run/model"), dir.join("model")).unwrap();
    let checkpoint = open_model_dir(dir.join("run")).unwrap();
    for name in ["transformer.wte.weight", "transformer.h.1.mlp.c_fc.weight", "lm_head.weight"] {
        assert!(tensor(&model, name) == tensor(&checkpoint, name), "{name}");
    }
    let (scaled, trained) = (tensor(&model, "score.weight"), tensor(&checkpoint, "score.weight"));
    for (scaled, trained) in scaled.iter().zip(&trained) {
        assert!((f64::from(*scaled) * temperature - f64::from(*trained)).abs() < 1e-6, "{scaled} {trained}");
    }
    // Resumed, it is divided once, not twice.
    let again = json(&igpt(dir, "finetune --resume --out run --json"));
    assert_eq!(again["temperature"], result["temperature"]);
    assert!(tensor(&ModelDir::open(dir.join("run")).unwrap(), "score.weight") == scaled);
}

#[test]
fn a_linear_head_leaves_the_network_as_it_was_and_auto_takes_the_better_one() {
    let dir = pictures();
    let dir = dir.path();
    let alone =
        "finetune --data data --precision f32 --json --out linear --model pre --head linear --labels-per-class 8";
    let output = igpt(dir, alone);
    let linear = json(&output);
    let share = linear["linear_accuracy"].as_f64().unwrap();
    assert_eq!((&linear["head"], &linear["steps"]), (&"linear".into(), &0.into()));
    assert!(share > 0.6 && linear["validation_accuracy"] == linear["linear_accuracy"], "{linear}");
    let [before, after] = ["pre", "linear"].map(|run| ModelDir::open(dir.join(run)).unwrap());
    let layer = after.config.class_head.unwrap().layer;
    assert_eq!(linear["class_layer"], layer);
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let probe = format!("the linear probe of layer {layer}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("done: {probe}, validation accuracy {}\n", percent(share))), "{said}");
    for of in ParamLayout::new(&before.config).tensors() {
        assert!(tensor(&before, &of.name) == tensor(&after, &of.name), "{}", of.name);
    }
    // What was chosen by features is what the model then does.
    for (part, key) in [("validation", "linear_accuracy"), ("test", "test_accuracy")] {
        let found = json(&igpt(dir, &format!("classify --model linear data/{part} --json")));
        let is_right = |image: &&Value| {
            image["file"].as_str().unwrap().contains(&format!("/{}/", image["class"].as_str().unwrap()))
        };
        let right = found["images"].as_array().unwrap().iter().filter(is_right).count();
        assert_eq!(right as f64 / 60.0, linear[key].as_f64().unwrap(), "{part}");
    }

    // One step is worse than a probe, and 300 are better.
    let few = "--model pre --head auto --labels-per-class 8 --steps";
    for (steps, head) in [("1 --lr 1e-6 --muon-lr 1e-6", "linear"), ("300", "fine-tuned")] {
        let output = igpt(
            dir,
            &format!("finetune --data data --precision f32 --batch 8 --json --out auto-{head} {few} {steps}"),
        );
        let result = json(&output);
        let [tuned, linear] = ["fine_tuned_accuracy", "linear_accuracy"].map(|key| result[key].as_f64().unwrap());
        assert_eq!((result["head"].as_str().unwrap() == "linear", linear), (linear >= tuned, share), "{result}");
        assert_eq!(result["validation_accuracy"].as_f64().unwrap(), tuned.max(linear));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let of_step = format!("{} after step {}", percent(tuned), result["best_step"]);
        if steps.starts_with('1') {
            assert_eq!(result["head"], head);
            let accuracy = percent(linear);
            let wanted =
                format!("{probe} is taken, validation accuracy {accuracy}; the fine-tuned network has {of_step}");
            assert!(said.contains(&wanted), "{said}");
        } else if result["head"] != "linear" {
            assert!(
                said.contains(&format!("the fine-tuned network is taken, validation accuracy {of_step};")),
                "{said}"
            );
        }
        let log = fs::read_to_string(dir.join(format!("auto-{head}/train.log"))).unwrap();
        assert!(log.contains("is taken: "), "{log}");
    }

    let more = "finetune --model pre --data data --out bad --head linear --steps 5 --layer 1 --patience 5 --muon-lr 0.1 \
                --batch 7 --augment shift";
    let message = refused(dir, more);
    for key in
        ["train.steps", "finetune.class_layer", "train.patience", "train.optimizer", "train.batch", "data.augment"]
    {
        assert!(message.contains(&format!("{key} is given, but a linear head trains nothing")), "{message}");
    }
    let scratch = "finetune --from-scratch --data data --out bad --head auto --n-px 8 --colors 6";
    assert!(refused(dir, scratch).contains("no pretrained model whose features"));
}

#[test]
fn a_model_and_data_are_all_that_fine_tuning_needs() {
    let dir = pictures();
    let dir = dir.path();
    let result = finetune(dir, "run", "--model pre");
    // More than three times its 80 images.
    assert_eq!(result["steps"], 1000, "{result}");
    let resolved = |run: &str| {
        let path = dir.join(run).join("config.resolved.toml");
        RunConfig::from_toml(&fs::read_to_string(&path).unwrap(), &path).unwrap()
    };
    let train = resolved("run").train;
    assert_eq!((train.schedule, train.lr, train.steps, train.patience), (Decay::Linear, 7.5e-4, Some(1000), Some(0)));
    let paper = finetune(dir, "paper", "--model pre --recipe paper --steps 1");
    let (train, tuned) = (resolved("paper").train, resolved("paper").finetune.unwrap());
    assert_eq!((train.schedule, train.lr, &paper["steps"]), (Decay::Constant, 3e-4, &1.into()));
    assert_eq!((train.patience, tuned.head_lr, tuned.label_smoothing), (Some(10), 1.0, 0.0));
}

#[test]
fn both_heads_are_compared_on_the_same_validation_images_where_one_is_damaged() {
    let dir = pictures();
    let dir = dir.path();
    let folder = dir.join("data/validation/across");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    // Of fewer than a hundred images none may be damaged.
    for (i, copy) in (0..60).zip(files.iter().cycle()) {
        fs::copy(copy, folder.join(format!("more-{i:02}.png"))).unwrap();
    }
    fs::write(files.iter().min().unwrap(), b"\x89PNG\r\n\x1a\nno picture").unwrap();
    let result = finetune(dir, "run", "--model pre --head auto --steps 1 --lr 1e-6 --muon-lr 1e-6");
    assert_eq!(result["validation_images"], 119, "{result}");
    let right = 119.0 * result["linear_accuracy"].as_f64().unwrap();
    assert!((right - right.round()).abs() < 1e-9 && right > 1.0 && right < 119.0, "{right}");
}

#[test]
fn a_search_for_a_rate_tries_each_for_a_tenth_of_the_steps_that_few_labels_get_by_default() {
    let dir = pictures();
    let dir = dir.path();
    let result = finetune(dir, "run", "--model pre --labels-per-class 4 --lr-search 0.01,0.001");
    assert_eq!(result["steps"], 1000, "{result}");
    for lr in ["0.01", "0.001"] {
        let path = dir.join(format!("run/lr-search/{lr}/config.resolved.toml"));
        let config = RunConfig::from_toml(&fs::read_to_string(&path).unwrap(), &path).unwrap();
        assert_eq!(config.train.steps, Some(100));
    }
    let linear = "finetune --model pre --data data --out bad --head linear --lr-search 0.1";
    assert!(refused(dir, linear).contains("a linear head has no learning rate to search"));
}
