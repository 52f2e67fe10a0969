//! Newton–Schulz iteration, which makes a matrix nearly orthogonal by products alone (Jordan et al. 2024).
//!
//! With the matrix divided by its norm, five rounds of Y ← Y (a I + b A + c A²), A = Yᵀ Y, bring every singular value
//! that was not tiny to between 0.65 and 1.25 and keep the directions. Y is the matrix with its long side down. A is
//! then the smaller of the two possible products, both operands of A are packed without transposing, and the symmetric
//! factor may be on either side. Only the blocks of A and A² from the diagonal on are computed; the others are copied.

use crate::convert::convert;
use crate::isa::{Isa, Kernel};
use crate::matmul::{self, Out, PANEL_COLS, PanelsRef, matmul, matmul_tn, pack_panel, pack_tokens};
use crate::simd::Simd;
use crate::{Buffer, LANE_PAD, MatMut, MatRef, Scalar, reduce};

/// Coefficients a, b and c of a round.
pub const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// Number of rounds.
pub const STEPS: usize = 5;
/// Lower bound of the norm that the matrix is divided by.
pub const EPS: f32 = 1e-7;

/// Number of rows and columns in the blocks of symmetric products and transpositions.
const BLOCK: usize = PANEL_COLS;

/// Scratch memory of [`orthogonalize`]; keep one per worker.
#[derive(Debug)]
pub struct NewtonSchulzScratch<S: Scalar> {
    /// Y and the next Y, long × short.
    tall: [Buffer<S>; 2],
    /// Y as a right operand, summed over the long side.
    tall_units: Buffer<u32>,
    /// A and then b I + c A; the factor of the round.
    square: [Buffer<f32>; 2],
    /// A as a left operand.
    left: Buffer<S>,
    /// b I + c A, then the factor of the round, as right operands.
    square_units: Buffer<u32>,
    columns: matmul::TnScratch,
}

impl<S: Scalar> NewtonSchulzScratch<S> {
    /// Allocates space for matrices of each of these shapes (rows, columns).
    pub fn new(shapes: &[(usize, usize)]) -> Self {
        let (tall, square) = Self::sizes(shapes);
        Self {
            tall: [Buffer::zeroed(tall), Buffer::zeroed(tall)],
            tall_units: Buffer::zeroed(tall / S::PACK),
            square: [Buffer::zeroed(square), Buffer::zeroed(square)],
            left: Buffer::zeroed(square),
            square_units: Buffer::zeroed(square / S::PACK),
            columns: matmul::TnScratch::default(),
        }
    }

    /// Number of elements in the largest matrix and in the largest product of one with itself.
    fn sizes(shapes: &[(usize, usize)]) -> (usize, usize) {
        let sides = shapes.iter().map(|&(rows, cols)| Sides::of(rows, cols));
        sides.fold((0, 0), |(tall, square), sides| {
            (tall.max(sides.long * sides.short), square.max(sides.short * sides.short))
        })
    }

    /// Size in bytes of the scratch memory for matrices of these shapes, without allocating it.
    pub fn bytes(shapes: &[(usize, usize)]) -> usize {
        let (tall, square) = Self::sizes(shapes);
        let units = tall / S::PACK * size_of::<u32>() + square / S::PACK * size_of::<u32>();
        2 * tall * size_of::<S>() + 2 * square * size_of::<f32>() + units + square * size_of::<S>()
    }
}

/// Padded sides of a matrix.
#[derive(Clone, Copy)]
struct Sides {
    long: usize,
    short: usize,
}

impl Sides {
    fn of(rows: usize, cols: usize) -> Self {
        let pad = |n: usize| n.next_multiple_of(LANE_PAD);
        Self { long: pad(rows.max(cols)), short: pad(rows.min(cols)) }
    }
}

/// Replaces `x` by `scale` times its orthogonalised form, with the precision of the format.
///
/// Rows and columns of zeros stay zero, and so does a matrix of zeros. Operands of the products are rounded to `S`;
/// sums are f32.
///
/// Panics if `scratch` is too small for the shape.
pub fn orthogonalize<S: Scalar>(isa: Isa, mut x: MatMut<'_, f32>, scale: f32, scratch: &mut NewtonSchulzScratch<S>) {
    let Sides { long, short } = Sides::of(x.rows(), x.cols());
    let NewtonSchulzScratch { tall: [y, next], tall_units, square: [gram, factor], left, square_units, columns } =
        scratch;
    let (mut y, mut next) = (&mut y[..long * short], &mut next[..long * short]);
    let (gram, factor) = (&mut gram[..short * short], &mut factor[..short * short]);
    let left = &mut left[..short * short];
    let tall_units = &mut tall_units[..long * short / S::PACK];
    let square_units = &mut square_units[..short * short / S::PACK];
    let [a, b, c] = COEFFICIENTS;
    let panels = short / PANEL_COLS;

    let squares: f64 = (0..x.rows()).map(|i| reduce::sum_squares(isa, x.row(i))).sum();
    let shrink = 1.0 / (squares.sqrt() as f32).max(EPS);
    S::load(isa, Load { x: x.as_ref(), factor: shrink, y: MatMut::new(y, long, short) });
    for _ in 0..STEPS {
        // A = Yᵀ Y.
        let tall = MatRef::new(y, long, short);
        pack_tokens(isa, tall, MatMut::new(tall_units, panels, long / S::PACK * PANEL_COLS));
        let right = PanelsRef::<S>::new(tall_units, long, short);
        from_diagonal(gram, short, |block, out| {
            let view = tall.view(0, long, block * BLOCK, BLOCK);
            matmul_tn(isa, view, &[right.panels(block..panels)], out, false, columns);
        });
        isa.run(Mirror { x: MatMut::new(gram, short, short) });
        // a I + A (b I + c A).
        convert(isa, gram, left);
        reduce::scale(isa, gram, c);
        add_diagonal(gram, short, b);
        pack_square::<S>(isa, gram, short, square_units);
        let right = PanelsRef::<S>::new(square_units, short, short);
        let rows = MatRef::new(left, short, short);
        from_diagonal(factor, short, |block, out| {
            matmul(isa, rows.view(block * BLOCK, BLOCK, 0, short), right.panels(block..panels), None, Out::F32(out));
        });
        isa.run(Mirror { x: MatMut::new(factor, short, short) });
        add_diagonal(factor, short, a);
        // Y times that.
        pack_square::<S>(isa, factor, short, square_units);
        let right = PanelsRef::<S>::new(square_units, short, short);
        matmul(isa, MatRef::new(y, long, short), right, None, Out::Store(MatMut::new(next, long, short)));
        std::mem::swap(&mut y, &mut next);
    }
    S::unload(isa, Unload { y: MatRef::new(y, long, short), factor: scale, x: x.reborrow() });
}

/// Calls `compute(block of rows, those rows from the block's first column on)` for each block of rows.
fn from_diagonal(square: &mut [f32], side: usize, mut compute: impl FnMut(usize, MatMut<'_, f32>)) {
    let mut square = MatMut::new(square, side, side);
    for block in 0..side / BLOCK {
        let first = block * BLOCK;
        compute(block, square.view(first, BLOCK, first, side - first));
    }
}

fn add_diagonal(square: &mut [f32], side: usize, value: f32) {
    square.iter_mut().step_by(side + 1).for_each(|x| *x += value);
}

fn pack_square<S: Scalar>(isa: Isa, square: &[f32], side: usize, units: &mut [u32]) {
    for (panel, units) in units.chunks_exact_mut(side / S::PACK * PANEL_COLS).enumerate() {
        pack_panel::<S>(isa, panel, MatRef::new(square, side, side), false, units);
    }
}

/// Stores `factor` · `x` in `y`, with its long side down and zeros in the rest.
pub(crate) struct Load<'a, S> {
    x: MatRef<'a, f32>,
    factor: f32,
    y: MatMut<'a, S>,
}

impl<S: Scalar> Kernel for Load<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let Self { x, factor, mut y } = self;
        if x.rows() < x.cols() {
            transpose(x, |row, col, values| {
                let to = &mut y.row_mut(row)[col..][..values.len()];
                to.iter_mut().zip(values).for_each(|(to, from)| *to = S::from_f32(from * factor));
            });
        } else {
            for row in 0..x.rows() {
                let to = y.row_mut(row).iter_mut();
                to.zip(x.row(row)).for_each(|(to, from)| *to = S::from_f32(from * factor));
            }
        }
        let (rows, cols) = (x.rows().max(x.cols()), x.rows().min(x.cols()));
        (0..rows).for_each(|row| y.row_mut(row)[cols..].fill(S::default()));
        (rows..y.rows()).for_each(|row| y.row_mut(row).fill(S::default()));
    }
}

/// Stores `factor` · `y` in `x`, transposed back.
pub(crate) struct Unload<'a, S> {
    y: MatRef<'a, S>,
    factor: f32,
    x: MatMut<'a, f32>,
}

impl<S: Scalar> Kernel for Unload<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let Self { y, factor, mut x } = self;
        if x.rows() < x.cols() {
            let y = y.view(0, x.cols(), 0, x.rows());
            transpose(y, |row, col, values| {
                let to = &mut x.row_mut(row)[col..][..values.len()];
                to.iter_mut().zip(values).for_each(|(to, from)| *to = from.to_f32() * factor);
            });
        } else {
            for row in 0..x.rows() {
                let to = x.row_mut(row).iter_mut();
                to.zip(y.row(row)).for_each(|(to, from)| *to = from.to_f32() * factor);
            }
        }
    }
}

/// Copies the elements above the diagonal's blocks to below.
struct Mirror<'a> {
    x: MatMut<'a, f32>,
}

impl Kernel for Mirror<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, _: V) {
        let side = self.x.rows();
        for first in (0..side).step_by(BLOCK) {
            let end = first + BLOCK;
            let mut block = [[0.0; BLOCK]; BLOCK];
            for from in (end..side).step_by(BLOCK) {
                for (i, row) in block.iter_mut().enumerate() {
                    row.copy_from_slice(&self.x.row(first + i)[from..from + BLOCK]);
                }
                for j in 0..BLOCK {
                    let to = &mut self.x.row_mut(from + j)[first..end];
                    to.iter_mut().zip(&block).for_each(|(to, row)| *to = row[j]);
                }
            }
        }
    }
}

/// Passes the transpose of `x` to `put` in pieces of up to a block: (row, first column, values).
#[inline(always)]
fn transpose<T: Scalar>(x: MatRef<'_, T>, mut put: impl FnMut(usize, usize, &[T])) {
    let mut block = [[T::default(); BLOCK]; BLOCK];
    for row in (0..x.rows()).step_by(BLOCK) {
        let height = BLOCK.min(x.rows() - row);
        for col in (0..x.cols()).step_by(BLOCK) {
            let width = BLOCK.min(x.cols() - col);
            for i in 0..height {
                for (block, &value) in block.iter_mut().zip(&x.row(row + i)[col..col + width]) {
                    block[i] = value;
                }
            }
            for (j, block) in block[..width].iter().enumerate() {
                put(col + j, row, &block[..height]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;
    use crate::reference::muon as reference;
    use crate::testing::{Framed, values};

    /// Shapes with either side long, with whole blocks and odd ends.
    const SHAPES: [(usize, usize); 8] = [(1, 1), (3, 40), (40, 7), (24, 24), (64, 64), (128, 300), (300, 96), (97, 33)];

    fn found<S: Scalar>(isa: Isa, rows: usize, cols: usize, scale: f32) -> (Vec<f64>, Vec<f64>) {
        let mut x = Framed::<f32>::new(&values(rows * cols, 5), rows, cols, cols);
        let before = x.f64s(cols);
        // The scratch memory contains values of other matrices.
        let mut scratch = NewtonSchulzScratch::<S>::new(&SHAPES);
        orthogonalize(isa, MatMut::new(&mut vec![1.0; 300 * 96], 300, 96), 1.0, &mut scratch);
        orthogonalize(isa, x.view_mut(), scale, &mut scratch);
        x.assert_intact(cols);
        (x.f64s(cols), before)
    }

    fn length(x: impl Iterator<Item = f64>) -> f64 {
        x.map(|x| x * x).sum::<f64>().sqrt()
    }

    #[test]
    fn every_isa_and_format_matches_the_reference() {
        for isa in Isa::available() {
            for (rows, cols) in SHAPES {
                let check = |(found, before): (Vec<f64>, Vec<f64>), budget: f64, name: &str| {
                    let expected = reference::orthogonalize(&before, rows, cols);
                    let apart = length(found.iter().zip(&expected).map(|(f, e)| f - 2.0 * e));
                    let error = apart / length(expected.iter().map(|e| 2.0 * e));
                    assert!(error < budget, "{rows}×{cols} {name} on {}: {error:e}", isa.name());
                };
                // The rounds raise tiny values by up to 3.4445^5 = 485, and with them the rounding errors.
                check(found::<f32>(isa, rows, cols, 2.0), 485.0 * f64::from(f32::EPSILON), "f32");
                check(found::<bf16>(isa, rows, cols, 2.0), 0.15, "bf16");
            }
        }
    }

    /// Extreme eigenvalues of a symmetric matrix by Jacobi's rotations.
    fn eigenvalues(mut a: Vec<f64>, n: usize) -> Vec<f64> {
        for _ in 0..12 {
            for p in 0..n {
                for q in p + 1..n {
                    let angle = 0.5 * (2.0 * a[p * n + q]).atan2(a[q * n + q] - a[p * n + p]);
                    let (sin, cos) = angle.sin_cos();
                    for k in 0..n {
                        let (x, y) = (a[k * n + p], a[k * n + q]);
                        (a[k * n + p], a[k * n + q]) = (cos * x - sin * y, sin * x + cos * y);
                    }
                    for k in 0..n {
                        let (x, y) = (a[p * n + k], a[q * n + k]);
                        (a[p * n + k], a[q * n + k]) = (cos * x - sin * y, sin * x + cos * y);
                    }
                }
            }
        }
        (0..n).map(|i| a[i * n + i]).collect()
    }

    #[test]
    fn singular_values_come_close_to_one() {
        let check = |name: &str, rows: usize, cols: usize, x: Vec<f64>| {
            let turned = reference::transpose(&x, rows, cols);
            let side = rows.min(cols);
            let gram = match rows < cols {
                true => reference::product(&x, &turned, rows, cols, rows),
                false => reference::product(&turned, &x, cols, rows, cols),
            };
            for square in eigenvalues(gram, side) {
                let sigma = square.max(0.0).sqrt();
                assert!((0.65..1.25).contains(&sigma), "{rows}×{cols} {name}: {sigma}");
            }
        };
        let isa = Isa::detect();
        for (rows, cols) in [(40, 7), (300, 96), (128, 300)] {
            check("f32", rows, cols, found::<f32>(isa, rows, cols, 1.0).0);
            check("bf16", rows, cols, found::<bf16>(isa, rows, cols, 1.0).0);
        }
    }

    #[test]
    fn rows_and_columns_of_zeros_stay_zero() {
        for isa in Isa::available() {
            let mut scratch = NewtonSchulzScratch::<bf16>::new(&[(70, 50)]);
            let mut x: Vec<f32> = values(70 * 50, 3).iter().map(|&x| x as f32).collect();
            let empty = |i: usize| i / 50 >= 60 || i % 50 % 16 >= 12;
            (0..x.len()).filter(|i| empty(*i)).for_each(|i| x[i] = 0.0);
            orthogonalize(isa, MatMut::new(&mut x, 70, 50), 1.0, &mut scratch);
            assert!(x.iter().enumerate().all(|(i, x)| !empty(i) || *x == 0.0));
            assert!(x.iter().any(|x| x.abs() > 1e-3));
            let mut zeros = vec![0.0; 70 * 50];
            orthogonalize(isa, MatMut::new(&mut zeros, 50, 70), 1.0, &mut scratch);
            assert!(zeros.iter().all(|x| *x == 0.0));
        }
    }
}
