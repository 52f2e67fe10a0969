//! `igpt palette` and `igpt eval` through the binary: what they print, and what they say about bad palettes.

mod program;

use std::path::Path;
use std::process::Output;

use igpt::image::ImageSize;
use igpt::model::{ModelCard, ModelConfig, ModelDir, ParamLayout, SaveType};
use igpt::palette::Palette;

use program::{igpt, json};

fn error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(output.stdout.is_empty());
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A .npy file of f32 with this shape.
fn npy(path: &Path, shape: &str, values: &[f32]) {
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

fn inspect(folder: &Path, palette: &str) -> Output {
    igpt(folder, &format!("palette inspect --n-px 8 --palette {palette} --json"))
}

#[test]
fn a_fitted_palette_is_judged_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fit = |arguments: &str| json(&igpt(folder, &format!("palette fit --n-px 8 --colors 32 --json {arguments}")));
    let fitted = fit("--out a/p.npy");
    assert_eq!((&fitted["colors"], &fitted["channels"]), (&32.into(), &3.into()));
    assert_eq!(fit("--out q.json --threads 1")["palette_hash"], fitted["palette_hash"]);
    assert_eq!(fit("--out u.npy --scale unit")["palette_hash"], fitted["palette_hash"]);
    assert_ne!(fit("--out s.npy --seed 1")["palette_hash"], fitted["palette_hash"]);
    assert_eq!(Palette::open(folder.join("q.json")).unwrap(), Palette::open(folder.join("a/p.npy")).unwrap());

    let found = json(&igpt(folder, "palette inspect --n-px 8 --palette a/p.npy --split test --out swatch.png --json"));
    assert_eq!((&found["palette_hash"], &found["split"]), (&fitted["palette_hash"], &"test".into()));
    let figure = |key: &str| found[key].as_f64().unwrap();
    assert!((figure("psnr_db") - 10.0 * (65025.0 / figure("mse")).log10()).abs() < 1e-9);
    assert!(figure("psnr_db") > 15.0 && figure("entropy_bits") < 5.0 && figure("entropy_bits") > 1.0, "{found}");
    assert_eq!(found["used"].as_u64().unwrap() + found["dead"].as_u64().unwrap(), 32);
    assert!(std::fs::read(folder.join("swatch.png")).unwrap().starts_with(b"\x89PNG"));
    let unit = json(&igpt(folder, "palette inspect --n-px 8 --palette u.npy --scale unit --json"));
    assert_eq!(unit["colors"], 32);
}

#[test]
fn more_colours_than_the_images_have_are_refused_with_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let text = error(&igpt(folder.path(), "palette fit --colors 60000 --out p.npy"));
    assert!(text.contains("60000 colours were asked for") && text.contains("--colors"), "{text}");
    assert!(error(&igpt(folder.path(), "palette fit --colors 1 --out p.npy")).contains("2 to 65536"));
    assert!(error(&igpt(folder.path(), "palette fit --n-px 8 --colors 4 --out p.txt")).contains(".npy or .json"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn bad_palette_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |values: &[f32], shape: &str, part: &str| {
        npy(&folder.join("bad.npy"), shape, values);
        let text = error(&inspect(folder, "bad.npy"));
        assert!(text.contains("bad.npy") && text.contains(part), "{text}");
    };
    refused(&[0.0, 0.0, 0.0, 0.1, f32::NAN, 0.0], "2, 3", "colour 1");
    refused(&[0.5, 0.5, 0.1], "3, 1", "colours 0 and 1");
    refused(&[], "0, 3", "no colours");
    refused(&[0.0, 128.0, 255.0], "3, 1", "outside [-1, 1]");
    refused(&[0.0; 4], "2, 2", "shape (2, 2)");
    refused(&[0.0, 0.1, 0.2], "2, 3", "cut off");
    std::fs::write(folder.join("text.npy"), "colours").unwrap();
    assert!(error(&inspect(folder, "text.npy")).contains("not a .npy file"));
    std::fs::write(folder.join("bad.json"), r#"{"clusters": [[0, 0, 0], [0, 0, 0]]}"#).unwrap();
    assert!(error(&inspect(folder, "bad.json")).contains("duplicate"));
    std::fs::create_dir(folder.join("empty")).unwrap();
    assert!(error(&inspect(folder, "empty")).contains("igpt palette fit"));
    assert!(error(&inspect(folder, "nowhere.npy")).contains("nowhere.npy"));
}

/// Saves a model of the official initialisation as `m`: uniform over its colours.
fn model(folder: &Path, colors: usize) {
    let color = |i: usize| [i as f32 / colors as f32, -0.5, 0.5 - i as f32 / colors as f32];
    let palette = Palette::new((0..colors).map(color).collect(), 3).unwrap();
    let config = ModelConfig::new(ImageSize::square(8), colors, 16, 1, 2);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder.join("m"), &ModelCard::default(), SaveType::F32).unwrap();
}

#[test]
fn eval_prints_every_figure_and_its_baselines() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), 24);
    let found = json(&igpt(folder.path(), "eval --model m --data emoji --split validation --json"));
    let figure = |key: &str| found[key].as_f64().unwrap();
    assert!((figure("nats_per_token") - 24f64.ln()).abs() < 1e-4, "{found}");
    assert!((figure("bits_per_pixel") - 24f64.log2()).abs() < 1e-4);
    assert!((figure("bits_per_dim") - 24f64.log2() / 3.0).abs() < 1e-4);
    assert!((figure("nats_per_image") - 64.0 * 24f64.ln()).abs() < 1e-2);
    let [uniform, unigram, context] =
        ["uniform", "unigram", "context"].map(|key| found["baselines"][key].as_f64().unwrap());
    assert!((uniform - 24f64.ln()).abs() < 1e-12 && unigram < uniform && context < unigram, "{found}");
    assert!(found["images"].as_u64().unwrap() > 300 && figure("palette_psnr_db") > 0.0);
    assert!(found["interval95"][0].as_f64().unwrap() <= figure("nats_per_image"));
    let half = json(&igpt(folder.path(), "eval --model m --split validation --precision bf16 --json"));
    assert_eq!((&half["precision"], &half["palette_hash"]), (&"bf16".into(), &found["palette_hash"]));
}

#[test]
fn a_palette_of_the_wrong_size_for_the_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), 24);
    let path = folder.path().join("m/preprocessor_config.json");
    let smaller = Palette::new((0..23).map(|i| [i as f32 / 23.0, 0.0, 0.5]).collect(), 3).unwrap();
    smaller.to_json(&path, Some(ImageSize::square(8))).unwrap();
    let text = error(&igpt(folder.path(), "eval --model m --json"));
    assert!(text.contains("23 colours") && text.contains("vocab_size"), "{text}");
}
