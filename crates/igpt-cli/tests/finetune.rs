//! Claims about `igpt finetune`, `igpt classify` and the masked objective as programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::ModelDir;
use serde_json::Value;
use tempfile::TempDir;

/// A picture of 8×8: stripes across or down, of any phase and brightness.
fn picture(path: &Path, down: bool, i: usize) {
    let bright = 100 + i * 37 % 150;
    let stripe = |k: usize| ((if down { k % 8 } else { k / 8 }) + i) % 4 < 2;
    let data = (0..64).map(|k| if stripe(k) { bright as u8 } else { (i * 11 % 60) as u8 }).collect();
    png::save(path, &Pixels::new(ImageSize::square(8), 1, data), &TextChunks::new("test")).unwrap();
}

/// A folder of 40 pictures striped across and 80 striped down, and room for runs beside it.
fn pictures() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (class, count) in [("across", 40), ("down", 80)] {
        let folder = dir.path().join("pictures").join(class);
        fs::create_dir_all(&folder).unwrap();
        (0..count).for_each(|i| picture(&folder.join(format!("{i:02}.png")), class == "down", i));
    }
    dir
}

/// `igpt VERB` on the pictures, a run of a network of a few thousand parameters.
fn command(dir: &Path, verb: &str, run: &str, more: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    command.current_dir(dir).args([verb, "--data", "pictures", "--out", run, "--precision", "f32", "--json"]);
    command.args(more.split_whitespace());
    command
}

const NETWORK: &str = "--n-px 8 --colors 6 --batch 8 --set model.n_embd=16 --set model.n_layer=2 --set model.n_head=2 \
                       --set train.sample_images=2";

fn done(mut command: Command) -> (Value, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let last = String::from_utf8(output.stdout).unwrap();
    (serde_json::from_str(last.lines().last().unwrap()).unwrap(), said)
}

fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said.lines().last().unwrap().to_string()
}

fn igpt(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    command.current_dir(dir).args(arguments.split_whitespace());
    command
}

fn weights(dir: &Path, run: &str) -> Vec<u8> {
    fs::read(dir.join(run).join("model/model.safetensors")).unwrap()
}

/// Kills a run once it has saved a checkpoint and goes on with it.
fn kill_and_resume(dir: &Path, verb: &str, run: &str, more: &str) -> Value {
    let mut child = command(dir, verb, run, more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (saved, since) = (dir.join(run).join("checkpoints/last"), Instant::now());
    while !saved.exists() {
        let over = child.try_wait().unwrap().is_some();
        assert!(!over && since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.join(run).join("model").exists(), "the run was over before it was killed");
    done(igpt(dir, &format!("{verb} --resume --out {run} --json"))).0
}

#[test]
fn a_pretrained_model_learns_classes_and_names_them() {
    let dir = pictures();
    let dir = dir.path();
    done(command(dir, "pretrain", "pre", &format!("{NETWORK} --steps 20")));
    let more = "--model pre --batch 8 --steps 150 --lr 3e-3 --set train.warmup_steps=10 --set train.eval_every=15";
    let (result, said) = done(command(dir, "finetune", "classes", more));
    assert!(result["test_accuracy"].as_f64().unwrap() > 0.9, "{result}");
    assert!(result["validation_accuracy"].as_f64().unwrap() > 0.9 && said.contains("accuracy"), "{result} {said}");
    let [low, high] = [0, 1].map(|i| result["interval"][i].as_f64().unwrap());
    assert!(low < result["test_accuracy"].as_f64().unwrap() && high <= 1.0 && low > 0.5, "{result}");
    assert!(result["best_step"].as_u64().unwrap() <= result["steps"].as_u64().unwrap());
    assert_eq!(result["classes"], serde_json::json!(["across", "down"]));

    let config: Value = serde_json::from_slice(&fs::read(dir.join("classes/model/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "ImageGPTForImageClassification");
    assert_eq!((&config["id2label"]["1"], &config["label2id"]["down"]), (&"down".into(), &1.into()));
    let card = fs::read_to_string(dir.join("classes/model/README.md")).unwrap();
    for part in ["ImageGPTForImageClassification", "tokens[:, :-1]", "not equivalent", "test images"] {
        assert!(card.contains(part), "{part}: {card}");
    }

    picture(&dir.join("new-a.png"), false, 5);
    picture(&dir.join("new-d.png"), true, 6);
    let (found, _) = done(igpt(dir, "classify --model classes new-a.png new-d.png --json"));
    for (image, class) in found["images"].as_array().unwrap().iter().zip(["across", "down"]) {
        assert_eq!(image["class"], class, "{found}");
        let sum: f64 = image["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
    assert!(refused(igpt(dir, "classify --model pre new-a.png")).contains("no classifier"));
    // It still draws.
    done(igpt(dir, "sample --model classes -n 2 --out s.png --json"));
}

/// Pictures of one part in folders of their classes, or of the other class each.
fn part_of(folder: &Path, turned: bool) {
    for class in ["across", "down"] {
        let folder = folder.join(class);
        fs::create_dir_all(&folder).unwrap();
        (0..20).for_each(|i| picture(&folder.join(format!("{i:02}.png")), (class == "down") != turned, i));
    }
}

#[test]
fn wrong_labels_of_the_test_images_change_neither_weights_nor_any_choice() {
    let dir = pictures();
    let dir = dir.path();
    let [right, wrong] = [("right", false), ("wrong", true)].map(|(data, turned)| {
        ["train", "validation"].iter().for_each(|part| part_of(&dir.join(data).join(part), false));
        part_of(&dir.join(data).join("test"), turned);
        let budget = "--steps 60 --set train.warmup_steps=10 --set train.eval_every=20 --lr 0.003 --muon-lr 0.02";
        let command = format!("finetune --from-scratch {NETWORK} {budget} --data {data} --out of-{data} --json");
        let (result, _) = done(igpt(dir, &command));
        (result, fs::read(dir.join(format!("of-{data}/model/model.safetensors"))).unwrap())
    });
    for key in ["best_step", "steps", "validation_accuracy"] {
        assert_eq!(right.0[key], wrong.0[key], "{key}");
    }
    assert!(right.1 == wrong.1);
    let [right, wrong] = [right, wrong].map(|(result, _)| result["test_accuracy"].as_f64().unwrap());
    assert!((right + wrong - 1.0).abs() < 1e-9 && right != wrong, "{right} {wrong}");
}

#[test]
fn the_search_chooses_a_rate_by_validation_accuracy_and_never_sees_the_test_images() {
    let dir = pictures();
    let dir = dir.path();
    let budget = "--steps 400 --set train.warmup_steps=10 --set train.schedule=constant";
    let search = format!("--from-scratch {NETWORK} {budget} --lr-search 1e-6,0.02,1e30");
    let (result, said) = done(command(dir, "finetune", "run", &search));
    // Both rates by one factor, in the recipe's ratio.
    assert_eq!(result["muon_lr"], 0.02, "{said}");
    assert!((result["lr"].as_f64().unwrap() - 0.003).abs() < 1e-9, "{result}");
    let trials = result["lr_search"].as_array().unwrap();
    assert_eq!(trials.iter().map(|trial| trial["lr"].as_f64().unwrap()).collect::<Vec<_>>(), [1e30, 0.02, 1e-6]);
    assert_eq!((&trials[0]["validation_loss"], &trials[0]["validation_accuracy"]), (&Value::Null, &Value::Null));
    let best = trials[1]["validation_accuracy"].as_f64().unwrap();
    assert!(best > trials[2]["validation_accuracy"].as_f64().unwrap(), "{result}");
    let (share, row) = (format!("{:.2} %", 100.0 * best), said.lines().find(|line| line.contains("<- best")).unwrap());
    assert!(said.contains("validation accuracy") && row.starts_with("0.02 ") && row.contains(&share), "{said}");
    let written: Value = serde_json::from_slice(&fs::read(dir.join("run/lr-search/result.json")).unwrap()).unwrap();
    assert_eq!(&written["trials"], &result["lr_search"]);
    let card = |run: &str| fs::read_to_string(dir.join(run).join("model/README.md")).unwrap();
    assert!(card("run").contains("test images") && !card("run/lr-search/0.02").contains("test images"));

    // Test images without labels stop the run that tests, but not the search before it.
    ["train", "validation"].iter().for_each(|part| part_of(&dir.join("parts").join(part), false));
    fs::create_dir_all(dir.join("parts/test")).unwrap();
    picture(&dir.join("parts/test/a.png"), true, 1);
    let parts = format!("--from-scratch {NETWORK} --steps 10 --lr-search 0.02 --data parts --out parts-run");
    let message = refused(igpt(dir, &format!("finetune {parts}")));
    assert!(message.contains("test/a.png has none"), "{message}");
    assert!(dir.join("parts-run/lr-search/result.json").exists());
}

#[test]
fn settings_of_fine_tuning_reach_the_model() {
    let dir = pictures();
    let dir = dir.path();
    done(command(dir, "pretrain", "pre", &format!("{NETWORK} --steps 5")));
    let more = "--model pre --batch 8 --steps 4 --set train.eval_every=4 --layer 1 --freeze 1 --balanced --generative-weight 0 --augment crop-flip";
    let (result, _) = done(command(dir, "finetune", "run", more));
    assert_eq!(result["generative_weight"], 0.0);
    // Half of pretraining's where none are said, a tenth in the paper.
    assert_eq!((result["lr"].as_f64(), result["muon_lr"].as_f64()), (Some(7.5e-4), Some(0.005)));
    let (paper, _) = done(command(dir, "finetune", "paper", "--model pre --recipe paper --batch 8 --steps 1"));
    assert!((paper["lr"].as_f64().unwrap() - 3e-4).abs() < 1e-9, "{paper}");
    let [before, after] = ["pre", "run"].map(|run| ModelDir::open(dir.join(run)).unwrap());
    assert_eq!(after.config.class_head.unwrap().layer, 1);
    let tensor = |model: &ModelDir, name: &str| {
        let layout = igpt::model::ParamLayout::new(&model.config);
        model.weights[layout.tensor(name).unwrap().range()].to_vec()
    };
    for (name, stays) in [
        ("transformer.wte.weight", true),
        ("transformer.h.0.mlp.c_fc.weight", true),
        // Behind the classifier's layer, and nothing generative is trained.
        ("transformer.h.1.mlp.c_fc.weight", true),
        ("lm_head.weight", true),
        // The features' own norm.
        ("transformer.h.1.ln_1.weight", false),
    ] {
        assert_eq!(tensor(&before, name) == tensor(&after, name), stays, "{name}");
    }
    assert!(tensor(&after, "score.weight").iter().any(|w| *w != 0.0));
    // No loss of pixels where they are not trained on, but still in validations.
    let rows = fs::read_to_string(dir.join("run/metrics.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert_eq!(row.get("loss").is_some(), row["split"] == "validation", "{row}");
        assert!(row["class_loss"].as_f64().is_some(), "{row}");
    }
    // 64 of the larger class twice.
    let log = fs::read_to_string(dir.join("run/checkpoints/step-00000004/checkpoint.toml")).unwrap();
    let images: usize = log.lines().find_map(|line| line.strip_prefix("train_images = ")).unwrap().parse().unwrap();
    assert!(images.is_multiple_of(2) && images > 2 * 55, "{images}");
    assert!(fs::read_to_string(dir.join("run/model/README.md")).unwrap().contains("features of layer 1"));
}

#[test]
fn training_ends_when_the_accuracy_stops_rising() {
    let dir = pictures();
    let more = format!("--from-scratch {NETWORK} --steps 400 --lr 1e-2 --set train.eval_every=10 --patience 2");
    let (result, _) = done(command(dir.path(), "finetune", "run", &more));
    let (steps, best) = (result["steps"].as_u64().unwrap(), result["best_step"].as_u64().unwrap());
    assert_eq!(steps, best + 20, "{result}");
    assert!(result["test_accuracy"].as_f64().is_some());
    // Resumed, it is still over, and comes to the same.
    let before = weights(dir.path(), "run");
    let (again, _) = done(igpt(dir.path(), "finetune --resume --out run --json"));
    assert_eq!((&again["steps"], &again["test_accuracy"]), (&result["steps"], &result["test_accuracy"]));
    assert!(weights(dir.path(), "run") == before);
}

#[test]
fn kill_and_resume_of_fine_tuning_gives_the_bytes_of_an_uninterrupted_run() {
    let dir = pictures();
    let dir = dir.path();
    let more =
        format!("--from-scratch {NETWORK} --objective masked --steps 300 --patience 0 --set train.eval_every=20");
    done(command(dir, "finetune", "whole", &format!("{more} --threads 1")));
    let result = kill_and_resume(dir, "finetune", "parts", &more);
    assert_eq!(result["steps"], 300);
    assert!(weights(dir, "whole") == weights(dir, "parts"));
    picture(&dir.join("new.png"), true, 3);
    let (found, _) = done(igpt(dir, "classify --model parts new.png --json"));
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
}

#[test]
fn masked_pretraining_goes_on_after_a_kill_and_fills_holes_but_draws_nothing_in_order() {
    let dir = pictures();
    let dir = dir.path();
    let more =
        format!("{NETWORK} --objective masked --steps 300 --set train.checkpoint_every=20 --set train.mask_prob=0.4");
    let (result, _) = done(command(dir, "pretrain", "whole", &more));
    assert!(result["validation_loss"].as_f64().unwrap() < 6f64.ln(), "{result}");
    assert_eq!(result["objective"], "masked");
    kill_and_resume(dir, "pretrain", "parts", &more);
    assert!(weights(dir, "whole") == weights(dir, "parts"));
    let config = fs::read_to_string(dir.join("whole/model/config.json")).unwrap();
    assert!(config.contains("\"igpt_objective\": \"masked\""), "{config}");
    assert!(refused(igpt(dir, "sample -n 2 --model whole --out s.png")).contains("masked pixels"));
    done(igpt(dir, "complete --data pictures --model whole --steps 3 --out c.png --json"));
    assert!(refused(igpt(dir, "parity whole")).contains("masked pixels"));
    let (found, said) = done(igpt(dir, "eval --model whole --data pictures --split validation --json"));
    assert_eq!((&found["objective"], &found["baselines"]), (&"masked".into(), &Value::Null));
    assert!(said.contains("no likelihood"), "{said}");
    // The same masks as while training, of the share that it was trained with.
    assert!(found["mask_prob"] == 0.4 && said.contains("the 40 % of pixels"), "{said}");
    let difference = found["nats_per_token"].as_f64().unwrap() - result["validation_loss"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{difference}");
    // It is fine-tuned as it was pretrained.
    done(command(dir, "finetune", "classes", "--model whole --batch 8 --steps 3"));
    let network = ModelDir::open(dir.join("classes")).unwrap().config;
    assert_eq!((network.objective, network.mask_prob), (igpt::model::Objective::Masked, 0.4));
}

#[test]
fn images_without_a_label_are_left_out_and_change_nothing_of_the_training() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (root, loose) in [("whole", false), ("partly", true)] {
        for split in ["train", "validation", "test"] {
            for class in ["across", "down"] {
                let folder = dir.join(root).join(split).join(class);
                fs::create_dir_all(&folder).unwrap();
                (0..10).for_each(|i| picture(&folder.join(format!("{i:02}.png")), class == "down", i));
            }
            (0..5)
                .filter(|_| loose)
                .for_each(|i| picture(&dir.join(root).join(split).join(format!("{i}.png")), true, i));
        }
    }
    let run = |root: &str, palette: &str| {
        // One palette for both: it is fitted to all training images, labelled or not.
        let network = NETWORK.replace("--colors 6", palette);
        done(igpt(dir, &format!("finetune --from-scratch {network} --steps 3 --data {root} --out {root}-run --json")))
    };
    let (whole, quiet) = run("whole", "--colors 6");
    let (partly, said) = run("partly", "--set palette.file=whole-run");
    assert!(!quiet.contains("without a label"), "{quiet}");
    assert!(said.contains("15 images without a label are left out"), "{said}");
    for figure in ["test_accuracy", "test_images", "validation_images", "validation_class_loss"] {
        assert_eq!(whole[figure], partly[figure], "{figure}");
    }
    assert!(weights(dir, "whole-run") == weights(dir, "partly-run"));
}

#[test]
fn what_can_not_be_learned_is_refused_with_the_reason() {
    let dir = pictures();
    let dir = dir.path();
    let flat = dir.join("flat");
    let (one, missing) = (dir.join("one/across"), dir.join("missing"));
    for folder in [&flat, &one, &missing.join("train/a"), &missing.join("train/b"), &missing.join("test/c")] {
        fs::create_dir_all(folder).unwrap();
        (0..20).for_each(|i| picture(&folder.join(format!("{i:02}.png")), false, i));
    }
    for (more, parts) in [
        ("--data flat", &["train images of flat have no labels", ".png has none"][..]),
        ("--data one", &["single class (across)"]),
        ("--data missing", &["no training images of c"]),
        ("--layer 3", &["layer is 3", "0 to 2"]),
        ("--freeze 3", &["3 blocks are to be frozen", "has 2"]),
        ("--generative-weight=-1", &["generative_weight is -1"]),
        ("--set train.mask_prob=1.5", &["mask_prob is 1.5"]),
    ] {
        let network = format!("--from-scratch {NETWORK} --steps 2 --out bad {more}");
        let mut command = igpt(dir, "finetune");
        if !more.contains("--data") {
            command.args(["--data", "pictures"]);
        }
        command.args(network.split_whitespace());
        let message = refused(command);
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
        let _ = fs::remove_dir_all(dir.join("bad"));
    }
    let output = igpt(dir, "finetune --data pictures --steps 2 --out bad").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(refused(igpt(dir, "finetune --model nowhere --data pictures --steps 2 --out bad")).contains("nowhere"));
    assert!(!dir.join("bad").exists());
}

#[test]
fn a_refused_request_leaves_the_finished_run_as_it_was() {
    let dir = pictures();
    let dir = dir.path();
    done(command(dir, "pretrain", "pre", &format!("{NETWORK} --steps 2")));
    done(command(dir, "finetune", "run", "--model pre --batch 8 --steps 2"));
    let all = |run: &str| {
        let files =
            ["summary.json", "metrics.jsonl", "model/model.safetensors", "checkpoints/step-00000002/checkpoint.toml"];
        files.map(|file| fs::read(dir.join(run).join(file)).unwrap_or_else(|_| panic!("{run}/{file} is gone")))
    };
    let before = ["pre", "run"].map(all);
    for (verb, run, more, part) in [
        ("finetune", "run", "--model pre --steps 2 --layer 9 --overwrite", "layer is 9"),
        ("finetune", "pre", "--model pre --steps 2 --overwrite", "begins with pre, which --overwrite would delete"),
        ("finetune", "run", "--model run/model --steps 2 --overwrite --lr-search 0.01", "begins with run/model"),
        ("pretrain", "pre", "--palette pre --steps 2 --overwrite", "begins with pre"),
        ("finetune", "pre", "--resume", "of a run of pretraining: go on with igpt pretrain --resume"),
        ("finetune", "run", "--resume --layer 1", "another finetune.class_layer"),
        ("pretrain", "pre", "--resume --set train.seed=5", "another train.seed"),
    ] {
        let message = refused(command(dir, verb, run, more));
        assert!(message.contains(part), "{part}: {message}");
        assert!(["pre", "run"].map(all) == before, "{verb} --out {run} {more}");
    }
    // A search that ends well is followed by the run that overwrites.
    done(command(dir, "finetune", "run", "--model pre --batch 8 --steps 3 --lr-search 0.01 --overwrite"));
    assert!(!dir.join("run/checkpoints/step-00000002").exists() && dir.join("run/lr-search/result.json").exists());
}
