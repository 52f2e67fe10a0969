//! What the demo finds out about a trained model: its likelihood beside the baselines', and its pictures.

use igpt::Result;
use igpt::data::{Images, TokenSet, tokenize};
use igpt::evaluate::{BaselineScores, Baselines, Likelihood, likelihood};
use igpt::generate::{Settings, complete, sample};
use igpt::model::Engine;
use igpt::palette::{Distortion, Histogram, Quantizer};
use igpt::report::not_given;
use igpt::report::page::Completion;

use crate::verbs::drawing::with_bar;

/// Images drawn from nothing: fills rows of 6 and of 8.
const SAMPLES: usize = 48;
/// Images completed, and completions of each.
const COMPLETED: usize = 12;
const ATTEMPTS: usize = 4;
/// Samples in the animation.
pub(super) const ANIMATED: usize = 8;

/// Everything measured and drawn after training.
pub(super) struct Findings {
    pub likelihood: Likelihood,
    pub baselines: BaselineScores,
    pub distortion: Distortion,
    pub settings: Settings,
    /// Token sequences drawn from nothing.
    pub samples: Vec<Vec<u16>>,
    pub completions: Vec<Completion>,
    /// Rows given to the completions.
    pub rows: usize,
}

impl Findings {
    /// Scores the test split with the model and with baselines fitted on the same tokens of the training split, and
    /// draws.
    pub(super) fn gather(
        engine: &mut dyn Engine,
        quantizer: &Quantizer,
        train: &Images,
        test: &Images,
        seed: u64,
    ) -> Result<Self> {
        let size = engine.config().n_px;
        let train = tokenize(train, size, quantizer)?;
        let tokens = tokenize(test, size, quantizer)?;
        let baselines = Baselines::fit(&train, quantizer.palette().n_vocab()).score(&tokens);
        let channels = quantizer.palette().channels();
        let (likelihood, _) = with_bar("scoring", |progress| {
            likelihood(engine, &tokens, channels, &mut |done| progress(done, tokens.images()))
        })?;
        let (histogram, _) = Histogram::of_images(test, Some(size), channels, None, 0)?;
        let distortion = Distortion::of(&histogram, quantizer);

        let settings = Settings { seed, ..Settings::default() };
        let (samples, _) = with_bar("drawing", |progress| sample(engine, SAMPLES, 0, &settings, 0, progress))?;
        let rows = size.height / 2;
        let completions = completions(engine, quantizer, &tokens, rows, &settings)?;
        Ok(Self { likelihood, baselines, distortion, settings, samples, completions, rows })
    }

    /// The lowest of the baselines: (name, nats per token).
    pub(super) fn best_baseline(&self) -> (&'static str, f64) {
        let BaselineScores { uniform, unigram, context, .. } = self.baselines;
        let scores = [("uniform", uniform), ("unigram", unigram), ("context", context)];
        scores.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are three")
    }

    /// Nats per token with the half of its 95 % interval over images.
    pub(super) fn with_interval(&self) -> String {
        let nats = self.likelihood.nats_per_token;
        match self.likelihood.interval95 {
            // The interval is one of nats per image.
            Some([low, high]) => {
                let reach = (high - low) / 2.0 * nats / self.likelihood.nats_per_image;
                format!("{nats:.4} ± {reach:.4}")
            }
            None => format!("{nats:.4}"),
        }
    }

    /// How far below the best baseline the model is, as a share of it.
    pub(super) fn lead(&self) -> f64 {
        1.0 - self.likelihood.nats_per_token / self.best_baseline().1
    }
}

/// Completes images that are spread evenly over the split, so that variants of one picture don't crowd out others.
fn completions(
    engine: &dyn Engine,
    quantizer: &Quantizer,
    tokens: &TokenSet,
    rows: usize,
    settings: &Settings,
) -> Result<Vec<Completion>> {
    let size = engine.config().n_px;
    let given = rows * size.width;
    let n = COMPLETED.min(tokens.images());
    let chosen: Vec<usize> = (0..n).map(|i| i * tokens.images() / n).collect();
    let starts: Vec<&[u16]> = chosen.iter().map(|&i| &tokens.image(i)[..given]).collect();
    let (drawn, _) = with_bar("completing", |progress| complete(engine, &starts, 0, ATTEMPTS, settings, 0, progress))?;
    let show = |tokens: &[u16]| quantizer.pixels(tokens, size);
    let completion = |(&i, drawn): (&usize, &Vec<Vec<u16>>)| {
        let original = show(tokens.image(i));
        Completion {
            name: tokens.names[i].clone(),
            input: not_given(&original, given),
            completions: drawn.iter().map(|tokens| show(tokens)).collect(),
            original,
        }
    };
    Ok(chosen.iter().zip(&drawn).map(completion).collect())
}
