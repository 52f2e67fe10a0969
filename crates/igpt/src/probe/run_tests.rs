//! Tests of the whole probe of a tiny network, on synthetic images.

use std::sync::Arc;

use super::labelled::LabelledDataset;
use super::run::expect_room;
use super::{ProbeReport, ProbeSettings, Solver, probe};
use crate::data::{self, Dataset, Source};
use crate::device::{self, Precision};
use crate::evaluate::Layers;
use crate::image::ImageSize;
use crate::image::Pixels;
use crate::model::{ModelConfig, ModelDir, ParamLayout};
use crate::palette::Palette;
use crate::ranks::Collective;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

const SIDE: usize = 8;
const CLASSES: usize = 3;

/// Grey noise, slightly brighter from class to class.
struct Noise {
    labels: Vec<u32>,
}

impl Source for Noise {
    fn len(&self) -> usize {
        self.labels.len()
    }
    fn channels(&self) -> usize {
        1
    }
    fn pixels(&self, i: usize) -> Result<Pixels> {
        let mut rng = Rng::new(7, Purpose::Probe, 0, i as u64);
        let brighter = 6 * (i % CLASSES) as u64;
        let data = (0..SIDE * SIDE).map(|_| (brighter + rng.below(190)) as u8).collect();
        Ok(Pixels::new(ImageSize::square(SIDE), 1, data))
    }
    fn label(&self, i: usize) -> Option<u32> {
        Some(self.labels[i])
    }
    fn name(&self, i: usize) -> String {
        i.to_string()
    }
    fn in_memory(&self) -> bool {
        true
    }
}

/// 60 training images, 30 validation images, and 30 test images whose classes are shifted by `turn`.
fn dataset(turn: usize) -> Dataset {
    let labels = (0..120).map(|i| ((i + if i < 90 { 0 } else { turn }) % CLASSES) as u32).collect();
    let classes = ["dark", "grey", "bright"].map(String::from).to_vec();
    Dataset::new("noise", classes, Arc::new(Noise { labels }), [0..60, 60..90, 90..120].map(Iterator::collect))
}

fn model() -> ModelDir {
    let palette = Palette::new((0..8).map(|i| [i as f32 / 3.5 - 1.0; 3]).collect(), 1).unwrap();
    let config = ModelConfig::new(ImageSize::square(SIDE), 8, 16, 2, 2);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    ModelDir { config, palette, weights, extra: Default::default() }
}

fn settings(solver: Solver) -> ProbeSettings {
    ProbeSettings {
        layers: Layers::All,
        held_out: None,
        images: None,
        solver,
        concat: Some(2),
        labels_per_class: vec![5],
        seeds: 2,
        seed: 0,
        options: device::EngineOptions { threads: 1, ..device::EngineOptions::new(Precision::F32) },
    }
}

/// All choices in a report.
fn choices(report: &ProbeReport) -> impl PartialEq + std::fmt::Debug {
    let concat = report.concat.as_ref().unwrap();
    let verdicts = [&concat.verdict, &report.baselines.raw_pixels_verdict, &report.baselines.random_init_verdict];
    (
        (report.best_layer, report.strength, report.validation_accuracy.clone()),
        (concat.layers.clone(), report.baselines.random_init_layer),
        verdicts.map(|verdict| (verdict.strength, verdict.validation_accuracy)),
    )
}

#[test]
fn other_labels_of_the_test_images_change_no_choice() {
    let model = model();
    for solver in [Solver::Lbfgs, Solver::Ridge, Solver::Knn] {
        let run = |turn: usize| {
            probe(&mut Collective::solo(), &model, &dataset(turn), &settings(solver), &mut |_, _, _| ()).unwrap()
        };
        let found = run(0);
        for turn in 1..CLASSES {
            let other = run(turn);
            assert_eq!(choices(&found), choices(&other), "{solver:?}");
            assert_ne!(found.test_accuracy, other.test_accuracy, "{solver:?}: the labels are others");
            // The predictions are the same: the columns of the confusion matrix, with permuted rows.
            (0..CLASSES).for_each(|c| assert_eq!(found.confusion[c], other.confusion[(c + turn) % CLASSES]));
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_features_are_computed() {
    let model = model();
    let refused = |settings: &ProbeSettings| {
        let mut progress = |what: &'static str, _, _| panic!("{what} were computed");
        let error = probe(&mut Collective::solo(), &model, &dataset(0), settings, &mut progress).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)));
        error.to_string()
    };
    let settings = settings(Solver::Ridge);
    let words = refused(&ProbeSettings { labels_per_class: vec![5, 21], ..settings.clone() });
    assert!(words.contains("has 20 training images, too few for 21 labels"), "{words}");
    let words = refused(&ProbeSettings { concat: Some(4), ..settings });
    assert!(words.contains("say 2 to 3"), "{words}");
}

#[test]
fn features_that_do_not_fit_into_memory_are_refused_with_what_mends_it() {
    let model = ModelDir::bundled().unwrap();
    let emoji = data::open("emoji", &data::OpenOptions::default()).unwrap();
    let images = LabelledDataset::of(&emoji, Some(400), 0).unwrap();
    let error = expect_room(Some(1 << 20), &images, &model, 7, 1).unwrap_err().to_string();
    assert!(error.contains("at 7 layers") && error.contains("fewer --layers"), "{error}");
    expect_room(Some(1 << 30), &images, &model, 7, 1).unwrap();
    expect_room(None, &images, &model, 7, 1).unwrap();
}
