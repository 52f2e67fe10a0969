//! Completes the middle of images: given, three completions, original.
//!
//!     cargo run --release -p igpt --example fill_a_hole

#![allow(clippy::disallowed_macros, reason = "an example prints")]

use igpt::data::Dataset;
use igpt::formats::png::{self, TextChunks};
use igpt::generate::SamplingSettings;
use igpt::image::{grid, mask_where};
use igpt::{Model, Prompt};

fn main() -> igpt::Result<()> {
    let mut model = Model::bundled()?;
    let size = model.config().n_px;
    // True is given: all but a square in the middle.
    let is_given = |pixel: usize| {
        let middle = |at: usize, side: usize| (3 * side / 8..5 * side / 8).contains(&at);
        !(middle(pixel / size.width, size.height) && middle(pixel % size.width, size.width))
    };
    let mask: Vec<bool> = (0..size.pixels()).map(is_given).collect();

    let images = Dataset::open("emoji")?.test.spread(2);
    let completed = model.complete(&images, Prompt::Mask(&mask), 3, &SamplingSettings::default())?;

    let originals = model.tokens(&images)?;
    let mut cells = Vec::new();
    for (i, completions) in completed.into_iter().enumerate() {
        let original = model.pixels(originals.image(i));
        cells.push(mask_where(&original, |pixel| !mask[pixel]));
        cells.extend(completions);
        cells.push(original);
    }
    let path = std::env::temp_dir().join("igpt-holes.png");
    png::save(&path, &grid(&cells, 5, 8), &TextChunks::new("Holes"))?;
    println!("the picture is {}", path.display());
    Ok(())
}
