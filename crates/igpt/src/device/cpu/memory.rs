//! Memory of an engine by purpose, known before any of it is allocated.

use igpt_kernels::attention::KvShape;
use igpt_kernels::{Scalar, bf16};

use super::dims::Dims;
use super::layout::{PaddedLayout, PaddedTensor};
use super::rules::rule;
use super::setup::Setup;
use super::workspace::{Passes, Workspace};
use crate::device::{EngineMemory, Precision};
use crate::model::ModelConfig;

/// Returns the memory of an engine for `config`.
pub(super) fn memory(config: &ModelConfig, setup: &Setup) -> EngineMemory {
    match setup.engine.precision {
        Precision::F32 => of::<f32>(config, setup),
        Precision::Bf16 => of::<bf16>(config, setup),
    }
}

/// Returns the bytes of a decoder of `rows` images. The weights are the engine's and not counted.
pub(super) fn decoder_memory(config: &ModelConfig, setup: &Setup, rows: usize) -> u64 {
    match setup.engine.precision {
        Precision::F32 => decoder::<f32>(config, setup, rows),
        Precision::Bf16 => decoder::<bf16>(config, setup, rows),
    }
}

fn of<S: Scalar>(config: &ModelConfig, setup: &Setup) -> EngineMemory {
    let (dims, layout) = (Dims::new::<S>(config, setup.isa), PaddedLayout::new(config));
    let arena = size_of::<f32>() * layout.arena_len();
    let bytes = |is: &dyn Fn(&PaddedTensor) -> bool| {
        let tensors = layout.tensors().iter().filter(|tensor| is(tensor));
        tensors.map(|tensor| tensor.range().len() * size_of::<S>()).sum::<usize>()
    };
    let (blocks, head) = (bytes(&|tensor| tensor.of.hidden), bytes(&|tensor| tensor.of.name == "lm_head.weight"));
    let trains = setup.training.is_some();
    let waiting = setup.training.map_or(0, |training| training.gradient_groups.max(1).ilog2());
    let averages = setup.training.is_some_and(|training| training.ema);
    let copies = if trains { 2 } else { 1 };
    // With streaming, three copies of one block: the present one, the next one, and a transposed one.
    let packed =
        copies * head + if setup.engine.stream_weights { 3 * blocks / config.n_layer } else { copies * blocks };
    let rule = setup.training.map(|training| rule::<S>(training.optimizer, &dims, config));
    let moments = setup.training.zip(rule.as_ref()).map_or(0, |(training, rule)| {
        let owned = layout.share(training.share);
        let second = layout.part(&owned).second_moments(rule.has_second_moment()).arena_len();
        size_of::<f32>() * (owned.len() + second)
    });
    let threads = setup.threads();
    let of_rule = rule.map_or(0, |rule| rule.scratch_bytes());
    let images = setup.images(config);
    let n_ctx = config.n_ctx();
    EngineMemory {
        weights: arena as u64,
        packed: packed as u64,
        gradients: (if trains { arena } else { 0 }) as u64,
        moments: moments as u64,
        activations: Workspace::<S>::activation_bytes(&dims, images, n_ctx, setup.passes()) as u64,
        scratch: (threads * (Workspace::<S>::scratch_bytes(&dims, images, n_ctx, setup.passes()) + of_rule)) as u64,
        groups: (arena * waiting as usize) as u64,
        ema: (if averages { arena } else { 0 }) as u64,
    }
}

fn decoder<S: Scalar>(config: &ModelConfig, setup: &Setup, rows: usize) -> u64 {
    let dims = Dims::new::<S>(config, setup.isa);
    let shape = KvShape::new(dims.n_head, dims.head);
    let pieces = config.n_ctx().div_ceil(igpt_kernels::attention::PIECE) * rows;
    let cache = config.n_layer * pieces * shape.units::<S>() * size_of::<u32>();
    let prefill = Workspace::<S>::activation_bytes(&dims, 1, config.n_ctx(), Passes::Forward);
    let scratch = setup.threads() * Workspace::<S>::scratch_bytes(&dims, 1, config.n_ctx(), Passes::Forward);
    (cache + pieces * shape.partial_len() * size_of::<f32>() + prefill + scratch) as u64
}
