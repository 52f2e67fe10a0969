//! Weights with their packed copies, which are updated while the new weights are in the cache.

use std::ops::Range;

use igpt_kernels::matmul::{Panels, pack_panel};
use igpt_kernels::pool::{Grid, Parts, columns, rows};
use igpt_kernels::{LANE_PAD, MatMut, Scalar};

use super::context::Cpu;

/// Rows of a matrix that one piece updates: a panel of its transpose.
pub(super) const BAND: usize = LANE_PAD;
/// Columns of a band that are updated at a time; with both moments and the gradient they stay in the core's own
/// cache.
const COLUMNS: usize = 512;

/// A product's weights with their packed copies.
#[derive(Debug)]
pub(crate) struct WeightsMut<'a, S: Scalar> {
    pub(crate) weights: MatMut<'a, f32>,
    /// Packed copy of the weights as they are, if there is one.
    pub(crate) straight: Option<&'a mut Panels<S>>,
    /// Packed copy of the transposed weights, if there is one.
    pub(crate) transposed: Option<&'a mut Panels<S>>,
}

impl<S: Scalar> WeightsMut<'_, S> {
    /// Updates the packed copies.
    pub(crate) fn pack(self, cpu: Cpu<'_>) {
        let bands = self.weights.rows() / BAND;
        self.update_matrix(cpu, 0..bands, |_, _, _, _, _| {});
    }

    /// Changes the weights by `change(band, row of the band, columns, their weights, the band's part)`, and updates
    /// the packed copies. `parts` has one part for each band of rows.
    pub(super) fn update_matrix<P: Parts>(
        self,
        cpu: Cpu<'_>,
        parts: P,
        change: impl Fn(usize, usize, Range<usize>, &mut [f32], &mut P::Part) + Sync,
    ) {
        let Self { weights, straight, transposed } = self;
        let (bands, cols) = (weights.rows() / BAND, weights.cols());
        // A band covers some rows of units in each straight panel, and one transposed panel.
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

/// Splits a packed copy, or returns as many parts without columns.
fn copies<'a, S: Scalar>(
    panels: Option<&'a mut Panels<S>>,
    bands: usize,
    cut: impl FnOnce(&'a mut Panels<S>) -> Grid<'a, u32>,
) -> Grid<'a, u32> {
    panels.map_or_else(|| rows(MatMut::new(&mut [], bands, 0), 1), cut)
}
