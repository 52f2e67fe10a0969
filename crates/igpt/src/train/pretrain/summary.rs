//! Summary of a pretraining run, and the card of its model.

use std::path::PathBuf;

use serde::Serialize;

use crate::evaluate::{TrainingCourse, Verdict, VerdictContext};
use crate::model::{ModelCard, ModelConfig, Objective};
use crate::palette::Palette;
use crate::train::config::{DataSettings, OptimizerSettings, RunConfig};
use crate::train::run::baselines::RunBaselines;
use crate::train::run::dir::RunDir;
use crate::train::trainer::ema;
use crate::train::trainer::rows::bits_per_dim;
use crate::train::trainer::steps::TrainOutcome;
use crate::train::trainer::time_spent::TimeSpent;

/// Results of a pretraining run: losses, baselines, times and paths.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PretrainSummary {
    /// Optimizer steps taken, including earlier sessions.
    pub steps: u64,
    /// Whether the run was stopped from outside before its end.
    pub stopped: bool,
    /// Training objective: next pixel or masked pixels.
    pub objective: Objective,
    /// Training loss of the last step's batch, in nats per token.
    pub train_loss: Option<f64>,
    /// Whether early stopping ended the run before its budget, since the validation loss no longer fell.
    pub ended_early: bool,
    /// Validation loss of the finished model, in nats per token.
    pub validation_loss: Option<f64>,
    /// Validation loss of the finished model, in bits per dim.
    pub bits_per_dim: Option<f64>,
    /// Lowest validation loss, in nats per token.
    pub best_validation_loss: Option<f64>,
    /// Step with the lowest validation loss.
    pub best_step: Option<u64>,
    /// Step whose weights the finished model has.
    pub kept_step: u64,
    /// Tokens trained on, including earlier sessions.
    pub tokens: u64,
    /// Seconds of training, including earlier sessions, validations, samples and checkpoints.
    pub seconds: f64,
    /// Seconds of training by activity.
    pub seconds_by_part: TimeSpent,
    /// Tokens trained on per second since this start or resume.
    pub tokens_per_second: f64,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Number of colours of the palette.
    pub n_vocab: usize,
    /// Number of images that could not be decoded.
    pub damaged_images: usize,
    /// N-gram baselines on the same validation images; only for an autoregressive run with such images.
    pub baselines: Option<RunBaselines>,
    /// Comparison of the finished model with the baselines, with advice if it is worse.
    pub verdict: Option<Verdict>,
    /// Path of the run directory.
    #[serde(rename = "run")]
    pub run_dir: PathBuf,
    /// Path of the model directory in the run directory.
    #[serde(rename = "model")]
    pub model_dir: PathBuf,
    /// Path of the newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl PretrainSummary {
    /// Notes that the finished model has the weights of `step`, whose validation loss was `loss`.
    pub(super) fn kept(&mut self, step: u64, loss: f64, channels: usize) {
        self.kept_step = step;
        (self.validation_loss, self.bits_per_dim) = (Some(loss), Some(bits_per_dim(loss, channels)));
    }

    /// Compares the finished model with `baselines` and saves them in the run; `last` is the last validation loss.
    pub(super) fn judge(
        &mut self,
        baselines: RunBaselines,
        (network, data): (&ModelConfig, &DataSettings),
        last: Option<f64>,
        run: &RunDir,
    ) {
        let course = TrainingCourse {
            lowest: self.best_validation_loss,
            last,
            ended_early: self.ended_early,
            augmented: data.augments(),
        };
        let circumstances = VerdictContext { n_px: network.n_px, n_vocab: network.n_vocab, course };
        self.verdict = self.validation_loss.map(|loss| Verdict::new(loss, &baselines.scores, &circumstances));
        self.baselines = Some(baselines);
        if let Err(error) = baselines.save(run) {
            run.log(&format!("warning: the baselines are not kept: {error}"));
        }
    }
}

pub(super) fn summary(
    run: &RunDir,
    config: &RunConfig,
    network: &ModelConfig,
    palette: &Palette,
    outcome: &TrainOutcome,
    damaged_images: usize,
) -> PretrainSummary {
    let tokens = |steps: u64| steps * (config.train.batch * network.n_ctx()) as u64;
    let (seconds, steps) = outcome.session;
    PretrainSummary {
        steps: outcome.step,
        stopped: outcome.stopped,
        ended_early: outcome.ended_early,
        objective: network.objective,
        train_loss: outcome.train_loss,
        validation_loss: outcome.validation_loss,
        bits_per_dim: outcome.validation_loss.map(|loss| bits_per_dim(loss, palette.channels())),
        best_validation_loss: outcome.best.map(|(loss, _)| loss),
        best_step: outcome.best.map(|(_, step)| step),
        kept_step: outcome.step,
        tokens: tokens(outcome.step),
        seconds: outcome.elapsed_s,
        seconds_by_part: outcome.spent,
        tokens_per_second: (tokens(outcome.step) - tokens(outcome.step - steps)) as f64 / seconds.max(1e-9),
        parameters: network.parameters(),
        n_vocab: network.n_vocab,
        damaged_images,
        baselines: None,
        verdict: None,
        run_dir: run.root().to_path_buf(),
        model_dir: run.model(),
        checkpoint: outcome.checkpoint.clone(),
    }
}

pub(super) fn card(config: &RunConfig, summary: &PretrainSummary) -> ModelCard {
    let train = &config.train;
    let rate = match train.optimizer {
        OptimizerSettings::Adam {} => train.lr.to_string(),
        OptimizerSettings::Muon(muon) => format!("{} (Muon) and {} (Adam)", muon.lr, train.lr),
    };
    let masks = match train.mask_prob.filter(|_| train.objective == Objective::Masked) {
        Some(probability) => format!(" Each position was masked with probability {probability}."),
        None => String::new(),
    };
    let origin = config.starts_from().map_or(String::new(), |model| {
        format!(", starting from `{}`,", ModelCard::data_name(&model.display().to_string()))
    });
    let line = format!(
        "Pretrained with igpt{origin} on the train split of `{}`: {} steps of {} images, peak learning rate {rate}, seed {}; the weights \
         are those after step {}.{masks}{}",
        ModelCard::data_name(&config.data.spec),
        summary.steps,
        train.batch,
        train.seed,
        summary.kept_step,
        ema::card(train.ema)
    );
    let mut figures = Vec::new();
    if let (Some(loss), Some(bits)) = (summary.validation_loss, summary.bits_per_dim) {
        if train.objective == Objective::Masked {
            figures.push(("validation loss while training".into(), format!("{loss:.4} nats per masked pixel")));
        } else {
            figures.push(("validation loss while training".into(), format!("{loss:.4} nats/token")));
            figures.push(("the same over palette tokens".into(), format!("{bits:.4} bits/dim")));
        }
    }
    ModelCard { lines: vec![line], figures }
}
