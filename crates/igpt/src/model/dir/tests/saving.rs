//! What is saved comes back, as the same bytes and without a half.

use std::fs;

use serde_json::json;

use super::{assert_has, edit, header_of, model, refusal, saved};
use crate::image::Resampling;
use crate::model::dir::json::read_json;
use crate::model::dir::model_dir::{FILES, WEIGHTS};
use crate::model::{ClassHead, ModelCard, ModelDir, Objective, ParamLayout, SaveType};

#[test]
fn save_then_open_gives_the_same_model() {
    for biases in [false, true] {
        let mut before = model(biases);
        before.config.n_inner = 100;
        before.weights = vec![0.5; ParamLayout::new(&before.config).parameters()];
        // Only what lies outside the padding comes back.
        let layout = ParamLayout::new(&before.config);
        let mut expected = vec![0.0; layout.parameters()];
        for tensor in layout.tensors() {
            layout.import(tensor, &vec![0.5; tensor.len()], &mut expected).unwrap();
        }
        before.config.layer_norm_epsilon = 1e-6;
        before.extra.insert("favourite".into(), json!({ "colour": "blue" }));
        let (temp, dir) = saved(&before);
        // A run directory stands for the model inside it.
        for path in [dir.as_path(), temp.path()] {
            let after = ModelDir::open(path).unwrap();
            assert_eq!(after.config, before.config);
            assert_eq!(after.palette, before.palette);
            assert_eq!(after.extra["favourite"], before.extra["favourite"]);
            assert_eq!(after.weights, expected);
        }
    }
}

#[test]
fn objective_and_classifier_come_back_with_the_names_of_the_classes() {
    for layer in [1, 2] {
        let mut before = model(false);
        (before.config.objective, before.config.mask_prob) = (Objective::Masked, 0.35);
        before.config.class_head = Some(ClassHead { num_labels: 3, layer });
        let layout = ParamLayout::new(&before.config);
        before.weights.resize(layout.parameters(), 0.0);
        let score = layout.tensor("score.weight").unwrap();
        layout.import(score, &(0..3 * 72).map(|i| i as f32).collect::<Vec<_>>(), &mut before.weights).unwrap();
        let (_temp, dir) = saved(&before);
        assert_eq!(ModelDir::open(&dir).unwrap().classes(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
        let names = ["cat", "dog", "owl"].map(String::from);
        before.set_classes(&names);
        before.save(&dir, &ModelCard::default(), SaveType::F32).unwrap();
        let after = ModelDir::open(&dir).unwrap();
        assert_eq!((&after.config, after.classes()), (&before.config, names.to_vec()));
        assert_eq!(after.weights, before.weights);
        assert_eq!(header_of(&dir)["score.weight"]["shape"], json!([3, 72]));
        let config = read_json(&dir.join("config.json")).unwrap();
        assert_eq!((&config["igpt_objective"], &config["label2id"]["owl"]), (&json!("masked"), &json!(2)));
        assert_eq!(config.get("igpt_class_layer").is_some(), layer == 1);
        assert_eq!(config["igpt_mask_prob"], 0.35);
        edit(&dir, "config.json", |config| config["igpt_mask_prob"] = json!(0));
        assert_has(&refusal(&dir), &["igpt_mask_prob is 0", "above 0 and below 1"]);
        edit(&dir, "config.json", |config| drop(config.as_object_mut().unwrap().remove("igpt_mask_prob")));
        assert_eq!(ModelDir::open(&dir).unwrap().config.mask_prob, 0.15);
        edit(&dir, "config.json", |config| config["id2label"] = json!({ "0": "cat", "1": "dog" }));
        assert_has(&refusal(&dir), &["score.weight", "[3, 72]", "[2, 72]"]);
    }
    let (_temp, dir) = saved(&model(false));
    let config = read_json(&dir.join("config.json")).unwrap();
    assert!(config.get("igpt_objective").is_none() && config.get("igpt_mask_prob").is_none());
    edit(&dir, "config.json", |config| config["igpt_objective"] = json!("diffusion"));
    assert_has(&refusal(&dir), &["igpt_objective", "diffusion", "masked"]);
}

#[test]
fn a_classifier_as_transformers_saves_it_opens_without_a_generative_head_and_says_so() {
    let mut before = model(false);
    before.config.class_head = Some(ClassHead { num_labels: 3, layer: 2 });
    let layout = ParamLayout::new(&before.config);
    before.weights.resize(layout.parameters(), 0.0);
    let score = layout.tensor("score.weight").unwrap();
    layout.import(score, &[0.5; 3 * 72], &mut before.weights).unwrap();
    before.expect_generative("m").unwrap();
    let (_temp, dir) = saved(&before);
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = ::safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let kept = tensors.into_iter().filter(|(name, _)| name != "lm_head.weight");
    ::safetensors::serialize_to_file(kept, None, &path).unwrap();
    let after = ModelDir::open(&dir).unwrap();
    assert_has(&after.expect_generative("m").unwrap_err().to_string(), &["m is", "never trained", "neither draw"]);
    let (score, config) = (score.range(), &before.config);
    assert_eq!((&after.config, &after.weights[score.clone()]), (config, &before.weights[score]));
    // Without a classifier the head is missed.
    edit(&dir, "config.json", |config| config["architectures"] = json!(["ImageGPTForCausalImageModeling"]));
    assert_has(&refusal(&dir), &["lm_head.weight is missing"]);
}

#[test]
fn zero_biases_are_written_and_left_out_when_read() {
    let (_temp, dir) = saved(&model(false));
    let header = header_of(&dir);
    assert_eq!(header["transformer.h.1.mlp.c_fc.bias"]["shape"], json!([288]));
    assert_eq!(header["__metadata__"]["format"], json!("pt"));
    assert!(!ModelDir::open(&dir).unwrap().config.biases);
}

#[test]
fn bf16_saves_round_to_nearest() {
    let temp = tempfile::tempdir().unwrap();
    let before = model(true);
    before.save(temp.path().join("m"), &ModelCard::default(), SaveType::Bf16).unwrap();
    let after = ModelDir::open(temp.path().join("m")).unwrap();
    let rounded: Vec<f32> = before.weights.iter().map(|w| half::bf16::from_f32(*w).to_f32()).collect();
    assert_eq!(after.weights, rounded);
    assert_eq!(read_json(&temp.path().join("m/config.json")).unwrap()["dtype"], json!("bfloat16"));
}

#[test]
fn the_same_model_is_saved_as_the_same_bytes() {
    let bytes = || {
        let (_temp, dir) = saved(&model(false));
        fs::read(dir.join(WEIGHTS)).unwrap()
    };
    let first = bytes();
    assert!((0..8).all(|_| bytes() == first));
}

#[test]
fn saving_again_replaces_the_model_and_leaves_nothing_behind() {
    let (temp, dir) = saved(&model(false));
    fs::write(dir.join("parity.safetensors"), "of the old weights").unwrap();
    let card = ModelCard { lines: vec!["Hello.".into()], figures: vec![("loss".into(), "1.5 nats per token".into())] };
    model(true).save(&dir, &card, SaveType::F32).unwrap();
    assert!(ModelDir::open(&dir).unwrap().config.biases);
    assert_has(&fs::read_to_string(dir.join("README.md")).unwrap(), &["Hello.", "| loss | 1.5 nats per token |"]);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), FILES.len());
}

#[test]
fn how_pictures_are_scaled_is_kept_with_the_model() {
    let (_temp, dir) = saved(&model(false));
    let file = "preprocessor_config.json";
    assert_eq!(ModelDir::open(&dir).unwrap().palette.resampling(), Resampling::Bilinear);
    for (key, value, resampling) in [
        ("resample", json!(0), Resampling::Nearest),
        ("resample", json!(3), Resampling::Bicubic),
        ("do_resize", json!(false), Resampling::Off),
    ] {
        edit(&dir, file, |processor| processor[key] = value);
        let opened = ModelDir::open(&dir).unwrap();
        assert_eq!(opened.palette.resampling(), resampling);
        let (_again, copy) = saved(&opened);
        assert_eq!(ModelDir::open(&copy).unwrap().palette, opened.palette);
    }
    edit(&dir, file, |processor| (processor["do_resize"], processor["resample"]) = (json!(true), json!(1)));
    assert_has(&refusal(&dir), &[file, "resample is 1", "Lanczos"]);
}
