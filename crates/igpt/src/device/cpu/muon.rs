//! Muon: orthogonalises the gradients of the hidden matrices into directions of descent.
//!
//! Each matrix is one piece of work, momentum and then Newton–Schulz. The most expensive matrices come first, so that
//! the threads end at the same time. The fused q, k, v count as three matrices. The directions overwrite the
//! gradients, which are not needed any more.

use igpt_kernels::newton_schulz::{NewtonSchulzScratch, orthogonalize};
use igpt_kernels::pool::{all, columns};
use igpt_kernels::{MatMut, MatRef, Scalar, muon};

use super::dims::Dims;
use super::model::{BlockOffsets, LinearParams, Model};
use super::packing::{BAND, WeightsMut};
use super::rule::{MatrixRule, Step};
use crate::device::{HiddenUpdate, MuonUpdate};
use crate::model::ModelConfig;

/// Muon as the rule of the hidden matrices.
#[derive(Debug)]
pub(super) struct Muon<S: Scalar> {
    cuts: [Cut; 4],
    /// Scratch memory, one per thread.
    scratch: Vec<NewtonSchulzScratch<S>>,
}

impl<S: Scalar> Muon<S> {
    pub(super) fn new(dims: &Dims, config: &ModelConfig) -> Self {
        Self { cuts: cuts(dims, config), scratch: Vec::new() }
    }

    /// Sizes of the matrices that are orthogonalised.
    fn sides(&self) -> [(usize, usize); 4] {
        self.cuts.map(|cut| (cut.rows, cut.width))
    }
}

/// Split of a product's matrix by columns into matrices that are orthogonalised separately.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Rows, padding included.
    rows: usize,
    /// Columns of each matrix, padding included.
    width: usize,
    /// Number of matrices side by side; the columns after them are padding.
    count: usize,
    /// Scale of the direction: √max(1, fan out / fan in).
    scale: f32,
}

impl Cut {
    /// Multiply-adds of a Newton–Schulz iteration, up to a factor.
    fn cost(&self) -> usize {
        self.rows * self.width * self.rows.min(self.width)
    }
}

/// Splits of a block's products, in the order of [`BlockOffsets::products`].
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

impl<S: Scalar> MatrixRule<S> for Muon<S> {
    fn has_second_moment(&self) -> bool {
        false
    }

    fn scratch_bytes(&self) -> usize {
        NewtonSchulzScratch::<S>::bytes(&self.sides())
    }

    fn reserve(&mut self, threads: usize) {
        self.scratch = (0..threads).map(|_| NewtonSchulzScratch::new(&self.sides())).collect();
    }

    /// Updates the momentum of the shard's hidden matrices and replaces their gradients by directions.
    fn prepare(&mut self, step: &Step<'_>, model: &Model<S>, momentum: &mut [f32], gradients: &mut [f32]) {
        let (cpu, share, grad_scale) = (step.cpu, &step.share, step.adam.grad_scale);
        let decay = told(step).momentum;
        let products = model.places.blocks.iter().flat_map(BlockOffsets::products);
        let mut matrices = Vec::with_capacity(4 * model.places.blocks.len());
        let (mut end, mut arenas) = (share.owned.start, [momentum, &mut gradients[share.owned.clone()]]);
        for (product, cut) in products.zip(self.cuts.iter().cycle()).filter(|(product, _)| share.has(&product.weight)) {
            let parts = arenas.each_mut().map(|arena| {
                let part = std::mem::take(arena)[product.weight.start - end..].split_at_mut(product.weight.len());
                *arena = part.1;
                columns(MatMut::strided(part.0, product.rows, cut.count * cut.width, product.cols), cut.width)
            });
            end = product.weight.end;
            matrices.push((cut, parts));
        }
        matrices.sort_by_key(|(cut, _)| std::cmp::Reverse(cut.cost()));
        let scales: Vec<f32> = matrices.iter().map(|(cut, _)| cut.scale).collect();
        let (momenta, gradients) = matrices.into_iter().map(|(_, [momentum, gradient])| (momentum, gradient)).unzip();
        let parts = (all(momenta), all(gradients));
        cpu.pool.each(parts, &mut self.scratch, |_, ((number, _, mut m), (_, _, mut g)), scratch| {
            for row in 0..g.rows() {
                muon::nesterov(cpu.isa, decay, grad_scale, m.row_mut(row), g.row_mut(row));
            }
            orthogonalize(cpu.isa, g, scales[number], scratch);
        });
    }

    /// Moves a matrix along the direction that is stored in its gradient's place.
    fn update_matrix(
        &self,
        step: &Step<'_>,
        product: &LinearParams,
        weights: WeightsMut<'_, S>,
        _moments: [&mut [f32]; 2],
        direction: MatRef<'_, f32>,
    ) {
        let (cpu, told) = (step.cpu, told(step));
        let stride = told.lr * step.update.rates.muon(product.rate);
        let keep = 1.0 - stride * told.weight_decay;
        weights.update_matrix(cpu, 0..product.rows / BAND, |band, row, cols, weights, _| {
            muon::descend(cpu.isa, keep, stride, weights, &direction.row(band * BAND + row)[cols]);
        });
    }
}

/// Returns the parameters of a Muon step.
fn told(step: &Step<'_>) -> MuonUpdate {
    match step.update.hidden {
        HiddenUpdate::Muon(muon) => muon,
        HiddenUpdate::Adam => unreachable!("engines refuse steps of another optimizer"),
    }
}
