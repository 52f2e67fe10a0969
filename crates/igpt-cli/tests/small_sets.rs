//! Claims about `igpt pretrain` on few images: the best weights are kept, training ends early, the verdict tells how the
//! model stands, runs go on from given weights and are extended.

mod program;

use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::train::RunConfig;
use program::{igpt, json};
use serde_json::Value;
use tempfile::TempDir;

const NETWORK: &str = "--n-px 8 --colors 5 --set model.n_embd=32 --set model.n_layer=2 --set model.n_head=2";
const QUICK: &str = "--precision f32 --threads 1 --set train.sample_images=0 --json";

/// A folder of 40 pictures of noise, of which nothing can be learned but by heart.
fn noise() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("noise");
    std::fs::create_dir(&folder).unwrap();
    let mut state = 1u64;
    for i in 0..40 {
        let mut value = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) % 5 * 60) as u8
        };
        let image = Pixels::new(ImageSize::square(8), 1, (0..64).map(|_| value()).collect());
        png::save(folder.join(format!("{i:02}.png")), &image, &TextChunks::new("test")).unwrap();
    }
    dir
}

/// What `igpt pretrain` says, and its result.
fn pretrain(folder: &Path, arguments: &str) -> (Value, String) {
    let output = igpt(folder, &format!("pretrain {arguments} {QUICK}"));
    (json(&output), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn validations(run: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter(|row| row["split"] == "validation").map(|row| number(&row["loss"])).collect()
}

#[test]
fn a_set_that_can_only_be_learned_by_heart_ends_early_with_its_best_weights_and_a_verdict_that_says_so() {
    let dir = noise();
    let run =
        format!("--data noise {NETWORK} --steps 400 --batch 8 --augment none --set train.eval_every=20 --patience 3");
    let (result, said) = pretrain(dir.path(), &format!("{run} --out run"));
    let (steps, kept) = (result["steps"].as_u64().unwrap(), result["kept_step"].as_u64().unwrap());
    assert_eq!((result["ended_early"].as_bool(), steps), (Some(true), kept + 3 * 20), "{said}");
    assert!(said.contains("20 validations on") && said.contains("early after 3 that are no better"), "{said}");
    assert!(said.contains("ended early, since validations got no better"), "{said}");
    let losses = validations(&dir.path().join("run"));
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(number(&result["validation_loss"]) == lowest && *losses.last().unwrap() > lowest, "{losses:?}");
    // The model scores as it was validated.
    let evaluated = json(&igpt(dir.path(), "eval --model run --data noise --split validation --precision f32 --json"));
    assert!((number(&evaluated["nats_per_token"]) - lowest).abs() < 1e-5, "{evaluated}");
    // All there is to know is that five greys come alike.
    let verdict = &result["verdict"];
    assert!(
        ["worse-than-unigram", "worse-than-uniform", "hardly-better"].contains(&verdict["standing"].as_str().unwrap())
    );
    assert!(verdict["advice"].as_str().unwrap().contains("learned its images by heart"), "{verdict}");
    assert!(said.contains(verdict["finding"].as_str().unwrap()), "{said}");
    assert!(evaluated["verdict"]["standing"].is_string());

    // By default only validations that are clearly worse count, which these soon are.
    let (by_default, told) = pretrain(dir.path(), &format!("{} --out default", run.replace("--patience 3", "")));
    assert!(told.contains("early after 5 that are more than 1 % worse"), "{told}");
    let (steps, kept) = (by_default["steps"].as_u64().unwrap(), by_default["kept_step"].as_u64().unwrap());
    assert!(by_default["ended_early"] == true && (kept + 5 * 20..400).contains(&steps), "{told}");
    // The last weights, where they are asked for, go on to the end.
    let (last, _) = pretrain(
        dir.path(),
        &format!("{} --keep last --steps 100 --out last", run.replace("--steps 400 ", "").replace("--patience 3", "")),
    );
    assert_eq!((last["kept_step"].as_u64(), last["ended_early"].as_bool()), (Some(100), Some(false)));
}

#[test]
fn images_that_are_seen_often_are_augmented_unless_that_is_turned_off() {
    let dir = noise();
    let said = |more: &str| pretrain(dir.path(), &format!("--data noise {NETWORK} --batch 8 {more}")).1;
    let often = said("--steps 200 --out often");
    assert!(often.contains("augmentation shift: 32 images are seen 50 times each"), "{often}");
    assert!(said("--steps 2 --out seldom").contains("augmentation none: 32 images are seen 0.5 times each"));
    assert!(!said("--steps 200 --augment none --out off").contains("augmentation"));
    let config = std::fs::read_to_string(dir.path().join("often/config.resolved.toml")).unwrap();
    assert!(config.contains("augment = \"shift\"\nflip = false\n"), "{config}");
}

#[test]
fn flips_are_asked_for_or_refused_with_or_without_a_value() {
    let dir = noise();
    for (flip, written) in
        [("--flip", "true"), ("--flip true", "true"), ("--flip false", "false"), ("--flip=false", "false")]
    {
        pretrain(dir.path(), &format!("--data noise {NETWORK} --overwrite --out run {flip} --steps 1 --batch 8"));
        let config = std::fs::read_to_string(dir.path().join("run/config.resolved.toml")).unwrap();
        assert!(config.contains(&format!("\nflip = {written}\n")), "{flip}: {config}");
    }
}

#[test]
fn a_search_under_a_budget_of_minutes_tries_its_rates_on_the_network_that_is_then_trained() {
    let dir = noise();
    let quick = "--set train.eval_images=16 --set train.probe_images=0";
    let search = format!("--data emoji --minutes 0.03 --lr-search 0.04,0.001 --out run {quick}");
    let (result, said) = pretrain(dir.path(), &search);
    assert_eq!(said.matches("sized for").count(), 1, "{said}");
    let resolved = |run: &str| {
        let path = dir.path().join("run").join(run).join("config.resolved.toml");
        RunConfig::from_toml(&std::fs::read_to_string(&path).unwrap(), &path).unwrap()
    };
    let trials = result["lr_search"].as_array().unwrap();
    assert_eq!(trials.iter().map(|trial| number(&trial["lr"])).collect::<Vec<_>>(), [0.04, 0.001]);
    assert_ne!(trials[0]["validation_loss"], trials[1]["validation_loss"]);
    let whole = resolved("");
    assert_eq!(whole.train.peak_lr(), number(&result["muon_lr"]));
    assert!(trials.iter().any(|trial| trial["lr"] == result["muon_lr"]), "{result}");
    for lr in [0.04, 0.001] {
        let trial = resolved(&format!("lr-search/{lr}"));
        assert_eq!((trial.train.peak_lr(), trial.train.minutes), (lr, Some(0.03 * 0.1)));
        assert!((trial.train.lr - lr * 0.15).abs() < 1e-9, "{}", trial.train.lr);
        assert_eq!((&trial.model, &trial.palette, &trial.data), (&whole.model, &whole.palette, &whole.data));
        assert_eq!(trial.train.batch, whole.train.batch);
    }
}

#[test]
fn a_run_goes_on_from_the_weights_of_a_model_with_its_palette_or_another() {
    let dir = noise();
    pretrain(dir.path(), &format!("--data emoji {NETWORK} --steps 30 --batch 8 --out first"));
    let go_on = "--model first --data emoji --steps 1 --batch 8 --lr 1e-12 --muon-lr 1e-12";
    let (same, _) = pretrain(dir.path(), &format!("{go_on} --out same"));
    let (first, _) =
        (json(&igpt(dir.path(), "eval --model first --data emoji --split validation --precision f32 --json")), ());
    let after = json(&igpt(dir.path(), "eval --model same --data emoji --split validation --precision f32 --json"));
    assert!((number(&first["nats_per_token"]) - number(&after["nats_per_token"])).abs() < 1e-4, "{first} {after}");
    assert_eq!(same["n_vocab"], 5);
    // Colours that the model has not known begin as those that it has.
    let (finer, _) = pretrain(dir.path(), &format!("{go_on} --colors 9 --out finer"));
    assert_eq!(finer["n_vocab"], 9);
    assert!(number(&finer["validation_loss"]) < 9f64.ln() + 0.5);
    let refused = igpt(dir.path(), &format!("pretrain {go_on} --set model.n_layer=3 --out refused {QUICK}"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("model.n_layer is 3, but the model to start from has 2"), "{said}");
}

#[test]
fn a_run_that_is_over_is_extended_by_a_budget_of_its_own_and_one_that_is_not_is_not() {
    let dir = noise();
    let run =
        format!("--data emoji {NETWORK} --steps 12 --batch 8 --set train.eval_every=4 --set train.warmup_steps=2");
    pretrain(dir.path(), &format!("{run} --out run"));
    let (more, said) = pretrain(dir.path(), "--resume --steps 8 --out run");
    assert_eq!(more["steps"], 20, "{said}");
    let metrics = std::fs::read_to_string(dir.path().join("run/metrics.jsonl")).unwrap();
    let rows = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rates: Vec<f64> = rows.filter(|row| row["split"] == "train").map(|row| number(&row["lr"])).collect();
    // Down to almost nothing, and up again in two steps.
    assert_eq!(rates.len(), 20);
    assert!(rates[11] < 0.2 * rates[1] && rates[12] < rates[13] && rates[13] == rates[1] && rates[19] < rates[14]);
    let config = std::fs::read_to_string(dir.path().join("run/config.resolved.toml")).unwrap();
    assert!(config.contains("[[train.phases]]\nsteps = 12\n") && config.contains("\nsteps = 8\n"), "{config}");
    let refused = igpt(dir.path(), &format!("pretrain --resume --steps 8 --set train.eval_images=9 --out run {QUICK}"));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("another train.eval_images"), "{told}");
    // By another unit, from there on.
    let (third, _) = pretrain(dir.path(), "--resume --epochs 0.01 --out run");
    assert!(third["steps"].as_u64().unwrap() > 20);

    std::fs::remove_file(dir.path().join("run/summary.json")).unwrap();
    let refused = igpt(dir.path(), &format!("pretrain --resume --steps 8 --out run {QUICK}"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("has not come to its end yet") && said.contains("--resume alone"), "{said}");
}

#[test]
fn an_extension_keeps_the_images_of_its_validations_and_waits_for_its_own_best() {
    let dir = noise();
    let run = format!("--data emoji {NETWORK} --steps 60 --batch 8");
    let (_, said) = pretrain(dir.path(), &format!("{run} --out run"));
    assert!(said.contains("validations on 64 images"), "{said}");
    // A high rate lifts the loss above that of the first part, which does not end the second.
    let (more, said) = pretrain(dir.path(), "--resume --steps 2000 --out run");
    assert_eq!((more["steps"].as_u64(), more["ended_early"].as_bool()), (Some(2060), Some(false)), "{said}");
    assert!(said.contains("validations on 64 images"), "{said}");
}

#[test]
fn a_budget_of_minutes_chooses_what_is_not_given_and_writes_it_down() {
    let dir = noise();
    let (result, said) = pretrain(dir.path(), "--data emoji --minutes 0.02 --out run");
    assert!(
        said.contains("sized for 0.02 minutes") && said.contains("16×16 images, 64 colours, 6 blocks of width 128"),
        "{said}"
    );
    assert_eq!(result["n_vocab"], 64);
    let config = std::fs::read_to_string(dir.path().join("run/config.resolved.toml")).unwrap();
    for line in ["n_px = 16", "colors = 64", "n_embd = 128", "augment = "] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let plan = String::from_utf8(igpt(dir.path(), "plan --data emoji --minutes 0.02 --seconds 0.5").stderr).unwrap();
    assert!(plan.contains("16×16 images, 64 colours"), "{plan}");
    // What is not training stands in the summary.
    let parts = &result["seconds_by_part"];
    let all: f64 =
        ["steps", "validation", "probe", "samples", "checkpoints"].iter().map(|part| number(&parts[part])).sum();
    assert!(number(&parts["steps"]) > 0.0 && all <= number(&result["seconds"]) + 0.01, "{result}");
}

#[test]
fn a_model_of_tiles_trains_on_them_is_validated_on_many_and_reads_the_middle_of_larger_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("large");
    std::fs::create_dir(&folder).unwrap();
    for i in 0..30usize {
        // Stripes that a smaller picture would not have.
        let data = (0..40 * 30).map(|k| if (k % 40 + i) % 2 == 0 { 40 } else { 200 }).collect();
        let image = Pixels::new(ImageSize { height: 30, width: 40 }, 1, data);
        png::save(folder.join(format!("{i:02}.png")), &image, &TextChunks::new("test")).unwrap();
    }
    let run = "--data large --augment tiles --n-px 8 --colors 2 --set model.n_embd=32 --set model.n_layer=2 \
               --set model.n_head=2 --steps 150 --batch 8 --set train.eval_images=60 --out run";
    let (result, said) = pretrain(dir.path(), run);
    assert!(said.contains("validations on 60 images"), "{said}");
    // Scaled down it would be one grey; as it is, all but the first pixels are certain.
    assert!(number(&result["validation_loss"]) < 0.2, "{result}");
    let processor = std::fs::read_to_string(dir.path().join("run/model/preprocessor_config.json")).unwrap();
    let processor: Value = serde_json::from_str(&processor).unwrap();
    assert_eq!((&processor["do_resize"], &processor["do_center_crop"]), (&false.into(), &true.into()));
    let evaluated = json(&igpt(dir.path(), "eval --model run --data large --split test --precision f32 --json"));
    assert!(number(&evaluated["nats_per_token"]) < 0.2, "{evaluated}");
    // So do models that go on from it, or begin with its palette.
    let go_on = "--data large --steps 2 --batch 8";
    let (_, said) = pretrain(dir.path(), &format!("--model run {go_on} --out further"));
    assert!(said.contains("augmentation tiles: the model reads tiles"), "{said}");
    let whole = "--data large --n-px 8 --colors 2 --set model.n_embd=32 --set model.n_layer=2 --set model.n_head=2";
    pretrain(dir.path(), &format!("{whole} --steps 1 --batch 8 --augment none --out whole"));
    pretrain(dir.path(), &format!("--model whole {go_on} --augment tiles --out tiles"));
    let processor = std::fs::read_to_string(dir.path().join("tiles/model/preprocessor_config.json")).unwrap();
    assert!(processor.contains("\"do_center_crop\": true"), "{processor}");
    let scaled = igpt(dir.path(), &format!("pretrain --model run {go_on} --augment crop --out scaled {QUICK}"));
    let said = String::from_utf8_lossy(&scaled.stderr).into_owned();
    assert!(!scaled.status.success() && said.contains("leave --augment out"), "{said}");
    let small =
        igpt(dir.path(), &format!("pretrain {} {QUICK}", run.replace("--n-px 8", "--n-px 32").replace("run", "none")));
    let said = String::from_utf8_lossy(&small.stderr).into_owned();
    assert!(!small.status.success() && said.contains("reads tiles of 32×32"), "{said}");
}
