//! Token plus position embedding, and its gradient.

use crate::isa::{Isa, Kernel};
use crate::reduce::add_assign;
use crate::simd::Simd;
use crate::{MatMut, MatRef};

/// Id of a masked position, whose token embedding is zero.
pub const MASKED: u32 = u32::MAX;

/// Computes the sum of token and position embeddings: row `i` of `x` = row `ids[i]` of `wte` + row `i` of `wpe`.
///
/// For [`MASKED`] the token embedding is zero. All matrices have the same columns; `wpe` and `x` have one row per id.
/// Panics on other shapes and on an id without a row.
pub fn embed(isa: Isa, wte: MatRef<'_, f32>, wpe: MatRef<'_, f32>, ids: &[u32], x: MatMut<'_, f32>) {
    assert_eq!((wpe.rows(), x.rows()), (ids.len(), ids.len()), "one position and one output row for each id");
    assert_eq!((wte.cols(), wpe.cols()), (x.cols(), x.cols()), "embeddings as wide as the output");
    isa.run(Embed { wte, wpe, ids, x });
}

/// Backward pass of [`embed`] for `wte`: adds row `i` of `dx` to row `ids[i]` of `dwte`, in the order of the ids.
///
/// Rows of [`MASKED`] positions are skipped. Both matrices may be the same strip of columns, so that threads can share
/// the work. The gradient of `wpe` is `dx` itself ([`add_rows`]).
pub fn embed_backward(isa: Isa, ids: &[u32], dx: MatRef<'_, f32>, mut dwte: MatMut<'_, f32>) {
    assert_eq!(dx.rows(), ids.len(), "one gradient row for each id");
    assert_eq!(dx.cols(), dwte.cols(), "gradients of the same columns");
    for (i, &id) in ids.iter().enumerate().filter(|(_, id)| **id != MASKED) {
        add_assign(isa, dwte.row_mut(id as usize), dx.row(i));
    }
}

/// Adds the matrix `src` to `dst`, both of the same shape.
pub fn add_rows(isa: Isa, src: MatRef<'_, f32>, mut dst: MatMut<'_, f32>) {
    assert_eq!((src.rows(), src.cols()), (dst.rows(), dst.cols()), "matrices of the same shape");
    for r in 0..src.rows() {
        add_assign(isa, dst.row_mut(r), src.row(r));
    }
}

struct Embed<'a> {
    wte: MatRef<'a, f32>,
    wpe: MatRef<'a, f32>,
    ids: &'a [u32],
    x: MatMut<'a, f32>,
}

impl Kernel for Embed<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, _: V) {
        for (i, &id) in self.ids.iter().enumerate() {
            if id == MASKED {
                self.x.row_mut(i).copy_from_slice(self.wpe.row(i));
                continue;
            }
            let rows = self.wte.row(id as usize).iter().zip(self.wpe.row(i));
            for (x, (token, position)) in self.x.row_mut(i).iter_mut().zip(rows) {
                *x = token + position;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::embedding as reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    const N: usize = 9;

    /// Ids of every row of the embeddings, and some masked positions.
    fn ids(rows: usize) -> Vec<u32> {
        (0..rows).map(|i| if i % 7 == 3 { MASKED } else { ((5 * i + i / N) % N) as u32 }).collect()
    }

    #[test]
    fn rows_are_the_sums_of_the_right_embeddings() {
        for isa in Isa::available() {
            for rows in ROWS {
                for (width, cols) in [(61, 64), (72, 96), (17, 17)] {
                    let wte = Framed::<f32>::new(&values(N * width, 1), N, width, cols);
                    let wpe = Framed::<f32>::new(&values(rows * width, 2), rows, width, cols);
                    let mut x = Framed::<f32>::unset(rows, cols);
                    embed(isa, wte.view(), wpe.view(), &ids(rows), x.view_mut());
                    x.assert_intact(width);
                    let expected = reference::embed(&wte.f64s(width), &wpe.f64s(width), width, &ids(rows));
                    let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x as f32)).collect();
                    assert_eq!(x.f64s(width), expected, "one rounding and no other error");
                }
            }
        }
    }

    #[test]
    fn gradients_are_added_to_the_rows_of_their_ids() {
        for isa in Isa::available() {
            for rows in ROWS {
                for (width, cols) in [(61, 64), (72, 96), (17, 17)] {
                    let dx = Framed::<f32>::new(&values(rows * width, 1), rows, width, cols);
                    let mut dwte = Framed::<f32>::new(&values(N * width, 2), N, width, cols);
                    let before = dwte.f64s(width);
                    embed_backward(isa, &ids(rows), dx.view(), dwte.view_mut());
                    dwte.assert_intact(width);
                    let expected = reference::embed_backward(&dx.f64s(width), width, &ids(rows), N);
                    for (i, found) in dwte.f64s(width).into_iter().enumerate() {
                        let tolerance = EPS * ((rows + 1) * (rows + 2)) as f64;
                        assert_close("dwte", found as f32, before[i] + expected[i], tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn strips_of_columns_together_give_the_same_bits_as_the_whole() {
        let (rows, cols) = (65, 96);
        let dx = Framed::<f32>::new(&values(rows * cols, 1), rows, cols, cols);
        for isa in Isa::available() {
            let (mut whole, mut strips) = (vec![0.5; N * cols], vec![0.5; N * cols]);
            embed_backward(isa, &ids(rows), dx.view(), MatMut::new(&mut whole, N, cols));
            for col in (0..cols).step_by(32) {
                let mut dwte = MatMut::new(&mut strips, N, cols);
                embed_backward(isa, &ids(rows), dx.view().view(0, rows, col, 32), dwte.view(0, N, col, 32));
            }
            assert_eq!(whole, strips);
        }
    }

    #[test]
    fn rows_are_added_to_rows() {
        for isa in Isa::available() {
            let src = Framed::<f32>::new(&values(3 * 33, 1), 3, 33, 40);
            let mut dst = Framed::<f32>::new(&values(3 * 33, 2), 3, 33, 40);
            let before = dst.f64s(33);
            add_rows(isa, src.view(), dst.view_mut());
            dst.assert_intact(33);
            let sums = src.f64s(33).into_iter().zip(before).map(|(a, b)| f64::from((a + b) as f32));
            assert_eq!(dst.f64s(33), sums.collect::<Vec<_>>());
        }
    }
}
