//! The optimizer's step, which changes the weights.

use std::ops::Range;

use igpt_kernels::adam as kernel;
use igpt_kernels::pool::chunks;
use igpt_kernels::{MatRef, Scalar};

use super::adam;
use super::model::Model;
use super::rule::{MatrixRule, Step};

/// Number of other parameters that one piece updates.
const PIECE: usize = 1 << 15;

/// Runs one step over a shard of the arena: `rule` updates hidden matrices, Adam everything else.
/// [`super::layout::PaddedLayout::second_moments`] is the layout of `moment2`. The gradients are used up.
pub(super) fn step<S: Scalar>(
    step: &Step<'_>,
    rule: &mut dyn MatrixRule<S>,
    model: &mut Model<S>,
    moment1: &mut [f32],
    moment2: &mut [f32],
    gradients: &mut [f32],
) {
    rule.prepare(step, model, moment1, gradients);
    let (gradients, share) = (&*gradients, &step.share);
    let (places, owned, of_hidden) = (model.places.clone(), &share.owned, rule.has_second_moment());
    let base = places.second_moments(owned, of_hidden).start;
    let first = |place: &Range<usize>| place.start - owned.start..place.end - owned.start;
    let second = |place: &Range<usize>| {
        let place = places.second_moments(place, of_hidden);
        place.start - base..place.end - base
    };
    model.each_product(|product, weights| {
        let place = &product.weight;
        if !share.has(place) {
            return;
        }
        let gradient = MatRef::new(&gradients[place.clone()], product.rows, product.cols);
        let m = &mut moment1[first(place)];
        match product.hidden {
            true if !of_hidden => rule.update_matrix(step, product, weights, [m, &mut []], gradient),
            true => rule.update_matrix(step, product, weights, [m, &mut moment2[second(place)]], gradient),
            false => adam::update_matrix(step, product, weights, [m, &mut moment2[second(place)]], gradient),
        }
    });
    for (place, rate) in places.others.iter().filter(|(place, _)| share.has(place)) {
        let (cpu, step) = (step.cpu, step.adam(*rate));
        let gradients = &gradients[place.clone()];
        let (weights, m) = (&mut model.weights[place.clone()], &mut moment1[first(place)]);
        let v = &mut moment2[second(place)];
        cpu.pool.for_each((chunks(weights, PIECE), chunks(m, PIECE), chunks(v, PIECE)), |i, (weights, m, v)| {
            kernel::adam(cpu.isa, &step, weights, m, v, &gradients[i * PIECE..][..m.len()]);
        });
    }
}
