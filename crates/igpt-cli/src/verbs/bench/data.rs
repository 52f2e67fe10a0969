//! Images to tokens: what the loader's threads do for training, on one core.

use std::time::{Duration, Instant};

use igpt::data::{Augment, Preprocess, Split};
use igpt::image::ImageSize;
use igpt::palette::{Palette, Quantizer};
use igpt::rng::{Purpose, Rng};
use igpt::{Error, Result};
use serde_json::json;

use super::report::{beside_others, warn_if_noisy};
use crate::named::parsed;
use crate::output::say;
use crate::shared::DataArgs;

/// Flags of `igpt bench data`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Image side
    #[arg(long, default_value_t = 32)]
    n_px: usize,
    /// Augmentation: none, imagenet or cifar
    #[arg(long, value_parser = parsed::<Augment>(&Augment::NAMES), default_value = "none")]
    augment: Augment,
    /// Seconds to go on for
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let time = Duration::try_from_secs_f64(args.seconds)
        .map_err(|e| Error::Invalid(format!("--seconds {}: {e}", args.seconds)))?;
    if !(1..=1024).contains(&args.n_px) {
        return Err(Error::Invalid(format!("--n-px {}: 1 to 1024 pixels are possible", args.n_px)));
    }
    let images = args.data.open()?.split(Split::Train)?;
    let size = ImageSize::square(args.n_px);
    let preprocess = Preprocess { augment: args.augment, ..Preprocess::new(size) };
    let quantizer = Quantizer::new(even_palette(images.channels())?);
    let mut tokens = vec![0; size.pixels()];
    let mut convert = |i: u64| -> Result<()> {
        let (epoch, image) = (i / images.len() as u64, (i % images.len() as u64) as usize);
        let mut rng = Rng::new(0, Purpose::Augment, epoch, image as u64);
        let pixels = preprocess.training(&images.pixels(image)?, &mut rng)?;
        quantizer.tokens(&pixels, &mut tokens);
        Ok(())
    };
    convert(0)?;
    let (counted, others) = beside_others(|| -> Result<_> {
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed() < time {
            convert(done)?;
            done += 1;
        }
        Ok((done, done as f64 / start.elapsed().as_secs_f64()))
    });
    let (done, per_second) = counted?;
    let tokens_per_second = per_second * size.pixels() as f64;
    say!("data: {per_second:.0} images/s, {tokens_per_second:.3e} tokens/s on one core ({done} images, {size})");
    warn_if_noisy(others);
    if args.json {
        crate::output::print_json(&json!({
            "images_per_second": per_second,
            "tokens_per_second": tokens_per_second,
            "images": done,
            "others_cpu": others,
            "threads": 1,
        }))?;
    }
    Ok(())
}

/// Evenly spaced colours: 512, or 16 greys. How fast they are found does not depend on where they are.
fn even_palette(channels: usize) -> Result<Palette> {
    let level = |i: usize, of: usize| 2.0 * i as f32 / (of - 1) as f32 - 1.0;
    let colors = match channels {
        1 => (0..16).map(|i| [level(i, 16); 3]).collect(),
        _ => (0..512).map(|i| [level(i >> 6, 8), level(i >> 3 & 7, 8), level(i & 7, 8)]).collect(),
    };
    Palette::new(colors, channels)
}
