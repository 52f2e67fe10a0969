//! How quickly this machine trains a network, from a short try.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::Result;
use crate::data::{Batch, Masking};
use crate::device::{FineTuning, open_training};
use crate::model::{Layout, ModelConfig, Objective};
use crate::ranks::Collective;
use crate::train::config::TrainSection;
use crate::train::plan::measure::seconds_of;
use crate::train::plan::memory;
use crate::train::plan::planner::Planner;
use crate::train::trainer::accumulation::{Accumulation, micro_batch};

/// How long it is tried.
const TRIED: Duration = Duration::from_millis(700);

/// Images that `network` trains on in a second, as `train` says, in steps of its batch. Nothing is kept of the try.
///
/// # Errors
/// As opening an engine to train.
pub(in crate::train) fn images_per_second(network: &ModelConfig, train: &TrainSection) -> Result<f64> {
    let mut train = train.clone();
    train.resolve(network.n_ctx());
    // Zeros take the same time as any weights.
    let weights = vec![0.0; Layout::new(network).parameters()];
    let mut engine = open_training(network, &weights, &memory::options(&train, FineTuning::default(), (0, 1)))?;
    let tokens = vec![0; train.batch * network.n_ctx()];
    let mut batch = Batch::new(tokens, network.n_ctx());
    if network.objective == Objective::Masked {
        batch = Masking::training(0, network.mask_prob).mask(batch, 0);
    }
    let most = micro_batch(&train, train.batch / train.gradient_groups, network.n_ctx())?;
    let cuts = Accumulation { groups: train.gradient_groups, most };
    let schedule = Planner::new(&train, 1, &[]).schedule().clone();
    let seconds = seconds_of(TRIED, || {
        cuts.run(engine.as_mut(), &batch, &mut Collective::solo(), &AtomicBool::new(false))?;
        engine.step(&train.update(&schedule, 0, network.n_embd)).map(|_| ())
    })?;
    Ok(train.batch as f64 / seconds)
}
