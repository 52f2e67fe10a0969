//! In which order the tables of `igpt embed` hold what its arrays hold, on a tiny model of random weights.

mod program;

use std::path::Path;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ModelCard, ModelConfig, ModelDir, ParamLayout, SaveType};
use igpt::palette::Palette;

use program::{igpt, json};

const POSITIONS: usize = 64;
const N_EMBD: usize = 16;

/// Saves a model of one block as `m` and two pictures in `pics`.
fn material(folder: &Path) {
    let palette = Palette::new((0..5).map(|i| [i as f32 / 4.0 - 0.5; 3]).collect(), 1).unwrap();
    let config = ModelConfig::new(ImageSize::square(8), 5, N_EMBD, 1, 2);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder.join("m"), &ModelCard::default(), SaveType::F32).unwrap();
    for step in [3, 4] {
        let grey = Pixels::new(ImageSize::square(8), 1, (0..POSITIONS).map(|i| (step * i) as u8).collect());
        png::save(folder.join(format!("pics/{step}.png")), &grey, &TextChunks::new("grey")).unwrap();
    }
}

#[test]
fn a_row_of_a_table_goes_layer_by_layer_then_position_by_position() {
    let folder = tempfile::tempdir().unwrap();
    material(folder.path());
    let embed = |arguments: &str| {
        json(&igpt(folder.path(), &format!("embed --model m --data pics --split all --pool none {arguments} --json")))
    };
    let shape = embed("--layers 1,0 --out both.csv")["shape"].clone();
    assert_eq!(shape, serde_json::json!([2, 2, POSITIONS, N_EMBD]));
    let table = std::fs::read_to_string(folder.path().join("both.csv")).unwrap();
    let rows: Vec<Vec<f32>> =
        table.lines().skip(1).map(|line| line.split(',').skip(2).map(|x| x.parse().unwrap()).collect()).collect();
    for (place, layer) in [(0, 1), (1, 0)] {
        embed(&format!("--layers {layer} --out one.npy"));
        let bytes = std::fs::read(folder.path().join("one.npy")).unwrap();
        let data = &bytes[bytes.len() - 4 * 2 * POSITIONS * N_EMBD..];
        let array: Vec<f32> = data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        for (image, row) in rows.iter().enumerate() {
            for (t, c) in (0..POSITIONS).flat_map(|t| (0..N_EMBD).map(move |c| (t, c))) {
                let value = array[(image * POSITIONS + t) * N_EMBD + c];
                assert_eq!(row[(place * POSITIONS + t) * N_EMBD + c], value, "image {image}, layer {layer}, {t}, {c}");
            }
        }
    }
    // The first position has seen sos alone, whatever the image: the input is shifted.
    assert_eq!(rows[0][..N_EMBD], rows[1][..N_EMBD]);
    assert_ne!(rows[0][(POSITIONS - 1) * N_EMBD..][..N_EMBD], rows[1][(POSITIONS - 1) * N_EMBD..][..N_EMBD]);
}

#[test]
fn damaged_images_are_listed_and_one_file_is_a_set_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    material(folder.path());
    std::fs::write(folder.path().join("pics/bad.png"), "no picture").unwrap();
    let output = igpt(folder.path(), "embed --model m --data pics --out f.csv --json");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = json(&output);
    assert_eq!((&found["images"], &found["damaged"]), (&2.into(), &serde_json::json!(["bad.png"])));
    assert!(said.contains("skipped bad.png: ") && said.contains("1 of 3 images are damaged"), "{said}");
    assert_eq!(json(&igpt(folder.path(), "embed --model m --data pics/3.png --out f.csv --json"))["images"], 1);
    let output = igpt(folder.path(), "embed --model m --data pics/bad.png --out g.csv");
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path().join("g.csv").exists());
}
