//! Weight gradients: xᵀ · dy for each product, summed over tokens.
//!
//! Nothing else in the pass needs them, so they wait until their operands are ready and share a phase with other
//! work. `dy` is packed along the tokens by the code that computes its rows, while these are in the cache.

use igpt_kernels::matmul::{PanelsRef, TnScratch, matmul_tn};
use igpt_kernels::pool::{All, Grid, all, grid, rows};
use igpt_kernels::{Isa, LANE_PAD, MatMut, MatRef, Scalar, reduce};

use super::context::Shape;
use super::dims::Dims;
use super::model::LinearParams;

/// Split of the weight gradients' work: tokens into spans, spans into pieces, and gradients into pieces of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    /// Tokens of a span.
    span: usize,
    spans: usize,
    /// Rows of units: in a span, in a span's tokens, and in a piece.
    units: usize,
    filled_units: usize,
    piece_units: usize,
    /// Rows of a gradient that one piece computes.
    rows: usize,
}

impl Tokens {
    pub(crate) fn new<S: Scalar>(dims: &Dims, shape: Shape) -> Self {
        let span = dims.span::<S>();
        let [filled_units, piece_units] = [span, dims.piece()].map(|tokens| tokens.div_ceil(S::PACK));
        let (units, rows) = (dims.span_units::<S>(), dims.gradient_rows());
        Self { span, spans: shape.rows() / span, units, filled_units, piece_units, rows }
    }

    /// Number of units in panels of `width` columns for each span.
    fn span_len(&self, width: usize) -> usize {
        self.units * width
    }

    /// Splits panels of `width` columns by pieces of tokens.
    pub(crate) fn pieces<'a>(&self, panels: &'a mut [u32], width: usize) -> Grid<'a, u32> {
        let (per_span, len) = (width / LANE_PAD, self.units * LANE_PAD);
        let panels = &mut panels[..self.spans * self.span_len(width)];
        // The units after the last token are never written; they stay zero from the allocation on.
        let panels = MatMut::strided(panels, self.spans * per_span, self.filled_units * LANE_PAD, len);
        grid(panels, per_span, self.piece_units * LANE_PAD)
    }
}

/// Operands of the gradient of one product's weights (and bias).
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightGradient<'a, S> {
    /// Product whose weights these are.
    pub(crate) product: &'a LinearParams,
    /// Left operand of the product; it has as many columns as the weights have rows.
    pub(crate) x: MatRef<'a, S>,
    /// Gradient of the product's output, packed by [`Tokens::pieces`].
    pub(crate) dy: &'a [u32],
}

/// Splits the weight gradients of some products into pieces: (number of the product, number of the piece, rows).
pub(crate) fn weight_rows<'a, S, const N: usize>(
    tokens: Tokens,
    jobs: &[WeightGradient<'_, S>; N],
    grads: &'a mut [f32],
) -> All<Grid<'a, f32>> {
    let places = jobs.each_ref().map(|job| job.product.weight.clone());
    let grads = grads.get_disjoint_mut(places).expect("every product has weights of its own");
    let cuts = grads.into_iter().zip(jobs).map(|(grads, WeightGradient { product, .. })| {
        rows(MatMut::new(grads, product.rows, product.cols), tokens.rows)
    });
    all(cuts.collect())
}

impl<S: Scalar> WeightGradient<'_, S> {
    /// Adds piece `i` of the rows to `dw`; with `fresh`, `dw` starts anew.
    pub(crate) fn rows(
        &self,
        isa: Isa,
        tokens: Tokens,
        i: usize,
        dw: MatMut<'_, f32>,
        fresh: bool,
        scratch: &mut TnScratch,
    ) {
        let x = self.x.view(0, tokens.span * tokens.spans, i * tokens.rows, dw.rows());
        let panels = |dy| PanelsRef::<S>::new(dy, tokens.units * S::PACK, self.product.cols);
        let dy: Vec<_> = self.spans(tokens).map(panels).collect();
        matmul_tn(isa, x, &dy, dw, !fresh, scratch);
    }

    /// Adds the column sums of `dy` to the bias's gradient, if there is a bias.
    pub(crate) fn bias(&self, isa: Isa, tokens: Tokens, grads: &mut [f32]) {
        let Some(bias) = &self.product.bias else { return };
        for dy in self.spans(tokens) {
            let panels = dy.chunks_exact(tokens.units * LANE_PAD);
            for (panel, bias) in panels.zip(grads[bias.clone()].chunks_exact_mut(LANE_PAD)) {
                reduce::panel_sums::<S>(isa, panel, bias);
            }
        }
    }

    /// Returns the panels of each span, in order.
    fn spans(&self, tokens: Tokens) -> impl Iterator<Item = &[u32]> {
        self.dy.chunks_exact(tokens.span_len(self.product.cols)).take(tokens.spans)
    }
}
