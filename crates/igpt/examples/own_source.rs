//! Trains on a source of your own: images that are made when they are asked for, with classes, and fine-tunes a classifier.
//!
//!     cargo run --release -p igpt --example own_source

#![allow(clippy::disallowed_macros, reason = "an example prints")]

use std::sync::Arc;

use igpt::data::{Dataset, Images, Source};
use igpt::image::{ImageSize, Pixels};
use igpt::{Finetune, Pretrain};

/// Bars, of which the even ones lie and the odd ones stand.
struct Bars {
    count: usize,
}

impl Source for Bars {
    fn len(&self) -> usize {
        self.count
    }

    fn channels(&self) -> usize {
        1
    }

    fn pixels(&self, i: usize) -> igpt::Result<Pixels> {
        let (at, wide) = (i / 2 % 6, 1 + i / 12 % 2);
        let is_bar = |k: usize| (at..at + wide).contains(&if i.is_multiple_of(2) { k / 8 } else { k % 8 });
        Ok(Pixels::new(ImageSize::square(8), 1, (0..64).map(|k| if is_bar(k) { 230 } else { 20 }).collect()))
    }

    fn label(&self, i: usize) -> Option<u32> {
        Some(i as u32 % 2)
    }

    fn name(&self, i: usize) -> String {
        format!("bar {i}")
    }

    fn in_memory(&self) -> bool {
        true
    }
}

fn main() -> igpt::Result<()> {
    let source = Arc::new(Bars { count: 400 });
    let dataset = Dataset::from_source(source.clone(), vec!["lying".into(), "standing".into()])?;
    let network = ["model.n_embd=16", "model.n_layer=2", "train.batch=16"];
    let pretrain = network.iter().try_fold(Pretrain::new(), |pretrain, setting| pretrain.set(setting))?;
    let model = pretrain.dataset(dataset.clone()).colors(2).steps(60).run()?;

    let mut classifier = Finetune::from_model(&model)?.dataset(dataset).steps(300).set("train.batch=16")?.run()?;
    let classes = classifier.classes();
    let images = Images::all(source).take(6);
    for (i, found) in classifier.classify(&images)?.iter().enumerate() {
        let class = found.class as usize;
        println!("{}: {} ({:.0} %)", images.name(i), classes[class], 100.0 * found.probabilities[class]);
    }
    Ok(())
}
