//! `igpt palette fit` and `igpt palette inspect`.

use std::path::PathBuf;

use clap::Subcommand;
use igpt::data::{Preprocess, Split, color_histogram, preprocessed_color_histogram};
use igpt::formats::png;
use igpt::formats::png::TextChunks;
use igpt::image::ImageSize;
use igpt::palette::{self, ColorScale, Distortion, Palette, PaletteFitOptions, Quantizer};
use igpt::{Error, Result};
use serde_json::json;

use crate::named::{described, parsed};
use crate::output::{print_json, say};
use crate::shared::{DataArgs, JsonArgs, SeedArgs, ThreadArgs};

/// Scales of a palette's numbers.
const SCALES: [(ColorScale, &str); 3] = [
    (ColorScale::Signed, "[-1, 1], as transformers and the official code have it"),
    (ColorScale::Unit, "[0, 1]"),
    (ColorScale::Byte, "[0, 255]"),
];

/// Flags of `igpt palette`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Fit a palette to the training images
    Fit(Fit),
    /// Judge a palette by images it was not fitted to, and draw its colours
    Inspect(Inspect),
}

#[derive(clap::Args)]
#[command(after_help = "Example: igpt palette fit --data emoji --n-px 16 --colors 512 --out palette.npy")]
struct Fit {
    #[command(flatten)]
    data: DataArgs,
    /// Fit to the images as a model of this side sees them; without it, as they are
    #[arg(long, value_name = "SIDE")]
    n_px: Option<usize>,
    /// Colours, 2 to 65536 [default: 512, or as many as there are]
    #[arg(long, value_name = "N")]
    colors: Option<usize>,
    /// File to write: a .npy array, or a preprocessor_config.json for any name ending in .json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Scale of the numbers in a .npy file
    #[arg(long, value_parser = described(&SCALES, ColorScale::name), default_value = ColorScale::Signed.name())]
    scale: ColorScale,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(clap::Args)]
#[command(after_help = "Example: igpt palette inspect --data emoji --palette palette.npy --out swatch.png\n\n\
                        Mean squared error and PSNR are in 8-bit levels, over pixels and channels.")]
struct Inspect {
    #[command(flatten)]
    data: DataArgs,
    /// A .npy file, a preprocessor_config.json, a model directory or a run directory
    #[arg(long, value_name = "PATH")]
    palette: PathBuf,
    /// Scale of the numbers in a .npy file
    #[arg(long, value_parser = described(&SCALES, ColorScale::name), default_value = ColorScale::Signed.name())]
    scale: ColorScale,
    /// Images to judge by: train, validation, test or all
    #[arg(long, value_parser = parsed::<Split>(&Split::NAMES), default_value_t = Split::Validation)]
    split: Split,
    /// Judge by the images as a model of this side sees them; without it, as they are
    #[arg(long, value_name = "SIDE")]
    n_px: Option<usize>,
    /// PNG file for the colours, greys first, then hue by hue
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.work {
        Work::Fit(args) => fit(&args),
        Work::Inspect(args) => inspect(&args),
    }
}

/// Refuses numbers of colours before any image is read.
fn expect_colors(colors: Option<usize>) -> Result<()> {
    match colors {
        Some(colors) if !(2..=65536).contains(&colors) => {
            Err(Error::Invalid(format!("--colors {colors}: a palette has 2 to 65536")))
        }
        _ => Ok(()),
    }
}

/// Colours of the paper's palette.
const COLORS: usize = 512;

fn fit(args: &Fit) -> Result<()> {
    expect_colors(args.colors)?;
    let dataset = args.data.open()?;
    let images = dataset.split(Split::Train)?;
    let size = size(args.n_px)?;
    let options = PaletteFitOptions::default().colors(args.colors.unwrap_or(COLORS)).seed(args.seed.seed);
    let mut options = options.threads(args.threads.threads);
    let sample = Some((options.pixels, options.seed));
    let (histogram, damaged) = color_histogram(&images, size, images.channels(), sample, options.threads)?;
    let distinct = histogram.counts().len();
    if args.colors.is_none() && (2..COLORS).contains(&distinct) {
        say!("the images have {distinct} different colours: the palette gets that many");
        options.colors = distinct;
    }
    let (fitted, report) = palette::fit(&histogram, &options)?;
    write(&fitted, args, size)?;
    let n_vocab = fitted.n_vocab();
    let hash = fitted.hash();
    let distortion = Distortion::of(&histogram, &Quantizer::new(fitted.clone()));
    let skipped =
        if damaged.is_empty() { String::new() } else { format!("; {} damaged images skipped", damaged.len()) };
    say!(
        "{}: {n_vocab} {} from {} pixels of {} different colours, {:.2} dB PSNR on them{skipped}",
        args.out.display(),
        if fitted.channels() == 1 { "greys" } else { "colours" },
        report.pixels,
        report.distinct,
        distortion.psnr_db,
    );
    if args.json.json {
        print_json(&json!({
            "palette": args.out, "palette_hash": hash, "colors": n_vocab, "channels": fitted.channels(),
            "pixels": report.pixels, "distinct_colors": report.distinct, "passes": report.passes,
            "train_mse": distortion.mse, "train_psnr_db": distortion.psnr_db, "damaged": damaged.len(),
        }))?;
    }
    Ok(())
}

fn write(palette: &Palette, args: &Fit, size: Option<ImageSize>) -> Result<()> {
    let extension = args.out.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("npy") => palette.to_npy(&args.out, args.scale),
        Some("json") if args.scale != ColorScale::Signed => {
            Err(Error::Invalid("--scale is for .npy files: a preprocessor_config.json is always signed".into()))
        }
        Some("json") => palette.to_json(&args.out, size),
        _ => Err(Error::Invalid(format!("--out {}: the name must end in .npy or .json", args.out.display()))),
    }
}

fn inspect(args: &Inspect) -> Result<()> {
    let palette = match args.scale {
        ColorScale::Signed => Palette::open(&args.palette)?,
        scale => Palette::from_npy(&args.palette, scale)?,
    };
    let images = args.data.open()?.split(args.split)?;
    let (histogram, damaged) = preprocessed_color_histogram(
        &images,
        size(args.n_px)?.map(|size| Preprocess::of(&palette, size)),
        palette.channels(),
        None,
        args.threads.threads,
    )?;
    let quantizer = Quantizer::new(palette);
    let palette = quantizer.palette();
    let found = Distortion::of(&histogram, &quantizer);
    if let Some(out) = &args.out {
        let text = TextChunks::new("Palette").with("Palette", palette.hash()).with("Colours", palette.n_vocab());
        png::save(out, &palette.swatch(), &text)?;
    }
    say!(
        "{} colours on {} images of {} ({}): PSNR {:.2} dB, mean squared error {:.3} (8-bit levels), {} used, {} dead, \
         entropy {:.3} bits a pixel",
        palette.n_vocab(),
        images.len() - damaged.len(),
        args.data.data,
        args.split,
        found.psnr_db,
        found.mse,
        found.used,
        found.dead,
        found.entropy_bits,
    );
    if args.json.json {
        print_json(&json!({
            "palette_hash": palette.hash(), "colors": palette.n_vocab(), "channels": palette.channels(),
            "split": args.split, "images": images.len() - damaged.len(), "pixels": found.pixels,
            "psnr_db": found.psnr_db, "mse": found.mse, "used": found.used, "dead": found.dead,
            "entropy_bits": found.entropy_bits, "damaged": damaged.len(), "swatch": args.out,
        }))?;
    }
    Ok(())
}

fn size(n_px: Option<usize>) -> Result<Option<ImageSize>> {
    match n_px {
        Some(side) if !(1..=64).contains(&side) => {
            Err(Error::Invalid(format!("--n-px is {side}, but a model's images have at most 64 pixels a side")))
        }
        n_px => Ok(n_px.map(ImageSize::square)),
    }
}
