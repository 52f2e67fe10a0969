//! `igpt data tokenize`: any data set as a directory of token files.

use std::path::PathBuf;

use igpt::data::{
    Augment, Images, Manifest, Preprocess, Split, TokenDir, TokenizeSettings, TokenizeSummary, fit_palette,
    write_token_dir,
};
use igpt::image::ImageSize;
use igpt::palette::{Palette, Quantizer};
use igpt::train;
use igpt::{Error, Result};
use serde_json::json;

use crate::named::parsed;
use crate::output::{print_json, say};
use crate::shared::{DataArgs, JsonArgs, SeedArgs, ThreadArgs};
use crate::verbs::drawing::with_phases;

/// Flags of `igpt data tokenize`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt data tokenize --data emoji --n-px 16 --out tokens/emoji\n  \
                        igpt pretrain --data tokens/emoji --steps 200 --out runs/emoji\n  \
                        igpt data tokenize --data photos --palette runs/a --n-px 32 --augment imagenet --views 8 --out \
                        tokens/photos\n\n\
                        The directory is a data set of its own: --data DIR wherever images are asked for. Its splits, \
                        names and classes are the source's, and training on it gives the same bits as training on the \
                        source with that palette. Interrupted, the same command goes on with the shards that are \
                        missing, and a damaged shard is named and made again. Its bytes depend on neither.\n\n\
                        Crops and flips of --augment cifar are exact on tokens, so training can do them without --views. \
                        Stored views of it leave the flips to training.")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// The token directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Image side, or HEIGHTxWIDTH; the images' own size where that is possible, otherwise 32
    #[arg(long, value_name = "SIDE", value_parser = train::parse_n_px)]
    n_px: Option<ImageSize>,
    /// Colours of the palette to fit; 512 by default, 16 for grey images
    #[arg(long, value_name = "N")]
    colors: Option<usize>,
    /// A palette to use instead: .npy, preprocessor_config.json, model directory or run directory
    #[arg(long, value_name = "FILE", conflicts_with = "colors")]
    palette: Option<PathBuf>,
    /// How the stored views of a training image differ: none, imagenet, cifar or crop-flip
    #[arg(long, value_parser = parsed::<Augment>(&Augment::NAMES), default_value = "none")]
    augment: Augment,
    /// Augmented views of each training image to store beside the image itself
    #[arg(long, value_name = "K", default_value_t = 0)]
    views: usize,
    /// Images of a shard; about 32 MiB by default
    #[arg(long, value_name = "N")]
    shard_images: Option<usize>,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.out.is_file() {
        return Err(Error::Invalid(format!("{} is a file: choose another --out", args.out.display())));
    }
    let dataset = args.data.open()?;
    say!("{}: {}", args.data.data, dataset.summary());
    let train = dataset.split(Split::Train)?;
    let n_px = args.n_px.or_else(|| train.common_size()).unwrap_or(ImageSize::square(32));
    n_px.expect_supported()?;
    let quantizer = Quantizer::new(palette(args, &train, n_px)?);
    let settings = TokenizeSettings::new(&args.data.data, n_px)
        .augment(args.augment)
        .views(args.views)
        .seed(args.seed.seed)
        .shard_images(args.shard_images)
        .threads(args.threads.threads);
    let (written, time) =
        with_phases(|progress| write_token_dir(&dataset, &quantizer, &settings, &args.out, progress))?;
    tell(args, &written, time.as_secs_f64())?;
    Ok(())
}

/// The palette given, the one that the directory was begun with, or one fitted as for a run.
fn palette(args: &Args, train: &Images, n_px: ImageSize) -> Result<Palette> {
    if let Some(file) = &args.palette {
        return Palette::open(file);
    }
    // A whole palette of this size and seed is the one that would be fitted again.
    let begun = TokenDir::is_at(&args.out).then(|| Manifest::read(&args.out).ok().zip(Palette::open(&args.out).ok()));
    if let Some((manifest, palette)) = begun.flatten()
        && manifest.palette_hash == palette.hash()
        && (manifest.n_px(), manifest.seed, &manifest.source) == (n_px, args.seed.seed, &args.data.data)
        && args.colors.is_none_or(|colors| colors == palette.n_vocab())
    {
        return Ok(palette);
    }
    if let Some(manifest) = Manifest::read(&args.out).ok().filter(|m| args.colors.is_some_and(|c| c != m.n_vocab)) {
        let (out, begun, asked) = (args.out.display(), manifest.n_vocab, args.colors.unwrap_or_default());
        return Err(Error::Mismatch(format!(
            "{out} was begun with {begun} colours, not {asked}: give what it was begun with, or another --out"
        )));
    }
    say!("fitting the palette");
    fit_palette(train, Preprocess::new(n_px), (args.colors, None), args.seed.seed, args.threads.threads)
}

fn tell(args: &Args, written: &TokenizeSummary, seconds: f64) -> Result<()> {
    let TokenizeSummary { manifest, kept, made, mended, damaged, first_damaged, bytes, .. } = written;
    for file in mended {
        say!("{} was damaged ({}) and is made again", file.file, file.problem);
    }
    for image in first_damaged {
        say!("{} is kept as damaged: {}", image.name, image.problem);
    }
    if *damaged > first_damaged.len() {
        say!("and {} more", damaged - first_damaged.len());
    }
    let [train, validation, test] = manifest.images.lengths();
    let views = match manifest.views {
        0 => String::new(),
        views => format!(" with {views} views each"),
    };
    say!(
        "{}: {train} training images{views}, {validation} of validation, {test} of test, {} at {} colours; {made} shards \
         made, {kept} kept, {:.1} MB in {seconds:.1} s",
        args.out.display(),
        manifest.n_px(),
        manifest.n_vocab,
        *bytes as f64 / 1e6,
    );
    say!("train on it with: igpt pretrain --data {} --out RUN", args.out.display());
    if args.json.json {
        let n_px = manifest.n_px();
        print_json(&json!({
            "out": args.out,
            "data": manifest.source,
            "images": manifest.images,
            "classes": manifest.classes.len(),
            "n_px": [n_px.height, n_px.width],
            "palette_hash": manifest.palette_hash,
            "colors": manifest.n_vocab,
            "channels": manifest.channels,
            "augment": manifest.augment,
            "views": manifest.views,
            "seed": manifest.seed,
            "shards": kept + made,
            "shard_images": manifest.shard_images,
            "made": made,
            "kept": kept,
            "mended": mended,
            "damaged": damaged,
            "damaged_names": first_damaged.iter().map(|image| &image.name).collect::<Vec<_>>(),
            "bytes": bytes,
            "seconds": seconds,
        }))?;
    }
    Ok(())
}
