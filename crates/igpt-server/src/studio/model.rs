//! Facts about the served model that need no computation.
//!
//! They are its sizes, palette and classes, example images, and the images among which neighbours are searched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use igpt::data::{Batch, Dataset, Preprocess, Split, tokenize};
use igpt::device::{Engine, EngineOptions, Pooling, Precision};
use igpt::evaluate::features;
use igpt::formats::png;
use igpt::formats::png::TextChunks;
use igpt::image::Pixels;
use igpt::inspect::{InspectionFit, Inspector};
use igpt::model::{ModelConfig, ModelDir, Objective, ParamLayout};
use igpt::palette::Quantizer;
use igpt::ranks::Collective;
use igpt::{Error, Result};
use serde::Serialize;
use utoipa::ToSchema;

use super::options::ServerLimits;

/// Number of examples that the page offers.
const EXAMPLES: usize = 12;

/// Served model, apart from its engine.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) config: ModelConfig,
    pub(crate) quantizer: Quantizer,
    pub(crate) classes: Vec<String>,
    /// Whether its classifier, if it has one, differs from the zeros with which fine-tuning starts.
    pub(crate) is_trained: bool,
    examples: Vec<Example>,
    pub(crate) neighbors: Option<Neighbors>,
    pub(crate) inspecting: Inspecting,
}

/// Inspection of pictures by the model's fit.
pub(crate) struct Inspecting {
    /// Inspector of the fit, if the model has one.
    pub(crate) inspector: Option<Inspector>,
    /// Whether the engine computes as when the fit was made, so that scores are equal to the command's to the bit.
    is_exact: bool,
}

impl Inspecting {
    /// Inspection with an engine of these options.
    pub(crate) fn new(fit: Option<InspectionFit>, model: &ModelDir, engine: &EngineOptions) -> Self {
        let inspector = fit.map(|fit| Inspector::new(fit, model, engine.threads));
        Self { inspector, is_exact: engine.precision == Precision::F32 }
    }

    /// Inspector, or the reason why there is none.
    pub(crate) fn inspector(&self) -> Result<&Inspector, &'static str> {
        match &self.inspector {
            None => Err(
                "the model has no fit to tell odd pictures by: run igpt inspect fit on good pictures, and start the \
                         server again",
            ),
            Some(_) if !self.is_exact => Err(
                "the model's fit was made with products in f32, and the server computes in another format: start it with \
                     --precision f32",
            ),
            Some(inspector) => Ok(inspector),
        }
    }
}

/// An image to begin with.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Example {
    name: String,
    /// A PNG file in base64, in the model's palette and size.
    png: String,
    /// Its tokens in raster order.
    tokens: Vec<u16>,
}

/// Images among which neighbours are searched, with their features.
pub(crate) struct Neighbors {
    /// Layer whose features are compared.
    layer: usize,
    /// Features of length 1, (images, n_embd).
    features: Vec<f32>,
    /// Mean that is subtracted from features before they are compared.
    mean: Vec<f32>,
    images: Vec<(String, Option<String>, Vec<u16>)>,
}

/// A model and what it can do.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelFacts {
    /// Its name.
    name: String,
    /// What it predicts: the next pixel, or masked ones.
    #[schema(value_type = String)]
    objective: Objective,
    /// Trainable parameters.
    parameters: usize,
    /// Blocks.
    n_layer: usize,
    /// Channels of the residual stream.
    n_embd: usize,
    /// Heads of a block.
    n_head: usize,
    /// Pixels of a column.
    height: usize,
    /// Pixels of a row.
    width: usize,
    /// 1 for a palette of greys, otherwise 3.
    channels: usize,
    /// Colours.
    n_vocab: usize,
    /// Every colour as `#rrggbb`, by token.
    palette: Vec<String>,
    /// Names of a classifier's classes.
    classes: Option<Vec<String>>,
    /// What can be asked of it.
    can: Abilities,
    /// The most that a request may ask for.
    limits: Most,
    /// Images to begin with.
    examples: Vec<Example>,
    /// The images among which neighbours are found, if there are any.
    neighbors: Option<NeighborFacts>,
}

/// What can be asked of a model.
#[derive(Serialize, ToSchema)]
struct Abilities {
    sample: bool,
    complete: bool,
    score: bool,
    embed: bool,
    classify: bool,
    neighbors: bool,
    inspect: bool,
}

/// The most that a request may ask for.
#[derive(Serialize, ToSchema)]
struct Most {
    completions: usize,
    candidates: usize,
    images: usize,
}

/// The images among which neighbours are found.
#[derive(Serialize, ToSchema)]
struct NeighborFacts {
    images: usize,
}

/// One of the nearest images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Neighbor {
    /// Its file's name, without folders.
    name: String,
    /// Its class, if known.
    label: Option<String>,
    /// Cosine of the angle between the features.
    similarity: f32,
    /// A PNG file in base64.
    png: String,
}

impl Served {
    pub(crate) fn new(
        model: ModelDir,
        name: String,
        engine: &mut dyn Engine,
        (examples, neighbors, inspecting): (Option<Dataset>, Option<Dataset>, Inspecting),
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let classes = model.classes();
        let layout = ParamLayout::new(&model.config);
        let head = layout.tensor("score.weight").map(|score| model.weights[score.range()].to_vec());
        let is_trained = head.is_none_or(|head| head.iter().any(|weight| *weight != 0.0));
        let quantizer = Quantizer::new(model.palette);
        let config = model.config;
        let (examples_of, neighbors_of) = (examples, neighbors);
        let (examples, neighbors) = (Vec::new(), None);
        let mut served = Self { name, config, quantizer, classes, is_trained, examples, neighbors, inspecting };
        if let Some(dataset) = examples_of {
            let images = dataset.split(Split::Test)?.spread(EXAMPLES);
            let set = tokenize(&images, served.config.n_px, &served.quantizer)?;
            let example = |i: usize| {
                let tokens = set.image(i).to_vec();
                Example { name: base_name(&set.names[i]), png: served.png(&tokens), tokens }
            };
            served.examples = (0..set.images()).map(example).collect();
        }
        if let Some(dataset) = neighbors_of {
            served.neighbors = Some(Neighbors::embed(engine, &served.quantizer, &dataset, progress)?);
        }
        Ok(served)
    }

    /// Converts an image of any size to tokens; if the model's processor doesn't scale, only an image of the model's
    /// size.
    pub(crate) fn tokens(&self, pixels: &Pixels) -> igpt::Result<Vec<u16>> {
        let preprocess = Preprocess::of(self.quantizer.palette(), self.config.n_px);
        let mut tokens = vec![0; self.config.n_ctx()];
        self.quantizer.tokens(&preprocess.evaluation(pixels)?, &mut tokens);
        Ok(tokens)
    }

    /// Encodes tokens as a PNG file in base64.
    pub(crate) fn png(&self, tokens: &[u16]) -> String {
        let image = self.quantizer.pixels(tokens, self.config.n_px);
        STANDARD.encode(png::encode(&image, &TextChunks::new("Image")))
    }

    pub(crate) fn is_autoregressive(&self) -> bool {
        self.config.objective == Objective::Autoregressive
    }

    pub(crate) fn facts(&self, limits: &ServerLimits, rows: usize) -> ModelFacts {
        let Self { config, quantizer, classes, neighbors, .. } = self;
        let palette = quantizer.palette();
        let color = |token: usize| {
            let [r, g, b] = palette.bytes(token as u16);
            format!("#{r:02x}{g:02x}{b:02x}")
        };
        let draws = self.is_autoregressive();
        ModelFacts {
            name: self.name.clone(),
            objective: config.objective,
            parameters: config.parameters(),
            n_layer: config.n_layer,
            n_embd: config.n_embd,
            n_head: config.n_head,
            height: config.n_px.height,
            width: config.n_px.width,
            channels: palette.channels(),
            n_vocab: config.n_vocab,
            palette: (0..config.n_vocab).map(color).collect(),
            classes: (!classes.is_empty()).then(|| classes.clone()),
            can: Abilities {
                sample: true,
                complete: true,
                score: draws,
                embed: true,
                classify: !classes.is_empty() && self.is_trained,
                neighbors: neighbors.is_some(),
                inspect: draws && self.inspecting.inspector().is_ok(),
            },
            limits: Most { completions: limits.images, candidates: rows.max(1), images: limits.images },
            examples: self.examples.clone(),
            neighbors: neighbors.as_ref().map(|neighbors| NeighborFacts { images: neighbors.images.len() }),
        }
    }

    /// The `k` nearest neighbours of an image with these features.
    pub(crate) fn nearest(&self, neighbors: &Neighbors, features: &[f32], k: usize) -> Vec<Neighbor> {
        let found = neighbors.nearest(features, k).into_iter();
        let neighbor = |(i, similarity): (usize, f32)| {
            let (name, label, tokens) = &neighbors.images[i];
            Neighbor { name: name.clone(), label: label.clone(), similarity, png: self.png(tokens) }
        };
        found.map(neighbor).collect()
    }
}

impl Neighbors {
    /// Computes features of all images of `dataset`, at the layer in the network's middle.
    fn embed(
        engine: &mut dyn Engine,
        quantizer: &Quantizer,
        dataset: &Dataset,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let (layer, n_embd) = (engine.config().n_layer / 2, engine.config().n_embd);
        let all = dataset.split(Split::All)?;
        let (mut values, mut images) = (Vec::with_capacity(all.len() * n_embd), Vec::with_capacity(all.len()));
        let mut take = |set: &igpt::data::TokenSet, features: &[f32]| {
            if let Some(at) = features.iter().position(|value| !value.is_finite()) {
                let image = base_name(&set.names[at / n_embd]);
                return Err(Error::Invalid(format!(
                    "the model's features of {image} are no numbers ({}): its weights are damaged",
                    features[at]
                )));
            }
            values.extend_from_slice(features);
            images.extend((0..set.images()).map(|i| {
                let label = set.labels[i].and_then(|label| dataset.classes.get(label as usize).cloned());
                (base_name(&set.names[i]), label, set.image(i).to_vec())
            }));
            Ok(())
        };
        features(
            &mut Collective::solo(),
            engine,
            &all,
            quantizer,
            (&[layer], Pooling::Mean),
            &mut take,
            &mut |done| progress(done, all.len()),
        )?;
        let n = images.len() as f32;
        let mut mean = vec![0.0; n_embd];
        values.iter().zip((0..n_embd).cycle()).for_each(|(value, c)| mean[c] += value / n);
        values.chunks_exact_mut(n_embd).for_each(|features| center(features, &mean));
        Ok(Self { layer, features: values, mean, images })
    }

    /// Computes the features of one image, for comparison with these.
    pub(crate) fn features(layer: usize, engine: &mut dyn Engine, tokens: Vec<u16>) -> Result<Vec<f32>> {
        let batch = Batch::new(tokens, engine.config().n_ctx());
        let mut features = vec![0.0; engine.config().n_embd];
        engine.features(&batch, &[layer], Pooling::Mean, &mut features)?;
        Ok(features)
    }

    pub(crate) fn layer(&self) -> usize {
        self.layer
    }

    /// Indices and cosines of the `k` nearest images, the nearest first.
    fn nearest(&self, features: &[f32], k: usize) -> Vec<(usize, f32)> {
        let mut point = features.to_vec();
        center(&mut point, &self.mean);
        let cosine = |other: &[f32]| point.iter().zip(other).map(|(a, b)| a * b).sum();
        let mut all: Vec<(usize, f32)> = self.features.chunks_exact(point.len()).map(cosine).enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }
}

/// Subtracts the mean and scales to length 1.
fn center(features: &mut [f32], mean: &[f32]) {
    features.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
    let length = features.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        features.iter_mut().for_each(|value| *value /= length);
    }
}

/// Removes the folders from a name: no path leaves this machine.
fn base_name(name: &str) -> String {
    name.rsplit(['/', '\\']).next().unwrap_or(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_those_of_the_smallest_angle_to_the_mean() {
        let mut features = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.1];
        let mean = vec![0.0, 0.0];
        features.chunks_exact_mut(2).for_each(|features| center(features, &mean));
        let images = ["a", "b", "c"].map(|name| (name.to_string(), None, Vec::new())).to_vec();
        let neighbors = Neighbors { layer: 0, features, mean, images };
        let found = neighbors.nearest(&[3.0, 1.0], 2);
        assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1]);
        assert!((found[0].1 - 3.0 / 10f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn names_lose_their_folders() {
        for name in ["cat.png", "/home/me/cat.png", "cats\\cat.png", "a/b/cat.png"] {
            assert_eq!(base_name(name), "cat.png");
        }
    }
}
