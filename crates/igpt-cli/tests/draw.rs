//! `igpt sample` and `igpt complete` through the binary, on a tiny model of random weights.

mod program;

use std::path::Path;
use std::process::Output;

use igpt::data::{self, OpenOptions};
use igpt::image::ImageSize;
use igpt::model::{ModelCard, ModelConfig, ModelDir, Objective, ParamLayout, SaveType};
use igpt::palette::{Palette, Quantizer};

use program::{igpt, json};

const SIDE: usize = 8;

fn error(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Saves a model as `m` and gives its palette.
fn model(folder: &Path) -> Palette {
    let colors = (0..27).map(|i| [i / 9, i / 3 % 3, i % 3].map(|v| v as f32 - 1.0)).collect();
    let palette = Palette::new(colors, 3).unwrap();
    let config = ModelConfig::new(ImageSize::square(SIDE), 27, 16, 1, 2);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    // The output matrix starts at zero, which would make every colour alike.
    let head = layout.tensor("lm_head.weight").unwrap();
    let values: Vec<f32> = (0..head.len()).map(|i| ((i * 7919) % 13) as f32 / 13.0 - 0.5).collect();
    layout.import(head, &values, &mut weights).unwrap();
    let model = ModelDir { config, palette: palette.clone(), weights, extra: Default::default() };
    model.save(folder.join("m"), &ModelCard::default(), SaveType::F32).unwrap();
    palette
}

/// The bytes of an array's data, after its header.
fn array(path: &Path, shape: &str) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let data = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = String::from_utf8_lossy(&bytes[..data]).into_owned();
    assert!(header.contains(shape), "{header}");
    bytes[data..].to_vec()
}

#[test]
fn samples_are_written_as_picture_animation_and_array() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let output = igpt(folder.path(), "sample --model m -n 5 --seed 3 --top-k 9 --out a/s.png --gif s.gif --json");
    let summary = json(&output);
    assert_eq!((&summary["images"], &summary["seed"], &summary["top_k"]), (&5.into(), &3.into(), &9.into()));
    let file = std::io::BufReader::new(std::fs::File::open(folder.path().join("a/s.png")).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    let text = &reader.info().uncompressed_latin1_text;
    for (keyword, value) in [("Seed", "3"), ("Temperature", "1"), ("Top-k", "9"), ("Model", "m")] {
        assert!(text.iter().any(|chunk| chunk.keyword == keyword && chunk.text == value), "{keyword}");
    }
    // Three columns of 8 pixels, 16 times enlarged, 2 pixels between.
    assert_eq!((reader.info().width, reader.info().height), (3 * 128 + 4, 2 * 128 + 2));
    assert_eq!(&std::fs::read(folder.path().join("s.gif")).unwrap()[..6], b"GIF89a");
}

#[test]
fn an_image_is_the_same_whatever_is_drawn_with_it() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let draw = |arguments: &str| json(&igpt(folder.path(), &format!("sample --model m {arguments} --json")));
    draw("-n 5 --seed 3 --out five.npy");
    draw("-n 2 --seed 3 --threads 1 --out two.npy");
    draw("-n 2 --seed 4 --out other.npy");
    let five = array(&folder.path().join("five.npy"), "(5, 8, 8, 3,)");
    let two = array(&folder.path().join("two.npy"), "(2, 8, 8, 3,)");
    assert_eq!(five[..two.len()], two);
    assert_ne!(array(&folder.path().join("other.npy"), "(2, 8, 8, 3,)"), two);
}

#[test]
fn completions_keep_the_given_rows_and_show_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let quantizer = Quantizer::new(model(folder.path()));
    let complete = |arguments: &str| json(&igpt(folder.path(), &format!("complete --model m -n 3 {arguments} --json")));
    let summary = complete("--rows 3 --completions 2 --out c.npy");
    assert_eq!((&summary["rows"], &summary["completions"], &summary["images"]), (&3.into(), &2.into(), &6.into()));
    let images = array(&folder.path().join("c.npy"), "(6, 8, 8, 3,)");
    let test = data::open("emoji", &OpenOptions::default()).unwrap().test.take(3);
    let tokens = data::tokenize(&test, ImageSize::square(SIDE), &quantizer).unwrap();
    let (image, given) = (SIDE * SIDE * 3, 3 * SIDE * 3);
    for i in 0..3 {
        let original = quantizer.pixels(tokens.image(i), ImageSize::square(SIDE)).data;
        for j in 0..2 {
            let completion = &images[(2 * i + j) * image..][..image];
            assert_eq!(completion[..given], original[..given]);
            assert_ne!(completion[given..], original[given..]);
        }
    }
    assert_eq!(complete("--completions 2 --out c.png")["rows"], 4);
    let file = std::io::BufReader::new(std::fs::File::open(folder.path().join("c.png")).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (4 * 128 + 6, 3 * 128 + 4));
}

#[test]
fn a_hole_is_filled_and_every_pixel_around_it_is_kept_whatever_the_objective() {
    let folder = tempfile::tempdir().unwrap();
    let quantizer = Quantizer::new(model(folder.path()));
    let mut masked = ModelDir::open(folder.path().join("m")).unwrap();
    masked.config.objective = Objective::Masked;
    masked.save(folder.path().join("masked"), &ModelCard::default(), SaveType::F32).unwrap();
    let hole = |pixel: usize| (2..5).contains(&(pixel / SIDE)) && (1..6).contains(&(pixel % SIDE));
    let white: Vec<u8> = (0..SIDE * SIDE).map(|pixel| if hole(pixel) { 255 } else { 0 }).collect();
    mask(&folder.path().join("hole.png"), SIDE, &white);
    let test = data::open("emoji", &OpenOptions::default()).unwrap().test.take(2);
    let tokens = data::tokenize(&test, ImageSize::square(SIDE), &quantizer).unwrap();
    for name in ["m --candidates 3", "masked --steps 4"] {
        let fill = format!("complete --model {name} -n 2 --mask hole.png --completions 2 --out c.npy --json");
        let summary = json(&igpt(folder.path(), &fill));
        assert_eq!((&summary["completions"], &summary["images"]), (&2.into(), &4.into()));
        let images = array(&folder.path().join("c.npy"), "(4, 8, 8, 3,)");
        for (i, completion) in images.chunks(SIDE * SIDE * 3).enumerate() {
            let original = quantizer.pixels(tokens.image(i / 2), ImageSize::square(SIDE)).data;
            let (drawn, given): (Vec<_>, Vec<_>) = (0..SIDE * SIDE).partition(|pixel| hole(*pixel));
            let same = |pixel: &usize| completion[3 * pixel..][..3] == original[3 * pixel..][..3];
            assert!(given.iter().all(same), "{name}: image {i}");
            assert!(!drawn.iter().all(same), "{name}: image {i}");
        }
    }
    mask(&folder.path().join("small.png"), 2, &[255; 4]);
    for (mask, problem) in [("small.png", "2×2"), ("nowhere.png", "nowhere.png"), ("hole.png --rows 3", "--rows")] {
        let output = igpt(folder.path(), &format!("complete --model m --mask {mask} --out d.npy"));
        assert!(String::from_utf8_lossy(&output.stderr).contains(problem), "{mask}: {output:?}");
    }
    assert!(!folder.path().join("d.npy").exists());
}

/// Writes a square grey picture.
fn mask(path: &Path, side: usize, grey: &[u8]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), side as u32, side as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(grey).unwrap();
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let run = |arguments: &str| igpt(folder.path(), arguments);
    assert!(error(&run("sample --model m --out s.jpg"), 2).contains(".png or .npy"));
    assert!(error(&run("sample --model m --top-p 1.5 --out s.png"), 1).contains("top_p is 1.5"));
    assert!(error(&run("sample --model m --temperature=-1 --out s.png"), 1).contains("temperature is -1"));
    assert!(error(&run("sample --model m -n 0 --out s.png"), 1).contains("at least one"));
    assert!(error(&run("sample --model nowhere --out s.png"), 1).contains("nowhere"));
    assert!(error(&run("complete --model m --rows 8 --out s.png"), 1).contains("at most 7"));
    assert!(error(&run("complete --model m --split best --out s.png"), 2).contains("best"));
    assert!(!folder.path().join("s.png").exists());
}

#[test]
fn new_pictures_are_completed_whole_folder_or_single_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for i in 0..3usize {
        let data = (0..16 * 16 * 3).map(|at| (at * (i + 3) % 251) as u8).collect();
        let picture = igpt::image::Pixels::new(igpt::image::ImageSize::square(16), 3, data);
        igpt::formats::png::save(
            folder.join(format!("new/{i}.png")),
            &picture,
            &igpt::formats::png::TextChunks::new("new"),
        )
        .unwrap();
    }
    std::fs::write(folder.join("new/bad.png"), "no picture").unwrap();
    let complete = |data: &str| {
        json(&igpt(folder, &format!("complete --data {data} --rows 15 --completions 1 --out c.png --json")))["images"]
            .clone()
    };
    assert_eq!((complete("new"), complete("new/1.png")), (3.into(), 1.into()));
    let output = igpt(folder, "complete --data new/bad.png --completions 1 --out d.png");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("no image of new/bad.png could be decoded"), "{said}");
}
