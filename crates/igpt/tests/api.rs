//! Claims about the library's face: builders of training, and a model in use.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use igpt::data::{Dataset, Images};
use igpt::evaluate::Layers;
use igpt::generate::{FillSettings, SamplingSettings};
use igpt::image::{ImageSize, Pixels};
use igpt::model::ModelDir;
use igpt::ranks::Collective;
use igpt::report::{Findings, ReportSettings};
use igpt::train::{Context, Event, Overrides, Start, pretrain};
use igpt::{Finetune, Model, Pretrain, Prompt};

const NETWORK: [&str; 4] = ["model.n_embd=16", "model.n_layer=2", "train.batch=8", "train.precision=f32"];

/// Vertical stripes of two greys, the first of some width.
fn stripes(i: usize) -> Pixels {
    Pixels::new(ImageSize::square(8), 1, (0..64).map(|k| if k % 8 < 1 + i % 6 { 40 } else { 200 }).collect())
}

fn dataset() -> Dataset {
    Dataset::from_images((0..200).map(stripes).collect()).unwrap()
}

fn small<'a>() -> Pretrain<'a> {
    let builder = Pretrain::new().dataset(dataset()).colors(2).steps(30).threads(1);
    NETWORK.iter().try_fold(builder, |builder, setting| builder.set(setting)).unwrap()
}

fn weights(run: &Path) -> Vec<f32> {
    ModelDir::open(run).unwrap().weights
}

#[test]
fn a_builder_trains_to_the_bits_of_the_same_settings_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let [built, named, configured] = ["built", "named", "configured"].map(|name| folder.path().join(name));
    let builder = Pretrain::new().data("emoji").n_px(8).colors(6).steps(4).seed(3).threads(1);
    NETWORK.iter().try_fold(builder, |builder, setting| builder.set(setting)).unwrap().run_in(&built).unwrap();

    let mut settings = Overrides::default();
    NETWORK.iter().for_each(|setting| settings.assign(setting).unwrap());
    for setting in ["model.n_px=8", "palette.colors=6", "train.steps=4", "train.seed=3", "train.threads=1"] {
        settings.assign(setting).unwrap();
    }
    let (mut ranks, mut quiet, stop) = (Collective::solo(), |_: Event<'_>| (), AtomicBool::new(false));
    let context = &mut Context { ranks: &mut ranks, observer: &mut quiet, stop: &stop };
    let config = settings.finish().unwrap();
    pretrain(&config, &named, Start::New, context).unwrap();
    assert!(weights(&built) == weights(&named));

    // What is set afterwards goes on top of a config.
    let mut longer = config;
    longer.train.steps = Some(9);
    Pretrain::from_config(longer).steps(4).context(context.reborrow()).run_in(&configured).unwrap();
    assert!(weights(&built) == weights(&configured));
}

#[test]
fn a_stopped_run_is_resumed_to_the_bits_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    small().run_in(&whole).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = |event: Event<'_>| {
        if let Event::Step(report) = event {
            stop.store(report.step >= 11, Ordering::Relaxed);
        }
    };
    assert!(small().observer(&mut observer).stop(&stop).run_in(&parts).unwrap().stopped);
    let others = Dataset::from_images((1..201).map(stripes).collect()).unwrap();
    let refused = small().dataset(others).resume_in(&parts).unwrap_err().to_string();
    assert!(refused.contains("images"), "{refused}");
    small().resume_in(&parts).unwrap();
    assert!(weights(&whole) == weights(&parts));
    // A run that is kept nowhere can't be resumed.
    let raised = AtomicBool::new(true);
    let refused = small().stop(&raised).run().err().unwrap().to_string();
    assert!(refused.contains("run_in"), "{refused}");
}

#[test]
fn what_was_learned_from_memory_is_the_same_after_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = small().run().unwrap();
    let images = Images::from_pixels((0..5).map(stripes).collect());
    let nats = model.log_likelihood(&images).unwrap();
    model.fit_inspection(&dataset()).unwrap();
    let judged: Vec<f64> = model.inspect(&images).unwrap().iter().map(|verdict| verdict.score).collect();
    model.save(folder.path()).unwrap();
    let mut opened = Model::open(folder.path()).unwrap();
    assert_eq!(opened.log_likelihood(&images).unwrap(), nats);
    assert_eq!(opened.inspect(&images).unwrap().iter().map(|verdict| verdict.score).collect::<Vec<_>>(), judged);
    assert_eq!(
        opened.sample(2, &SamplingSettings::default()).unwrap(),
        model.sample(2, &SamplingSettings::default()).unwrap()
    );

    // Pixels sum to images.
    let maps = model.log_likelihood_per_pixel(&images).unwrap();
    for (map, nats) in maps.iter().zip(&nats) {
        assert!((map.iter().map(|nats| f64::from(*nats)).sum::<f64>() - nats).abs() < 1e-3);
    }
    let features = model.features(&images, &Layers::Only(vec![2, 0])).unwrap();
    let last = model.features(&images, &Layers::Only(vec![2])).unwrap();
    assert_eq!((features.of(3, 2), features.values.len()), (last.of(3, 2), 5 * 2 * 16));
}

#[test]
fn a_fit_promises_no_lower_rate_of_false_alarms_than_its_held_out_images_allow() {
    let mut model = small().run().unwrap();
    let good = dataset().with_parts([(0..30).collect(), (30..33).collect(), vec![]]).unwrap();
    let fit = model.fit_inspection(&good).unwrap();
    assert!(fit.threshold(0.25).is_ok());
    let refused = fit.threshold(0.05).unwrap_err().to_string();
    assert!(refused.contains("at least 19") && refused.contains("has 3"), "{refused}");
    let none = dataset().with_parts([(0..30).collect(), vec![], vec![]]).unwrap();
    assert!(model.fit_inspection(&none).is_err());
}

#[test]
fn a_report_on_images_in_memory_asks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    small().run_in(&run).unwrap();
    let settings = ReportSettings::default().images(8).probe_images(0);
    let refused = Findings::gather(&run, &settings, &mut |_, _, _| ()).unwrap_err().to_string();
    assert!(refused.contains("images in memory"), "{refused}");
    let found = Findings::gather(&run, &settings.clone().dataset(Some(dataset())), &mut |_, _, _| ()).unwrap();
    assert!(found.own_data && found.likelihood.is_some());
    let others = Dataset::from_images((3..203).map(stripes).collect()).unwrap();
    assert!(!Findings::gather(&run, &settings.dataset(Some(others)), &mut |_, _, _| ()).unwrap().own_data);
}

#[test]
fn settings_that_ask_for_nothing_are_refused() {
    let mut model = Model::bundled().unwrap();
    let n_ctx = model.config().n_ctx();
    for filling in [FillSettings::default().candidates(0), FillSettings::default().attempts(0)] {
        let known = vec![vec![None; n_ctx]];
        let found = model.complete_tokens(known, filling, &SamplingSettings::default(), &mut |_, _| ());
        assert!(found.unwrap_err().to_string().contains("want 1 or more"));
    }
    let images = Dataset::open("emoji").unwrap().test.take(1);
    let refused = model.features(&images, &Layers::Only(Vec::new())).unwrap_err();
    assert!(refused.to_string().contains("no layer was asked for"));
}

#[test]
fn completions_keep_what_the_prompt_gives() {
    let mut model = small().run().unwrap();
    let images = Images::from_pixels((0..3).map(stripes).collect());
    let originals = model.tokens(&images).unwrap();
    let mask: Vec<bool> = (0..64).map(|pixel| pixel % 8 < 3 || pixel > 55).collect();
    for (prompt, is_given) in
        [(Prompt::Rows(2), (0..64).map(|pixel| pixel < 16).collect()), (Prompt::Mask(&mask), mask.clone())]
    {
        let completed = model.complete(&images, prompt, 2, &SamplingSettings::default()).unwrap();
        assert_eq!((completed.len(), completed[0].len()), (3, 2));
        for (i, completions) in completed.iter().enumerate() {
            let original = model.pixels(originals.image(i));
            for completion in completions {
                assert!((0..64).all(|pixel| !is_given[pixel] || completion.data[pixel] == original.data[pixel]));
            }
        }
    }
    let refused = |prompt, model: &mut Model| {
        model.complete(&images, prompt, 1, &SamplingSettings::default()).unwrap_err().to_string()
    };
    assert!(refused(Prompt::Rows(8), &mut model).contains("every pixel is given"));
    assert!(refused(Prompt::Mask(&[true; 3]), &mut model).contains("a mask of 3 pixels"));
    assert!(model.inspect(&images).unwrap_err().to_string().contains("fit_inspection"));
    assert!(model.classify(&images).is_err());
}

#[test]
fn images_with_classes_in_memory_fine_tune_a_classifier() {
    let model = small().run().unwrap();
    let labels: Vec<u32> = (0..200).map(|i| u32::from(i % 6 >= 3)).collect();
    let classes = || vec!["narrow".to_owned(), "wide".to_owned()];
    let images = || (0..200).map(stripes).collect::<Vec<_>>();
    let labelled = Dataset::from_labelled_images(images(), labels.clone(), classes()).unwrap();
    let mut classifier = Finetune::from_model(&model).unwrap().dataset(labelled).steps(150).threads(1).run().unwrap();
    let found = classifier.classify(&Images::from_pixels(images())).unwrap();
    // The directory that the model had while it was fine-tuned is gone; a stopped run goes on with the model all the same.
    let folder = tempfile::tempdir().unwrap();
    let raised = AtomicBool::new(true);
    let tuning = || {
        let data = Dataset::from_labelled_images(images(), labels.clone(), classes()).unwrap();
        Finetune::from_model(&model).unwrap().dataset(data).steps(3).threads(1)
    };
    assert!(tuning().stop(&raised).run_in(folder.path()).unwrap().stopped);
    assert_eq!(tuning().resume_in(folder.path()).unwrap().steps, 3);
    let right = found.iter().zip(&labels).filter(|(found, label)| found.class == **label).count();
    assert!(right > 190 && classifier.classes() == classes(), "{right}");
    for (labels, said) in [(vec![0; 3], "200 images, but 3 labels"), (vec![2; 200], "label 2, but there are 2 classes")]
    {
        let refused = Dataset::from_labelled_images(images(), labels, classes()).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}
