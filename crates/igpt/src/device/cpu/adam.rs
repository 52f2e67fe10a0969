//! Adam's update of a matrix: of hidden matrices if Adam is their rule, and of the output matrix in any case.

use igpt_kernels::adam::adam;
use igpt_kernels::pool::rows;
use igpt_kernels::{MatMut, MatRef, Scalar};

use super::model::LinearParams;
use super::packing::{BAND, WeightsMut};
use super::rule::{MatrixRule, Step};

/// Adam as the rule of the hidden matrices.
#[derive(Debug)]
pub(super) struct Adam;

impl<S: Scalar> MatrixRule<S> for Adam {
    fn has_second_moment(&self) -> bool {
        true
    }

    fn update_matrix(
        &self,
        step: &Step<'_>,
        product: &LinearParams,
        weights: WeightsMut<'_, S>,
        moments: [&mut [f32]; 2],
        gradient: MatRef<'_, f32>,
    ) {
        update_matrix(step, product, weights, moments, gradient);
    }
}

/// Updates a matrix and its moments.
pub(super) fn update_matrix<S: Scalar>(
    step: &Step<'_>,
    product: &LinearParams,
    weights: WeightsMut<'_, S>,
    moments: [&mut [f32]; 2],
    gradient: MatRef<'_, f32>,
) {
    let (cpu, step) = (step.cpu, step.adam(product.rate));
    let [m, v] = moments.map(|arena| rows(MatMut::new(arena, product.rows, product.cols), BAND));
    weights.update_matrix(cpu, (m, v), |band, row, cols, weights, (m, v)| {
        let gradient = &gradient.row(band * BAND + row)[cols.clone()];
        adam(cpu.isa, &step, weights, &mut m.row_mut(row)[cols.clone()], &mut v.row_mut(row)[cols], gradient);
    });
}
