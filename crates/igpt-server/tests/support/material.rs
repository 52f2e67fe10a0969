//! What is sent and served here: pictures, forms, small models.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use igpt::data::{self, OpenOptions};
use igpt::device::{self, Precision};
use igpt::formats::png;
use igpt::formats::png::TextChunks;
use igpt::image::ImageSize;
use igpt::image::Pixels;
use igpt::inspect::{self, FitRequest, InputMode, Score, ScoreChoice, split_good};
use igpt::model::{ModelCard, ModelConfig, ModelDir, Objective, ParamLayout, SaveType};
use igpt::palette::Palette;
use igpt::ranks::Collective;
use igpt::train::{Context, Event, RunConfig, Start, TrainedOn, finetune};
use serde_json::{Value, json};

/// Pixels of a row, and rows, of a small model's images.
pub(crate) const SIDE: usize = 8;

/// A PNG file of `side`×`side` pixels, another one for each `i`.
pub(crate) fn picture(side: usize, i: usize) -> Vec<u8> {
    let value = |at: usize| ((at / (3 + i) + 7 * i) * (31 + 2 * i) % 256) as u8;
    let image = Pixels::new(ImageSize::square(side), 3, (0..side * side * 3).map(value).collect());
    png::encode(&image, &TextChunks::new("test"))
}

/// A request that is under way as long as anyone wants.
pub(crate) fn long() -> Value {
    json!({"n": 2000})
}

/// A file as it is sent.
pub(crate) fn base64(file: &[u8]) -> String {
    STANDARD.encode(file)
}

/// The RGB of a PNG file in base64.
pub(crate) fn pixels(file: &Value) -> Vec<u8> {
    let file = STANDARD.decode(file.as_str().unwrap()).unwrap();
    let mut reader = ::png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    assert_eq!(info.color_type, ::png::ColorType::Rgb);
    data
}

/// The numbers of a list.
pub(crate) fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Saves a model of 8×8 pixels and 27 colours as `name`, fast and with weights so strong that every pixel matters.
pub(crate) fn model(folder: &Path, name: &str, objective: Objective) {
    let colors = (0..27).map(|i| [i / 9, i / 3 % 3, i % 3].map(|v| v as f32 - 1.0)).collect();
    let mut config = ModelConfig::new(ImageSize::square(SIDE), 27, 16, 2, 2);
    config.objective = objective;
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    weights.iter_mut().for_each(|weight| *weight *= 8.0);
    // The output matrix starts at zero, which would make every colour alike.
    let head = layout.tensor("lm_head.weight").unwrap();
    let values: Vec<f32> = (0..head.len()).map(|i| ((i * 7919) % 8191) as f32 / 8191.0 - 0.5).collect();
    layout.import(head, &values, &mut weights).unwrap();
    let palette = Palette::new(colors, 3).unwrap();
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder.join(name), &ModelCard::default(), SaveType::F32).unwrap();
}

/// A run named `run` of a classifier of the folder `classes`, for images of 8×8 pixels: a model that can do everything.
pub(crate) fn classifier(folder: &Path) {
    for (class, i) in ["cat", "dog"].iter().flat_map(|class| (0..10).map(move |i| (class, i))) {
        fs::create_dir_all(folder.join("classes").join(class)).unwrap();
        let file = picture(12, if *class == "cat" { i } else { 20 + i });
        fs::write(folder.join(format!("classes/{class}/{class}{i}.png")), file).unwrap();
    }
    let text = format!(
        "data.spec = {:?}\nmodel = {{ n_px = 8, n_embd = 16, n_layer = 1, n_head = 2 }}\npalette.colors = 6\n\
         train = {{ batch = 8, steps = 2, sample_images = 0, precision = \"f32\", threads = 1 }}\nfinetune = {{}}\n",
        folder.join("classes")
    );
    let config = RunConfig::from_toml(&text, Path::new("classifier.toml")).unwrap();
    let (ranks, observer) = (&mut Collective::solo(), &mut |_: Event<'_>| ());
    let context = &mut Context { ranks, observer, stop: &AtomicBool::new(false) };
    finetune(&config, &folder.join("run"), Start::New, context).unwrap();
    fit(folder, "run", InputMode::Whole);
}

/// Fits what odd pictures are told by to 60 good ones, for the model or run `name`, and keeps it there.
pub(crate) fn fit(folder: &Path, name: &str, view: InputMode) {
    fs::create_dir_all(folder.join("good")).unwrap();
    (0..60).for_each(|i| fs::write(folder.join(format!("good/{i:02}.png")), picture(12, i)).unwrap());
    let dir = ModelDir::locate(&folder.join(name)).unwrap();
    let model = ModelDir::open(&dir).unwrap();
    let good = data::open(folder.join("good").to_str().unwrap(), &OpenOptions::default()).unwrap();
    let divided = split_good(&good, "good", &TrainedOn::default(), 0.5).unwrap();
    let options = device::EngineOptions::new(Precision::F32).threads(1);
    let mut engine = device::open(&model.config, &model.weights, &options).unwrap();
    let choice = ScoreChoice::Named(Score::DEFAULT);
    let request = FitRequest { view, choice, data: "good", false_alarms: 0.05, odd: None, threads: 1 };
    let fitted = inspect::fit(&mut *engine, &model, &divided, request, &mut |_, _, _| ()).unwrap();
    fitted.fit.save(&dir).unwrap();
}

/// A form's content type and body: `image` and `images` as files, what is no word as JSON.
pub(crate) fn form(fields: &Value) -> (&'static str, Vec<u8>) {
    let mut body = vec![];
    let mut part = |name: &str, more: &str, value: &[u8]| {
        body.extend(format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n").bytes());
        body.extend(value);
        body.extend(b"\r\n");
    };
    let file = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        match (name.as_str(), value) {
            ("image", value) => part(name, "; filename=\"picture.png\"", &file(value)),
            ("images", value) => {
                value.as_array().unwrap().iter().for_each(|value| part(name, "; filename=\"a.png\"", &file(value)));
            }
            (name, Value::String(word)) => part(name, "", word.as_bytes()),
            (name, value) => part(name, "", value.to_string().as_bytes()),
        }
    }
    body.extend(b"--cut--\r\n");
    ("multipart/form-data; boundary=cut", body)
}

/// A request to every path that takes one, for a model of `side`×`side` pixels.
pub(crate) fn requests(side: usize) -> Vec<(&'static str, Value)> {
    let (one, other) = (base64(&picture(20, 1)), base64(&picture(side, 2)));
    let hole: Vec<bool> = (0..side * side).map(|at| (side..side + 3).contains(&at)).collect();
    let tokens: Vec<usize> = (0..side * side).map(|at| at % 6).collect();
    vec![
        ("/v1/quantize", json!({"image": one})),
        ("/v1/sample", json!({"n": 2, "first_image": 3, "seed": 5, "temperature": 0.9, "top_k": 5, "top_p": 0.9})),
        ("/v1/complete", json!({"image": one, "rows": side - 2, "completions": 2, "seed": 4})),
        ("/v1/complete", json!({"tokens": tokens, "mask": hole, "candidates": 3, "steps": 2})),
        ("/v1/score", json!({"images": [one, other]})),
        ("/v1/predict", json!({"image": other, "row": side - 1})),
        ("/v1/embed", json!({"images": [other], "layers": "all", "pool": "max"})),
        ("/v1/embed", json!({"tokens": [tokens], "layers": [0, 1]})),
        ("/v1/inspect", json!({"images": [one, other], "false_alarms": 0.1})),
        ("/v1/classify", json!({"images": [one, other]})),
        ("/v1/neighbors", json!({"image": one, "k": 2})),
    ]
}
