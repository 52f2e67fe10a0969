//! Changing weights: the optimiser's step, and the packed copies renewed while the new weights are in the cache.

use std::ops::Range;

use igpt_kernels::matmul::{Panels, pack_panel};
use igpt_kernels::muon::descend;
use igpt_kernels::optimizer::{AdamStep, adam};
use igpt_kernels::pool::{Grid, Parts, chunks, columns, rows};
use igpt_kernels::{LANE_PAD, MatMut, MatRef, Scalar};

use super::forward::Cpu;
use super::model::Model;
use crate::model::{MuonUpdate, Optimizer, Rates};

/// Rows of a matrix that one piece updates: a panel of its transpose.
const BAND: usize = LANE_PAD;
/// Columns of a band at a time, which stay in the core's own cache with both moments and the gradient.
const COLUMNS: usize = 512;
/// Other parameters that one piece updates.
const PIECE: usize = 1 << 15;

/// What a step changes of the arena.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// Whole tensors; the moments are theirs alone.
    pub(crate) owned: Range<usize>,
    /// Of these, what lies before this stays as it is.
    pub(crate) frozen: usize,
}

impl Share {
    /// Whether a tensor is changed.
    pub(crate) fn has(&self, tensor: &Range<usize>) -> bool {
        tensor.start >= self.frozen && self.owned.contains(&tensor.start)
    }
}

/// One step over a share of the arena: by Adam or, given `muon`, of hidden matrices along the directions that
/// [`super::muon`] left in their gradients' place. `moment2` is laid out by [`crate::model::Layout::second_moments`].
#[allow(clippy::too_many_arguments)]
pub(crate) fn step<S: Scalar>(
    cpu: Cpu<'_>,
    step: &AdamStep,
    muon: Option<&MuonUpdate>,
    rates: &Rates,
    share: &Share,
    model: &mut Model<S>,
    moment1: &mut [f32],
    moment2: &mut [f32],
    gradients: &[f32],
) {
    let optimizer = if muon.is_some() { Optimizer::Muon } else { Optimizer::Adam };
    let places = model.places.clone();
    let owned = &share.owned;
    let base = places.second_moments(owned, optimizer).start;
    let first = |place: &Range<usize>| place.start - owned.start..place.end - owned.start;
    let second = |place: &Range<usize>| {
        let place = places.second_moments(place, optimizer);
        place.start - base..place.end - base
    };
    let adam_step = |rate| AdamStep { lr: step.lr * rates.adam(rate), ..*step };
    model.each_product(|product, weights| {
        let place = product.weight.clone();
        if !share.has(&place) {
            return;
        }
        let gradient = MatRef::new(&gradients[place.clone()], product.rows, product.cols);
        if let Some(muon) = muon.filter(|_| product.hidden) {
            let stride = muon.lr * rates.muon(product.rate);
            let keep = 1.0 - stride * muon.weight_decay;
            let bands = 0..product.rows / BAND;
            weights.renew(cpu, bands, |band, row, cols, weights, _| {
                descend(cpu.isa, keep, stride, weights, &gradient.row(band * BAND + row)[cols]);
            });
            return;
        }
        let bands = |arena| rows(MatMut::new(arena, product.rows, product.cols), BAND);
        let moments = (bands(&mut moment1[first(&place)]), bands(&mut moment2[second(&place)]));
        let step = adam_step(product.rate);
        weights.renew(cpu, moments, |band, row, cols, weights, (m, v)| {
            let gradient = &gradient.row(band * BAND + row)[cols.clone()];
            adam(cpu.isa, &step, weights, &mut m.row_mut(row)[cols.clone()], &mut v.row_mut(row)[cols], gradient);
        });
    });
    for (place, rate) in places.others.iter().filter(|(place, _)| share.has(place)) {
        let step = adam_step(*rate);
        let gradients = &gradients[place.clone()];
        let (weights, m) = (&mut model.weights[place.clone()], &mut moment1[first(place)]);
        let v = &mut moment2[second(place)];
        cpu.pool.for_each((chunks(weights, PIECE), chunks(m, PIECE), chunks(v, PIECE)), |i, (weights, m, v)| {
            adam(cpu.isa, &step, weights, m, v, &gradients[i * PIECE..][..m.len()]);
        });
    }
}

/// A product's weights with their packed copies.
#[derive(Debug)]
pub(crate) struct WeightsMut<'a, S: Scalar> {
    pub(crate) weights: MatMut<'a, f32>,
    /// Packed as they are, if such a copy is held.
    pub(crate) straight: Option<&'a mut Panels<S>>,
    /// Packed as their transpose, if such a copy is held.
    pub(crate) transposed: Option<&'a mut Panels<S>>,
}

impl<S: Scalar> WeightsMut<'_, S> {
    /// Renews the packed copies.
    pub(crate) fn pack(self, cpu: Cpu<'_>) {
        let bands = self.weights.rows() / BAND;
        self.renew(cpu, 0..bands, |_, _, _, _, _| {});
    }

    /// Changes the weights by `change(band, row of the band, columns, their weights, the band's part)` and renews the
    /// packed copies; there is a part for each band of rows.
    fn renew<P: Parts>(
        self,
        cpu: Cpu<'_>,
        parts: P,
        change: impl Fn(usize, usize, Range<usize>, &mut [f32], &mut P::Part) + Sync,
    ) {
        let Self { weights, straight, transposed } = self;
        let (bands, cols) = (weights.rows() / BAND, weights.cols());
        // A band is some rows of units of each straight panel, and one transposed panel.
        let straight = copies(straight, bands, |panels| {
            let (count, len) = (panels.n() / LANE_PAD, panels.panel_len());
            columns(MatMut::new(panels.units_mut(), count, len), BAND / S::PACK * LANE_PAD)
        });
        let transposed = copies(transposed, bands, |panels| {
            let len = panels.panel_len();
            rows(MatMut::new(panels.units_mut(), bands, len), 1)
        });
        let parts = ((rows(weights, BAND), parts), (straight, transposed));
        cpu.pool.for_each(parts, |band, ((mut weights, mut part), (mut straight, mut transposed))| {
            for first in (0..cols).step_by(COLUMNS) {
                let width = COLUMNS.min(cols - first);
                let block = first..first + width;
                for row in 0..BAND {
                    change(band, row, block.clone(), &mut weights.row_mut(row)[block.clone()], &mut part);
                }
                let new = weights.as_ref();
                if straight.cols() > 0 {
                    for panel in block.start / LANE_PAD..block.end / LANE_PAD {
                        pack_panel::<S>(cpu.isa, panel, new, false, straight.row_mut(panel));
                    }
                }
                if transposed.cols() > 0 {
                    let units = block.start / S::PACK * LANE_PAD..block.end / S::PACK * LANE_PAD;
                    let new = new.view(0, BAND, first, width);
                    pack_panel::<S>(cpu.isa, 0, new, true, &mut transposed.row_mut(0)[units]);
                }
            }
        });
    }
}

/// The cut of a packed copy, or as many parts without columns.
fn copies<'a, S: Scalar>(
    panels: Option<&'a mut Panels<S>>,
    bands: usize,
    cut: impl FnOnce(&'a mut Panels<S>) -> Grid<'a, u32>,
) -> Grid<'a, u32> {
    panels.map_or_else(|| rows(MatMut::new(&mut [], bands, 0), 1), cut)
}
