//! How much memory an engine takes, part by part, known before any of it is taken.

use igpt_kernels::attention::KvShape;
use igpt_kernels::{Scalar, bf16};
use serde::Serialize;

use super::dims::Dims;
use super::workspace::{Passes, Workspace};
use super::{Options, muon};
use crate::model::{Layout, ModelConfig, Optimizer, Precision, Tensor};

/// Bytes of an engine by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The master weights, f32.
    pub weights: u64,
    /// Their copies in the layout of the matrix products: one, and when training a transposed one.
    pub packed: u64,
    /// The flat gradient, f32.
    pub gradients: u64,
    /// The optimiser's moments, f32.
    pub moments: u64,
    /// Activations of a micro-batch, and their gradients.
    pub activations: u64,
    /// What threads need for themselves.
    pub scratch: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { weights, packed, gradients, moments, activations, scratch } = self;
        weights + packed + gradients + moments + activations + scratch
    }
}

/// What an engine for `config` takes, opened with these options.
pub fn memory(config: &ModelConfig, options: &Options) -> Memory {
    match options.precision {
        Precision::F32 => of::<f32>(config, options),
        Precision::Bf16 => of::<bf16>(config, options),
    }
}

/// Bytes of a decoder of `rows` images, keys and values mostly, beside the engine that it shares the weights with.
pub fn decoder_memory(config: &ModelConfig, options: &Options, rows: usize) -> u64 {
    match options.precision {
        Precision::F32 => decoder::<f32>(config, options, rows),
        Precision::Bf16 => decoder::<bf16>(config, options, rows),
    }
}

fn of<S: Scalar>(config: &ModelConfig, options: &Options) -> Memory {
    let (dims, layout) = (Dims::new::<S>(config, options.isa), Layout::new(config));
    let arena = size_of::<f32>() * layout.arena_len();
    let bytes = |is: &dyn Fn(&Tensor) -> bool| {
        let tensors = layout.tensors().iter().filter(|tensor| is(tensor));
        tensors.map(|tensor| tensor.range().len() * size_of::<S>()).sum::<usize>()
    };
    let (blocks, head) = (bytes(&|tensor| tensor.hidden), bytes(&|tensor| tensor.name == "lm_head.weight"));
    let trains = options.training.is_some();
    let copies = if trains { 2 } else { 1 };
    // Three of one block: the one that a pass is at and the next, and the former transposed.
    let packed = copies * head + if options.repack { 3 * blocks / config.n_layer } else { copies * blocks };
    let owned = layout.share(options.share);
    let second = |optimizer| layout.part(&owned).second_moments(optimizer).arena_len();
    let moments = options.training.map_or(0, |optimizer| size_of::<f32>() * (owned.len() + second(optimizer)));
    let threads = options.threads();
    let muon = match options.training {
        Some(Optimizer::Muon) => muon::scratch_bytes::<S>(&dims, config),
        _ => 0,
    };
    let images = options.images(config);
    let n_ctx = config.n_ctx();
    Memory {
        weights: arena as u64,
        packed: packed as u64,
        gradients: (if trains { arena } else { 0 }) as u64,
        moments: moments as u64,
        activations: Workspace::<S>::activation_bytes(&dims, images, n_ctx, options.passes()) as u64,
        scratch: (threads * (Workspace::<S>::scratch_bytes(&dims, images, n_ctx, options.passes()) + muon)) as u64,
    }
}

fn decoder<S: Scalar>(config: &ModelConfig, options: &Options, rows: usize) -> u64 {
    let dims = Dims::new::<S>(config, options.isa);
    let shape = KvShape::new(dims.n_head, dims.head);
    let pieces = config.n_ctx().div_ceil(igpt_kernels::attention::PIECE) * rows;
    let cache = config.n_layer * pieces * shape.units::<S>() * size_of::<u32>();
    let prefill = Workspace::<S>::activation_bytes(&dims, 1, config.n_ctx(), Passes::Forward);
    let scratch = options.threads() * Workspace::<S>::scratch_bytes(&dims, 1, config.n_ctx(), Passes::Forward);
    (cache + pieces * shape.partial_len() * size_of::<f32>() + prefill + scratch) as u64
}
