//! A fit from end to end, with a small network on emoji.

use std::fs;
use std::path::Path;

use super::*;
use crate::data::{self, Dataset, Images, OpenOptions, Split};
use crate::device::{self, Engine, Precision};
use crate::evaluate::{Reference, surprise};
use crate::files::full_disk;
use crate::image::{ImageSize, Pixels};
use crate::model::dir::INSPECTION;
use crate::model::{ModelCard, ModelConfig, ModelDir, SaveType};
use crate::testing::random_weights;
use crate::train::TrainedOn;

fn emoji() -> Dataset {
    data::open("emoji", &OpenOptions::default()).unwrap()
}

fn model() -> ModelDir {
    let palette = ModelDir::bundled().unwrap().palette;
    let config = ModelConfig::new(ImageSize::square(8), palette.n_vocab(), 16, 1, 2);
    let weights = random_weights(&config);
    ModelDir { config, palette, weights, extra: Default::default() }
}

fn engine(model: &ModelDir) -> Box<dyn Engine> {
    let options = device::EngineOptions { threads: 1, ..device::EngineOptions::new(Precision::F32) };
    device::open(&model.config, &model.weights, &options).unwrap()
}

fn divided(reference: usize, held_out: usize) -> GoodSplit {
    let emoji = emoji();
    let how = "by hand".into();
    GoodSplit {
        reference: emoji.train.spread(reference),
        held_out: emoji.test.spread(held_out),
        how,
        notes: Vec::new(),
    }
}

fn fitted(model: &ModelDir, view: InputMode, choice: ScoreChoice, odd: Option<&Images>) -> crate::Result<FitOutcome> {
    let request = FitRequest { view, choice, data: "emoji", false_alarms: 0.05, odd, threads: 1 };
    fit(&mut *engine(model), model, &divided(60, 40), request, &mut |_, _, _| ())
}

/// Scores as bits, in the order of `images`.
fn scores(inspector: &Inspector, model: &ModelDir, images: &Images) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut take = |named: &NamedPicture, verdict: InspectionResult| {
        assert_eq!(inspector.heat(&named.picture, &verdict).size, named.picture.own);
        found.push((named.name.clone(), verdict.score.to_bits()));
        Ok(())
    };
    inspector.inspect_images(&mut *engine(model), images, &mut take, &mut |_, _| ()).unwrap();
    found
}

#[test]
fn a_picture_has_the_same_score_alone_among_others_and_in_another_order() {
    let model = model();
    let images = emoji().validation.spread(70);
    let places = [3usize, 69, 40];
    for view in [InputMode::Whole, InputMode::Tiles] {
        // Emoji have many tiles.
        let scores_of_view = if view == InputMode::Whole { &Score::ALL[..] } else { &[Score::DEFAULT] };
        for &score in scores_of_view {
            let fit = fitted(&model, view, ScoreChoice::Named(score), None).unwrap().fit;
            let inspector = Inspector::new(fit, &model, 1);
            let images = if view == InputMode::Whole { images.clone() } else { images.pick(places) };
            let places = if view == InputMode::Whole { places } else { [0, 1, 2] };
            let all = scores(&inspector, &model, &images);
            let back = scores(&inspector, &model, &images.pick((0..images.len()).rev()));
            assert_eq!(all.iter().rev().cloned().collect::<Vec<_>>(), back, "{score}");
            for i in places {
                assert_eq!(scores(&inspector, &model, &images.pick([i])), [all[i].clone()], "{score}");
            }
        }
    }
}

#[test]
fn a_colour_file_has_the_same_score_alone_and_among_grey_ones() {
    let model = model();
    let dir = tempfile::tempdir().unwrap();
    let save = |i: usize, channels: usize| {
        let path = dir.path().join(format!("{i:02}.png"));
        let data = (0..64 * channels).map(|at| (at * at * 7 + 40 * i) as u8).collect();
        let pixels = Pixels::new(ImageSize::square(8), channels, data);
        crate::formats::png::save(&path, &pixels, &crate::formats::png::TextChunks::none()).unwrap();
        path
    };
    // Of more than 64 files not all are looked at to tell grey from colour.
    let paths: Vec<_> = (0..80).map(|i| save(i, if i == 1 { 3 } else { 1 })).collect();
    let set = data::sources::folder::images_of_files(&paths);
    assert_eq!(set.channels(), 1);
    let inspector = Inspector::new(
        fitted(&model, InputMode::Whole, ScoreChoice::Named(Score::Window), None).unwrap().fit,
        &model,
        1,
    );
    let alone = scores(&inspector, &model, &data::sources::folder::images_of_files(&paths[1..2]));
    assert_eq!(scores(&inspector, &model, &set)[1], alone[0]);
    // It is known again, too.
    let quantizer = crate::palette::Quantizer::new(model.palette.clone());
    let key =
        |pixels: &Pixels| TiledPicture::new(pixels, InputMode::Whole, model.config.n_px, &quantizer).unwrap().key();
    let grey = set.pixels(0).unwrap();
    assert_eq!(key(&grey), key(&grey.with_channels(3)));
}

#[test]
fn held_out_pictures_have_the_scores_that_the_fit_keeps() {
    let model = model();
    for (view, score) in [(InputMode::Whole, Score::LocalExcess), (InputMode::Tiles, Score::Typical)] {
        let fit = fitted(&model, view, ScoreChoice::Named(score), None).unwrap().fit;
        let kept: Vec<u64> = fit.held_out.scores().iter().map(|score| score.to_bits()).collect();
        let inspector = Inspector::new(fit, &model, 1);
        let mut found = scores(&inspector, &model, &divided(60, 40).held_out);
        found.sort_by(|a, b| f64::from_bits(a.1).total_cmp(&f64::from_bits(b.1)));
        assert_eq!(found.into_iter().map(|(_, bits)| bits).collect::<Vec<_>>(), kept);
        // α = 0.05 of 40: ⌈41 · 0.95⌉ = 39, so one held-out picture is above.
        let threshold = inspector.fit.held_out.threshold(0.05).unwrap();
        assert_eq!(inspector.fit.held_out.scores().iter().filter(|score| **score > threshold).count(), 1);
    }
}

#[test]
fn the_excess_is_that_of_the_likelihood_beyond_the_reference() {
    let model = model();
    let fit = fitted(&model, InputMode::Whole, ScoreChoice::Named(Score::Excess), None).unwrap().fit;
    let images = emoji().validation.spread(5);
    let quantizer = crate::palette::Quantizer::new(model.palette.clone());
    let set = data::tokenize_unchecked(&images, model.config.n_px, &quantizer).unwrap();
    let expected = surprise(&mut *engine(&model), &set, Reference::Context(&fit.reference), &mut |_| ()).unwrap();
    let found = scores(&Inspector::new(fit, &model, 1), &model, &images);
    assert_eq!(
        found.iter().map(|(_, bits)| *bits).collect::<Vec<_>>(),
        expected.iter().map(|surprise| surprise.excess().to_bits()).collect::<Vec<_>>()
    );
}

#[test]
fn a_saved_fit_judges_to_the_same_bits_and_the_model_opens_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("m");
    let model = model();
    model.save(&dir, &ModelCard::default(), SaveType::F32).unwrap();
    assert!(InspectionFit::open(&dir, &model).unwrap().is_none());
    let missing = InspectionFit::expect(&dir, &model).unwrap_err().to_string();
    assert!(missing.contains("igpt inspect fit --model") && missing.contains("first"), "{missing}");
    let images = emoji().validation.spread(8);
    for (view, score) in
        [(InputMode::Whole, Score::Typical), (InputMode::Whole, Score::Features), (InputMode::Tiles, Score::Window)]
    {
        let fit = fitted(&model, view, ScoreChoice::Named(score), None).unwrap().fit;
        fit.save(&dir).unwrap();
        let opened = InspectionFit::expect(&dir, &ModelDir::open(&dir).unwrap()).unwrap();
        assert_eq!((&opened.held_out, &opened.used, opened.view), (&fit.held_out, &fit.used, view));
        assert_eq!((opened.pictures.len(), &opened.pictures), (fit.pictures.len(), &fit.pictures));
        let [before, after] = [fit, opened].map(|fit| scores(&Inspector::new(fit, &model, 1), &model, &images));
        assert_eq!(before, after);
        // No file of the earlier fit stays.
        let ours = |name: &str| name.starts_with("inspect");
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| ours(name)).count(), 2);
    }
    // Another model in its place has no fit.
    model.save(&dir, &ModelCard::default(), SaveType::Bf16).unwrap();
    assert!(InspectionFit::open(&dir, &ModelDir::open(&dir).unwrap()).unwrap().is_none());
    assert!(!fs::read_dir(&dir).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with("inspect")));
}

/// The message of an error about a file of the fit.
fn problem(dir: &Path, model: &ModelDir) -> String {
    InspectionFit::open(dir, model).unwrap_err().to_string()
}

#[test]
fn a_fit_that_cannot_be_read_or_is_another_models_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let model = model();
    fitted(&model, InputMode::Whole, ScoreChoice::Named(Score::Typical), None).unwrap().fit.save(dir).unwrap();
    let json = fs::read_to_string(dir.join(INSPECTION)).unwrap();
    let tensors = json.split('"').find(|word| word.ends_with(".safetensors")).unwrap();

    let mut other = model.clone();
    other.weights[7] += 1.0;
    let message = problem(dir, &other);
    assert!(message.contains("inspect.json") && message.contains("weights have changed"), "{message}");
    // What can do without a fit, does: a run that goes on has the fit of the model before.
    assert!(InspectionFit::find(dir, &other).unwrap().is_none());
    for (from, to, named) in [
        ("\"version\": 1", "\"version\": 2", "version 2"),
        ("{", "[", "not the fit"),
        ("\"brightest\"", "\"darkest\"", "darkest"),
        (tensors, "../../etc/passwd", "passwd"),
        ("\"held_out\": 40", "\"held_out\": 41", "do not fit together"),
    ] {
        fs::write(dir.join(INSPECTION), json.replacen(from, to, 1)).unwrap();
        let message = problem(dir, &model);
        assert!(message.contains("inspect.json") && message.contains(named), "{message}");
        assert!(message.contains("igpt inspect fit again"), "{message}");
    }
    fs::write(dir.join(INSPECTION), &json).unwrap();
    let mut bytes = fs::read(dir.join(tensors)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(dir.join(tensors), &bytes).unwrap();
    let message = problem(dir, &model);
    assert!(message.contains(tensors) && message.contains("damaged"), "{message}");
    fs::remove_file(dir.join(tensors)).unwrap();
    assert!(problem(dir, &model).contains(tensors));
}

#[test]
fn a_crash_while_a_fit_is_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let model = model();
    let old = fitted(&model, InputMode::Whole, ScoreChoice::Named(Score::Window), None).unwrap().fit;
    old.save(dir).unwrap();
    let new = fitted(&model, InputMode::Tiles, ScoreChoice::Named(Score::Typical), None).unwrap().fit;
    // Within the tensors, and within the JSON behind them.
    let probe = tempfile::tempdir().unwrap();
    new.save(probe.path()).unwrap();
    let sizes = fs::read_dir(probe.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len() as usize);
    let all: usize = sizes.sum();
    for room in [0, 100, all / 2, all - 10] {
        full_disk::leave(room);
        let failed = new.save(dir);
        full_disk::leave(usize::MAX);
        assert!(failed.is_err(), "{room} of {all}");
        let opened = InspectionFit::expect(dir, &model).unwrap();
        assert_eq!((opened.score, &opened.held_out), (Score::Window, &old.held_out));
    }
    new.save(dir).unwrap();
    assert_eq!(InspectionFit::expect(dir, &model).unwrap().score, Score::Typical);
    assert_eq!(fs::read_dir(dir).unwrap().count(), 2);
}

#[test]
fn too_few_good_pictures_are_refused_with_their_number() {
    let model = model();
    let ask = |held_out, choice, false_alarms| {
        let odd = emoji().test.take(3);
        let request =
            FitRequest { view: InputMode::Whole, choice, data: "photos", false_alarms, odd: Some(&odd), threads: 1 };
        let found = fit(&mut *engine(&model), &model, &divided(20, held_out), request, &mut |_, _, _| ());
        found.map(|found| found.fit.held_out.scores().len()).map_err(|error| error.to_string())
    };
    let named = ScoreChoice::Named(Score::DEFAULT);
    let error = ask(18, named, 0.05).unwrap_err();
    assert!(error.contains("18 good pictures of photos") && error.contains("at least 19"), "{error}");
    assert_eq!(ask(19, named, 0.05), Ok(19));
    // A score that is chosen by half of them leaves the other half.
    let error = ask(37, ScoreChoice::Auto, 0.05).unwrap_err();
    assert!(error.contains("18 good") && error.contains("name a score"), "{error}");
    assert_eq!(ask(38, ScoreChoice::Auto, 0.05), Ok(19));
    // Three different scores are enough for a rate of a quarter.
    assert!(ask(2, named, 0.25).unwrap_err().contains("at least 3"));
    assert_eq!(ask(3, named, 0.25), Ok(3));
    let error = fitted(&model, InputMode::Whole, ScoreChoice::Auto, None).unwrap_err().to_string();
    assert!(error.contains("without odd pictures"), "{error}");
}

#[test]
fn statistics_are_of_pictures_that_no_threshold_is_made_of() {
    let model = model();
    let of = |held_out, score| {
        let request = FitRequest {
            view: InputMode::Whole,
            choice: ScoreChoice::Named(score),
            data: "emoji",
            false_alarms: 0.05,
            odd: None,
            threads: 1,
        };
        fit(&mut *engine(&model), &model, &divided(30, held_out), request, &mut |_, _, _| ()).unwrap().fit
    };
    let used = |fit: &InspectionFit| (fit.used.statistics, fit.used.held_out, fit.pictures.len());
    // A third of the held-out ones, where enough are left; otherwise the reference's.
    assert_eq!(used(&of(60, Score::Typical)), (20, 40, 90));
    assert_eq!(used(&of(40, Score::Typical)), (30, 40, 70));
    assert_eq!(used(&of(60, Score::Window)), (0, 60, 90));
    let odd = emoji().validation.spread(5);
    let request = FitRequest {
        view: InputMode::Whole,
        choice: ScoreChoice::Named(Score::Window),
        data: "emoji",
        false_alarms: 0.05,
        odd: Some(&odd),
        threads: 1,
    };
    let with_odd = fit(&mut *engine(&model), &model, &divided(30, 60), request, &mut |_, _, _| ()).unwrap().fit;
    assert_eq!(used(&with_odd), (0, 60, 90));
    assert_eq!(with_odd.held_out, of(60, Score::Window).held_out);
}

#[test]
fn every_score_is_held_against_odd_pictures() {
    let model = model();
    let odd = emoji().validation.spread(12);
    let found = fitted(&model, InputMode::Whole, ScoreChoice::Auto, Some(&odd)).unwrap();
    assert_eq!(found.table.iter().map(|row| row.score).collect::<Vec<_>>(), Score::ALL);
    assert!(found.table.iter().all(|row| row.interval[0] <= row.auroc && row.auroc <= row.interval[1]));
    let best = found.table.iter().map(|row| row.auroc).fold(0.0, f64::max);
    let chosen = found.table.iter().find(|row| row.score == found.fit.score).unwrap();
    assert_eq!((chosen.auroc, found.odd, found.fit.used.choice), (best, 12, 20));
}

fn save(path: &Path, value: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let color = |x: u32, y: u32| ::image::Rgb([(value * 7) as u8, (x * value) as u8, (y + value) as u8]);
    ::image::RgbImage::from_fn(4, 4, color).save(path).unwrap();
}

/// The names of images, sorted.
fn names(images: &Images) -> Vec<String> {
    let mut names: Vec<String> = (0..images.len()).map(|i| images.name(i)).collect();
    names.sort();
    names
}

#[test]
fn nothing_is_held_out_that_the_network_or_the_reference_has_seen() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    (0..40).for_each(|i| save(&photos.join(format!("{i:02}.png")), i));
    let mut config = crate::train::RunConfig::of(crate::train::Recipe::Paper);
    config.data.spec = photos.display().to_string();
    let run = dir.path().join("run");
    fs::create_dir_all(run.join("model")).unwrap();
    fs::write(run.join("config.resolved.toml"), config.to_toml()).unwrap();
    let trained = TrainedOn::of(Some(&run));
    let open = |folder: &Path| data::open(folder.to_str().unwrap(), &OpenOptions::default()).unwrap();
    let found = |folder: &Path, trained: &TrainedOn| split_good(&open(folder), folder.to_str().unwrap(), trained, 0.5);

    // Of the run's own folder what it held out.
    let own = open(&photos);
    let divided = found(&photos, &trained).unwrap();
    assert_eq!(names(&divided.reference), names(&own.train));
    assert_eq!(divided.held_out.len(), own.validation.len() + own.test.len());
    assert!(divided.how.contains("validation and test") && divided.notes.is_empty(), "{divided:?}");

    // A copy of a training image, under another name within the held-out part, is left out.
    let (train, test) = (own.train.path(0).unwrap(), own.test.path(0).unwrap());
    fs::copy(train, test).unwrap();
    let divided = found(&photos, &trained).unwrap();
    assert_eq!(divided.held_out.len(), own.validation.len() + own.test.len() - 1);
    assert!(divided.notes[0].contains("1 pictures are not held out"), "{:?}", divided.notes);

    // Of another folder half of what the network was not trained on.
    let new = dir.path().join("new");
    (0..40).for_each(|i| save(&new.join(format!("{i:02}.png")), 100 + i));
    for i in 0..10 {
        fs::copy(own.train.path(5 + i).unwrap(), new.join(format!("copy-{i}.png"))).unwrap();
    }
    let divided = found(&new, &trained).unwrap();
    assert_eq!((divided.held_out.len(), divided.reference.len()), (20, 30));
    assert!(names(&divided.held_out).iter().all(|name| !name.starts_with("copy")), "{:?}", names(&divided.held_out));
    assert!(divided.how.contains("20 of 40"), "{}", divided.how);
    let unknown = found(&new, &TrainedOn::default()).unwrap();
    assert!(unknown.notes[0].contains("not known here") && unknown.held_out.len() == 25, "{:?}", unknown.notes);
    assert!(split_good(&open(&new), "new", &trained, 1.5).unwrap_err().to_string().contains("1.5"));
    let one = dir.path().join("one/a.png");
    save(&one, 7);
    assert!(found(&one, &trained).unwrap_err().to_string().contains("1 pictures"));
}

#[test]
fn damaged_pictures_and_those_smaller_than_a_tile_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let png = |name: &str, size| {
        let pixels = Pixels::new(size, 1, vec![90; size.pixels()]);
        crate::formats::png::save(dir.path().join(name), &pixels, &crate::formats::png::TextChunks::none()).unwrap();
    };
    png("a.png", ImageSize { height: 11, width: 30 });
    png("small.png", ImageSize { height: 7, width: 30 });
    fs::write(dir.path().join("bad.png"), "no picture").unwrap();
    let model = model();
    let images = data::open(dir.path().to_str().unwrap(), &OpenOptions::default()).unwrap().split(Split::All).unwrap();
    for (view, unread) in [(InputMode::Whole, vec!["bad.png"]), (InputMode::Tiles, vec!["bad.png", "small.png"])] {
        let fit = fitted(&model, view, ScoreChoice::Named(Score::Window), None).unwrap().fit;
        let inspector = Inspector::new(fit, &model, 1);
        let mut sizes = Vec::new();
        let mut take = |named: &NamedPicture, verdict: InspectionResult| {
            sizes.push((named.picture.own, inspector.heat(&named.picture, &verdict).size));
            Ok(())
        };
        let damaged = inspector.inspect_images(&mut *engine(&model), &images, &mut take, &mut |_, _| ()).unwrap();
        assert_eq!(damaged.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), unread);
        assert!(sizes.iter().all(|(own, map)| own == map) && sizes.len() == 3 - unread.len());
    }
}
