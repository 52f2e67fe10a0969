//! `igpt embed`: the network's features of images, as an array or a table.

use std::path::PathBuf;

use igpt::Result;
use igpt::data::{Dataset, Split, TokenSet};
use igpt::device::Pooling;
use igpt::evaluate::{Layers, features_of_whole};
use igpt::ranks::{Collective, expect_same_model};
use igpt::report::EMBEDDING_ENDINGS;
use igpt::report::{EmbeddingEntry, EmbeddingsWriter};
use serde_json::json;

use super::drawing::with_bar_if;
use super::pictures::{OwnFolder, Pictures, tell_damaged};
use crate::model_args::{EngineArgs, ModelArgs, PrecisionArgs};
use crate::named::{described, parsed};
use crate::output::{print_json, say};
use crate::ranks;
use crate::shared::{DataArgs, JsonArgs, ending_in};

/// What may become of the positions.
const POOLS: [(Pooling, &str); 4] = [
    (Pooling::Mean, "The mean over positions, as in the paper"),
    (Pooling::Max, "The largest value over positions"),
    (Pooling::Last, "The last position"),
    (Pooling::None, "Every position by itself"),
];

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
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Images to embed: train, validation, test or all
    #[arg(long, value_parser = parsed::<Split>(&Split::NAMES), default_value_t = Split::All)]
    split: Split,
    /// Layers: all (the number of blocks and one), or numbers from 0 with commas between
    #[arg(long, value_name = "all|L,L", default_value_t = Layers::All)]
    layers: Layers,
    /// What becomes of the positions
    #[arg(long, value_parser = described(&POOLS, Pooling::name), default_value = Pooling::Mean.name())]
    pool: Pooling,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Where the features go
    #[arg(long, value_name = "FILE.npy|csv|parquet", value_parser = ending_in(&EMBEDDING_ENDINGS))]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    ranks::among(|ranks| run_among(&args, ranks)).map_err(|error| error.of_model(args.model.name()))
}

fn run_among(args: &Args, ranks: &mut Collective) -> Result<()> {
    let (pooling, precision) = (args.pool, args.precision.precision);
    let flags =
        json!({"split": args.split, "layers": args.layers.to_string(), "pool": pooling, "precision": precision});
    ranks::expect_same_command(ranks, args.engine.device(), "embed", &flags)?;
    let model = args.model.open()?;
    let layers = args.layers.of(model.config.n_layer)?;
    let (dataset, path) = (args.data.open_among(ranks)?, args.model.path());
    let pictures = Pictures::of(dataset, &args.data.data, Some(args.split), path, OwnFolder::Marked)?;
    let Pictures { dataset, images, .. } = &pictures;
    expect_same_model(ranks, &model, &[images])?;
    let mut opened = args.engine.open(model, precision, None)?;
    let (model, quantizer, engine) = opened.parts();

    let n_embd = model.config.n_embd;
    let shape = match pooling {
        Pooling::None => vec![layers.len(), model.config.n_ctx(), n_embd],
        Pooling::Mean | Pooling::Max | Pooling::Last => vec![layers.len(), n_embd],
    };
    let mut file = if ranks.is_leader() { Some(EmbeddingsWriter::create(&args.out, &shape)?) } else { None };
    let (mut count, total, values) = (0, images.len(), shape.iter().product());
    let mut take = |set: &TokenSet, features: &[f32]| {
        count += set.images();
        file.as_mut().map_or(Ok(()), |file| file.push(&entries(dataset, set, features, values)))
    };
    let leads = ranks.is_leader();
    let (damaged, time) = with_bar_if(leads, "embedding", |progress| {
        let mut progress = |images| progress(images, total);
        features_of_whole(ranks, engine, images, quantizer, (&layers, pooling), &mut take, &mut progress)
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
fn entries<'a>(dataset: &'a Dataset, set: &'a TokenSet, features: &'a [f32], values: usize) -> Vec<EmbeddingEntry<'a>> {
    let class = |label: Option<u32>| label.and_then(|label| dataset.classes.get(label as usize));
    let images = set.names.iter().zip(&set.labels).zip(features.chunks_exact(values));
    images
        .map(|((name, label), values)| EmbeddingEntry { name, label: class(*label).map_or("", String::as_str), values })
        .collect()
}
