//! The KV cache: keys and values of every layer and row, in the products' format or with 8 bits, and attention to
//! them.

use igpt_kernels::attention::{KvShape, PIECE, QueryScratch};
use igpt_kernels::pool::{chunks, rows};
use igpt_kernels::{Buffer, Isa, MatMut, MatRef, Scalar};

use crate::device::cpu::context::Cpu;

/// KV cache of all rows, in blocks of [`PIECE`] (128) positions: (L, blocks, rows).
///
/// The rows' blocks of the same positions are contiguous, so that a batch at one position reads one stream of memory.
#[derive(Debug)]
pub(super) struct Cache {
    shape: KvShape,
    rows: usize,
    /// Blocks per row.
    pieces: usize,
    memory: Memory,
    /// Partial attention results of each row's query over each block, (blocks, rows), to be merged by log-sum-exp.
    partials: Buffer<f32>,
    /// Input that belongs to each row, if any.
    input_of: Vec<Option<usize>>,
    /// Scratch memory, one per thread.
    scratch: Vec<QueryScratch>,
}

#[derive(Debug)]
enum Memory {
    Native { units: Buffer<u32>, each: usize },
    Int8 { values: Buffer<i8>, scales: Buffer<f32>, each: (usize, usize) },
}

/// One block of positions of one row.
enum Piece<'a> {
    Native(&'a mut [u32]),
    Int8(&'a mut [i8], &'a mut [f32]),
}

impl Cache {
    /// Returns a cache for `n_ctx` positions of `rows` rows.
    pub(super) fn new<S: Scalar>(
        shape: KvShape,
        n_layer: usize,
        rows: usize,
        n_ctx: usize,
        threads: usize,
        int8: bool,
    ) -> Self {
        let pieces = n_ctx.div_ceil(PIECE);
        let all = n_layer * pieces * rows;
        let memory = if int8 {
            let each = shape.int8_lens();
            Memory::Int8 { values: Buffer::zeroed(all * each.0), scales: Buffer::zeroed(all * each.1), each }
        } else {
            let each = shape.units::<S>();
            Memory::Native { units: Buffer::zeroed(all * each), each }
        };
        Self {
            shape,
            rows,
            pieces,
            memory,
            partials: Buffer::zeroed(pieces * rows * shape.partial_len()),
            input_of: vec![None; rows],
            scratch: (0..threads).map(|_| shape.scratch()).collect(),
        }
    }

    /// Stores the keys and values (all heads) of one position; see [`KvShape::append`].
    pub(super) fn append<S: Scalar>(&mut self, isa: Isa, layer: usize, row: usize, position: usize, [k, v]: [&[S]; 2]) {
        let index = (layer * self.pieces + position / PIECE) * self.rows + row;
        self.memory.piece(index).append(self.shape, isa, position % PIECE, [k, v]);
    }

    /// Copies the first `positions` of row `from` to row `to`.
    pub(super) fn copy(&mut self, from: usize, to: usize, positions: usize) {
        let layers = self.memory.pieces() / (self.pieces * self.rows);
        for layer in 0..layers {
            for piece in 0..positions.div_ceil(PIECE) {
                let first = (layer * self.pieces + piece) * self.rows;
                self.memory.copy(first + from, first + to);
            }
        }
    }

    /// Stores the keys and values of one position of some rows, and computes attention of each row's query over that
    /// row's cache.
    ///
    /// `inputs` has the rows and positions. The activations are `qkv` (inputs × 3·heads·head size) and `out` (inputs
    /// × heads·head size).
    pub(super) fn attend<S: Scalar>(
        &mut self,
        cpu: Cpu<'_>,
        scale: f32,
        layer: usize,
        inputs: &[(usize, usize)],
        qkv: MatRef<'_, S>,
        out: MatMut<'_, S>,
    ) {
        let Self { shape, rows: all_rows, input_of, memory, partials, scratch, .. } = self;
        let (shape, all_rows, partial_len) = (*shape, *all_rows, shape.partial_len());
        input_of.fill(None);
        inputs.iter().enumerate().for_each(|(input, (row, _))| input_of[*row] = Some(input));
        let used = all_rows * inputs.iter().map(|(_, position)| position / PIECE + 1).max().unwrap_or(0);
        let first = layer * self.pieces * all_rows;

        let work = |index: usize, mut piece: Piece<'_>, partial: &mut [f32], scratch: &mut QueryScratch| {
            let Some(input) = input_of[index % all_rows] else { return };
            let (start, position) = (index / all_rows * PIECE, inputs[input].1);
            if position < start {
                return;
            }
            let mut parts = qkv.row(input).chunks_exact(shape.width());
            let [q, k, v] = [(); 3].map(|()| parts.next().expect("a row has queries, keys and values"));
            let len = position + 1 - start;
            if len <= PIECE {
                piece.append(shape, cpu.isa, len - 1, [k, v]);
            }
            piece.attend(shape, cpu.isa, scale, len.min(PIECE), q, partial, scratch);
        };
        let seen = chunks(&mut partials[..used * partial_len], partial_len);
        match memory {
            Memory::Native { units, each } => {
                let pieces = chunks(&mut units[first * *each..][..used * *each], *each);
                cpu.pool.stream((pieces, seen), scratch, |i, (units, partial), scratch| {
                    work(i, Piece::Native(units), partial, scratch);
                });
            }
            Memory::Int8 { values, scales, each } => {
                let values = chunks(&mut values[first * each.0..][..used * each.0], each.0);
                let scales = chunks(&mut scales[first * each.1..][..used * each.1], each.1);
                cpu.pool.stream((values, scales, seen), scratch, |i, (values, scales, partial), scratch| {
                    work(i, Piece::Int8(values, scales), partial, scratch);
                });
            }
        }
        cpu.pool.for_each(rows(out, 1), |input, mut out| {
            let (row, position) = inputs[input];
            let seen = |piece: usize| &partials[(piece * all_rows + row) * partial_len..][..partial_len];
            shape.merge(cpu.isa, (0..position / PIECE + 1).map(seen), out.row_mut(0));
        });
    }
}

impl Memory {
    /// Number of blocks of all layers and rows.
    fn pieces(&self) -> usize {
        match self {
            Self::Native { units, each } => units.len() / each,
            Self::Int8 { values, each, .. } => values.len() / each.0,
        }
    }

    fn copy(&mut self, from: usize, to: usize) {
        let copy = |each: usize| (from * each..(from + 1) * each, to * each);
        match self {
            Self::Native { units, each } => {
                let (range, to) = copy(*each);
                units.copy_within(range, to);
            }
            Self::Int8 { values, scales, each } => {
                let (range, to) = copy(each.0);
                values.copy_within(range, to);
                let (range, to) = copy(each.1);
                scales.copy_within(range, to);
            }
        }
    }

    fn piece(&mut self, index: usize) -> Piece<'_> {
        match self {
            Self::Native { units, each } => Piece::Native(&mut units[index * *each..][..*each]),
            Self::Int8 { values, scales, each } => {
                Piece::Int8(&mut values[index * each.0..][..each.0], &mut scales[index * each.1..][..each.1])
            }
        }
    }
}

impl Piece<'_> {
    fn append<S: Scalar>(&mut self, shape: KvShape, isa: Isa, place: usize, [k, v]: [&[S]; 2]) {
        match self {
            Self::Native(units) => shape.append(units, place, k, v),
            Self::Int8(values, scales) => shape.append_int8(isa, (values, scales), place, k, v),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn attend<S: Scalar>(
        &self,
        shape: KvShape,
        isa: Isa,
        scale: f32,
        len: usize,
        q: &[S],
        partial: &mut [f32],
        scratch: &mut QueryScratch,
    ) {
        match self {
            Self::Native(units) => shape.attend(isa, scale, (units, len), q, partial, scratch),
            Self::Int8(values, scales) => {
                shape.attend_int8(isa, scale, (values, scales, len), q, partial, scratch);
            }
        }
    }
}
