//! Ways to cut a buffer into disjoint writable parts, so that threads can fill it without locks or `unsafe`.

use std::marker::PhantomData;
use std::ops::Range;

use crate::MatMut;

/// Data of a job, cut into disjoint parts numbered from 0.
///
/// Tuples of two to four cuts with equal numbers of parts are handed out side by side. A range has its indices as parts
/// and no data.
///
/// # Safety
/// The parts of different indices must not share memory that either can write.
pub unsafe trait Parts: Sync + sealed::Sealed {
    /// Part of the data, for one task.
    type Part: Send;
    /// Number of parts.
    ///
    /// Panics if the members of a tuple disagree.
    fn len(&self) -> usize;
    /// Whether there are no parts.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns part `index`.
    ///
    /// # Safety
    /// `index < self.len()`, and each index is taken at most once in the life of the cut.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
    impl Sealed for std::ops::Range<usize> {}
    impl<T> Sealed for super::Chunks<'_, T> {}
    impl<T> Sealed for super::Grid<'_, T> {}
    impl<T> Sealed for super::Heads<'_, T> {}
    impl<P> Sealed for super::All<P> {}
    impl<A, B> Sealed for super::Then<A, B> {}
    impl<A, B> Sealed for (A, B) {}
    impl<A, B, C> Sealed for (A, B, C) {}
    impl<A, B, C, D> Sealed for (A, B, C, D) {}
}

/// Slice cut into chunks of equal length; see [`chunks`].
#[derive(Debug)]
pub struct Chunks<'a, T> {
    data: *mut T,
    len: usize,
    chunk: usize,
    owner: PhantomData<&'a mut [T]>,
}

/// Cuts a slice into chunks of `len` elements, the last one shorter if need be.
///
/// Panics if `len` is 0.
pub fn chunks<T: Send>(data: &mut [T], len: usize) -> Chunks<'_, T> {
    assert!(len > 0, "chunks of no elements");
    Chunks { data: data.as_mut_ptr(), len: data.len(), chunk: len, owner: PhantomData }
}

// SAFETY: a cut only gives away its parts, each to one taker, as if the slice had been split beforehand.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

// SAFETY: chunk i covers the elements from i·chunk up to (i + 1)·chunk.
unsafe impl<'a, T: Send> Parts for Chunks<'a, T> {
    type Part = &'a mut [T];
    fn len(&self) -> usize {
        self.len.div_ceil(self.chunk)
    }
    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = index * self.chunk;
        debug_assert!(start < self.len);
        // SAFETY: inside the slice that this cut borrows, and the caller takes each index once.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), self.chunk.min(self.len - start)) }
    }
}

/// Matrix cut into blocks of rows × columns, numbered along the rows of blocks; see [`grid`].
#[derive(Debug)]
pub struct Grid<'a, T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    block_rows: usize,
    block_cols: usize,
    /// Numbers of blocks side by side and above each other.
    across: usize,
    down: usize,
    owner: PhantomData<&'a mut [T]>,
}

/// Cuts a matrix into blocks of `rows_per_part` × `cols_per_part`, smaller at the lower and right edge if need be.
///
/// Part `i` is block row `i / b`, block column `i % b` with `b = cols.div_ceil(cols_per_part)`. Panics if either size
/// is 0.
pub fn grid<T: Send>(mut matrix: MatMut<'_, T>, rows_per_part: usize, cols_per_part: usize) -> Grid<'_, T> {
    assert!(rows_per_part > 0 && cols_per_part > 0, "blocks of {rows_per_part}×{cols_per_part} elements");
    Grid {
        data: matrix.as_mut_ptr(),
        rows: matrix.rows(),
        cols: matrix.cols(),
        stride: matrix.stride(),
        block_rows: rows_per_part,
        block_cols: cols_per_part,
        across: matrix.cols().div_ceil(cols_per_part),
        down: matrix.rows().div_ceil(rows_per_part),
        owner: PhantomData,
    }
}

/// Cuts a matrix into blocks of `rows_per_part` whole rows, the last one shorter if need be.
///
/// Panics on 0.
pub fn rows<T: Send>(matrix: MatMut<'_, T>, rows_per_part: usize) -> Grid<'_, T> {
    let cols = matrix.cols().max(1);
    Grid { across: 1, ..grid(matrix, rows_per_part, cols) }
}

/// Cuts a matrix into blocks of `cols_per_part` whole columns, the last one narrower if need be.
///
/// Panics on 0.
pub fn columns<T: Send>(matrix: MatMut<'_, T>, cols_per_part: usize) -> Grid<'_, T> {
    let rows = matrix.rows().max(1);
    Grid { down: 1, ..grid(matrix, rows, cols_per_part) }
}

// SAFETY: as for Chunks.
unsafe impl<T: Send> Sync for Grid<'_, T> {}

// SAFETY: blocks of different numbers differ in their rows or in their columns.
unsafe impl<'a, T: Send> Parts for Grid<'a, T> {
    type Part = MatMut<'a, T>;
    fn len(&self) -> usize {
        self.down * self.across
    }
    unsafe fn part(&self, index: usize) -> MatMut<'a, T> {
        let (row, col) = (index / self.across * self.block_rows, index % self.across * self.block_cols);
        let (rows, cols) = (self.block_rows.min(self.rows - row), self.block_cols.min(self.cols - col));
        // A part without elements stays at the matrix's start: its own address may lie outside.
        let (offset, stride) = if rows * cols == 0 { (0, 0) } else { (row * self.stride + col, self.stride) };
        // SAFETY: inside the matrix that this cut borrows, and the caller takes each index once.
        unsafe { MatMut::from_raw(self.data.add(offset), rows, cols, stride) }
    }
}

/// Fused q, k, v matrix cut by images and heads; see [`heads`].
#[derive(Debug)]
pub struct Heads<'a, T> {
    grid: Grid<'a, T>,
}

/// Cuts the fused q, k, v matrix by images of `rows_per_part` rows and by heads.
///
/// The matrix is rows × 3·heads·`head_size`: all heads' q, then k, then v. Part `i` is image `i / heads`, head
/// `i % heads`, as `[q, k, v]`. Panics unless the number of columns is three times a multiple of `head_size`.
pub fn heads<T: Send>(matrix: MatMut<'_, T>, rows_per_part: usize, head_size: usize) -> Heads<'_, T> {
    assert!(
        head_size > 0 && matrix.cols().is_multiple_of(3 * head_size),
        "{} columns of 3 × {head_size}",
        matrix.cols()
    );
    Heads { grid: grid(matrix, rows_per_part, head_size) }
}

// SAFETY: a head's three blocks are blocks of a grid, and no block belongs to two heads.
unsafe impl<'a, T: Send> Parts for Heads<'a, T> {
    type Part = [MatMut<'a, T>; 3];
    fn len(&self) -> usize {
        self.grid.len() / 3
    }
    unsafe fn part(&self, index: usize) -> [MatMut<'a, T>; 3] {
        let heads = self.grid.across / 3;
        let (image, head) = (index / heads, index % heads);
        // SAFETY: a block's number fixes its image, its third and its head, so each is taken once.
        [0, 1, 2].map(|third| unsafe { self.grid.part((image * 3 + third) * heads + head) })
    }
}

/// Several cuts of one kind, one after the other; see [`all`].
#[derive(Debug)]
pub struct All<P> {
    cuts: Vec<P>,
}

/// Joins cuts: the parts of the first, then those of the second and so on.
///
/// A part is (number of the cut, number inside the cut, part).
pub fn all<P: Parts>(cuts: Vec<P>) -> All<P> {
    All { cuts }
}

// SAFETY: the cuts borrow different memory, and a number fixes a cut and the number inside it.
unsafe impl<P: Parts> Parts for All<P> {
    type Part = (usize, usize, P::Part);
    fn len(&self) -> usize {
        self.cuts.iter().map(P::len).sum()
    }
    unsafe fn part(&self, index: usize) -> Self::Part {
        let mut inside = index;
        for (number, cut) in self.cuts.iter().enumerate() {
            if inside < cut.len() {
                // SAFETY: below the cut's length, and taken once because `index` is.
                return (number, inside, unsafe { cut.part(inside) });
            }
            inside -= cut.len();
        }
        panic!("part {index} of {}", self.len())
    }
}

/// Two cuts, one after the other; see [`then`].
#[derive(Debug)]
pub struct Then<A, B> {
    first: A,
    second: B,
}

/// Part of one of two cuts, with its number in that cut.
#[derive(Debug)]
pub enum Either<A, B> {
    /// Part of the first cut.
    First(usize, A),
    /// Part of the second cut.
    Second(usize, B),
}

/// Joins two cuts: all parts of `first`, then all parts of `second`.
///
/// Two jobs that do not depend on each other thus share the threads.
pub fn then<A: Parts, B: Parts>(first: A, second: B) -> Then<A, B> {
    Then { first, second }
}

// SAFETY: the cuts borrow different memory, and a number fixes a cut and the number inside it.
unsafe impl<A: Parts, B: Parts> Parts for Then<A, B> {
    type Part = Either<A::Part, B::Part>;
    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }
    unsafe fn part(&self, index: usize) -> Self::Part {
        // SAFETY: below the cut's length, and taken once because `index` is.
        unsafe {
            match index.checked_sub(self.first.len()) {
                None => Either::First(index, self.first.part(index)),
                Some(index) => Either::Second(index, self.second.part(index)),
            }
        }
    }
}

// SAFETY: a number has no memory.
unsafe impl Parts for Range<usize> {
    type Part = usize;
    fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }
    unsafe fn part(&self, index: usize) -> usize {
        self.start + index
    }
}

macro_rules! zip {
    ($($name:ident $field:tt),+) => {
        // SAFETY: the parts of each member are disjoint, and the members borrow different memory.
        unsafe impl<$($name: Parts),+> Parts for ($($name,)+) {
            type Part = ($($name::Part,)+);
            fn len(&self) -> usize {
                let lengths = [$(self.$field.len()),+];
                assert!(lengths.iter().all(|&len| len == lengths[0]), "cuts of {lengths:?} parts side by side");
                lengths[0]
            }
            unsafe fn part(&self, index: usize) -> Self::Part {
                // SAFETY: the caller's promise holds for each member, as the lengths agree.
                unsafe { ($(self.$field.part(index),)+) }
            }
        }
    };
}
zip!(A 0, B 1);
zip!(A 0, B 1, C 2);
zip!(A 0, B 1, C 2, D 3);
