//! Weight gradient: the product of transposed activations and gradients, summed over tokens.
//!
//! The sum runs down the rows of both operands, so both are packed. The caller packs the right one once, for all who
//! work on a block of the left one's columns. That block is packed here, 512 tokens at a time.

use super::out::{Finish, Out};
use super::{PANEL_COLS, PanelsRef, Tile, panels, run_rows, tile};
use crate::amx::{self, Amx, TILE_UNITS, Tiles};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{Buffer, MatMut, MatRef, Scalar};

/// Number of tokens of an image after which sums over tokens are cut.
pub const TOKEN_BLOCK: usize = 512;

/// Number of columns of the left operand that are packed side by side; a multiple of all LANES.
const GROUP: usize = 16;
/// Size in bytes of the left operand's blocks of tokens that tiles take at a time, half of the L2 cache.
///
/// Each panel's part of the gradient is fetched once for all of them.
const LEFT_BYTES: usize = 1 << 20;

/// Scratch memory of [`matmul_tn`]: packed blocks of the left operand, and one panel of the right one.
///
/// Keep one per worker: it grows to the largest size needed and stays.
#[derive(Debug, Default)]
pub struct TnScratch {
    units: Buffer<u32>,
}

impl TnScratch {
    /// Size in bytes that it grows to, for `cols` columns of `spans` times `tokens` tokens, with matrix instructions or
    /// without.
    pub fn bytes<S: Scalar>(tiles: bool, cols: usize, tokens: usize, spans: usize) -> usize {
        Room::new::<S>(tiles, cols, tokens, spans).units() * size_of::<u32>()
    }
}

#[cfg(test)]
impl TnScratch {
    /// Scratch memory of `units` units, all of them `unit`.
    pub(super) fn filled(unit: u32, units: usize) -> Self {
        let mut scratch = Self { units: Buffer::zeroed(units) };
        scratch.units.fill(unit);
        scratch
    }

    /// Present size in bytes.
    pub(super) fn held(&self) -> usize {
        size_of_val(&self.units[..])
    }
}

/// Sizes of the packed blocks.
#[derive(Clone, Copy)]
struct Room {
    /// Largest number of units in a packed block.
    block: usize,
    /// Number of blocks at a time.
    blocks: usize,
    /// Number of units in a panel that is padded for tiles.
    panel: usize,
}

impl Room {
    fn new<S: Scalar>(tiles: bool, cols: usize, tokens: usize, spans: usize) -> Self {
        let units = tokens.min(TOKEN_BLOCK).div_ceil(S::PACK);
        let cols = cols.next_multiple_of(GROUP);
        if !tiles {
            return Self { block: cols * units, blocks: 1, panel: 0 };
        }
        let units = units.next_multiple_of(TILE_UNITS);
        let block = cols * units;
        let most = spans * tokens.div_ceil(TOKEN_BLOCK);
        let blocks = (LEFT_BYTES / (4 * block).max(1)).clamp(1, most.max(1));
        Self { block, blocks, panel: PANEL_COLS * units }
    }

    fn units(&self) -> usize {
        self.blocks * self.block + self.panel
    }
}

/// Computes the weight gradient dw (k×n) = xᵀ · dy over the tokens of some spans, such as images; `add` adds it to
/// `dw`.
///
/// `x` is (spans·T)×k (a view of some columns). Each span's `dy` is T×n in panels packed by
/// [`pack_tokens`](super::pack_tokens). The panels may have rows of zeros after the last token; if their number of rows
/// is a multiple of [`TILE_UNITS`], tiles need not copy them.
///
/// Sums run in the order of tokens: vectors sum every 512 of a span and then add them to `dw`, while tiles start from
/// the present values. The bits of an element depend on its own column of `x` and of `dy` alone, and are the same if
/// the spans come one by one.
///
/// Panics unless the shapes agree.
pub fn matmul_tn<S: Scalar>(
    isa: Isa,
    x: MatRef<S>,
    dy: &[PanelsRef<S>],
    mut dw: MatMut<f32>,
    add: bool,
    scratch: &mut TnScratch,
) {
    let tokens = x.rows() / dy.len().max(1);
    assert_eq!(x.rows(), tokens * dy.len(), "spans of as many tokens each");
    for dy in dy {
        assert!(tokens <= dy.k, "{tokens} tokens of the left operand, {} of the right one", dy.k);
        assert_eq!((dw.rows(), dw.cols()), (x.cols(), dy.n), "the shape of a weight gradient");
    }
    if x.rows() == 0 && !add {
        (0..dw.rows()).for_each(|i| dw.row_mut(i).fill(0.0));
    }
    let room = Room::new::<S>(isa.has_tiles::<S>(), x.cols(), tokens, dy.len());
    if scratch.units.len() < room.units() {
        scratch.units = Buffer::zeroed(room.units());
    }
    let blocks = Blocks::new(x, dy);
    for first in (0..blocks.count).step_by(room.blocks) {
        let blocks = Blocks { first, count: room.blocks.min(blocks.count - first), ..blocks };
        let (dw, add, packed) = (dw.reborrow(), add || first > 0, &mut scratch.units[..]);
        S::matmul_tn(isa, Sum { blocks, dw, add, room, packed, amx: isa.amx::<S>() });
    }
}

/// Some of the operands' blocks of up to [`TOKEN_BLOCK`] tokens.
#[derive(Clone, Copy)]
struct Blocks<'a, S> {
    x: MatRef<'a, S>,
    dy: &'a [PanelsRef<'a, S>],
    /// Number of tokens in a span.
    tokens: usize,
    first: usize,
    count: usize,
}

impl<'a, S: Scalar> Blocks<'a, S> {
    /// All blocks of the operands.
    fn new(x: MatRef<'a, S>, dy: &'a [PanelsRef<'a, S>]) -> Self {
        let tokens = x.rows() / dy.len().max(1);
        Self { x, dy, tokens, first: 0, count: dy.len() * tokens.div_ceil(TOKEN_BLOCK) }
    }

    /// Index of a block's span among these, and the block's first token in it.
    fn place(&self, block: usize) -> (usize, usize) {
        let (block, in_span) = (self.first + block, self.tokens.div_ceil(TOKEN_BLOCK));
        (block / in_span, block % in_span * TOKEN_BLOCK)
    }

    /// Block of the left operand, tokens × k.
    fn left(&self, block: usize) -> MatRef<'a, S> {
        let (span, first) = self.place(block);
        self.x.view(span * self.tokens + first, TOKEN_BLOCK.min(self.tokens - first), 0, self.x.cols())
    }

    /// A block's first `units` rows of the panel with column `col`, or as many as there are.
    fn right(&self, block: usize, col: usize, units: usize) -> &'a [u32] {
        let (span, first) = self.place(block);
        let panel = self.dy[span].panels(col / PANEL_COLS..col / PANEL_COLS + 1).units;
        let rows = &panel[first / S::PACK * PANEL_COLS..];
        &rows[..rows.len().min(units * PANEL_COLS)]
    }
}

/// Sum over some blocks, or over one without matrix instructions.
pub(crate) struct Sum<'a, S> {
    blocks: Blocks<'a, S>,
    dw: MatMut<'a, f32>,
    add: bool,
    room: Room,
    packed: &'a mut [u32],
    amx: Option<Amx>,
}

impl<S: Scalar> Kernel for Sum<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        match self.amx {
            Some(amx) => self.run_with_tiles(simd, &mut Tiles::new(amx)),
            None => self.run_with_vectors(simd),
        }
    }
}

impl<S: Scalar> Sum<'_, S> {
    #[inline(always)]
    fn run_with_vectors<V: Simd>(self, simd: V) {
        let (k, n) = (self.dw.rows(), self.dw.cols());
        let x = self.blocks.left(0);
        let units = x.rows().div_ceil(S::PACK);
        pack(simd, x, units, self.packed);
        let out = if self.add { Out::<S>::AddF32(self.dw) } else { Out::F32(self.dw) };
        let target = out.checked(k, n);
        for col in (0..n).step_by(2 * V::LANES) {
            let right = self.blocks.right(0, col, units)[col % PANEL_COLS..].as_ptr();
            for first in (0..k).step_by(GROUP) {
                let left = self.packed[first * units..].as_ptr();
                let finish = Finish { bias: None, target, row: first, col };
                // SAFETY: a group is `units` rows of 16 units and `right` as many rows of 32, of which the strip reads
                // two vectors from the column's place in the panel on; the target is `dw`.
                unsafe { run_rows::<V, S>(simd, GROUP.min(k - first), &mut Strip { units, left, right, finish }) }
            }
        }
    }

    /// Both operands are padded with zeros to whole tiles of units.
    #[inline(always)]
    fn run_with_tiles<V: Simd>(mut self, simd: V, tiles: &mut Tiles) {
        let (k, n, size) = (self.dw.rows(), self.dw.cols(), self.room.block.max(1));
        let units = |block: usize| self.blocks.left(block).rows().div_ceil(S::PACK).next_multiple_of(TILE_UNITS);
        let (left, spare) = self.packed.split_at_mut(self.blocks.count * self.room.block);
        for (block, left) in left.chunks_exact_mut(size).enumerate() {
            pack(simd, self.blocks.left(block), units(block), left);
            turn(simd, left);
        }
        let (stride, dw) = (self.dw.stride(), self.dw.as_mut_ptr());
        for col in (0..n).step_by(PANEL_COLS) {
            for (block, left) in left.chunks_exact(size).enumerate() {
                let units = units(block);
                let right = fill_up(self.blocks.right(block, col, units), units, spare);
                for first in (0..k).step_by(amx::BLOCK) {
                    let halves = [first, first + GROUP].map(|row| left.as_ptr().wrapping_add(row * units).cast());
                    let left = amx::Left { halves, row: 4 * TILE_UNITS, block: 4 * TILE_UNITS * GROUP };
                    let right = amx::Right::dense(right.as_ptr());
                    // SAFETY: a group is `units` rows of 16 units, the second one read only where there are rows for it,
                    // `right` as many rows of 32; `dw` is k×n, n a multiple of 32.
                    unsafe {
                        let start = dw.add(first * stride + col);
                        let sums = amx::SumsAt { start, row: 4 * stride, add: self.add || block > 0 };
                        tiles.product_into(amx::BLOCK.min(k - first), units / TILE_UNITS, left, right, sums);
                    }
                }
            }
        }
    }
}

/// A panel's rows with zeros after them up to `units`; `spare` has space for these.
#[inline(always)]
fn fill_up<'a>(rows: &'a [u32], units: usize, spare: &'a mut [u32]) -> &'a [u32] {
    let len = units * PANEL_COLS;
    if rows.len() == len {
        return rows;
    }
    let (whole, rest) = spare[..len].split_at_mut(rows.len());
    whole.copy_from_slice(rows);
    rest.fill(0);
    &spare[..len]
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
    for group in packed.chunks_exact_mut((GROUP * units).max(1)).take(x.cols().div_ceil(GROUP)) {
        group[GROUP * filled..].fill(0);
    }
}

/// Transposes packed groups, block by block of 16 units, to `[column][unit]`: a tile's rows are columns of the operand.
#[inline(always)]
fn turn<V: Simd>(simd: V, packed: &mut [u32]) {
    // With tiles, vectors have sixteen lanes: a block of units and columns is one transposition.
    for block in packed.chunks_exact_mut(GROUP * TILE_UNITS) {
        let columns = panels::transpose(simd, block, GROUP);
        for (row, column) in block.chunks_exact_mut(GROUP).zip(columns) {
            // SAFETY: with sixteen lanes the chunk is one vector long.
            unsafe { simd.store_units(row.as_mut_ptr(), column) };
        }
    }
}

/// Some rows of the left operand times two vectors of columns of the right one.
struct Strip<S> {
    units: usize,
    left: *const u32,
    right: *const u32,
    finish: Finish<S>,
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<S> {
    /// # Safety
    /// The group and the target must have rows `row .. row + MR` from `finish.row` on.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: whoever makes a strip sees to `units` rows of both operands; the caller promises the rows.
        unsafe {
            self.finish.prefetch::<V, MR>(simd, row);
            let (left, zeros) = (self.left.wrapping_add(row), [[simd.zero(); 2]; MR]);
            let acc = tile::<V, S, MR, 2>(simd, self.units, left, 1, GROUP, self.right, PANEL_COLS, zeros);
            self.finish.store(simd, row, acc);
        }
    }
}
