//! Right operands of matrix products, packed so that the micro-kernel reads them front to back.
//!
//! A k×n operand becomes n/32 panels, each k/PACK rows of 32 units: the layout `[n/32][k/PACK][32]`. The panels of one
//! operand are independent, so that packing them can be divided among threads.

use super::PANEL_COLS;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{Buffer, MatMut, MatRef, Scalar};
use std::marker::PhantomData;
use std::ops::Range;

/// Packed k×n right operand of a matrix product, in memory that is allocated once and packed again for new values.
#[derive(Clone, Debug)]
pub struct Panels<S> {
    units: Buffer<u32>,
    k: usize,
    n: usize,
    format: PhantomData<S>,
}

impl<S: Scalar> Panels<S> {
    /// Allocates space for a k×n operand, zero until packed.
    ///
    /// `k` is rounded up to a multiple of PACK (the rest is zero). Panics unless `n` is a multiple of 32.
    pub fn new(k: usize, n: usize) -> Self {
        assert_eq!(n % PANEL_COLS, 0, "columns of a packed operand come in panels of {PANEL_COLS}");
        let k = k.next_multiple_of(S::PACK);
        Self { units: Buffer::zeroed(k / S::PACK * n), k, n, format: PhantomData }
    }

    /// Length of the summed dimension, including padding.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Number of columns.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Number of units in one panel.
    pub fn panel_len(&self) -> usize {
        self.k / S::PACK * PANEL_COLS
    }
    /// All units; panel `i` is the i-th chunk of [`panel_len`](Panels::panel_len).
    pub fn units_mut(&mut self) -> &mut [u32] {
        &mut self.units
    }
    /// Panels of the range only: columns `32 * start .. 32 * end`.
    pub fn panels(&self, range: Range<usize>) -> PanelsRef<'_, S> {
        PanelsRef { units: &self.units, k: self.k, n: self.n, format: PhantomData }.panels(range)
    }
    /// Packs a whole operand, one panel after the other (see [`pack_panel`]).
    pub fn pack(&mut self, isa: Isa, src: MatRef<f32>, transposed: bool) {
        let len = self.panel_len();
        for (i, panel) in self.units.chunks_exact_mut(len.max(1)).enumerate() {
            pack_panel::<S>(isa, i, src, transposed, panel);
        }
    }
    /// Packs a whole operand to be summed over tokens (see [`pack_tokens`]).
    pub fn pack_tokens(&mut self, isa: Isa, dy: MatRef<S>) {
        let (panels, len) = (self.n / PANEL_COLS, self.panel_len());
        pack_tokens(isa, dy, MatMut::new(&mut self.units, panels, len));
    }
}

/// Borrowed range of panels of a packed right operand.
#[derive(Clone, Copy, Debug)]
pub struct PanelsRef<'a, S> {
    pub(super) units: &'a [u32],
    pub(super) k: usize,
    pub(super) n: usize,
    format: PhantomData<S>,
}

impl<'a, S: Scalar> PanelsRef<'a, S> {
    /// Panels of `k` rows (padded up to whole units) and `n` columns that are part of a larger buffer.
    pub fn new(units: &'a [u32], k: usize, n: usize) -> Self {
        let k = k.next_multiple_of(S::PACK);
        assert_eq!(n % PANEL_COLS, 0, "columns of a packed operand come in panels of {PANEL_COLS}");
        assert_eq!(units.len(), k / S::PACK * n, "a packed {k}×{n} operand");
        Self { units, k, n, format: PhantomData }
    }
    /// Panels of the range only: columns `32 * start .. 32 * end`.
    pub fn panels(&self, range: Range<usize>) -> PanelsRef<'a, S> {
        let len = self.k / S::PACK * PANEL_COLS;
        let n = range.len() * PANEL_COLS;
        PanelsRef { units: &self.units[range.start * len..range.end * len], k: self.k, n, format: PhantomData }
    }
}

impl<'a, S: Scalar> From<&'a Panels<S>> for PanelsRef<'a, S> {
    fn from(panels: &'a Panels<S>) -> Self {
        panels.panels(0..panels.n / PANEL_COLS)
    }
}

/// Packs columns `32 * panel ..` of a k×n f32 operand, rounded to `S`, into `dst`, one panel's units.
///
/// `src` is the operand itself or, if `transposed`, its n×k transpose. Units and columns beyond `src` become zero.
/// Panics if `src` is longer in k than the panel.
pub fn pack_panel<S: Scalar>(isa: Isa, panel: usize, src: MatRef<f32>, transposed: bool, dst: &mut [u32]) {
    let k = if transposed { src.cols() } else { src.rows() };
    assert_eq!(dst.len() % PANEL_COLS, 0, "a panel has rows of {PANEL_COLS} units");
    assert!(k <= dst.len() / PANEL_COLS * S::PACK, "an operand of {k} rows in a panel of {} units", dst.len());
    let column = panel * PANEL_COLS;
    if transposed {
        S::pack_transposed(isa, Transposed { src, column, dst, format: PhantomData });
    } else {
        S::pack_straight(isa, Straight { src, column, dst, format: PhantomData });
    }
}

/// Packs `dy` (T×n, n a multiple of 32) for a sum over its rows, the tokens.
///
/// Row i of `panels` receives columns `32 * i ..`: T/PACK rows of 32 units. If T is odd, the last unit's other half is
/// zero. Panics unless the shapes agree.
pub fn pack_tokens<S: Scalar>(isa: Isa, dy: MatRef<S>, panels: MatMut<u32>) {
    let shape = (dy.cols() / PANEL_COLS, dy.rows().div_ceil(S::PACK) * PANEL_COLS);
    assert_eq!(dy.cols() % PANEL_COLS, 0, "columns of a packed operand come in panels of {PANEL_COLS}");
    assert_eq!((panels.rows(), panels.cols()), shape, "panels for {}×{} tokens", dy.rows(), dy.cols());
    S::pack_tokens(isa, Tokens { dy, panels });
}

pub(crate) struct Straight<'a, S> {
    src: MatRef<'a, f32>,
    column: usize,
    dst: &'a mut [u32],
    format: PhantomData<S>,
}

impl<S: Scalar> Kernel for Straight<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let Self { src, column, dst, .. } = self;
        for (unit, dst) in dst.chunks_exact_mut(PANEL_COLS).enumerate() {
            let row = |at: usize| if at < src.rows() { src.row(at) } else { &[] };
            let low = row(unit * S::PACK);
            let high = row(unit * S::PACK + S::PACK - 1);
            for (i, dst) in dst.chunks_exact_mut(V::LANES).enumerate() {
                let at = column + i * V::LANES;
                let low = read_up_to(simd, low, at);
                let units =
                    if S::PACK == 2 { simd.pack_bf16(low, read_up_to(simd, high, at)) } else { simd.as_units(low) };
                // SAFETY: the chunk is one vector long.
                unsafe { simd.store_units(dst.as_mut_ptr(), units) };
            }
        }
    }
}

pub(crate) struct Transposed<'a, S> {
    src: MatRef<'a, f32>,
    column: usize,
    dst: &'a mut [u32],
    format: PhantomData<S>,
}

/// LANES × LANES units, with space for the widest vectors.
#[repr(align(64))]
struct Block([[u32; 16]; 16]);

impl<S: Scalar> Kernel for Transposed<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let Self { src, column, dst, .. } = self;
        let units = dst.len() / PANEL_COLS;
        let mut block = Block([[0; 16]; 16]);
        for unit in (0..units).step_by(V::LANES) {
            for col in (0..PANEL_COLS).step_by(V::LANES) {
                for (i, block) in block.0[..V::LANES].iter_mut().enumerate() {
                    let at = column + col + i;
                    let row = if at < src.rows() { src.row(at) } else { &[] };
                    let block: &mut [S] = bytemuck::cast_slice_mut(&mut block[..V::LANES]);
                    for (part, block) in block.chunks_exact_mut(V::LANES).enumerate() {
                        simd.write(block, read_up_to(simd, row, unit * S::PACK + part * V::LANES));
                    }
                }
                let columns = transpose(simd, block.0.as_flattened(), 16);
                for (i, &column) in columns[..V::LANES.min(units - unit)].iter().enumerate() {
                    let dst = &mut dst[(unit + i) * PANEL_COLS + col..][..V::LANES];
                    // SAFETY: the slice is one vector long.
                    unsafe { simd.store_units(dst.as_mut_ptr(), column) };
                }
            }
        }
    }
}

/// Transposes LANES rows of LANES units, `stride` apart.
///
/// Zipping the first half of the rows with the second moves the highest bit of the row number to the lowest of the lane
/// number and all others up. After log2(LANES) rounds the two numbers have changed places.
#[inline(always)]
pub(crate) fn transpose<V: Simd>(simd: V, units: &[u32], stride: usize) -> [V::U32; 16] {
    let mut rows = [simd.splat_unit(0); 16];
    for (row, units) in rows.iter_mut().zip(units.chunks(stride)).take(V::LANES) {
        let units = &units[..V::LANES];
        // SAFETY: the slice is one vector long.
        *row = unsafe { simd.load_units(units.as_ptr()) };
    }
    for _ in 0..V::LANES.trailing_zeros() {
        let before = rows;
        for i in 0..V::LANES / 2 {
            (rows[2 * i], rows[2 * i + 1]) = simd.zip_units(before[i], before[i + V::LANES / 2]);
        }
    }
    rows
}

/// Reads LANES values from `row[at]` on, with zeros after its end.
#[inline(always)]
fn read_up_to<V: Simd>(simd: V, row: &[f32], at: usize) -> V::F32 {
    if at + V::LANES <= row.len() { simd.read(&row[at..]) } else { simd.read_partial(row.get(at..).unwrap_or(&[])) }
}

pub(crate) struct Tokens<'a, S> {
    dy: MatRef<'a, S>,
    panels: MatMut<'a, u32>,
}

impl<S: Scalar> Kernel for Tokens<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, simd: V) {
        /// Rows of units at a time: `dy` is read from left to right while each panel still gets a long run.
        const RUN: usize = 8;
        let (units, tokens) = (self.panels.cols() / PANEL_COLS, self.dy.rows());
        for first in (0..units).step_by(RUN) {
            for panel in 0..self.panels.rows() {
                let src = self.dy.view(0, tokens, panel * PANEL_COLS, PANEL_COLS);
                let run = &mut self.panels.row_mut(panel)[first * PANEL_COLS..units.min(first + RUN) * PANEL_COLS];
                for (i, dst) in run.chunks_exact_mut(PANEL_COLS).enumerate() {
                    interleave_rows(simd, src, first + i, dst);
                }
            }
        }
    }
}

/// Writes row `unit` of units of `src` (rows `PACK * unit ..`, zero after the last).
///
/// `dst` is as long as the rows, a multiple of LANES.
#[inline(always)]
pub(super) fn interleave_rows<V: Simd, S: Scalar>(simd: V, src: MatRef<S>, unit: usize, dst: &mut [u32]) {
    const NONE: [half::bf16; 16] = [half::bf16::ZERO; 16];
    let low = src.row(unit * S::PACK);
    if S::PACK == 1 {
        dst.copy_from_slice(bytemuck::cast_slice(low));
        return;
    }
    let high = (unit * 2 + 1 < src.rows()).then(|| src.row(unit * 2 + 1));
    for (i, (dst, low)) in dst.chunks_exact_mut(V::LANES).zip(low.chunks_exact(V::LANES)).enumerate() {
        // SAFETY: chunks are one vector long, `high` is as long as `low`, and where PACK is 2 S is bf16.
        unsafe {
            let high = high.map_or(NONE.as_ptr(), |high| high.as_ptr().add(i * V::LANES).cast());
            simd.store_units(dst.as_mut_ptr(), simd.interleave_bf16(low.as_ptr().cast(), high));
        }
    }
}
