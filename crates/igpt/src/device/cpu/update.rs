//! Changing weights: the optimizer's step.

use std::ops::Range;

use igpt_kernels::muon::descend;
use igpt_kernels::optimizer::{AdamStep, adam};
use igpt_kernels::pool::{chunks, rows};
use igpt_kernels::{MatMut, MatRef, Scalar};

use super::context::Cpu;
use super::model::Model;
use super::packing::BAND;
use crate::device::{MuonUpdate, Optimizer};
use crate::model::Rates;

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
/// [`super::muon`] left in their gradients' place. `moment2` is laid out by [`super::layout::Layout::second_moments`].
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
