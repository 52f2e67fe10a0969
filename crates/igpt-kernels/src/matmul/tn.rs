//! The gradient of a weight: the product of activations, transposed, and gradients, summed over tokens.
//!
//! The sum runs down the rows of both operands, so both are packed: the right one once by the caller, shared by
//! everyone who works on a block of the left one's columns; that block here, 512 tokens at a time.

use super::{PANEL_COLS, PanelsRef, Tile, panels, run_rows, tile};
use crate::amx::{self, Amx, TILE_UNITS, Tiles};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{Buffer, MatMut, MatRef, Scalar};
use std::marker::PhantomData;

/// Sums over tokens are cut after every so many tokens of an image.
pub const TOKEN_BLOCK: usize = 512;

/// Columns of the left operand that are packed side by side; a multiple of all LANES.
const GROUP: usize = 16;

/// Memory for a packed block of the left operand. Keep one per worker: it grows to the largest block and stays.
#[derive(Debug, Default)]
pub struct Scratch {
    units: Buffer<u32>,
}

/// dw (k×n) = xᵀ · dy over the T tokens of one image, added to what is there if `add`: `x` is T×k (a view of some
/// columns), `dy` T×n in panels packed by [`pack_tokens`](super::pack_tokens). Every 512 tokens are summed in order
/// and then added to `dw`; the bits of an element depend on its own column of `x` and of `dy` alone.
///
/// Panics unless the shapes agree.
pub fn matmul_tn<'b, S: Scalar>(
    isa: Isa,
    x: MatRef<S>,
    dy: impl Into<PanelsRef<'b, S>>,
    mut dw: MatMut<f32>,
    add: bool,
    scratch: &mut Scratch,
) {
    let dy = dy.into();
    assert_eq!(x.rows().next_multiple_of(S::PACK), dy.k, "tokens of both operands");
    assert_eq!((dw.rows(), dw.cols()), (x.cols(), dy.n), "the shape of a weight gradient");
    let units = x.rows().min(TOKEN_BLOCK).div_ceil(S::PACK).next_multiple_of(TILE_UNITS);
    let needed = (x.cols().next_multiple_of(GROUP) + PANEL_COLS) * units;
    if scratch.units.len() < needed {
        scratch.units = Buffer::zeroed(needed);
    }
    if x.rows() == 0 && !add {
        (0..dw.rows()).for_each(|i| dw.row_mut(i).fill(0.0));
    }
    for first in (0..x.rows()).step_by(TOKEN_BLOCK) {
        let x = x.view(first, TOKEN_BLOCK.min(x.rows() - first), 0, x.cols());
        let (first_unit, add) = (first / S::PACK, add || first > 0);
        isa.run(Block { x, dy, first_unit, dw: dw.reborrow(), add, packed: &mut scratch.units, amx: isa.amx::<S>() });
    }
}

/// Up to [`TOKEN_BLOCK`] tokens.
struct Block<'a, S> {
    x: MatRef<'a, S>,
    dy: PanelsRef<'a, S>,
    first_unit: usize,
    dw: MatMut<'a, f32>,
    add: bool,
    packed: &'a mut [u32],
    amx: Option<Amx>,
}

impl<S: Scalar> Kernel for Block<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        match self.amx {
            Some(amx) => self.run_with_tiles(simd, &mut Tiles::new(amx)),
            None => self.run_with_vectors(simd),
        }
    }
}

impl<S: Scalar> Block<'_, S> {
    #[inline(always)]
    fn run_with_vectors<V: Simd>(mut self, simd: V) {
        let (k, units) = (self.x.cols(), self.x.rows().div_ceil(S::PACK));
        pack(simd, self.x, units, self.packed);
        for col in (0..self.dy.n).step_by(2 * V::LANES) {
            let right = &panel(self.dy, col, self.first_unit, units)[col % PANEL_COLS..];
            for first in (0..k).step_by(GROUP) {
                let mut dw = self.dw.view(first, GROUP.min(k - first), col, 2 * V::LANES);
                let (rows, to, left) = (dw.rows(), Sum::new(&mut dw, self.add), &self.packed[first * units..]);
                let (left, right, format) = (left.as_ptr(), right.as_ptr(), PhantomData);
                // SAFETY: a group is `units` rows of 16 units and `right` as many rows of 32, of which the strip reads
                // two vectors from the column's place in the panel on; `dw` is two vectors wide.
                unsafe { run_rows::<V, S>(simd, rows, &mut Strip::<S> { units, left, right, to, format }) }
            }
        }
    }

    /// Both operands are filled up with zeros to whole tiles of units.
    #[inline(always)]
    fn run_with_tiles<V: Simd>(mut self, simd: V, tiles: &mut Tiles) {
        let (k, units) = (self.x.cols(), self.x.rows().div_ceil(S::PACK));
        let padded = units.next_multiple_of(TILE_UNITS);
        let (left, filled) = self.packed.split_at_mut(k.next_multiple_of(GROUP) * padded);
        pack(simd, self.x, padded, left);
        turn(simd, left);
        let group = |row: usize| left.as_ptr().wrapping_add(row * padded);
        for col in (0..self.dy.n).step_by(PANEL_COLS) {
            let mut right = panel(self.dy, col, self.first_unit, units);
            if padded > units {
                let (whole, rest) = filled[..padded * PANEL_COLS].split_at_mut(right.len());
                whole.copy_from_slice(right);
                rest.fill(0);
                right = &filled[..padded * PANEL_COLS];
            }
            for first in (0..k).step_by(amx::BLOCK) {
                let mut dw = self.dw.view(first, amx::BLOCK.min(k - first), col, PANEL_COLS);
                let (rows, to) = (dw.rows(), Sum::new(&mut dw, self.add));
                let left = amx::Left {
                    halves: [first, first + GROUP].map(|row| group(row).cast()),
                    row: 4 * TILE_UNITS,
                    block: 4 * TILE_UNITS * GROUP,
                };
                // SAFETY: a group is `padded` rows of 16 units, the second one read only where there are rows for it,
                // `right` as many rows of 32, which with tiles is two vectors; as wide is `dw`.
                unsafe {
                    for row in 0..rows {
                        to.prefetch(simd, row);
                    }
                    let sums = tiles.product(rows, padded / TILE_UNITS, left, right.as_ptr());
                    for row in 0..rows {
                        to.store(simd, row, amx::vectors::<V, 1>(simd, sums, row)[0]);
                    }
                }
            }
        }
    }
}

/// Rows `first .. first + units` of units of the panel of column `col`.
#[inline(always)]
fn panel<'a, S: Scalar>(dy: PanelsRef<'a, S>, col: usize, first: usize, units: usize) -> &'a [u32] {
    let rows = dy.k / S::PACK;
    &dy.units[(col / PANEL_COLS * rows + first) * PANEL_COLS..][..units * PANEL_COLS]
}

/// Packs `x` into groups of 16 columns, each `units` rows of 16 units: `[k/16][units][16]`, zeros beyond `x`.
#[inline(always)]
fn pack<V: Simd, S: Scalar>(simd: V, x: MatRef<S>, units: usize, packed: &mut [u32]) {
    let (whole, filled) = (x.cols() / GROUP, x.rows().div_ceil(S::PACK));
    let rest = x.cols() - whole * GROUP;
    for unit in 0..filled {
        for group in 0..whole {
            let dst = &mut packed[(group * units + unit) * GROUP..][..GROUP];
            panels::interleave_rows(simd, x.view(0, x.rows(), group * GROUP, GROUP), unit, dst);
        }
        if rest > 0 {
            let mut edge = [S::default(); 2 * GROUP];
            for (i, row) in (unit * S::PACK..x.rows()).take(S::PACK).enumerate() {
                edge[i * GROUP..][..rest].copy_from_slice(&x.row(row)[whole * GROUP..]);
            }
            let edge = MatRef::new(&edge[..S::PACK * GROUP], S::PACK, GROUP);
            panels::interleave_rows(simd, edge, 0, &mut packed[(whole * units + unit) * GROUP..][..GROUP]);
        }
    }
    for group in packed.chunks_exact_mut(GROUP * units).take(x.cols().div_ceil(GROUP)) {
        group[GROUP * filled..].fill(0);
    }
}

/// Turns packed groups, block by block of 16 units, to `[column][unit]`: a tile's rows are columns of the operand.
#[inline(always)]
fn turn<V: Simd>(simd: V, packed: &mut [u32]) {
    // With tiles vectors have sixteen lanes: a block of units and columns is one of a transposition.
    for block in packed.chunks_exact_mut(GROUP * TILE_UNITS) {
        let columns = panels::transpose(simd, block, GROUP);
        for (row, column) in block.chunks_exact_mut(GROUP).zip(columns) {
            // SAFETY: with sixteen lanes the chunk is one vector long.
            unsafe { simd.store_units(row.as_mut_ptr(), column) };
        }
    }
}

/// Where the sums go: two vectors of columns of the gradient.
#[derive(Clone, Copy)]
struct Sum {
    out: *mut f32,
    stride: usize,
    /// Whether they are added to what is there.
    add: bool,
}

impl Sum {
    fn new(dw: &mut MatMut<f32>, add: bool) -> Self {
        Self { out: dw.as_mut_ptr(), stride: dw.stride(), add }
    }

    /// Asks for what is there, so that it has arrived when the sums are done.
    ///
    /// # Safety
    /// The gradient must have this row.
    #[inline(always)]
    unsafe fn prefetch<V: Simd>(&self, simd: V, row: usize) {
        for v in 0..2 {
            // SAFETY: the caller's promise.
            unsafe { simd.prefetch(self.out.add(row * self.stride + v * V::LANES)) }
        }
    }

    /// # Safety
    /// The gradient must have this row.
    #[inline(always)]
    unsafe fn store<V: Simd>(&self, simd: V, row: usize, sums: [V::F32; 2]) {
        for (v, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let at = self.out.add(row * self.stride + v * V::LANES);
                simd.store_f32(at, if self.add { simd.add(simd.load_f32(at), sum) } else { sum });
            }
        }
    }
}

/// Some rows of the left operand times two vectors of columns of the right one.
struct Strip<S> {
    units: usize,
    left: *const u32,
    right: *const u32,
    to: Sum,
    format: PhantomData<S>,
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<S> {
    /// # Safety
    /// The group and the gradient must have rows `row .. row + MR`.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: whoever makes a strip sees to `units` rows of both operands; the caller promises the rows.
        unsafe {
            for r in 0..MR {
                self.to.prefetch(simd, row + r);
            }
            let (left, zeros) = (self.left.wrapping_add(row), [[simd.zero(); 2]; MR]);
            let acc = tile::<V, S, MR, 2>(simd, self.units, left, 1, GROUP, self.right, PANEL_COLS, zeros);
            for (r, acc) in acc.into_iter().enumerate() {
                self.to.store(simd, row + r, acc);
            }
        }
    }
}
