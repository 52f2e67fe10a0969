//! Bad images and data files through the program: a clear line that names the file, exit code 1, and no run directory.

use std::path::Path;
use std::process::{Command, Output};

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};

fn igpt(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_igpt")).args(args).output().unwrap()
}

/// What `igpt pretrain` says of `data`, which it must refuse.
fn refusal(data: &str, data_dir: &Path) -> String {
    let out = data_dir.join("run");
    let dir = data_dir.display().to_string();
    let output = igpt(
        &["pretrain", "--data", data, "--data-dir", &dir, "--steps", "1", "--batch", "2", "--n-px", "8"]
            .iter()
            .copied()
            .chain(["--colors", "8", "--out", out.to_str().unwrap()])
            .collect::<Vec<_>>(),
    );
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(!words.contains("panicked"), "{words}");
    assert!(!out.join("model").exists());
    words
}

/// A noisy picture.
fn picture(path: &Path, seed: usize) {
    let data = (0..12 * 12 * 3).map(|i| ((i * 7919 + seed * 104_729) % 251) as u8).collect();
    png::save(path, &Pixels::new(ImageSize::square(12), 3, data), &TextChunks::new("noise")).unwrap();
}

#[test]
fn an_empty_folder_is_refused_with_the_formats_that_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let words = refusal(empty.to_str().unwrap(), folder.path());
    assert!(words.contains("no images in") && words.contains("PNG"), "{words}");
}

#[test]
fn one_image_is_enough_to_train_on() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("one");
    std::fs::create_dir(&images).unwrap();
    picture(&images.join("only.png"), 1);
    let out = folder.path().join("run");
    let flags = ["--steps", "1", "--batch", "2", "--n-px", "8", "--colors", "8"];
    let places = ["pretrain", "--data", images.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let output = igpt(&[&places[..], &flags[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn more_than_one_percent_damaged_images_stop_the_run_and_are_named() {
    let truncated_jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0];
    for (name, bytes) in [("text.png", &b"these are words"[..]), ("cut.jpg", &truncated_jpeg[..])] {
        let folder = tempfile::tempdir().unwrap();
        let train = folder.path().join("images/train");
        std::fs::create_dir_all(&train).unwrap();
        for i in 0..5 {
            picture(&train.join(format!("{i}.png")), i);
        }
        // In `train`, so that it is met whatever the cut of the other parts.
        for i in 0..5 {
            std::fs::write(train.join(format!("{i}-{name}")), bytes).unwrap();
        }
        let words = refusal(folder.path().join("images").to_str().unwrap(), folder.path());
        assert!(words.contains(name), "{words}");
        assert!(words.contains("damaged") || words.contains("can't be read"), "{words}");
    }
}

#[test]
fn truncated_and_foreign_data_set_files_are_refused_by_name() {
    let idx_of_60000 = [0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2, 3];
    let idx_names = ["train-images", "train-labels", "t10k-images", "t10k-labels"];
    for (bytes, says) in [(&b"garbage, no IDX"[..], "not an IDX file"), (&idx_of_60000[..], "-idx")] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("fashion-mnist");
        std::fs::create_dir(&data).unwrap();
        for name in idx_names {
            let dimensions = if name.ends_with("images") { 3 } else { 1 };
            std::fs::write(data.join(format!("{name}-idx{dimensions}-ubyte")), bytes).unwrap();
        }
        let words = refusal("fashion-mnist", folder.path());
        assert!(words.contains(says) && words.contains("fashion-mnist"), "{words}");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("cifar-10-batches-bin");
    std::fs::create_dir(&data).unwrap();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        std::fs::write(data.join(format!("{name}.bin")), [0; 100]).unwrap();
    }
    let words = refusal("cifar10", folder.path());
    assert!(words.contains("data_batch_1.bin") && words.contains("3073"), "{words}");
}

#[test]
fn a_check_counts_the_parts_and_says_what_it_took_folders_for() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    for (part, count) in [("Training/cat", 8), ("Training/dog", 8), ("testing/cat", 3), ("extra", 2)] {
        std::fs::create_dir_all(images.join(part)).unwrap();
        (0..count).for_each(|i| picture(&images.join(format!("{part}/{i}.png")), i + 10 * part.len()));
    }
    std::fs::write(images.join("labels.csv"), "a,b").unwrap();
    let output = igpt(&["data", "check", "--data", images.to_str().unwrap(), "--threads", "1"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = words.lines().collect();
    assert!(output.status.success() && lines[0].starts_with("19 images of "), "{words}");
    let part = |name: &str| lines.iter().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_default().trim();
    assert!(part("test").starts_with("3 images, ") && part("train").starts_with("14 images, "), "{words}");
    for said in [
        "2 classes: cat, dog",
        "left alone: 2 images beside the parts",
        "extra/ (2 images)",
        "passed over: 1 file (1 .csv)",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
}

#[test]
fn images_of_one_colour_get_advice_that_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let even = folder.path().join("even");
    std::fs::create_dir(&even).unwrap();
    for i in 0..4 {
        let data = [9, 80, 200].repeat(12 * 12);
        png::save(
            even.join(format!("{i}.png")),
            &Pixels::new(ImageSize::square(12), 3, data),
            &TextChunks::new("even"),
        )
        .unwrap();
    }
    let data = even.to_str().unwrap();
    let [pretrain, fit] = [&["pretrain", "--steps", "1", "--n-px", "8"][..], &["palette", "fit"]].map(|verb| {
        let out = folder.path().join("out.npy");
        igpt(&[verb, &["--data", data, "--out", out.to_str().unwrap()]].concat())
    });
    for output in [pretrain, fit] {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && words.contains("have the same colour"), "{words}");
        assert!(words.contains("--palette FILE") && !words.contains("at most 1"), "{words}");
    }
    // The advice: a palette of other colours.
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    picture(&other.join("a.png"), 3);
    let palette = folder.path().join("palette.npy");
    let palette = palette.to_str().unwrap();
    assert!(
        igpt(&["palette", "fit", "--data", other.to_str().unwrap(), "--colors", "8", "--out", palette])
            .status
            .success()
    );
    let run = folder.path().join("run");
    let flags = ["--steps", "1", "--batch", "2", "--n-px", "8", "--palette", palette, "--out", run.to_str().unwrap()];
    let output = igpt(&[&["pretrain", "--data", data][..], &flags].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_help_of_data_names_every_data_set() {
    for verb in [&["pretrain"][..], &["finetune"], &["eval"], &["data", "check"], &["palette", "fit"]] {
        let help = String::from_utf8(igpt(&[verb, &["--help"]].concat()).stdout).unwrap();
        for name in igpt::data::NAMES {
            assert!(help.contains(name), "{name} is not in the help of {verb:?}");
        }
    }
}
