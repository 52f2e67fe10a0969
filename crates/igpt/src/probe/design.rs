//! Design matrix of linear classifiers: standardised features, and a column of ones for the intercept.

use igpt_kernels::matmul::{Out, Panels, STRIP_COLS, matmul};
use igpt_kernels::pool::{chunks, rows};
use igpt_kernels::{Buffer, LANE_PAD, MatMut, MatRef};

use super::{Standardizer, Workers};

/// Number of rows per unit of parallel work.
pub(super) const ROWS: usize = 512;

/// Design matrix, (n, d + 1); its last column is ones, or zeros without an intercept.
///
/// Rows are padded with zeros to whole strips.
#[derive(Debug)]
pub(super) struct Design {
    values: Buffer<f32>,
    rows: usize,
    width: usize,
    stride: usize,
}

impl Design {
    /// Scales the features (n, d) with `standardizer` and stores them.
    pub(super) fn new(workers: &Workers, standardizer: &Standardizer, features: &[f32]) -> Self {
        let width = standardizer.width();
        let (rows, stride) = (features.len() / width, (width + 1).next_multiple_of(STRIP_COLS));
        let mut values = Buffer::zeroed(rows * stride);
        workers.pool.for_each(chunks(&mut values, ROWS * stride), |piece, values| {
            let features = &features[piece * ROWS * width..];
            for (row, x) in values.chunks_exact_mut(stride).zip(features.chunks_exact(width)) {
                standardizer.apply(x, row);
                row[width] = standardizer.constant();
            }
        });
        Self { values, rows, width, stride }
    }

    /// Number of images, n.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of features of an image, d; the ones are column d.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Matrix without padding, (n, d + 1).
    pub(super) fn matrix(&self) -> MatRef<'_, f32> {
        MatRef::strided(&self.values, self.rows, self.width + 1, self.stride)
    }

    /// Matrix with padding, (n, stride).
    pub(super) fn padded(&self) -> MatRef<'_, f32> {
        MatRef::new(&self.values, self.rows, self.stride)
    }

    /// Predicts the class with the largest score of each image under `weights`, (d + 1, classes); the lowest on a tie.
    pub(super) fn predict(&self, workers: &Workers, weights: &[f32], classes: usize) -> Vec<u32> {
        let panels = pack(workers, weights, self.width + 1, classes);
        let padded = panels.n();
        let mut predicted = vec![0u32; self.rows];
        let mut scratch: Vec<_> = (0..workers.pool.threads()).map(|_| vec![0.0f32; ROWS * padded]).collect();
        workers.pool.each(chunks(&mut predicted, ROWS), &mut scratch, |piece, predicted, scores| {
            let m = predicted.len();
            let scores = &mut scores[..m * padded];
            let x = self.matrix().view(piece * ROWS, m, 0, self.width + 1);
            matmul(workers.isa, x, &panels, None, Out::F32(MatMut::new(scores, m, padded)));
            for (predicted, scores) in predicted.iter_mut().zip(scores.chunks_exact(padded)) {
                let best = (1..classes).fold(0, |best, c| if scores[c] > scores[best] { c } else { best });
                *predicted = best as u32;
            }
        });
        predicted
    }
}

/// Packs a (k, n) right operand, its columns padded with zeros to whole panels.
pub(super) fn pack(workers: &Workers, values: &[f32], k: usize, n: usize) -> Panels<f32> {
    let mut panels = Panels::new(k, n.next_multiple_of(LANE_PAD));
    repack(workers, MatRef::new(values, k, n), &mut panels);
    panels
}

/// Fills panels with new values, panel by panel in parallel.
pub(super) fn repack(workers: &Workers, values: MatRef<'_, f32>, panels: &mut Panels<f32>) {
    let len = panels.panel_len();
    workers.pool.for_each(rows(MatMut::new(panels.units_mut(), panels_of(values), len), 1), |i, mut panel| {
        igpt_kernels::matmul::pack_panel::<f32>(workers.isa, i, values, false, panel.row_mut(0));
    });
}

fn panels_of(values: MatRef<'_, f32>) -> usize {
    values.cols().div_ceil(LANE_PAD)
}
