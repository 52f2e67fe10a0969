//! Features of a pretrained network into a linear classifier, beside the pixels themselves.
//!
//!     cargo run --release -p igpt --example linear_probe

#![allow(clippy::disallowed_macros, reason = "an example prints")]

use igpt::Model;
use igpt::data::{Dataset, Images};
use igpt::evaluate::Layers;
use igpt::probe::{LabelledFeatures, LogisticRegression, Standardizer, Workers, accuracy};

const TRAINED: usize = 200;
const TESTED: usize = 50;

/// Share of the test images that a logistic regression on these features classifies correctly.
fn score(train: (&[f32], &[u32]), test: (&[f32], &[u32]), width: usize, classes: usize) -> igpt::Result<f64> {
    let workers = Workers::new(0);
    let examples = LabelledFeatures::new(train.0, width, train.1)?;
    let standardizer = Standardizer::fit(train.0, width);
    let linear = LogisticRegression::new(&workers, &standardizer, examples, classes)?.fit(0.1).linear;
    Ok(accuracy(&linear.predict(&workers, test.0), test.1))
}

fn labels(images: &Images) -> Vec<u32> {
    (0..images.len()).filter_map(|i| images.label(i)).collect()
}

fn main() -> igpt::Result<()> {
    let emoji = Dataset::open("emoji")?;
    let (train, test) = (emoji.train.spread(TRAINED), emoji.test.spread(TESTED));
    let (train_labels, test_labels) = (labels(&train), labels(&test));
    let mut model = Model::bundled()?;
    let classes = emoji.classes.len();

    for layer in 0..=model.config().n_layer {
        let layers = Layers::Only(vec![layer]);
        let (known, new) = (model.features(&train, &layers)?, model.features(&test, &layers)?);
        let found = score((&known.values, &train_labels), (&new.values, &test_labels), known.n_embd, classes)?;
        println!("layer {layer}: {:.0} % of {TESTED} test images", 100.0 * found);
    }

    let pixels = |images: &Images| -> igpt::Result<Vec<f32>> {
        let tokens = model.tokens(images)?;
        let colors = (0..tokens.images()).flat_map(|i| model.pixels(tokens.image(i)).data);
        Ok(colors.map(f32::from).collect())
    };
    let (known, new) = (pixels(&train)?, pixels(&test)?);
    let found = score((&known, &train_labels), (&new, &test_labels), known.len() / TRAINED, classes)?;
    println!("pixels:  {:.0} %", 100.0 * found);
    Ok(())
}
