//! Choice of each optimizer's rule.

use igpt_kernels::Scalar;

use super::adam::Adam;
use super::dims::Dims;
use super::muon::Muon;
use super::rule::MatrixRule;
use crate::device::Optimizer;
use crate::model::ModelConfig;

/// Returns the rule of an optimizer.
pub(super) fn rule<S: Scalar>(optimizer: Optimizer, dims: &Dims, config: &ModelConfig) -> Box<dyn MatrixRule<S>> {
    match optimizer {
        Optimizer::Adam => Box::new(Adam),
        Optimizer::Muon => Box::new(Muon::new(dims, config)),
    }
}
