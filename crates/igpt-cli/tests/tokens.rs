//! `igpt data` through the binary: token directories that are made, killed, damaged and trained on, and data sets
//! looked through.

mod program;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::palette::Palette;
use program::{igpt, json};

const NETWORK: &str = "--set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2 --batch 8 --steps 3 \
                       --precision f32 --set train.sample_images=0 --set train.eval_images=20";

/// A palette of 8 colours in `folder`, so that none has to be fitted.
fn palette(folder: &Path) {
    let colors = (0..8).map(|i| [i >> 2, i >> 1 & 1, i & 1].map(|bit| if bit == 1 { 0.8 } else { -0.9 }));
    Palette::new(colors.collect(), 3).unwrap().to_json(folder.join("palette.json"), None).unwrap();
}

/// The files of a directory.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn shards(root: &Path) -> usize {
    fs::read_dir(root).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "tokens")).count()
    })
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn training_on_tokens_is_training_on_the_images_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    palette(folder.path());
    json(&igpt(folder.path(), "data tokenize --data emoji --n-px 8 --palette palette.json --out tokens --json"));
    for augment in ["none", "crop-flip"] {
        let images = "--data emoji --n-px 8 --palette palette.json";
        let flags = format!("{NETWORK} --augment {augment} --json");
        let a = json(&igpt(folder.path(), &format!("pretrain {images} {flags} --out images-{augment}")));
        let b = json(&igpt(folder.path(), &format!("pretrain --data tokens {flags} --out tokens-{augment}")));
        for key in ["train_loss", "validation_loss", "n_vocab"] {
            assert_eq!(a[key], b[key], "{key}");
        }
        let weights = |run: &str| fs::read(folder.path().join(run).join("model/model.safetensors")).unwrap();
        assert!(weights(&format!("images-{augment}")) == weights(&format!("tokens-{augment}")), "{augment}");
    }
    // A page tells how far the palette is from the pixels, which tokens don't know.
    for (run, told) in [("images-none", true), ("tokens-none", false)] {
        let out = format!("report {run} --images 4 --out {run}.html");
        assert!(igpt(folder.path(), &out).status.success());
        let page = fs::read_to_string(folder.path().join(format!("{run}.html"))).unwrap();
        assert_eq!(page.contains("PSNR"), told, "{run}");
        assert!(!page.contains("inf dB"), "{run}");
    }
    // It goes on where it was, and everything that opens images opens tokens.
    let on = json(&igpt(folder.path(), "pretrain --resume --out tokens-none --json"));
    assert_eq!(on["steps"], 3);
    for data in ["emoji", "tokens"] {
        let model = "--model tokens-none";
        json(&igpt(folder.path(), &format!("eval {model} --data {data} --json --images 40")));
        let embed = format!("embed {model} --data {data} --split test --layers 1 --out {data}.csv");
        assert!(igpt(folder.path(), &embed).status.success());
    }
    let table = |data: &str| fs::read_to_string(folder.path().join(data).with_extension("csv")).unwrap();
    assert!(table("tokens") == table("emoji"), "names, labels and features");
    let short = "finetune --from-scratch --preset nano --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2 \
                 --steps 2 --batch 8 --precision f32 --set train.eval_images=20 --json";
    let images = "--data emoji --n-px 8 --palette palette.json";
    let a = json(&igpt(folder.path(), &format!("{short} {images} --out classes-images")));
    let b = json(&igpt(folder.path(), &format!("{short} --data tokens --out classes-tokens")));
    assert_eq!((&a["test_accuracy"], &a["validation_loss"]), (&b["test_accuracy"], &b["validation_loss"]));
}

#[test]
fn what_contradicts_the_tokens_is_refused_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    palette(folder.path());
    let tokenize = "data tokenize --data emoji --n-px 8 --out tokens";
    let made = json(&igpt(folder.path(), &format!("{tokenize} --palette palette.json --json")));
    let hash = made["palette_hash"].as_str().unwrap();
    let refused = |arguments: &str| {
        let output = igpt(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {}", words(&output));
        words(&output)
    };
    let pretrain = format!("pretrain --data tokens {NETWORK} --out run");
    let problem = refused(&format!("{pretrain} --colors 12"));
    assert!(problem.contains("8 colours") && problem.contains("12"), "{problem}");
    let problem = refused(&format!("{pretrain} --n-px 12"));
    assert!(problem.contains("8×8") && problem.contains("12×12"), "{problem}");
    assert!(refused(&format!("{pretrain} --augment imagenet")).contains("--views"));
    // The model that comes with the program is one of 16×16.
    let problem = refused("score --data tokens --out odd");
    assert!(problem.contains("8×8") && problem.contains("16×16"), "{problem}");
    let grey = Palette::new(vec![[-1.0; 3], [1.0; 3]], 1).unwrap();
    grey.to_json(folder.path().join("grey.json"), None).unwrap();
    for problem in
        [refused(&format!("{pretrain} --palette grey.json")), refused(&format!("{tokenize} --palette grey.json"))]
    {
        assert!(problem.contains(hash) && problem.contains(&grey.hash()), "{problem}");
    }
    let problem = refused(&format!("{tokenize} --palette palette.json --seed 5"));
    assert!(problem.contains("seed is 0, not 5"), "{problem}");
    assert!(refused(&format!("{tokenize} --colors 12")).contains("12"));
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(refused("data tokenize --data emoji --out file").contains("is a file"));
    assert!(refused("data tokenize --data tokens --out again").contains("tokens already"));
}

#[test]
fn a_killed_tokenization_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    palette(folder.path());
    let tokenize = "data tokenize --data emoji --n-px 8 --palette palette.json --shard-images 60 --augment imagenet \
                    --views 2 --json --out";
    let whole = json(&igpt(folder.path(), &format!("{tokenize} whole --threads 1")));
    let killed = folder.path().join("killed");
    for (kill, after) in [1, 9, 23, 40].into_iter().enumerate() {
        let mut child = Command::new(env!("CARGO_BIN_EXE_igpt"))
            .current_dir(folder.path())
            .args(format!("{tokenize} killed --threads {}", 1 + kill).split_whitespace())
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while shards(&killed) < after && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(shards(&killed) < whole["shards"].as_u64().unwrap() as usize, "killed too late");
    }
    let refused = igpt(folder.path(), &format!("pretrain --data killed {NETWORK} --out run"));
    assert!(words(&refused).contains("not finished"), "{}", words(&refused));
    let rest = json(&igpt(folder.path(), &format!("{tokenize} killed")));
    assert!(rest["kept"].as_u64().unwrap() >= 40, "{rest}");
    let left: BTreeMap<_, _> = contents(&killed).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
    assert!(left == contents(&folder.path().join("whole")));
}

#[test]
fn a_damaged_shard_is_named_by_check_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    palette(folder.path());
    let tokenize = "data tokenize --data emoji --n-px 8 --palette palette.json --shard-images 1000 --json --out tokens";
    json(&igpt(folder.path(), tokenize));
    let whole = contents(&folder.path().join("tokens"));
    let check = |flags: &str| igpt(folder.path(), &format!("data check --data tokens --json --images 50 {flags}"));
    assert_eq!(json(&check(""))["files"], serde_json::json!([]));
    let shard = folder.path().join("tokens/train-00001.tokens");
    let good = fs::read(&shard).unwrap();
    let mut flipped = good.clone();
    flipped[40_000] ^= 16;
    for (bytes, opens) in [(&flipped[..], true), (&good[..1000], false)] {
        fs::write(&shard, bytes).unwrap();
        let output = check("");
        let found = json(&output);
        assert_eq!(found["files"][0]["file"], "train-00001.tokens");
        assert_eq!((found["clean"] == false, found["found"].is_object()), (true, opens), "{found}");
        assert!(words(&output).contains("train-00001.tokens"));
        assert_eq!(check("--strict").status.code(), Some(1));
        let mended = json(&igpt(folder.path(), tokenize));
        assert_eq!((&mended["made"], &mended["mended"][0]["file"]), (&1.into(), &"train-00001.tokens".into()));
        assert!(contents(&folder.path().join("tokens")) == whole);
    }
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_whole_shards_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    palette(folder.path());
    let tokenize = "data tokenize --data emoji --n-px 8 --palette palette.json --shard-images 1000 --json --out tokens";
    // The largest file allowed is 8 KiB or 16 KiB by the shell's unit; a shard has 70.
    let limited = format!("trap '' XFSZ; ulimit -f 16; exec {} {tokenize}", env!("CARGO_BIN_EXE_igpt"));
    let output = Command::new("sh").current_dir(folder.path()).args(["-c", &limited]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let problem = words(&output);
    assert!(problem.contains("train-00000.tokens") && problem.contains("same command again"), "{problem}");
    assert!(!problem.contains("panicked"), "{problem}");
    assert!(contents(&folder.path().join("tokens")).keys().all(|name| !name.contains("train")));
    assert_eq!(json(&igpt(folder.path(), tokenize))["made"], 6);
}

#[test]
fn a_folder_is_looked_through_and_shown_on_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let picture = |path: &str, seed: usize| {
        let data = (0..24 * 24 * 3).map(|i| ((i / 97 * 7919 + seed * 104_729) % 251) as u8).collect();
        png::save(folder.path().join(path), &Pixels::new(ImageSize::square(24), 3, data), &TextChunks::new("noise"))
            .unwrap();
    };
    for i in 0..6 {
        picture(&format!("set/train/cat/{i}.png"), i);
        picture(&format!("set/validation/cat/{i}.png"), 100 + i);
        picture(&format!("set/test/dog/{i}.png"), 200 + i);
    }
    picture("set/train/dog/leaks.png", 203);
    fs::write(folder.path().join("set/train/dog/broken.png"), "no picture").unwrap();
    let output = igpt(folder.path(), "data check --data set --out pages/found.html --json");
    let report = json(&output);
    let found = &report["found"];
    assert_eq!(
        (&found["damaged"], &found["exact"]["images"], &found["exact"]["train_in_test"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(found["exact"]["pairs"][0]["images"][0]["name"], "train/dog/leaks.png");
    assert_eq!((&found["splits"][0]["classes"], &report["clean"]), (&serde_json::json!([6, 2]), &false.into()));
    let page = fs::read_to_string(folder.path().join("pages/found.html")).unwrap();
    for part in ["train/dog/leaks.png", "test/dog/3.png", "train/dog/broken.png", "24×24", "data:image/png;base64"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("src='http") && !page.contains("<script"));
    assert!(words(&output).contains("train in test 1"), "{}", words(&output));
    assert_eq!(igpt(folder.path(), "data check --data set --strict").status.code(), Some(1));
    // As many damaged images as that are too many to train on.
    let output = igpt(folder.path(), "data tokenize --data set --n-px 8 --colors 4 --out tokens");
    assert!(words(&output).contains("broken.png"), "{}", words(&output));
}
