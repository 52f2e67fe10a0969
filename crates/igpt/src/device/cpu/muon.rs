//! Muon's own part of a step: the gradients of the hidden matrices become the directions that these move in.
//!
//! One piece of work a matrix, the most expensive first so that threads end together: momentum, then Newton–Schulz.
//! The fused q, k, v are three matrices. Gradients are not needed any more, so the directions
//! are written over them; [`super::update`] takes the step.

use igpt_kernels::newton_schulz::{Scratch, orthogonalize};
use igpt_kernels::pool::{all, columns};
use igpt_kernels::{MatMut, Scalar, muon};

use super::context::Cpu;
use super::dims::Dims;
use super::model::{BlockPlaces, Model};
use super::update::Share;
use crate::device::MuonUpdate;
use crate::model::ModelConfig;

/// Memory for one thread.
pub(crate) fn scratch<S: Scalar>(dims: &Dims, config: &ModelConfig) -> Scratch<S> {
    Scratch::new(&cuts(dims, config).map(|cut| (cut.rows, cut.width)))
}

/// Bytes of [`scratch`], which takes none of them.
pub(super) fn scratch_bytes<S: Scalar>(dims: &Dims, config: &ModelConfig) -> usize {
    Scratch::<S>::bytes(&cuts(dims, config).map(|cut| (cut.rows, cut.width)))
}

/// How a product's matrix is cut by columns into those that are made orthogonal by themselves.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Rows, padding included.
    rows: usize,
    /// Columns of each, padding included.
    width: usize,
    /// How many there are side by side; columns beyond them are padding.
    count: usize,
    /// What its direction is scaled by: √max(1, fan out / fan in).
    scale: f32,
}

impl Cut {
    /// Multiply-adds of a round, up to a factor.
    fn cost(&self) -> usize {
        self.rows * self.width * self.rows.min(self.width)
    }
}

/// The cuts of a block's products, in the order of [`BlockPlaces::products`].
fn cuts(dims: &Dims, config: &ModelConfig) -> [Cut; 4] {
    let (c, inner) = (config.n_embd as f32, config.n_inner as f32);
    let scale = |fan_in: f32, fan_out: f32| (fan_out / fan_in).max(1.0).sqrt();
    [
        Cut { rows: dims.channels, width: dims.n_head * dims.head, count: 3, scale: 1.0 },
        Cut { rows: dims.heads, width: dims.channels, count: 1, scale: 1.0 },
        Cut { rows: dims.channels, width: dims.inner, count: 1, scale: scale(c, inner) },
        Cut { rows: dims.inner, width: dims.channels, count: 1, scale: scale(inner, c) },
    ]
}

/// Puts the directions of the share's hidden matrices in place of their gradients, which count `grad_scale` times, and
/// moves `momentum`, which is only the share's. There is a scratch for each thread.
#[allow(clippy::too_many_arguments)]
pub(crate) fn directions<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    update: &MuonUpdate,
    grad_scale: f32,
    share: &Share,
    momentum: &mut [f32],
    gradients: &mut [f32],
    scratch: &mut [Scratch<S>],
) {
    let cuts = cuts(&model.dims, &model.config);
    let products = model.places.blocks.iter().flat_map(BlockPlaces::products);
    let mut matrices = Vec::with_capacity(4 * model.places.blocks.len());
    let (mut end, mut arenas) = (share.owned.start, [momentum, &mut gradients[share.owned.clone()]]);
    for (product, cut) in products.zip(cuts.iter().cycle()).filter(|(product, _)| share.has(&product.weight)) {
        let parts = arenas.each_mut().map(|arena| {
            let (part, rest) = std::mem::take(arena)[product.weight.start - end..].split_at_mut(product.weight.len());
            *arena = rest;
            columns(MatMut::strided(part, product.rows, cut.count * cut.width, product.cols), cut.width)
        });
        end = product.weight.end;
        matrices.push((cut, parts));
    }
    matrices.sort_by_key(|(cut, _)| std::cmp::Reverse(cut.cost()));
    let scales: Vec<f32> = matrices.iter().map(|(cut, _)| cut.scale).collect();
    let (momenta, gradients) = matrices.into_iter().map(|(_, [momentum, gradient])| (momentum, gradient)).unzip();
    cpu.pool.each((all(momenta), all(gradients)), scratch, |_, ((number, _, mut m), (_, _, mut g)), scratch| {
        for row in 0..g.rows() {
            muon::nesterov(cpu.isa, update.momentum, grad_scale, m.row_mut(row), g.row_mut(row));
        }
        orthogonalize(cpu.isa, g, scales[number], scratch);
    });
}
