//! `igpt audit`: has the model memorised its training images?

use std::fmt::Write;
use std::path::PathBuf;

use igpt::data::{self, Images, Split, TokenSet};
use igpt::device::{Engine, Pooling, Precision, expect_finite, name_suspect_weight};
use igpt::evaluate::{Likelihood, NearestNeighbor, Vectors, likelihood, nearest};
use igpt::formats::png;
use igpt::generate::{SamplingSettings, expect_room, sample};
use igpt::image::{Pixels, grid, readable_scale};

use igpt::formats::png::TextChunks;
use igpt::machine::expect_memory;
use igpt::palette::Quantizer;
use igpt::ranks::Collective;
use igpt::report::csv_field;
use igpt::stats::quantile;
use igpt::{Error, Result, files};
use igpt_kernels::pool::Pool;
use serde::Serialize;
use serde_json::{Value, json};

use super::drawing::with_bar;
use crate::model_args::{EngineArgs, ModelArgs, expect_autoregressive};
use crate::output::{print_json, say};
use crate::shared::{DataArgs, JsonArgs, SeedArgs};

/// A sample as near to a training image as this share of the held-out images is suspicious.
const SUSPICIOUS: f64 = 0.01;
/// Triples of sample and nearest images in a row of the picture.
const TRIPLES: usize = 3;

/// Flags of `igpt audit`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt audit --model runs/fashion --data fashion-mnist --out audit\n\n\
                        Each sample's nearest training image is looked for by pixels and by the features of a middle \
                        layer. What is near is told by held-out images, which the model cannot have copied: samples \
                        that come nearer than they do are suspicious.\n\n\
                        Only --train-images N of the training images are searched, 10,000 unless said: a copy of \
                        another one is not found. --train-images 0 searches all of them.\n\n\
                        --out gets nearest.png, which shows sample, nearest by pixels, nearest by features, and \
                        nearest.csv with number, name and distance of these images; --json has the same under \
                        \"nearest\". A number counts the images of --split all from 0. A distance is the root of the \
                        mean squared difference: of pixel values from 0 to 255, or of features in standard deviations \
                        of the training images.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Samples to draw
    #[arg(short = 'n', long = "samples", value_name = "N", default_value_t = 36)]
    samples: usize,
    /// Training images to look among, spread evenly over the train split; 0 looks among all
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    train_images: usize,
    /// Held-out images to compare with, from the validation split, and training images for the gap of likelihoods
    #[arg(long, value_name = "N", default_value_t = 500)]
    held_out: usize,
    /// Layer of the features; the middle one if not said
    #[arg(long, value_name = "L")]
    layer: Option<usize>,
    /// Folder for the picture and the table
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// The training image nearest to a sample.
#[derive(Serialize)]
struct Neighbor<'a> {
    /// Its number among all images of the data set.
    image: u32,
    name: &'a str,
    distance: f64,
}

/// A sample's nearest training images.
#[derive(Serialize)]
struct Neighbors<'a> {
    sample: usize,
    pixels: Neighbor<'a>,
    features: Neighbor<'a>,
}

/// Images as they are compared.
struct Space {
    name: &'static str,
    unit: &'static str,
    /// The nearest training image of each sample and of each held-out image.
    samples: Vec<NearestNeighbor>,
    held_out: Vec<NearestNeighbor>,
}

impl Space {
    fn of(name: &'static str, unit: &'static str, [train, samples, held_out]: [Vectors; 3], pool: &Pool) -> Self {
        Self { name, unit, samples: nearest(&samples, &train, pool), held_out: nearest(&held_out, &train, pool) }
    }

    fn distances(found: &[NearestNeighbor]) -> Vec<f64> {
        found.iter().map(|nearest| nearest.distance).collect()
    }

    /// Median distances of samples and of held-out images.
    fn medians(&self) -> [f64; 2] {
        [&self.samples, &self.held_out].map(|found| quantile(&Self::distances(found), 0.5).unwrap_or(f64::NAN))
    }

    /// Samples that are as near as the nearest [`SUSPICIOUS`] of the held-out images.
    fn suspicious(&self) -> usize {
        let threshold = quantile(&Self::distances(&self.held_out), SUSPICIOUS).unwrap_or(0.0);
        self.samples.iter().filter(|nearest| nearest.distance <= threshold).count()
    }

    /// Samples that are a training image.
    fn copies(&self) -> usize {
        self.samples.iter().filter(|nearest| nearest.distance == 0.0).count()
    }

    fn json(&self) -> Value {
        let [samples, held_out] = self.medians();
        json!({
            "median_distance": samples,
            "held_out_median_distance": held_out,
            "suspicious": self.suspicious(),
            "copies": self.copies(),
        })
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    if args.samples == 0 || args.held_out == 0 {
        return Err(Error::Invalid("-n and --held-out must be at least 1".into()));
    }
    let (model, name) = (args.model.open()?, args.model.name());
    expect_autoregressive(&model, &name)?;
    let n_px = model.config.n_px;
    let layer = args.layer.unwrap_or(model.config.n_layer / 2);
    if layer > model.config.n_layer {
        return Err(Error::Invalid(format!("--layer {layer}: the model has 0 to {}", model.config.n_layer)));
    }
    let dataset = args.data.open()?;
    let train = dataset.split(Split::Train)?;
    let train = if args.train_images > 0 { train.spread(args.train_images) } else { train };
    let held_out = dataset.split(Split::Validation)?.spread(args.held_out);
    let mut opened = args.engine.open(model, Precision::F32, None)?;
    let (model, quantizer, engine) = opened.parts();

    expect_room(&model.config, args.samples, 1)?;
    let scale = readable_scale(n_px);
    let cells = 3 * args.samples as u64;
    let each = (3 + 6 * scale * scale) * n_px.pixels() + 8 * model.config.n_embd;
    expect_memory(cells.saturating_mul(each as u64), || format!("a picture of {} samples", args.samples))?;
    let settings = SamplingSettings::default().seed(args.seed.seed);
    let samples = draw(engine, args.samples, &settings).map_err(|error| error.of_model(&name))?;
    let sets = [data::tokenize(&train, n_px, quantizer)?, samples, data::tokenize(&held_out, n_px, quantizer)?];
    let gap = gap(engine, &sets, quantizer.palette().channels(), args.held_out);
    let gap = gap.map_err(|error| error.of_model(&name))?;

    let pool = Pool::new(Pool::thread_count(args.engine.threads()));
    let pixels = Space::of("pixels", "of 255", sets.each_ref().map(|set| Vectors::of_pixels(set, quantizer)), &pool);
    let found = points(engine, &sets, layer).map_err(|error| error.of_model(&name))?;
    let features = Space::of("features", "deviations", found, &pool);
    let spaces = [pixels, features];
    let neighbors = neighbors(&numbers(&train, &sets[0]), &sets[0], &spaces);
    if let Some(out) = &args.out {
        let text = TextChunks::new("Samples and their nearest training images")
            .with_all(settings.lines())
            .with("Model", &name);
        png::save(out.join("nearest.png"), &picture(&sets, &spaces, quantizer), &text)?;
        files::write(&out.join("nearest.csv"), csv(&neighbors).as_bytes())?;
    }
    tell(&args, &name, sets[0].images(), &gap, &spaces);
    if args.json.json {
        print_json(&json!({
            "samples": args.samples,
            "train_images": sets[0].images(),
            "held_out_images": sets[2].images(),
            "layer": layer,
            "train_nats_per_token": gap[0].nats_per_token,
            "held_out_nats_per_token": gap[1].nats_per_token,
            "gap": share(&gap),
            "pixels": spaces[0].json(),
            "features": spaces[1].json(),
            "nearest": neighbors,
            "seed": args.seed.seed,
            "model": name,
            "data": args.data.data,
            "out": args.out,
        }))?;
    }
    Ok(())
}

/// `count` images by the model.
fn draw(engine: &dyn Engine, count: usize, settings: &SamplingSettings) -> Result<TokenSet> {
    let (drawn, _) = with_bar("drawing", |progress| sample(engine, count, 0, settings, 0, progress))?;
    Ok(TokenSet {
        tokens: drawn.concat(),
        n_px: engine.config().n_px,
        labels: vec![None; count],
        names: (0..count).map(|i| format!("sample {i}")).collect(),
        damaged: Vec::new(),
    })
}

/// Numbers in the data set of the images of `set`, which are those of `images` that could be decoded.
fn numbers(images: &Images, set: &TokenSet) -> Vec<u32> {
    let mut decoded = set.names.iter().peekable();
    let numbers = images.indices();
    let was_decoded = |i: &usize| decoded.next_if(|name| **name == images.name(*i)).is_some();
    (0..images.len()).filter(was_decoded).map(|i| numbers[i]).collect()
}

/// The nearest training images of each sample; `numbers` are those of the images of `train`.
fn neighbors<'a>(numbers: &[u32], train: &'a TokenSet, spaces: &[Space; 2]) -> Vec<Neighbors<'a>> {
    let neighbor = |&NearestNeighbor { image, distance }: &NearestNeighbor| Neighbor {
        image: numbers[image],
        name: &train.names[image],
        distance,
    };
    let [pixels, features] = spaces;
    let both = pixels.samples.iter().zip(&features.samples).enumerate();
    both.map(|(sample, (pixels, features))| Neighbors {
        sample,
        pixels: neighbor(pixels),
        features: neighbor(features),
    })
    .collect()
}

/// A line for each sample.
fn csv(neighbors: &[Neighbors<'_>]) -> String {
    let columns = ["pixels", "features"].map(|space| format!(",{space}_image,{space}_name,{space}_distance"));
    let mut text = format!("sample{}\n", columns.concat());
    for Neighbors { sample, pixels, features } in neighbors {
        let [pixels, features] = [pixels, features]
            .map(|Neighbor { image, name, distance }| format!("{image},{},{distance:.4}", csv_field(name)));
        let _ = writeln!(text, "{sample},{pixels},{features}");
    }
    text
}

fn tell(args: &Args, model: &str, train_images: usize, gap: &[Likelihood; 2], spaces: &[Space; 2]) {
    let (samples, [trained, unseen]) = (args.samples, gap);
    say!("{model}: {samples} samples of seed {} against {train_images} training images", args.seed.seed);
    say!(
        "likelihood  {:.4} nats/pixel on {} training images, {:.4} on {} held-out ones: a gap of {:.1} %",
        trained.nats_per_token,
        trained.images,
        unseen.nats_per_token,
        unseen.images,
        100.0 * share(gap)
    );
    for space in spaces {
        let [median, held_out] = space.medians();
        say!(
            "{:<11} nearest training image at {median:.2} {} (median), of held-out images at {held_out:.2}: {} of \
             {samples} samples as near as the nearest 1 % of these",
            space.name,
            space.unit,
            space.suspicious()
        );
    }
    say!("{}", verdict(spaces, gap));
    if let Some(out) = &args.out {
        say!("each sample's nearest training images: nearest.png and nearest.csv in {}", out.display());
    }
}

/// The likelihood of as many training as held-out images.
fn gap(engine: &mut dyn Engine, sets: &[TokenSet; 3], channels: usize, most: usize) -> Result<[Likelihood; 2]> {
    let [train, _, held_out] = sets;
    let n = most.min(train.images());
    let mut some = TokenSet { tokens: Vec::new(), labels: Vec::new(), names: Vec::new(), ..train.clone() };
    for i in (0..n).map(|i| i * train.images() / n) {
        some.tokens.extend_from_slice(train.image(i));
        some.labels.push(train.labels[i]);
        some.names.push(train.names[i].clone());
    }
    let mut score = |set: &TokenSet| likelihood(&mut Collective::solo(), engine, set, channels, &mut |_| ());
    Ok([score(&some)?, score(held_out)?])
}

/// How much better training images are known than held-out ones.
fn share([trained, unseen]: &[Likelihood; 2]) -> f64 {
    1.0 - trained.nats_per_token / unseen.nats_per_token
}

fn verdict(spaces: &[Space; 2], gap: &[Likelihood; 2]) -> &'static str {
    // By chance 1 % of the samples are suspicious; five times that, and more than one, is not chance.
    let near = spaces.iter().any(|space| space.suspicious() > 1.max(space.samples.len() / 20));
    match (spaces[0].copies() > 0, near, share(gap) > 0.1) {
        (true, ..) => "some samples are training images, pixel by pixel: see whether unseen images are, too",
        (_, true, _) => "some samples are nearer to training images than unseen images are: it copies",
        (.., true) => {
            "it knows its training images better than others, but its samples are not copies of those searched"
        }
        _ => "no sign of memorising among the training images searched",
    }
}

/// Features of all images in deviations of the training images'.
fn points(engine: &mut dyn Engine, sets: &[TokenSet; 3], layer: usize) -> Result<[Vectors; 3]> {
    let dim = engine.config().n_embd;
    let mut all = sets.each_ref().map(|set| Vectors { dim, values: vec![0.0; set.images() * dim] });
    let total: usize = sets.iter().map(TokenSet::images).sum();
    with_bar("features", |progress| {
        let mut done = 0;
        for (set, points) in sets.iter().zip(&mut all) {
            for (run, out) in points.values.chunks_mut(64 * dim).enumerate() {
                let images = run * 64..run * 64 + out.len() / dim;
                done += images.len();
                engine.features(&set.batch(images.clone()), &[layer], Pooling::Mean, out)?;
                for (name, values) in set.names[images].iter().zip(out.chunks_exact(dim)) {
                    expect_finite(values, "a feature", || name.clone())
                        .map_err(|error| name_suspect_weight(engine, error))?;
                }
                progress(done, total);
            }
        }
        Ok(())
    })?;
    let moments = all[0].moments();
    all.iter_mut().for_each(|points| points.standardize(&moments));
    Ok(all)
}

/// Each sample beside its nearest training images.
fn picture(sets: &[TokenSet; 3], spaces: &[Space; 2], quantizer: &Quantizer) -> Pixels {
    let [train, samples, _] = sets;
    let show = |set: &TokenSet, i: usize| quantizer.pixels(set.image(i), set.n_px);
    let triple = |i: usize| {
        let nearest = spaces.each_ref().map(|space| show(train, space.samples[i].image));
        std::iter::once(show(samples, i)).chain(nearest)
    };
    let cells: Vec<_> = (0..samples.images()).flat_map(triple).collect();
    grid(&cells, 3 * TRIPLES, readable_scale(samples.n_px))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use igpt::data::PackedSource;
    use igpt::image::ImageSize;

    use super::*;

    #[test]
    fn damaged_images_do_not_shift_the_numbers_of_those_behind_them() {
        let mut source = PackedSource::new(ImageSize::square(8), 1);
        source.push_file("train", &[0; 6 * 64], [0; 6]);
        let images = Images::new(Arc::new(source), vec![5, 1, 3, 4]);
        let names = ["train/00005", "train/00003", "train/00004"].map(String::from).to_vec();
        let n_px = ImageSize::square(8);
        let set = TokenSet { tokens: vec![0; 3 * 64], n_px, labels: vec![None; 3], names, damaged: Vec::new() };
        assert_eq!(numbers(&images, &set), [5, 3, 4]);
    }
}
