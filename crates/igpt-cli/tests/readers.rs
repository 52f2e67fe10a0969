//! Models whose results are no numbers, that scale pictures otherwise, or that give images no likelihood, through the binary.

mod program;

use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ClassHead, ModelCard, ModelConfig, ModelDir, Objective, ParamLayout, SaveType};
use igpt::palette::Palette;
use serde_json::{Value, json};

use program::{igpt, json as parsed};

/// Saves a classifier as `folder`; `attention` is what its second block's matrices are multiplied by.
fn model(folder: &Path, objective: Objective, attention: f32) {
    let palette = Palette::new((0..5).map(|i| [i as f32 / 4.0 - 0.5; 3]).collect(), 1).unwrap();
    let mut config = ModelConfig::new(ImageSize::square(8), 5, 32, 2, 2);
    config.class_head = Some(ClassHead { num_labels: 2, layer: 2 });
    config.objective = objective;
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    for tensor in layout.tensors() {
        let mut values = weights[tensor.range()].to_vec();
        if tensor.name.starts_with("transformer.h.1.attn") {
            values.iter_mut().for_each(|value| *value *= attention);
        } else if !tensor.name.starts_with("transformer") {
            values.iter_mut().enumerate().for_each(|(i, value)| *value = (i as f32).sin());
        }
        layout.import(tensor, &values, &mut weights).unwrap();
    }
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder, &ModelCard::default(), SaveType::F32).unwrap();
}

/// 40 grey pictures of side `side` in two classes.
fn pictures(folder: &Path, side: usize) {
    for i in 0..40usize {
        let data = (0..side * side).map(|p| (p * (3 + i) % 251) as u8).collect();
        let class = folder.join(["a", "b"][i % 2]);
        std::fs::create_dir_all(&class).unwrap();
        png::save(
            class.join(format!("{i}.png")),
            &Pixels::new(ImageSize::square(side), 1, data),
            &TextChunks::new("x"),
        )
        .unwrap();
    }
}

const VERBS: [&str; 12] = [
    "eval --model m --data d --split all --json",
    "eval --model m --data d --split all --quantize int8",
    "score --model m --data d --split all --out scores",
    "embed --model m --data d --split all --out e.npy",
    "embed --model m --data d --split all --layers 1,2 --pool max --precision bf16 --out e.npy",
    "classify --model m d/a/0.png",
    "sample --model m -n 2 --out s.png",
    "sample --model m -n 2 --quantize int8 --out s.png",
    "sample --model m -n 2 --temperature 0 --out s.npy",
    "complete --model m --data d --split all -n 1 --completions 1 --rows 4 --out c.png",
    "probe --model m --data d --json",
    "audit --model m --data d -n 2 --held-out 2 --out audit",
];

#[test]
fn no_verb_tells_figures_of_a_model_whose_results_are_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("d"), 8);
    model(&folder.join("m"), Objective::Autoregressive, 1e16);
    for verb in VERBS {
        let output = igpt(folder, verb);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{verb}: {message}");
        let last = message.lines().last().unwrap_or_default();
        for part in ["igpt: m: ", "damaged or diverged", "in transformer.h.1.attn"] {
            assert!(last.contains(part), "{verb}: no {part} in {message}");
        }
        assert!(!String::from_utf8_lossy(&output.stdout).contains("NaN"), "{verb}");
    }
    // The same model with sound weights does all of it.
    model(&folder.join("m"), Objective::Autoregressive, 1.0);
    for verb in VERBS {
        let output = igpt(folder, verb);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_a_model_says_of_scaling_is_obeyed_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("d"), 19);
    pictures(&folder.join("own"), 8);
    model(&folder.join("m"), Objective::Autoregressive, 1.0);
    let path = folder.join("m/preprocessor_config.json");
    let set = |key: &str, value: Value| {
        let mut processor: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        processor[key] = value;
        std::fs::write(&path, processor.to_string()).unwrap();
    };
    let loss = |data: &str| {
        parsed(&igpt(folder, &format!("eval --model m --data {data} --split all --json")))["nats_per_token"].to_string()
    };
    let mut losses = Vec::new();
    for resample in [0, 2, 3] {
        set("resample", json!(resample));
        losses.push(loss("d"));
    }
    losses.dedup();
    assert_eq!(losses.len(), 3, "{losses:?}");
    set("do_resize", json!(false));
    loss("own");
    for verb in [
        "eval --model m --data d --split all",
        "embed --model m --data d --split all --out e.npy",
        "classify --model m d/a/0.png",
        "complete --model m --data d --split all -n 1 --rows 4 --out c.png",
        "finetune --model m --data d --out tuned --steps 2 --batch 4",
    ] {
        let output = igpt(folder, verb);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{verb}: {message}");
        for part in ["19×19", "do_resize"] {
            assert!(message.contains(part), "{verb}: no {part} in {message}");
        }
    }
}

#[test]
fn a_model_of_masked_pixels_gives_no_likelihood_of_whole_images() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("d"), 8);
    model(&folder.join("m"), Objective::Masked, 1.0);
    let output = igpt(folder, "eval --model m --data d --split all --json");
    let found = parsed(&output);
    for key in ["nats_per_image", "bits_per_pixel", "bits_per_dim", "interval95"] {
        assert!(found[key].is_null(), "{key}: {found}");
    }
    let loss = found["nats_per_token"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|i| found["masked_interval95"][i].as_f64().unwrap());
    assert!(low < loss && loss < high, "{found}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nats per masked pixel") && said.contains("no likelihood of whole images"), "{said}");
    for word in ["nats/image", "bits/pixel", "bits/dim", "nats/token"] {
        assert!(!said.contains(word), "{said}");
    }
}
