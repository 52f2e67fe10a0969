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
    let needed = x.cols().next_multiple_of(GROUP) * x.rows().min(TOKEN_BLOCK).div_ceil(S::PACK);
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
    fn run<V: Simd>(mut self, simd: V) {
        let (k, n) = (self.x.cols(), self.dy.n);
        let units = self.x.rows().div_ceil(S::PACK);
        // Units that tiles sum, where there are matrix instructions; the vectors sum the rest.
        let tiled = if self.amx.is_some() { units / TILE_UNITS * TILE_UNITS } else { 0 };
        let mut tiles = self.amx.filter(|_| tiled > 0).map(Tiles::new);
        pack(simd, self.x, units, tiled, self.packed);
        let panel_units = self.dy.k / S::PACK * PANEL_COLS;
        // As many groups at once as fit a block of tiles.
        let step = if tiles.is_some() { amx::BLOCK } else { GROUP };
        for col in (0..n).step_by(2 * V::LANES) {
            let panel = &self.dy.units[col / PANEL_COLS * panel_units..][..panel_units];
            let right = &panel[self.first_unit * PANEL_COLS..][..units * PANEL_COLS];
            for first in (0..k).step_by(step) {
                let mut dw = self.dw.view(first, step.min(k - first), col, 2 * V::LANES);
                // SAFETY: a group is `units` rows of 16 units and `right` as many rows of 32, of which the strip reads
                // two vectors from the column's place in the panel on, with tiles the whole panel; `dw` is two vectors
                // wide.
                unsafe {
                    let left = &self.packed[first * units..];
                    let right = right.as_ptr().add(col % PANEL_COLS);
                    let (rows, out, stride) = (dw.rows(), dw.as_mut_ptr(), dw.stride());
                    let (left, add, format) = (left.as_ptr(), self.add, PhantomData);
                    let mut strip = Strip::<S> { units, left, right, begun: None, out, stride, add, format };
                    match &mut tiles {
                        None => run_rows::<V, S>(simd, rows, &mut strip),
                        Some(tiles) => strip.run_with_tiles(simd, rows, tiled, tiles),
                    }
                }
            }
        }
    }
}

/// Packs `x` into groups of 16 columns, each `units` rows of 16 units: `[k/16][units][16]`, columns beyond `x` zero. The
/// first `tiled` units are turned in blocks, to `[column][unit]`: a tile's rows are columns of `x`.
#[inline(always)]
fn pack<V: Simd, S: Scalar>(simd: V, x: MatRef<S>, units: usize, tiled: usize, packed: &mut [u32]) {
    let whole = x.cols() / GROUP;
    for unit in 0..units {
        for group in 0..whole {
            let dst = &mut packed[(group * units + unit) * GROUP..][..GROUP];
            panels::interleave_rows(simd, x.view(0, x.rows(), group * GROUP, GROUP), unit, dst);
        }
        let rest = x.cols() - whole * GROUP;
        if rest > 0 {
            let mut edge = [S::default(); 2 * GROUP];
            for (i, row) in (unit * S::PACK..x.rows()).take(S::PACK).enumerate() {
                edge[i * GROUP..][..rest].copy_from_slice(&x.row(row)[whole * GROUP..]);
            }
            let edge = MatRef::new(&edge[..S::PACK * GROUP], S::PACK, GROUP);
            panels::interleave_rows(simd, edge, 0, &mut packed[(whole * units + unit) * GROUP..][..GROUP]);
        }
    }
    // With tiles vectors have sixteen lanes: a block of units and columns is one of a transposition.
    for group in packed.chunks_exact_mut(GROUP * units).take(x.cols().div_ceil(GROUP)) {
        for block in group[..GROUP * tiled].chunks_exact_mut(GROUP * TILE_UNITS) {
            let columns = panels::transpose(simd, block, GROUP);
            for (row, column) in block.chunks_exact_mut(GROUP).zip(columns) {
                // SAFETY: with sixteen lanes the chunk is one vector long.
                unsafe { simd.store_units(row.as_mut_ptr(), column) };
            }
        }
    }
}

/// Some rows of the left operand times two vectors of columns of the right one.
struct Strip<'s, S> {
    units: usize,
    left: *const u32,
    right: *const u32,
    /// The sums of all units before these.
    begun: Option<&'s [[f32; amx::BLOCK]]>,
    out: *mut f32,
    stride: usize,
    add: bool,
    format: PhantomData<S>,
}

impl<S: Scalar> Strip<'_, S> {
    /// All of the strip, up to two groups, its first `tiled` units by tiles.
    ///
    /// # Safety
    /// As [`Tile::rows`] for rows 0 .. `rows`, the second group behind the first; a strip must be as wide as a panel.
    #[inline(always)]
    unsafe fn run_with_tiles<V: Simd>(&self, simd: V, rows: usize, tiled: usize, tiles: &mut Tiles) {
        let group = |i: usize| self.left.wrapping_add(i * GROUP * self.units);
        // SAFETY: the caller's promises.
        unsafe {
            let left = amx::Left {
                halves: [group(0), group(1)].map(<*const u32>::cast),
                row: 4 * TILE_UNITS,
                block: 4 * TILE_UNITS * GROUP,
            };
            let sums = tiles.product(rows, tiled / TILE_UNITS, left, self.right);
            for first in (0..rows).step_by(GROUP) {
                let mut rest = Strip::<S> {
                    units: self.units - tiled,
                    left: group(first / GROUP).wrapping_add(tiled * GROUP),
                    right: self.right.wrapping_add(tiled * PANEL_COLS),
                    begun: Some(&sums[first..]),
                    out: self.out.add(first * self.stride),
                    ..*self
                };
                run_rows::<V, S>(simd, GROUP.min(rows - first), &mut rest);
            }
        }
    }
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<'_, S> {
    /// # Safety
    /// The group and `out` must have rows `row .. row + MR`.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: whoever makes a strip sees to `units` rows of both operands; the caller promises the rows.
        unsafe {
            // What is there should have arrived when the sums are done.
            for r in 0..MR {
                for v in 0..2 {
                    simd.prefetch(self.out.add((row + r) * self.stride + v * V::LANES));
                }
            }
            let begun = self.begun.map_or([[simd.zero(); 2]; MR], |sums| amx::vectors(simd, sums, row));
            let left = self.left.wrapping_add(row);
            let acc = tile::<V, S, MR, 2>(simd, self.units, left, 1, GROUP, self.right, PANEL_COLS, begun);
            for (r, acc) in acc.iter().enumerate() {
                for (v, &sum) in acc.iter().enumerate() {
                    let at = self.out.add((row + r) * self.stride + v * V::LANES);
                    simd.store_f32(at, if self.add { simd.add(simd.load_f32(at), sum) } else { sum });
                }
            }
        }
    }
}
