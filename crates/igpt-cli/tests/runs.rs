//! What a run is of, through the binary: its images and classes when it is resumed, its settings, its checkpoints as models,
//! and that it is trained by one process where no others can be joined.

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use program::{igpt, json};
use serde_json::json;

const NETWORK: &str = "--n-px 8 --colors 6 --batch 8 --set model.n_embd=16 --set model.n_layer=2 --set model.n_head=2 \
                       --set train.eval_images=8 --precision f32 --threads 1";

fn picture(path: &Path, seed: usize, side: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let data = (0..side * side).map(|k| ((k * (seed + 3) * 7 + seed * 31) % 251) as u8).collect();
    png::save(path, &Pixels::new(ImageSize::square(side), 1, data), &TextChunks::new("test")).unwrap();
}

/// Pictures of cats and dogs in all three parts.
fn pictures(root: &Path) {
    for (part, count) in [("train", 16), ("validation", 4), ("test", 4)] {
        for (k, class) in ["cat", "dog"].iter().enumerate() {
            (0..count).for_each(|i| picture(&root.join(format!("{part}/{class}/{i:02}.png")), 100 * k + i + count, 8));
        }
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(folder: &Path, arguments: &str) -> String {
    let output = igpt(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments}: {}", words(&output));
    assert!(!words(&output).contains("panicked"), "{}", words(&output));
    words(&output)
}

fn succeeds(folder: &Path, arguments: &str) -> String {
    let output = igpt(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", words(&output));
    words(&output)
}

/// A run as it is after a kill: with the checkpoints of some steps and no model.
fn killed(folder: &Path, run: &str) {
    fs::remove_dir_all(folder.join(run).join("model")).unwrap();
    fs::remove_file(folder.join(run).join("summary.json")).unwrap();
    let last = folder.join(run).join("checkpoints/step-00000004");
    fs::remove_dir_all(last).unwrap();
}

const OFTEN: &str = "--steps 4 --set train.checkpoint_every=2 --set train.keep_last=9";

#[test]
fn a_resumed_classifier_refuses_other_classes_and_keeps_the_names_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("data"));
    succeeds(folder, &format!("finetune --from-scratch --data data {NETWORK} {OFTEN} --out run"));
    killed(folder, "run");
    let rename = |from: &str, to: &str| {
        for part in ["train", "validation", "test"] {
            fs::rename(folder.join("data").join(part).join(from), folder.join("data").join(part).join(to)).unwrap();
        }
    };
    rename("cat", "zebra");
    for more in ["", "--accept-other-data"] {
        let said = refused(folder, &format!("finetune --resume {more} --out run"));
        assert!(said.contains("class `cat` is missing and `zebra` is new"), "{said}");
    }
    rename("zebra", "cat");
    let done = json(&igpt(folder, "finetune --resume --out run --json"));
    assert_eq!(done["classes"], json!(["cat", "dog"]));
}

#[test]
fn other_images_of_the_same_number_are_refused_unless_they_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("data");
    pictures(&data);
    for (verb, how) in [("pretrain", ""), ("finetune", "--from-scratch")] {
        succeeds(folder, &format!("{verb} {how} --data data {NETWORK} {OFTEN} --out {verb}"));
        killed(folder, verb);
        let resume = format!("{verb} --resume --out {verb}");
        let moves = [
            ("train/cat/00.png", "train/cat/77.png"),
            ("train/cat/00.png", "train/dog/77.png"),
            ("train/cat/00.png", "test/cat/77.png"),
            ("validation/cat/00.png", "train/cat/77.png"),
        ];
        for (from, to) in moves {
            fs::rename(data.join(from), data.join(to)).unwrap();
            let said = refused(folder, &resume);
            assert!(said.contains("other images") && said.contains("--accept-other-data"), "{from} to {to}: {said}");
            fs::rename(data.join(to), data.join(from)).unwrap();
        }
        // Replaced by a larger one of the same name.
        let one = data.join("train/dog/03.png");
        let before = fs::read(&one).unwrap();
        picture(&one, 5, 20);
        assert!(refused(folder, &resume).contains("training images"), "{verb}");
        let said = succeeds(folder, &format!("{resume} --accept-other-data"));
        assert!(said.contains("goes on with other images"), "{said}");
        fs::write(&one, before).unwrap();
    }
}

#[test]
fn another_folder_of_the_same_names_is_refused_and_taken_where_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    ["data", "moved"].iter().for_each(|data| pictures(&folder.join(data)));
    succeeds(folder, &format!("pretrain --data data {NETWORK} {OFTEN} --out run"));
    killed(folder, "run");
    assert!(refused(folder, "pretrain --resume --data moved --out run").contains("data.spec"));
    succeeds(folder, "pretrain --resume --data moved --accept-other-data --out run");
    let config = fs::read_to_string(folder.join("run/config.resolved.toml")).unwrap();
    assert!(config.contains("spec = \"moved\""), "{config}");
    // The run is now of that folder.
    succeeds(folder, "pretrain --resume --out run");
    let without = igpt(folder, "pretrain --data data --steps 1 --accept-other-data --out other");
    assert_eq!(without.status.code(), Some(2), "{}", words(&without));
}

#[test]
fn another_token_directory_of_the_same_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("data"));
    succeeds(folder, "data tokenize --data data --n-px 8 --colors 6 --out tokens");
    let network = NETWORK.replace("--n-px 8 --colors 6", "");
    succeeds(folder, &format!("pretrain --data tokens {network} {OFTEN} --out run"));
    killed(folder, "run");
    // Same names, labels and lengths; one picture is another one.
    let (palette, one) = (folder.join("tokens/preprocessor_config.json"), folder.join("data/train/cat/01.png"));
    fs::copy(palette, folder.join("palette.json")).unwrap();
    picture(&one, 999, 8);
    fs::rename(folder.join("tokens"), folder.join("old")).unwrap();
    succeeds(folder, "data tokenize --data data --n-px 8 --palette palette.json --out tokens");
    let said = refused(folder, "pretrain --resume --out run");
    assert!(said.contains("tokens") && said.contains("--accept-other-data"), "{said}");
    fs::remove_dir_all(folder.join("tokens")).unwrap();
    fs::rename(folder.join("old"), folder.join("tokens")).unwrap();
    succeeds(folder, "pretrain --resume --out run");
}

#[test]
fn settings_that_a_model_or_a_run_decides_are_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("data"));
    succeeds(folder, &format!("pretrain --data data {NETWORK} --steps 2 --out pre"));
    let finetune =
        "finetune --model pre --data data --steps 2 --batch 8 --precision f32 --threads 1 --set train.eval_images=8";
    for (more, part) in [
        ("--set model.n_px=16", "model.n_px is 16×16, but the model to start from has 8×8"),
        ("--set model.n_embd=32", "model.n_embd is 32"),
        ("--set model.n_layer=3", "model.n_layer is 3"),
        ("--set model.n_head=4", "model.n_head is 4"),
        ("--set model.preset=nano", "model.n_embd is 128"),
        ("--set palette.colors=12", "palette.colors is 12, but the model to start from has 6"),
        ("--set train.objective=masked", "train.objective is masked"),
        ("--set train.mask_prob=0.3", "masks nothing"),
        ("--set train.init=grid", "train.init is given"),
        ("--balanced --labels-per-class 4", "makes all classes equal already"),
        ("--set train.probe_images=20", "only pretraining probes"),
    ] {
        let said = refused(folder, &format!("{finetune} {more} --out run"));
        assert!(said.contains(part), "{more}: {said}");
        assert!(!folder.join("run/config.resolved.toml").exists(), "{more}");
    }
    // What agrees is no contradiction, and an earlier run's config repeats it.
    succeeds(folder, &format!("{finetune} --set model.n_px=8 --set palette.colors=6 --out run"));
    succeeds(folder, "finetune --config run/config.resolved.toml --out again");
    succeeds(folder, "pretrain --config pre/config.resolved.toml --out third");
    succeeds(folder, &format!("{finetune} --config pre/config.resolved.toml --out fourth"));
    let said = refused(folder, "pretrain --resume --colors 12 --out pre");
    assert!(said.contains("palette.colors is 12, but the run to resume has 6"), "{said}");
    let said = refused(folder, &format!("pretrain --data data {NETWORK} --steps 2 --set train.mask_prob=0.3 --out x"));
    assert!(said.contains("train.mask_prob is given, but train.objective is autoregressive"), "{said}");
}

#[test]
fn a_run_without_a_model_is_opened_by_its_newest_whole_checkpoint_which_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("data"));
    let budget = OFTEN.replace("--steps 4", "--steps 4 --set train.ema=0.5");
    succeeds(folder, &format!("pretrain --data data {NETWORK} {budget} --out pre"));
    succeeds(folder, &format!("finetune --from-scratch --data data {NETWORK} {OFTEN} --out classes"));
    let finished = json(&igpt(folder, "eval --model pre --data data --json"));
    // The last checkpoint has the weights of the finished model.
    for run in ["pre", "classes"] {
        fs::rename(folder.join(run).join("model"), folder.join(format!("model-of-{run}"))).unwrap();
        fs::remove_file(folder.join(run).join("summary.json")).unwrap();
    }
    let output = igpt(folder, "eval --model pre --data data --json");
    assert!(words(&output).contains("using the checkpoint of step 4: the run has ended"), "{}", words(&output));
    assert_eq!(json(&output)["nats_per_token"], finished["nats_per_token"]);
    let image = "data/test/cat/00.png";
    let found = json(&igpt(folder, &format!("classify --model classes {image} --json")));
    assert!(["cat", "dog"].contains(&found["images"][0]["class"].as_str().unwrap()), "{found}");
    for verb in [
        "sample --model pre -n 1 --out s.png",
        "complete --model pre --data data --out c.png",
        "score --model pre --data data --out scores",
        "embed --model pre --data data --layers 1 --out e.csv",
        "probe --model pre --data data --layers 1 --out probe",
        "report pre --images 4 --out page.html",
    ] {
        assert!(succeeds(folder, verb).contains("using the checkpoint of step 4"), "{verb}");
    }
    // A damaged one is passed over, and nothing in the run is touched.
    let state = folder.join("pre/checkpoints/step-00000004/state.safetensors");
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    assert!(succeeds(folder, "eval --model pre --data data").contains("using the checkpoint of step 2"));
    assert!(state.exists());
    // A model from before the run went on is not its newest.
    fs::rename(folder.join("model-of-classes"), folder.join("classes/model")).unwrap();
    fs::remove_dir_all(folder.join("pre/checkpoints")).unwrap();
    assert!(refused(folder, "eval --model pre --data data").contains("no model and no checkpoint yet"));
}

#[test]
fn every_size_is_refused_by_name_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("data"));
    for verb in ["plan --seconds 0.1", "pretrain --out run"] {
        for (more, part) in [
            ("--batch 4294967296", "train.batch is 4294967296"),
            ("--batch 9223372036854775807", "train.batch"),
            ("--batch 18446744073709551615", "--batch"),
            ("--steps 18446744073709551615", "--steps"),
            ("--set model.n_embd=1048576", "model.n_embd is 1048576"),
            ("--set model.n_layer=9223372036854775807", "model.n_layer"),
            ("--colors 9223372036854775807", "2 to 65536 colours"),
            ("--set train.sample_images=4294967296", "train.sample_images"),
            ("--set train.gradient_groups=4611686018427387904 --set train.batch=0", "train.gradient_groups"),
            ("--threads 9223372036854775807", "train.threads"),
            ("--lr nan", "train.lr"),
            ("--lr 1e300", "train.lr"),
        ] {
            let usual = [("--steps", "2"), ("--threads", "1")].into_iter().filter(|(flag, _)| !more.contains(flag));
            let usual: String = usual.map(|(flag, value)| format!("{flag} {value} ")).collect();
            let said = refused(folder, &format!("{verb} --data data --n-px 8 {usual} {more}"));
            assert!(said.contains(part), "{verb} {more}: {said}");
        }
    }
    // As long as it likes, and planned at once.
    let network = NETWORK.replace("--batch 8", "--batch 4096");
    let found = json(&igpt(folder, &format!("plan --data data {network} --steps 1000000000000 --seconds 0.1 --json")));
    assert!(found["seconds"].as_f64().unwrap() > 1e6 && found["batch"] == 4096, "{found}");
}

#[test]
fn a_process_of_several_is_refused_where_there_is_no_mpi_and_goes_on_where_it_is_meant_to_be_alone() {
    let folder = tempfile::tempdir().unwrap();
    let listed = |set: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
        command.current_dir(folder.path()).args(["checkpoints", "."]).envs(set.iter().copied());
        words(&command.output().unwrap())
    };
    for (name, value) in [("PMIX_RANK", "1"), ("PMIX_RANK", "0"), ("SLURM_NTASKS", "2"), ("OMPI_COMM_WORLD_SIZE", "4")]
    {
        let said = listed(&[(name, value)]);
        assert!(said.contains(name) && said.contains("IGPT_RANKS=1") && said.contains("start igpt-mpi"), "{said}");
        assert!(listed(&[(name, value), ("IGPT_RANKS", "1")]).contains("no checkpoints in"));
    }
}
