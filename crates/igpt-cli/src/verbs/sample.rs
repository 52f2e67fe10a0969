//! `igpt sample`: images drawn from nothing.

use igpt::generate::expect_room;
use igpt::{Error, Result};

use super::drawing::{Artist, DrawArgs, square_columns, with_bar};
use crate::output::print_json;

/// Flags of `igpt sample`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt sample -n 36 --seed 7 --out samples.png --gif drawing.gif\n\n\
                        Image i of a seed is the same whatever -n, the machine's threads or the order.")]
pub(crate) struct Args {
    /// How many images
    #[arg(short = 'n', long = "images", value_name = "N", default_value_t = 16)]
    images: usize,
    #[command(flatten)]
    draw: DrawArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    if args.images == 0 {
        return Err(Error::Invalid("-n is 0: ask for at least one image".into()));
    }
    let mut artist = Artist::open(&args.draw)?;
    let (n, columns) = (args.images, square_columns(args.images));
    expect_room(artist.model.config(), n, 1)?;
    artist.expect_room([n, columns], [n, columns])?;
    let settings = artist.settings;
    let (drawn, time) = with_bar("drawing", |progress| artist.model.sample_tokens(n, &settings, progress))
        .map_err(|error| error.of_model(&artist.name))?;
    let images = artist.pixels(&drawn);
    artist.save("Samples", &images, &images, columns)?;
    artist.save_gif(&drawn, 0, columns)?;
    let summary = artist.summary(n, n * artist.model.config().n_ctx(), time);
    if args.draw.json.json {
        print_json(&summary)?;
    }
    Ok(())
}
