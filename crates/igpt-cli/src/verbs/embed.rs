//! `igpt embed`: the network's features of images, as an array or a table.

use std::path::PathBuf;

use igpt::Result;
use igpt::cpu::{self, Options};
use igpt::data::{Dataset, Split, TokenSet};
use igpt::device::Pooling;
use igpt::evaluate::{Layers, features_of_whole_among};
use igpt::model::ModelDir;
use igpt::palette::Quantizer;
use igpt::ranks::{Collective, expect_same_model};
use igpt::report::embeddings::ENDINGS;
use igpt::report::{Embeddings, Entry};
use igpt::train::open_model;
use serde_json::json;

use super::drawing::{BUNDLED, with_bar_if};
use super::pictures::{OwnFolder, Pictures, tell_damaged};
use crate::output::{print_json, say};
use crate::ranks;
use crate::shared::{DataArgs, JsonArgs, PrecisionArgs, ThreadArgs};

/// Flags of `igpt embed`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt embed --model runs/a --data photos --split all --layers 4 --out photos.npy\n\n\
                        FILE.npy is an array (images, layers, n_embd) of f32 with a list of the images' names and \
                        labels beside it, FILE.tsv. FILE.csv has columns filename, label, embedding_0 and so on, \
                        FILE.parquet the columns filename, label and embedding, a list. Without pooling the array is \
                        (images, layers, positions, n_embd).\n\n\
                        A row of FILE.csv or FILE.parquet is an image's part of that array, flattened in the same \
                        order: layer by layer as --layers names them, within a layer position by position in raster \
                        order if positions aren't pooled, within these the n_embd values. Reshaped to (images, layers, \
                        n_embd), or (images, layers, positions, n_embd), the rows are the array again.\n\n\
                        Features are those of the shifted input, sos and the tokens but the last: position t has seen \
                        the pixels before t. A model of masked pixels is given all tokens in place, none of them \
                        masked.")]
pub(crate) struct Args {
    /// Model directory, or a run directory; without it the emoji model that comes with igpt
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Images to embed: train, validation, test or all
    #[arg(long, default_value_t = Split::All)]
    split: Split,
    /// Layers: all (the number of blocks and one), or numbers from 0 with commas between
    #[arg(long, value_name = "all|L,L", default_value_t = Layers::All)]
    layers: Layers,
    /// What becomes of the positions
    #[arg(long, value_enum, default_value_t = Pool::Mean)]
    pool: Pool,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Where the features go
    #[arg(long, value_name = "FILE.npy|csv|parquet", value_parser = table)]
    out: PathBuf,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Pool {
    /// The mean over positions, as in the paper
    Mean,
    /// The largest value over positions
    Max,
    /// The last position
    Last,
    /// Every position by itself
    None,
}

impl From<Pool> for Pooling {
    fn from(pool: Pool) -> Self {
        match pool {
            Pool::Mean => Pooling::Mean,
            Pool::Max => Pooling::Max,
            Pool::Last => Pooling::Last,
            Pool::None => Pooling::None,
        }
    }
}

fn table(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.extension().and_then(|e| e.to_str()) {
        Some(ending) if ENDINGS.contains(&ending) => Ok(path),
        _ => Err("the name must end in .npy, .csv or .parquet".into()),
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let name = args.model.as_ref().map(|model| model.display().to_string());
    ranks::among(|ranks| run_among(&args, ranks)).map_err(|error| error.of_model(name.as_deref().unwrap_or(BUNDLED)))
}

fn run_among(args: &Args, ranks: &mut Collective) -> Result<()> {
    let (pooling, precision) = (Pooling::from(args.pool), args.precision.get());
    let flags =
        json!({"split": args.split, "layers": args.layers.to_string(), "pool": pooling, "precision": precision});
    ranks::expect_same_command(ranks, precision, "embed", &flags)?;
    let model = match &args.model {
        Some(path) => open_model(path)?,
        None => ModelDir::bundled()?,
    };
    let layers = args.layers.of(model.config.n_layer)?;
    let (dataset, path) = (args.data.open_among(ranks)?, args.model.as_deref());
    let pictures = Pictures::of(dataset, &args.data.data, Some(args.split), path, OwnFolder::Marked)?;
    let Pictures { dataset, images, .. } = &pictures;
    expect_same_model(ranks, &model, &[images])?;
    let options = Options { threads: args.threads.threads, ..Options::inference(precision) };
    let mut engine = cpu::open(&model.config, &model.weights, options)?;
    let quantizer = Quantizer::new(model.palette);

    let n_embd = model.config.n_embd;
    let shape = match pooling {
        Pooling::None => vec![layers.len(), model.config.n_ctx(), n_embd],
        Pooling::Mean | Pooling::Max | Pooling::Last => vec![layers.len(), n_embd],
    };
    let mut file = if ranks.leads() { Some(Embeddings::create(&args.out, &shape)?) } else { None };
    let (mut count, total, values) = (0, images.len(), shape.iter().product());
    let mut take = |set: &TokenSet, features: &[f32]| {
        count += set.images();
        file.as_mut().map_or(Ok(()), |file| file.push(&entries(dataset, set, features, values)))
    };
    let leads = ranks.leads();
    let (damaged, time) = with_bar_if(leads, "embedding", |progress| {
        let mut progress = |images| progress(images, total);
        features_of_whole_among(ranks, &mut *engine, images, &quantizer, (&layers, pooling), &mut take, &mut progress)
    })?;
    let told = if leads { damaged.as_slice() } else { &[] };
    tell_damaged(told, count, &args.data.data)?;
    let Some(file) = file else { return Ok(()) };
    let files = file.finish()?;
    let seen = pictures.seen(images, &damaged);

    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let seconds = time.as_secs_f64();
    say!("{count} images of {} ({}) in {seconds:.1} s: {}", args.data.data, args.split, names.join(", "));
    if args.json.json {
        let shape: Vec<usize> = [&[count], &shape[..]].concat();
        print_json(&json!({
            "images": count,
            "shape": shape,
            "layers": layers,
            "pool": pooling,
            "precision": precision,
            "data": args.data.data,
            "split": args.split,
            "trained_on": seen.count(),
            "files": names,
            "damaged": damaged.iter().map(|image| &image.name).collect::<Vec<_>>(),
            "seconds": seconds,
            "images_per_second": count as f64 / seconds,
        }))?;
    }
    Ok(())
}

/// What a file holds of a run of images.
fn entries<'a>(dataset: &'a Dataset, set: &'a TokenSet, features: &'a [f32], values: usize) -> Vec<Entry<'a>> {
    let class = |label: Option<u32>| label.and_then(|label| dataset.classes.get(label as usize));
    let images = set.names.iter().zip(&set.labels).zip(features.chunks_exact(values));
    images
        .map(|((name, label), values)| Entry { name, label: class(*label).map_or("", String::as_str), values })
        .collect()
}
