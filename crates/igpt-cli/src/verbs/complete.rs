//! `igpt complete`: images of which the model sees a part and draws the rest.

use std::path::PathBuf;

use igpt::data::{self, Split, TokenSet};
use igpt::formats::decode;
use igpt::generate::{FillSettings, expect_room};
use igpt::image::{ImageSize, mask_where};
use igpt::{Error, Result};

use super::drawing::{Artist, DrawArgs, with_bar};
use super::pictures::{OwnFolder, Pictures, tell_damaged};
use crate::named::parsed;
use crate::output::{print_json, say};
use crate::shared::DataArgs;

/// Flags of `igpt complete`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    igpt complete --split test -n 8 --completions 4 --out completions.png\n  \
    igpt complete --mask hole.png --candidates 64 -n 8 --out filled.png\n\n\
    Columns of the picture: what was given, the completions, the original.\n\n\
    Pixels are drawn in raster order, so known rows above condition what is drawn. Known pixels after a hole do so \
    through candidates: several are drawn side by side and kept in proportion to how likely they make the known \
    pixels; the more, the nearer to the exact conditional. A model of masked pixels fills the hole in steps instead, \
    given all known pixels, which is approximate.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Which images [default: test, or all images of a folder without parts]
    #[arg(long, value_parser = parsed::<Split>(&Split::NAMES))]
    split: Option<Split>,
    /// Rows that are given; half of the image if neither this nor a mask is said
    #[arg(long, value_name = "R")]
    rows: Option<usize>,
    /// A picture of the model's size whose white pixels are drawn; all others are given
    #[arg(long, value_name = "FILE.png", conflicts_with = "rows")]
    mask: Option<PathBuf>,
    /// Candidates of each completion, where given pixels come after a hole
    #[arg(long, value_name = "N", default_value_t = 16)]
    candidates: usize,
    /// Steps in which a model of masked pixels fills the hole
    #[arg(long, value_name = "N", default_value_t = 16)]
    steps: usize,
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
    let mut artist = Artist::open(&args.draw)?;
    let size = artist.model.config().n_px;
    let missing = missing(&args, size)?;
    let (dataset, model) = (args.data.open()?, args.draw.model.path());
    let pictures = Pictures::of(dataset, &args.data.data, args.split, model, OwnFolder::HeldOut)?;
    let images = &pictures.images;
    let images = if args.spread { images.spread(args.images) } else { images.take(args.images) };
    let k = args.completions;
    expect_room(artist.model.config(), images.len(), k)?;
    let (all, cells) = (images.len().saturating_mul(k), images.len().saturating_mul(k + 2));
    artist.expect_room([cells, k + 2], [all, k])?;
    let originals = data::tokenize_unchecked(&images, size, artist.model.parts().1)?;
    tell_damaged(&originals.damaged, originals.images(), &args.data.data)?;
    say!("{} images of {} ({})", originals.images(), args.data.data, pictures.part());
    let seen = pictures.seen(&images, &originals.damaged);

    let (completions, time) =
        with_bar("completing", |progress| draw(&args, &mut artist, &originals, &missing, progress))
            .map_err(|error| error.of_model(&artist.name))?;

    let mut cells = Vec::new();
    for (i, completions) in completions.chunks(k).enumerate() {
        let original = artist.model.pixels(originals.image(i));
        cells.push(mask_where(&original, |pixel| missing[pixel]));
        cells.extend(artist.pixels(completions));
        cells.push(original);
    }
    let all = artist.pixels(&completions);
    let known = match (&args.mask, missing.iter().position(|missing| *missing).unwrap_or(0) / size.width) {
        (Some(mask), _) => format!("around {}", mask.display()),
        (None, rows) => format!("after {rows} rows"),
    };
    let title = format!("Completions of {} {} {known}", args.data.data, pictures.split);
    artist.save(&title, &all, &cells, k + 2)?;
    let given = missing.iter().take_while(|missing| !**missing).count();
    artist.save_gif(&completions, given, k)?;
    let drawn = all.len() * missing.iter().filter(|missing| **missing).count();
    let mut summary = artist.summary(all.len(), drawn, time);
    if args.mask.is_none() {
        summary["rows"] = (given / size.width).into();
    }
    summary["completions"] = k.into();
    summary["split"] = pictures.split.to_string().into();
    summary["trained_on"] = seen.count().into();
    if args.draw.json.json {
        print_json(&summary)?;
    }
    Ok(())
}

/// Which pixels are to be drawn.
fn missing(args: &Args, size: ImageSize) -> Result<Vec<bool>> {
    if let Some(path) = &args.mask {
        let mask = decode::read(path, 1)?;
        if mask.size != size {
            return Err(Error::format(
                path,
                format!("a mask of {} pixels, but the model's images have {size}", mask.size),
            ));
        }
        return Ok(mask.data.iter().map(|&grey| grey > 127).collect());
    }
    let rows = args.rows.unwrap_or(size.height / 2);
    if rows >= size.height {
        let most = size.height - 1;
        return Err(Error::Invalid(format!("--rows {rows} leaves nothing to draw: give at most {most} rows")));
    }
    Ok((0..size.pixels()).map(|pixel| pixel >= rows * size.width).collect())
}

/// The completions of all images, image after image.
fn draw(
    args: &Args,
    artist: &mut Artist,
    originals: &TokenSet,
    missing: &[bool],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    let known = |i: usize| -> Vec<Option<u16>> {
        originals.image(i).iter().zip(missing).map(|(token, missing)| (!missing).then_some(*token)).collect()
    };
    let filling = FillSettings::default().attempts(args.completions).candidates(args.candidates).rounds(args.steps);
    let known = (0..originals.images()).map(known).collect();
    artist.model.complete_tokens(known, filling, &artist.settings, progress)
}
