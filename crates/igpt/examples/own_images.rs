//! Pretrains on images in memory and samples new ones.
//!
//!     cargo run --release -p igpt --example own_images

#![allow(clippy::disallowed_macros, reason = "an example prints")]

use igpt::Pretrain;
use igpt::data::Dataset;
use igpt::formats::png::{self, TextChunks};
use igpt::generate::SamplingSettings;
use igpt::image::{ImageSize, Pixels, grid};
use igpt::train::Event;

/// A disc of some radius and place, in grey.
fn disc(i: usize) -> Pixels {
    let (x, y, radius) = (4 + i % 9, 4 + i / 9 % 9, 2 + i % 3);
    let is_inside = |k: usize| (k % 16).abs_diff(x).pow(2) + (k / 16).abs_diff(y).pow(2) <= radius * radius;
    Pixels::new(ImageSize::square(16), 1, (0..256).map(|k| if is_inside(k) { 220 } else { 30 }).collect())
}

fn main() -> igpt::Result<()> {
    let dataset = Dataset::from_images((0..243).map(disc).collect())?;
    println!("{}", dataset.summary());

    let mut show = |event: Event<'_>| {
        if let Event::Validated { step, loss, .. } = event {
            println!("step {step}: {loss:.3} nats/pixel on validation images");
        }
    };
    let mut model = Pretrain::new()
        .dataset(dataset)
        .colors(2)
        .steps(60)
        .set("train.batch=16")?
        .set("model.n_embd=32")?
        .set("model.n_layer=2")?
        .observer(&mut show)
        .run()?;

    let samples = model.sample(9, &SamplingSettings::default().seed(1))?;
    let path = std::env::temp_dir().join("igpt-discs.png");
    png::save(&path, &grid(&samples, 3, 8), &TextChunks::new("Discs"))?;
    println!("nine samples are in {}", path.display());
    Ok(())
}
