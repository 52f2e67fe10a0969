//! Training speed of this machine, from a short trial.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::Result;
use crate::data::{Batch, Masking};
use crate::device::{FinetuneObjective, open_training};
use crate::model::{ModelConfig, Objective, ParamLayout};
use crate::ranks::Collective;
use crate::train::config::TrainSettings;
use crate::train::plan::measure::seconds_of;
use crate::train::plan::memory;
use crate::train::plan::planner::Planner;
use crate::train::trainer::accumulation::{GradientAccumulation, micro_batch};

/// Duration of the trial.
const TRIED: Duration = Duration::from_millis(700);

/// Images per second that rank `rank` of `size` trains on, in steps of its part of the batch.
///
/// It trains `network` as `train` says, within `left` bytes of memory, if that is known. The trial leaves nothing
/// behind.
///
/// # Errors
/// When the network can't be trained in that memory, as in [`memory::fitting`], and as opening an engine to train.
pub(in crate::train) fn images_per_second(
    network: &ModelConfig,
    train: &TrainSettings,
    left: Option<u64>,
    (rank, size): (usize, usize),
) -> Result<f64> {
    let mut train = train.clone();
    train.resolve(network.n_ctx());
    memory::expect_batch_fits(left, network.n_ctx(), train.batch, size)?;
    let options = memory::fitting(left, network, &train, FinetuneObjective::default(), (rank, size))?;
    let (images, groups) = (train.batch / size, options.gradient_groups);
    // Zeros take the same time as any other weights.
    let weights = vec![0.0; ParamLayout::new(network).parameters()];
    let mut engine = open_training(network, &weights, &options)?;
    drop(weights);
    let tokens = vec![0; images * network.n_ctx()];
    let mut batch = Batch::new(tokens, network.n_ctx());
    if network.objective == Objective::Masked {
        batch = Masking::training(0, network.mask_prob).mask(batch, 0);
    }
    let cuts = GradientAccumulation { groups, most: micro_batch(&train, images / groups, network.n_ctx())? };
    let schedule = Planner::new(&train, 1, &[]).schedule().clone();
    let seconds = seconds_of(TRIED, || {
        cuts.run(engine.as_mut(), &batch, &mut Collective::solo(), &AtomicBool::new(false))?;
        engine.step(&train.update(&schedule, 0, network.n_embd)).map(|_| ())
    })?;
    Ok(images as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    #[test]
    fn what_does_not_fit_into_memory_is_refused_and_what_fits_with_activations_made_again_is_measured() {
        let network = ModelConfig::new(ImageSize::square(8), 6, 32, 2, 2);
        let train = TrainSettings { batch: 64, micro_batch: 64, threads: 1, ..TrainSettings::paper() };
        let need = |recompute| {
            let train = TrainSettings { recompute: Some(recompute), ..train.clone() };
            memory::needed(&network, &memory::options(&train, FinetuneObjective::default(), (0, 1))).unwrap()
        };
        assert!(need(true) < need(false));
        let speed = |left, train: &TrainSettings| images_per_second(&network, train, Some(left), (0, 1));
        assert!(speed(need(false) - 1, &train).unwrap() > 0.0);
        let message = speed(
            need(false) - 1,
            &TrainSettings { recompute: Some(false), stream_weights: Some(false), ..train.clone() },
        );
        let message = message.unwrap_err().to_string();
        assert!(message.contains("of memory, but") && message.contains("train.recompute=true"), "{message}");
        let giant = TrainSettings { batch: 1 << 20, ..train.clone() };
        assert!(speed(1 << 30, &giant).unwrap_err().to_string().contains("give a smaller --batch"));
    }
}
