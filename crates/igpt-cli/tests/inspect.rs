//! `igpt inspect` through the binary: fit on good pictures, judge others.

mod program;

use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ModelCard, ModelDir, Objective, SaveType};
use serde_json::Value;

use program::{igpt, json};

/// Saves `count` good pictures, stripes with a little noise; `seed` tells them from others.
fn good(folder: &Path, count: usize, seed: u32) {
    (0..count as u32).for_each(|i| save(folder, i, 1000 * seed + i, 6));
}

/// Pictures of loud noise.
fn odd(folder: &Path, count: usize) {
    (0..count as u32).for_each(|i| save(folder, i, 70_000 + i, 255));
}

fn save(folder: &Path, i: u32, seed: u32, noise: u32) {
    let size = ImageSize { height: 12, width: 15 };
    let value = |at: usize| {
        let random = (at as u32 + 5000 * seed).wrapping_mul(2_654_435_761) >> 16;
        (40 * (at / 3 % size.width % 4) as u32 + random % noise) as u8
    };
    let pixels = Pixels::new(size, 3, (0..3 * size.pixels()).map(value).collect());
    png::save(folder.join(format!("{i:03}.png")), &pixels, &TextChunks::new("part")).unwrap();
}

/// A run trained for a moment on the folder `good` of 200 pictures, of which 20 and 20 are held out.
fn trained(folder: &Path) {
    good(&folder.join("good"), 200, 1);
    let network = "--set model.n_embd=16 --set model.n_layer=1 --set model.n_head=1";
    let output = igpt(
        folder,
        &format!("pretrain --data good --n-px 8 --steps 20 --batch 16 --colors 8 --threads 1 {network} --out run"),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// File and score of each image of an answer.
fn scores(found: &Value) -> Vec<(String, f64)> {
    let images = found["images"].as_array().unwrap().iter();
    images.map(|image| (image["file"].as_str().unwrap().to_owned(), image["score"].as_f64().unwrap())).collect()
}

#[test]
fn good_pictures_are_fitted_and_others_judged_in_three_commands() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    odd(&folder.join("odd"), 8);
    let output = igpt(folder, "inspect fit --model run --data good --odd odd --score window --json");
    let fit = json(&output);
    assert_eq!((&fit["reference"], &fit["held_out"], &fit["odd_images"]), (&160.into(), &40.into(), &8.into()));
    assert!(said(&output).contains("validation and test parts") && said(&output).contains("160 good pictures"));
    let table = fit["auroc"].as_array().unwrap();
    assert_eq!(table.iter().map(|row| row["score"].as_str().unwrap()).collect::<Vec<_>>().len(), 7);
    let likelihood = &table[0];
    assert!(likelihood["score"] == "likelihood" && likelihood["auroc"].as_f64().unwrap() > 0.9, "{fit}");
    assert!(likelihood["interval95"][0].as_f64() < likelihood["auroc"].as_f64(), "{fit}");

    good(&folder.join("new"), 6, 2);
    odd(&folder.join("new/sub"), 3);
    std::fs::write(folder.join("new/bad.png"), "no picture").unwrap();
    good(&folder.join("more"), 50, 3);
    let run = "inspect run --model run new --check more --false-alarms 0.1 --out judged --json";
    let output = igpt(folder, run);
    let found = json(&output);
    assert!(said(&output).contains("skipped new/bad.png"), "{}", said(&output));
    let images = found["images"].as_array().unwrap();
    assert_eq!((images.len(), &found["false_alarms"], &found["held_out"]), (9, &0.1.into(), &40.into()));
    let threshold = found["threshold"].as_f64().unwrap();
    for image in images {
        let (score, file) = (image["score"].as_f64().unwrap(), image["file"].as_str().unwrap());
        assert_eq!(image["odd"], score > threshold);
        assert!((0.0..=100.0).contains(&image["percentile"].as_f64().unwrap()), "{image}");
        assert!(!file.contains("sub") || image["odd"] == true, "{image}");
        let map = std::fs::File::open(folder.join(image["map"].as_str().unwrap())).unwrap();
        let map = ::png::Decoder::new(std::io::BufReader::new(map)).read_info().unwrap();
        assert_eq!((map.info().height, map.info().width), (12, 15));
    }
    assert_eq!(found["odd"], images.iter().filter(|image| image["odd"] == true).count());
    let check = &found["check"];
    assert_eq!((&check["images"], &check["data"]), (&50.into(), &"more".into()));
    let rate = check["rate"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|i| check["interval95"][i].as_f64().unwrap());
    assert!(low <= rate && rate <= high && low < 0.1, "{check}");
    assert!(said(&output).contains("10 % were asked for"), "{}", said(&output));

    let table = std::fs::read_to_string(folder.join("judged/scores.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines[0], lines.len()), ("rank,file,score,percentile,p_value,odd", 10));
    assert!(lines[1..4].iter().all(|line| line.contains("new/sub/") && line.ends_with(",yes")), "{table}");
    // Others rank by the same score.
    let output = igpt(folder, "score --model run --data new --against odd --out s --json");
    let scored = json(&output);
    assert!(said(&output).contains("by the score window of the model's fit"), "{}", said(&output));
    let oddest = scored["oddest"].as_array().unwrap().iter();
    let oddest: Vec<(String, f64)> = oddest
        .map(|image| (format!("new/{}", image["name"].as_str().unwrap()), image["score"].as_f64().unwrap()))
        .collect();
    let mut expected = scores(&found);
    expected.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!((oddest, &scored["ranked_by"]), (expected, &"window".into()));
    assert!(scored["auroc"]["score"].as_f64().unwrap() > 0.6, "{scored}");
    let table = std::fs::read_to_string(folder.join("s/scores.csv")).unwrap();
    assert!(table.starts_with("rank,image,class,nats,reference,excess,trained_on,score\n1,sub/"), "{table}");
    assert!(igpt(folder, "report run --out report.html").status.success());
    let report = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(report.contains("those with the highest window score"), "{report}");
    let png = json(&igpt(folder, "score --model run --data new --reference png --out s --json"));
    assert_eq!((&png["ranked_by"], &png["oddest"][0]["score"]), (&"excess".into(), &Value::Null));

    let page = std::fs::read_to_string(folder.join("judged/index.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert_eq!(page.matches("<img ").count(), 18);
    let first = page.find("new/sub/").unwrap();
    assert!(first < page.find("new/000.png").unwrap() && page.contains("bad.png"));
    for word in ["http:", "https:", "<script", "url("] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn a_picture_has_one_score_and_one_excess_whatever_it_is_judged_with() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    good(&folder.join("new"), 5, 2);
    odd(&folder.join("odd"), 4);
    // Without a fit the size of a PNG is the reference, and that is said.
    let output = igpt(folder, "score --model run --data new --out a --json");
    assert!(said(&output).contains("igpt inspect fit") && json(&output)["reference"] == "png", "{}", said(&output));
    json(&igpt(folder, "inspect fit --model run --data good --score excess --json"));
    let all = json(&igpt(folder, "inspect run --model run new odd --out a --json"));
    let back = json(&igpt(folder, "inspect run --model run/model odd new --out b --json"));
    let alone = json(&igpt(folder, "inspect run --model run odd/002.png --out c --json"));
    let mut sorted = [scores(&all), scores(&back)];
    sorted.iter_mut().for_each(|scores| scores.sort_by(|a, b| a.0.cmp(&b.0)));
    assert_eq!(sorted[0], sorted[1]);
    let one = sorted[0].iter().find(|(file, _)| file == "odd/002.png").unwrap();
    assert_eq!(scores(&alone), std::slice::from_ref(one));
    // The excess of igpt score is the same number, alone and among others.
    let excess = |data: &str| {
        let found = json(&igpt(folder, &format!("score --model run --data {data} --out s --json")));
        assert_eq!(found["reference"], "context");
        let oddest = found["oddest"].as_array().unwrap().iter();
        oddest.map(|image| (image["name"].to_string(), image["excess"].as_f64().unwrap())).collect::<Vec<_>>()
    };
    let among = excess("odd").into_iter().find(|(name, _)| name.contains("002.png")).unwrap();
    assert_eq!((excess("odd/002.png"), among.1), (vec![among.clone()], one.1));
}

#[test]
fn what_stands_in_the_way_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    let refused = |arguments: &str, named: &[&str]| {
        let output = igpt(folder, arguments);
        let words = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {words}");
        assert!(named.iter().all(|named| words.contains(named)), "{arguments}: {words}");
    };
    let judge = "inspect run --model run good --out judged";
    refused(judge, &["run has no fit", "igpt inspect fit --model run", "first"]);
    refused("inspect fit --model run --data good --score auto", &["--odd"]);
    refused("inspect fit --model run --data nowhere", &["nowhere"]);
    refused("inspect fit --model run --data good --held-out 2", &["held-out share of 2"]);
    good(&folder.join("few"), 30, 4);
    refused("inspect fit --model run --data few", &["15 good pictures of few", "at least 19"]);
    json(&igpt(folder, "inspect fit --model run --data good --json"));
    refused(&format!("{judge} --false-alarms 0.01"), &["at least 99", "has 40", "a third", "hold out 148"]);
    refused(&format!("{judge} --false-alarms 1"), &["between 0 and 1"]);
    assert!(!folder.join("judged").exists());
    // What is judged is written before the check, which may fail.
    good(&folder.join("new"), 3, 5);
    let checked = "inspect run --model run new --check good --out kept";
    refused(checked, &["all 200 pictures of good were used by the network or the fit: give others"]);
    let table = std::fs::read_to_string(folder.join("kept/scores.csv")).unwrap();
    assert_eq!(table.lines().count(), 4);
    assert!(std::fs::read_to_string(folder.join("kept/index.html")).unwrap().contains("new/000.png"));

    std::fs::create_dir(folder.join("none")).unwrap();
    std::fs::write(folder.join("none/bad.png"), "no picture").unwrap();
    refused("inspect run --model run none --out judged", &["no image of none could be decoded"]);

    std::fs::write(folder.join("run/model/inspect.json"), "{").unwrap();
    for arguments in [judge, "score --model run --data good --out s"] {
        refused(arguments, &["inspect.json", "run igpt inspect fit again"]);
    }
    let mut model = ModelDir::bundled().unwrap();
    model.config.objective = Objective::Masked;
    model.save(folder.join("masked"), &ModelCard::default(), SaveType::F32).unwrap();
    refused("inspect fit --model masked --data good", &["masked was trained on masked pixels"]);
    let usage = igpt(folder, "inspect fit --model run --data good --score best");
    assert!(usage.status.code() == Some(2) && said(&usage).contains("local-excess"), "{}", said(&usage));
}

#[test]
fn a_run_with_a_fit_can_be_used_while_it_goes_on_and_its_end_says_that_the_fit_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    json(&igpt(folder, "inspect fit --model run --data good --json"));
    let dir = folder.join("run/model");
    // The model of a newer checkpoint, while the directory has the fit of the model before.
    let mut model = ModelDir::open(&dir).unwrap();
    model.weights[9] += 0.5;
    let kept: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap()).collect();
    let kept: Vec<_> = kept.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("inspect")).collect();
    let kept: Vec<_> = kept.iter().map(|entry| (entry.path(), std::fs::read(entry.path()).unwrap())).collect();
    model.save(&dir, &ModelCard::default(), SaveType::F32).unwrap();
    kept.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    let output = igpt(folder, "score --model run --data good --images 4 --out s --json");
    let words = said(&output);
    assert!(words.contains("another model's") && words.contains("igpt inspect fit --model run"), "{words}");
    assert_eq!(json(&output)["reference"], "png");

    let output = igpt(folder, "pretrain --resume --out run --steps 24");
    let words = said(&output);
    assert!(output.status.success() && words.contains("fit of igpt inspect is removed"), "{words}");
}

#[test]
fn tiles_judge_pictures_at_their_own_resolution() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trained(folder);
    odd(&folder.join("odd"), 4);
    let fit = json(&igpt(folder, "inspect fit --model run --data good --tiles --odd odd --score auto --json"));
    assert_eq!((&fit["view"], &fit["choice"], &fit["held_out"]), (&"tiles".into(), &20.into(), &20.into()));
    let found = json(&igpt(folder, "inspect run --model run odd good/000.png --out judged --json"));
    assert_eq!(found["odd"].as_u64().unwrap().min(4), 4, "{found}");
    let alone = json(&igpt(folder, "inspect run --model run odd/001.png --out one --json"));
    assert_eq!(scores(&alone)[0], scores(&found)[1]);
}
