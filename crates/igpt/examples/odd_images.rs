//! Finds odd images (anomaly detection): learns good ones, then judges others at a false-alarm rate of 5 %.
//!
//!     cargo run --release -p igpt --example odd_images

#![allow(clippy::disallowed_macros, reason = "an example prints")]

use igpt::Pretrain;
use igpt::data::{Dataset, Images};
use igpt::image::{ImageSize, Pixels};

/// Stripes with noise, and a scratch across some.
fn part(i: usize, is_scratched: bool) -> Pixels {
    let noise = |k: usize| (k * 2_654_435_761 + i * 40_503) >> 7 & 31;
    let pixel = |k: usize| match is_scratched && k / 16 == 5 + k % 16 / 4 {
        true => 250,
        false => (k / 16 % 4 * 40 + noise(k)) as u8,
    };
    Pixels::new(ImageSize::square(16), 1, (0..256).map(pixel).collect())
}

fn main() -> igpt::Result<()> {
    let good = Dataset::from_images((0..300).map(|i| part(i, false)).collect())?;
    let mut model = Pretrain::new()
        .dataset(good.clone())
        .colors(8)
        .steps(120)
        .set("train.batch=16")?
        .set("model.n_embd=32")?
        .set("model.n_layer=2")?
        .run()?;

    let fit = model.fit_inspection(&good)?;
    let threshold = fit.held_out.threshold(0.05)?;
    println!("the threshold {threshold:.2} is of {} held-out good images", fit.used.held_out);

    let new: Vec<Pixels> = (0..8).map(|i| part(1000 + i, i % 4 == 3)).collect();
    for (i, verdict) in model.inspect(&Images::from_pixels(new))?.iter().enumerate() {
        let word = if verdict.score > threshold { "odd" } else { "good" };
        println!("image {i}: score {:.2}, p-value {:.3}: {word}", verdict.score, verdict.p_value);
    }
    model.save(std::env::temp_dir().join("igpt-parts"))
}
