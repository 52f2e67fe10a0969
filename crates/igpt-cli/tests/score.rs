//! `igpt score` through the binary, with the emoji model that comes with it.

mod program;

use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ModelCard, ModelDir, Objective, SaveType};
use igpt::stats::auroc;

use program::{igpt, json};

/// A folder of noise, nothing like emoji.
fn strangers(folder: &Path) {
    for i in 0..6u32 {
        let byte = |at: u32| ((at + 1000 * i).wrapping_mul(2_654_435_761) >> 13) as u8;
        let noise = Pixels::new(ImageSize::square(16), 3, (0..16 * 16 * 3).map(byte).collect());
        png::save(folder.join(format!("noise/n{i}.png")), &noise, &TextChunks::new("noise")).unwrap();
    }
}

#[test]
fn images_are_ranked_with_their_maps_and_strangers_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    strangers(folder.path());
    let found = json(&igpt(folder.path(), "score --data emoji --images 40 --top 5 --against noise --out odd --json"));
    assert_eq!((&found["images"], &found["against_images"]), (&40.into(), &6.into()));
    assert!(found["auroc"]["likelihood"].as_f64().unwrap() > 0.95, "{found}");
    let oddest = found["oddest"].as_array().unwrap();
    assert_eq!(oddest.len(), 5);
    let excess: Vec<f64> = oddest.iter().map(|image| image["excess"].as_f64().unwrap()).collect();
    assert!(excess.is_sorted_by(|a, b| a >= b), "{excess:?}");

    let table = std::fs::read_to_string(folder.path().join("odd/scores.csv")).unwrap();
    assert_eq!(table.lines().count(), 41);
    let first = table.lines().nth(1).unwrap();
    assert!(first.starts_with("1,") && first.contains(oddest[0]["name"].as_str().unwrap()), "{first}");
    let sheet = std::fs::File::open(folder.path().join("odd/odd.png")).unwrap();
    let sheet = ::png::Decoder::new(std::io::BufReader::new(sheet)).read_info().unwrap();
    // Eight columns of 16 pixels, 8 times enlarged; the second row has one pair.
    assert_eq!((sheet.info().width, sheet.info().height), (8 * 128 + 7 * 2, 2 * 128 + 2));
    assert_eq!(std::fs::read_dir(folder.path().join("odd/maps")).unwrap().count(), 5);
}

/// The column of excesses of a table, whose names have no commas.
fn excesses(table: &Path) -> Vec<f64> {
    let table = std::fs::read_to_string(table).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "rank,image,class,nats,reference,excess,trained_on");
    lines[1..].iter().map(|line| line.split(',').nth(5).unwrap().parse().unwrap()).collect()
}

#[test]
fn the_second_data_set_is_ranked_too_and_the_aurocs_are_those_of_both_tables() {
    let folder = tempfile::tempdir().unwrap();
    strangers(folder.path());
    let found = json(&igpt(folder.path(), "score --data emoji --images 20 --top 0 --against noise --out odd --json"));
    let table = std::fs::read_to_string(folder.path().join("odd/against.csv")).unwrap();
    let mut names: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    let ranks: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["n0.png", "n1.png", "n2.png", "n3.png", "n4.png", "n5.png"]);
    assert_eq!(ranks, ["1", "2", "3", "4", "5", "6"]);
    let [usual, odd] = ["scores", "against"].map(|name| excesses(&folder.path().join(format!("odd/{name}.csv"))));
    assert!(odd.is_sorted_by(|a, b| a >= b), "{odd:?}");
    let told = found["auroc"]["excess"].as_f64().unwrap();
    // The tables are rounded: to 0.001 nats.
    assert!((told - auroc(&usual, &odd).unwrap()).abs() < 0.01, "{found}");
}

#[test]
fn a_data_set_is_not_told_from_itself() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "score --images 12 --top 0 --against emoji --against-split test --reference png --out odd --json";
    let found = json(&igpt(folder.path(), arguments));
    for score in ["excess", "likelihood"] {
        assert_eq!(found["auroc"][score], 0.5, "{found}");
    }
    let [own, against] = ["scores", "against"].map(|name| folder.path().join(format!("odd/{name}.csv")));
    assert_eq!(std::fs::read(own).unwrap(), std::fs::read(against).unwrap());
}

#[test]
fn a_model_of_masked_pixels_is_refused_before_data_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = ModelDir::bundled().unwrap();
    model.config.objective = Objective::Masked;
    model.save(folder.path().join("masked"), &ModelCard::default(), SaveType::F32).unwrap();
    let output = igpt(folder.path(), "score --model masked --data nowhere --out odd");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("masked was trained on masked pixels"), "{message}");
    assert!(message.contains("no likelihood") && message.contains("--objective autoregressive"), "{message}");
    assert!(!folder.path().join("odd").exists());
}

#[test]
fn the_size_of_a_png_may_be_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let run = |reference: &str| {
        json(&igpt(folder.path(), &format!("score --images 12 --reference {reference} --out {reference} --json")))
    };
    let (context, png) = (run("context"), run("png"));
    assert_eq!((&context["reference"], &png["reference"]), (&"context".into(), &"png".into()));
    assert_eq!(context["nats_per_image"], png["nats_per_image"]);
    assert!(png["reference_nats_per_image"].as_f64() > context["reference_nats_per_image"].as_f64());
}

#[test]
fn a_model_or_data_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, named) in [("--model nowhere", "nowhere"), ("--against nothing", "nothing")] {
        let output = igpt(folder.path(), &format!("score --images 2 {arguments} --out odd"));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && message.contains(named), "{message}");
    }
}

/// A folder of `count` pictures of noise, told apart by `seed`.
fn pictures(folder: &Path, count: usize, seed: u32) {
    for i in 0..count as u32 {
        let byte = |at: u32| ((at + 1000 * i + 77_777 * seed).wrapping_mul(2_654_435_761) >> 13) as u8;
        let noise = Pixels::new(ImageSize::square(8), 3, (0..8 * 8 * 3).map(byte).collect());
        png::save(folder.join(format!("{i:02}.png")), &noise, &TextChunks::new("noise")).unwrap();
    }
}

/// Trains a small run on the folder `photos` of 20 pictures.
fn trained(folder: &Path) {
    pictures(&folder.join("photos"), 20, 0);
    let network = "--set model.n_embd=16 --set model.n_layer=1 --set model.n_head=1";
    let output =
        igpt(folder, &format!("pretrain --data photos --n-px 8 --steps 1 --batch 2 --colors 8 {network} --out run"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("photos: train 16, validation 2, test 2 images, drawn by seed; no classes"), "{said}");
}

#[test]
fn a_folder_of_new_pictures_is_scored_whole_and_those_that_were_trained_on_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    pictures(&folder.join("new"), 6, 1);
    for i in 0..20 {
        std::fs::copy(folder.join(format!("photos/{i:02}.png")), folder.join(format!("new/copy-{i:02}.png"))).unwrap();
    }
    std::fs::write(folder.join("new/bad.png"), "no picture").unwrap();
    let output = igpt(folder, "score --model run --data new --out odd --json");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = json(&output);
    assert_eq!((&found["images"], &found["split"], &found["trained_on"]), (&26.into(), &"all".into(), &16.into()));
    assert_eq!(found["damaged"], serde_json::json!(["bad.png"]));
    assert!(said.contains("16 of 26 images are among those that the run trained on"), "{said}");
    assert!(said.contains("(all: it has no parts of its own)"), "{said}");
    let table = std::fs::read_to_string(folder.join("odd/scores.csv")).unwrap();
    let seen = table.lines().filter(|line| line.ends_with(",yes")).collect::<Vec<_>>();
    assert!(seen.len() == 16 && seen.iter().all(|line| line.contains(",copy-")), "{table}");

    let one = json(&igpt(folder, "score --model run --data new/03.png --out one --json"));
    assert_eq!((&one["images"], &one["trained_on"]), (&1.into(), &0.into()));
    let output = igpt(folder, "score --model run --data new/bad.png --out none");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("no image of new/bad.png could be decoded"), "{said}");
}

#[test]
fn of_its_own_folder_a_run_is_evaluated_on_what_it_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    pictures(&folder.join("new"), 5, 1);
    std::fs::write(folder.join("new/bad.png"), "no picture").unwrap();
    for (data, images, split, seen) in [
        ("./photos", 2, "test", 0),
        ("photos --split all", 20, "all", 16),
        ("new", 5, "all", 0),
        ("new/00.png", 1, "all", 0),
    ] {
        let output = igpt(folder, &format!("eval --model run/model --data {data} --json"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let found = json(&output);
        assert_eq!(
            (&found["images"], &found["split"], &found["trained_on"]),
            (&images.into(), &split.into(), &seen.into())
        );
        // Of new pictures the baselines are fitted to what the run was trained on.
        assert!(found["baselines"]["context"].is_number(), "{found}");
        assert_eq!(said.contains("among those that the run trained on"), seen > 0, "{said}");
    }
    // The folder changed since, and with it what would be held out.
    pictures(&folder.join("photos"), 30, 0);
    let said = String::from_utf8_lossy(&igpt(folder, "eval --model run --data photos").stderr).into_owned();
    assert!(said.contains("has changed since the run trained on it (16 training images then, 24 now)"), "{said}");
}

#[test]
fn names_that_a_spreadsheet_would_calculate_are_defused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("new/=1+1"), 1, 0);
    pictures(&folder.join("new/-2"), 1, 1);
    json(&igpt(folder, "score --data new --out odd --json"));
    let table = std::fs::read_to_string(folder.join("odd/scores.csv")).unwrap();
    assert!(table.contains(",'=1+1/00.png,'=1+1,") && table.contains(",'-2/00.png,'-2,"), "{table}");
}
