//! `igpt complete`: images of which the model sees the first rows and draws the rest.

use igpt::data::{self, Split};
use igpt::generate::complete;
use igpt::report::not_given;
use igpt::{Error, Result};

use super::drawing::{Artist, DrawArgs, with_bar};
use crate::output::print_json;
use crate::shared::DataArgs;

/// Flags of `igpt complete`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt complete --split test -n 8 --completions 4 --out completions.png\n\n\
                        Columns of the picture: what was given, the completions, the original.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Which images: train, validation, test or all
    #[arg(long, default_value = "test")]
    split: Split,
    /// Rows that are given; half of the image if not said
    #[arg(long, value_name = "R")]
    rows: Option<usize>,
    /// How many images
    #[arg(short = 'n', long = "images", value_name = "N", default_value_t = 8)]
    images: usize,
    /// Take images spread evenly over the split instead of its first
    #[arg(long)]
    spread: bool,
    /// Completions of each image
    #[arg(long, value_name = "K", default_value_t = 4)]
    completions: usize,
    #[command(flatten)]
    draw: DrawArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    if args.images == 0 || args.completions == 0 {
        return Err(Error::Invalid("-n and --completions must be at least 1".into()));
    }
    let artist = Artist::open(&args.draw)?;
    let size = artist.engine.config().n_px;
    let rows = args.rows.unwrap_or(size.height / 2);
    if rows >= size.height {
        let most = size.height - 1;
        return Err(Error::Invalid(format!("--rows {rows} leaves nothing to draw: give at most {most} rows")));
    }
    let images = args.data.open()?.split(args.split)?;
    let images = if args.spread { images.spread(args.images) } else { images.take(args.images) };
    let originals = data::tokenize(&images, size, &artist.quantizer)?;

    let given_pixels = rows * size.width;
    let given: Vec<&[u16]> = (0..originals.images()).map(|i| &originals.image(i)[..given_pixels]).collect();
    let k = args.completions;
    let (completions, time) =
        with_bar("completing", |progress| complete(&*artist.engine, &given, 0, k, &artist.settings, 0, progress))?;

    let mut cells = Vec::new();
    let mut all = Vec::new();
    for (i, completions) in completions.iter().enumerate() {
        let original = artist.quantizer.pixels(originals.image(i), size);
        let completions = artist.pixels(completions);
        cells.push(not_given(&original, given_pixels));
        cells.extend_from_slice(&completions);
        cells.push(original);
        all.extend(completions);
    }
    let title = format!("Completions of {} {} after {rows} rows", args.data.data, args.split);
    artist.save(&title, &all, &cells, k + 2)?;
    artist.save_gif(&completions.concat(), given_pixels, k)?;
    let drawn = all.len() * (size.pixels() - given_pixels);
    let mut summary = artist.summary(all.len(), drawn, time);
    summary["rows"] = rows.into();
    summary["completions"] = k.into();
    if args.draw.json.json {
        print_json(&summary);
    }
    Ok(())
}
