//! Products on every instruction set and format against the f64 reference, inside canaries.

use super::{Out, PANEL_COLS, Panels, TILE_UNITS, TOKEN_BLOCK, TnScratch, matmul, matmul_tn, pack_tokens};
use crate::testing::{EPS, Framed, ROWS, assert_close, values};
use crate::{Isa, MatMut, MatRef, Scalar, activation, bf16, reference};
use proptest::prelude::*;

/// Left operand of m×k values; its rows start at whole units, as `matmul` requires.
struct Left<S>(Framed<S>, usize);

impl<S: Scalar> Left<S> {
    fn new(m: usize, k: usize, seed: u64) -> Self {
        Self(Framed::new(&values(m * k, seed), m, k, k + 1), k)
    }
    fn view(&self) -> MatRef<'_, S> {
        self.0.view().view(0, self.0.view().rows(), 0, self.1)
    }
}

fn packed<S: Scalar>(isa: Isa, w: MatRef<f32>) -> Panels<S> {
    let mut panels = Panels::new(w.rows(), w.cols());
    panels.pack(isa, w, false);
    panels
}

/// Tests m×k times k×n on every instruction set, with every kind of output, with and without a bias.
fn check_product<S: Scalar>(m: usize, k: usize, n: usize, seed: u64) {
    let a = Left::<S>::new(m, k, seed);
    // Weights that `S` can hold, so that packing rounds nothing and the reference sees what the kernel sees.
    let w = Framed::<S>::new(&values(k * n, seed + 1), k, n, n);
    let w = Framed::<f32>::new(&w.f64s(n), k, n, n);
    let bias: Vec<f32> = values(n, seed + 2).into_iter().map(|x| x as f32).collect();
    let old = Framed::<f32>::new(&values(m * n, seed + 3), m, n, n).f64s(n);
    let (sums, scales) = reference::matmul::matmul(a.view(), w.view());
    for isa in Isa::available() {
        let b = packed::<S>(isa, w.view());
        for bias in [None, Some(&bias[..])] {
            let what = format!("{} {} {m}×{k}×{n} bias {}", isa.name(), S::NAME, bias.is_some());
            let shift = |i: usize| bias.map_or(0.0, |bias| bias[i % n.max(1)] as f64);
            let tolerance = |i: usize, old: f64| EPS * (scales[i] + shift(i).abs() + old.abs()) * (k + 3) as f64;

            let mut out = Framed::<f32>::unset(m, n);
            matmul(isa, a.view(), &b, bias, Out::F32(out.view_mut()));
            out.assert_intact(n);
            let plain = out.f64s(n);
            for (i, &found) in plain.iter().enumerate() {
                assert_close(&format!("{what} F32 {i}"), found as f32, sums[i] + shift(i), tolerance(i, 0.0));
            }

            let mut out = Framed::<f32>::new(&old, m, n, n);
            matmul(isa, a.view(), &b, bias, Out::AddF32(out.view_mut()));
            out.assert_intact(n);
            for (i, found) in out.f64s(n).into_iter().enumerate() {
                assert_eq!(found as f32, old[i] as f32 + plain[i] as f32, "{what} AddF32 {i}");
            }

            let to = Framed::<f32>::new(&old, m, n, n + 1);
            let mut sum = Framed::<f32>::unset(m, n);
            matmul(isa, a.view(), &b, bias, Out::SumF32 { to: to.view().view(0, m, 0, n), out: sum.view_mut() });
            sum.assert_intact(n);
            assert_eq!(sum.f64s(n), out.f64s(n), "{what} SumF32");

            let mut stored = Framed::<S>::unset(m, n);
            matmul(isa, a.view(), &b, bias, Out::Store(stored.view_mut()));
            stored.assert_intact(n);
            for (i, found) in stored.f64s(n).into_iter().enumerate() {
                assert_eq!(found, S::from_f32(plain[i] as f32).to_f32() as f64, "{what} Store {i}");
            }

            let (mut pre, mut out) = (Framed::<S>::unset(m, n), Framed::<S>::unset(m, n));
            matmul(isa, a.view(), &b, bias, Out::Gelu { pre: pre.view_mut(), out: out.view_mut() });
            pre.assert_intact(n);
            out.assert_intact(n);
            assert_eq!(pre.f64s(n), stored.f64s(n), "{what} pre");
            for row in 0..m {
                let mut expected = vec![S::default(); n];
                activation::gelu(isa, pre.view().row(row), &mut expected);
                assert_eq!(out.view().row(row), expected, "{what} gelu of the stored pre, row {row}");
            }
            check_gelu_backward(isa, a.view(), &b, bias, &pre, &plain, &what);
        }
    }
}

/// Tests the product as the gradient of an activation, against the element-wise kernel on the f32 product.
fn check_gelu_backward<S: Scalar>(
    isa: Isa,
    a: MatRef<S>,
    b: &Panels<S>,
    bias: Option<&[f32]>,
    pre: &Framed<S>,
    product: &[f64],
    what: &str,
) {
    let (m, n) = (a.rows(), b.n());
    let (mut d, mut out) = (Framed::<S>::unset(m, n), Framed::<S>::unset(m, n));
    let target = Out::GeluBackward { pre: pre.view(), d: d.view_mut(), out: out.view_mut() };
    matmul(isa, a, b, bias, target);
    d.assert_intact(n);
    out.assert_intact(n);
    for row in 0..m {
        let mut expected = vec![S::default(); n];
        activation::gelu(isa, pre.view().row(row), &mut expected);
        assert_eq!(out.view().row(row), expected, "{what} activation, row {row}");
        let pre = pre.view().row(row);
        for (col, &found) in d.view().row(row).iter().enumerate() {
            let (pre, product) = (pre[col].to_f32() as f64, product[row * n + col]);
            let expected = product * reference::activation::gelu_slope(pre);
            let size = product.abs() * (1.0 + 1.702 * pre.abs());
            let tolerance = size * if S::PACK == 2 { 1e-4 } else { 1e-6 };
            assert_close(&format!("{what} gradient {row}, {col}"), found, expected, tolerance);
        }
    }
}

/// Tests the product of a T×k left and a T×n right operand column by column, stored or added.
fn check_tn<S: Scalar>(tokens: usize, k: usize, n: usize, seed: u64) {
    let x = Framed::<S>::new(&values(tokens * k, seed), tokens, k, k);
    let dy = Framed::<S>::new(&values(tokens * n, seed + 1), tokens, n, n);
    let old = Framed::<f32>::new(&values(k * n, seed + 2), k, n, n).f64s(n);
    let (sums, scales) = reference::matmul::matmul_tn(x.view(), dy.view());
    let mut scratch = TnScratch::default();
    for isa in Isa::available() {
        let mut panels = Panels::<S>::new(tokens, n);
        panels.units_mut().fill(u32::MAX); // NaNs: what an earlier packing left must not matter
        panels.pack_tokens(isa, dy.view());
        for add in [true, false] {
            let mut dw = Framed::<f32>::new(&old, k, n, n);
            matmul_tn(isa, x.view(), &[(&panels).into()], dw.view_mut(), add, &mut scratch);
            dw.assert_intact(n);
            for (i, found) in dw.f64s(n).into_iter().enumerate() {
                let old = if add { old[i] } else { 0.0 };
                let tolerance = EPS * (scales[i] + old.abs()) * (tokens + 2) as f64;
                let what = format!("{} {} {tokens} tokens {k}×{n} element {i} add {add}", isa.name(), S::NAME);
                assert_close(&what, found as f32, sums[i] + old, tolerance);
            }
        }
    }
}

#[test]
fn products_match_the_reference_at_every_edge() {
    for m in ROWS {
        for (k, n) in [(0, 32), (2, 32), (16, 64), (30, 96), (34, 32), (64, 0), (66, 64), (126, 32)] {
            check_product::<bf16>(m, k, n, 1);
            check_product::<f32>(m, k.max(1) - k % 4 / 2, n, 1); // odd k as well
        }
        // Whole tiles of the summed dimension.
        for (k, n) in [(32, 64), (64, 96), (128, 32)] {
            check_product::<bf16>(m, k, n, 1);
        }
    }
    // There are so many panels that tiles take their columns in two blocks.
    check_product::<bf16>(33, 4096, 160, 1);
}

#[test]
fn weight_gradients_match_the_reference_at_every_edge() {
    for tokens in ROWS {
        for (k, n) in [(0, 32), (1, 32), (15, 64), (16, 32), (17, 96), (33, 32), (64, 32), (8, 0)] {
            check_tn::<bf16>(tokens, k, n, 1);
            check_tn::<f32>(tokens, k, n, 1);
        }
    }
    for tokens in [TOKEN_BLOCK - 1, TOKEN_BLOCK, TOKEN_BLOCK + 1, 2 * TOKEN_BLOCK + 3] {
        check_tn::<bf16>(tokens, 9, 32, 1);
        check_tn::<f32>(tokens, 9, 32, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn products_match_the_reference_at_random_shapes(m in 0_usize..70, k in 0_usize..90, n in 0_usize..4, seed: u64) {
        check_product::<bf16>(m, k * 2, n * PANEL_COLS, seed);
        check_product::<f32>(m, k, n * PANEL_COLS, seed);
    }

    #[test]
    fn weight_gradients_match_the_reference_at_random_shapes(
        tokens in 0_usize..700, k in 0_usize..40, n in 0_usize..3, seed: u64
    ) {
        check_tn::<bf16>(tokens, k, n * PANEL_COLS, seed);
        check_tn::<f32>(tokens, k, n * PANEL_COLS, seed);
    }
}

/// Tests whole products cut into rows, strips of rows and ranges of panels.
fn check_cuts<S: Scalar>(k: usize) {
    let (m, n) = (700, 96);
    let a = Left::<S>::new(m, k, 5);
    let w = Framed::<f32>::new(&values(k * n, 6), k, n, n);
    for isa in Isa::available() {
        let b = packed::<S>(isa, w.view());
        let mut whole = vec![0.0; m * n];
        matmul(isa, a.view(), &b, None, Out::F32(MatMut::new(&mut whole, m, n)));
        for rows in [1, 3, 7, 64] {
            let mut cut = vec![0.0; m * n];
            let mut out = MatMut::new(&mut cut, m, n);
            for first in (0..m).step_by(rows) {
                let rows = rows.min(m - first);
                for panel in 0..n / PANEL_COLS {
                    let out = out.view(first, rows, panel * PANEL_COLS, PANEL_COLS);
                    let a = a.view().view(first, rows, 0, k);
                    matmul(isa, a, b.panels(panel..panel + 1), None, Out::F32(out));
                }
            }
            assert_eq!(cut, whole, "{} {} {rows} rows at a time", isa.name(), S::NAME);
        }
    }
}

#[test]
fn a_rows_bits_do_not_depend_on_its_company() {
    for k in [256, 258] {
        check_cuts::<f32>(k);
        check_cuts::<bf16>(k);
    }
}

/// Tests several spans at once, one after the other, and with scratch memory full of NaNs.
fn check_spans<S: Scalar>(spans: usize, tokens: usize, k: usize) {
    let n = 64;
    let x = Framed::<S>::new(&values(spans * tokens * k, 11), spans * tokens, k, k);
    let dy = Framed::<S>::new(&values(spans * tokens * n, 12), spans * tokens, n, n);
    let span = |s: usize| (x.view().view(s * tokens, tokens, 0, k), dy.view().view(s * tokens, tokens, 0, n));
    for isa in Isa::available() {
        let what = format!("{} {} {spans} spans of {tokens}×{k}", isa.name(), S::NAME);
        let mut panels = vec![Panels::<S>::new(tokens, n); spans];
        (0..spans).for_each(|s| panels[s].pack_tokens(isa, span(s).1));
        let dy: Vec<_> = panels.iter().map(Into::into).collect();
        let (mut at_once, mut one_by_one) = (vec![1.0; k * n], vec![1.0; k * n]);
        let mut scratch = TnScratch::filled(f32::NAN.to_bits(), 1 << 20);
        matmul_tn(isa, x.view(), &dy, MatMut::new(&mut at_once, k, n), false, &mut scratch);
        for s in 0..spans {
            let dw = MatMut::new(&mut one_by_one, k, n);
            matmul_tn(isa, span(s).0, &dy[s..s + 1], dw, s > 0, &mut TnScratch::default());
        }
        assert_eq!(at_once, one_by_one, "{what}");
        for s in 0..spans {
            // Rows of zeros follow the last token.
            let mut filled = Panels::<S>::new(tokens.next_multiple_of(2 * TILE_UNITS), n);
            let (count, len) = (n / PANEL_COLS, filled.panel_len());
            let units = tokens.div_ceil(S::PACK) * PANEL_COLS;
            pack_tokens(isa, span(s).1, MatMut::new(filled.units_mut(), count, len).view(0, count, 0, units));
            let dw = MatMut::new(&mut one_by_one, k, n);
            matmul_tn(isa, span(s).0, &[(&filled).into()], dw, s > 0, &mut TnScratch::default());
        }
        assert_eq!(at_once, one_by_one, "{what}, filled up");
        assert!(at_once.iter().all(|x| x.is_finite()), "{what}");
        let mut grown = TnScratch::default();
        matmul_tn(isa, x.view(), &dy, MatMut::new(&mut at_once, k, n), false, &mut grown);
        assert_eq!(grown.held(), TnScratch::bytes::<S>(isa.has_tiles::<S>(), k, tokens, spans), "{what}");
    }
}

#[test]
fn spans_at_once_have_the_bits_of_one_after_the_other() {
    for (spans, tokens) in [(1, 2), (3, 2), (2, 32), (5, 34), (3, 514), (2, 1024)] {
        for k in [9, 17, 33, 64] {
            check_spans::<f32>(spans, tokens, k);
            check_spans::<bf16>(spans, tokens, k);
        }
    }
    // An odd number of tokens fills the last unit with a zero; more than there is room for at a time.
    check_spans::<bf16>(2, 31, 33);
    check_spans::<bf16>(20, 512, 128);
}

/// Tests a weight gradient cut into ranges of columns of `x` and of panels of `dy`.
fn check_tn_cuts<S: Scalar>() {
    let (tokens, k, n) = (TOKEN_BLOCK + 77, 45, 64);
    let x = Framed::<S>::new(&values(tokens * k, 7), tokens, k, k);
    let dy = Framed::<S>::new(&values(tokens * n, 8), tokens, n, n);
    let mut scratch = TnScratch::default();
    for isa in Isa::available() {
        let mut panels = Panels::<S>::new(tokens, n);
        panels.pack_tokens(isa, dy.view());
        let mut whole = vec![0.0; k * n];
        matmul_tn(isa, x.view(), &[(&panels).into()], MatMut::new(&mut whole, k, n), true, &mut scratch);
        for cols in [1, 5, 16] {
            let mut cut = vec![0.0; k * n];
            let mut dw = MatMut::new(&mut cut, k, n);
            for first in (0..k).step_by(cols) {
                let cols = cols.min(k - first);
                for panel in 0..n / PANEL_COLS {
                    let x = x.view().view(0, tokens, first, cols);
                    let dw = dw.view(first, cols, panel * PANEL_COLS, PANEL_COLS);
                    matmul_tn(isa, x, &[panels.panels(panel..panel + 1)], dw, true, &mut scratch);
                }
            }
            assert_eq!(cut, whole, "{} {} {cols} columns at a time", isa.name(), S::NAME);
        }
    }
}

#[test]
fn a_weight_gradients_bits_do_not_depend_on_the_cut() {
    check_tn_cuts::<f32>();
    check_tn_cuts::<bf16>();
}

/// Layout by its definition, from the operand and from its transpose, padded beyond their ends.
fn check_packing<S: Scalar>(k: usize, n: usize) {
    let w = Framed::<f32>::new(&values(k * n, 9), k, n, n);
    let transposed: Vec<f64> = (0..n * k).map(|i| w.view().row(i % k)[i / k] as f64).collect();
    let transposed = Framed::<f32>::new(&transposed, n, k, k);
    let padded = n.next_multiple_of(PANEL_COLS);
    let units = k.div_ceil(S::PACK);
    let value = |p: usize, j: usize| if p < k && j < n { w.view().row(p)[j] } else { 0.0 };
    for isa in Isa::available() {
        for (src, is_transposed) in [(w.view(), false), (transposed.view(), true)] {
            let mut panels = Panels::<S>::new(k, padded);
            panels.units_mut().fill(u32::MAX);
            panels.pack(isa, src, is_transposed);
            let found: &[S] = bytemuck::cast_slice(panels.units_mut());
            for (i, &found) in found.iter().enumerate() {
                let (unit, half) = (i / S::PACK, i % S::PACK);
                let (panel, row) = (unit / (units * PANEL_COLS), unit / PANEL_COLS % units);
                let expected = value(row * S::PACK + half, panel * PANEL_COLS + unit % PANEL_COLS);
                let what = format!("{} {} {k}×{n} transposed {is_transposed} at {i}", isa.name(), S::NAME);
                assert_eq!(found, S::from_f32(expected), "{what}");
            }
        }
    }
}

#[test]
fn packing_follows_the_documented_layout() {
    for k in [1, 2, 15, 16, 17, 31, 32, 33, 64, 127] {
        for n in [1, 31, 32, 33, 96] {
            check_packing::<f32>(k, n);
            check_packing::<bf16>(k, n);
        }
    }
}

/// Tests that packing tokens a few rows at a time, as the backward pass does, makes the same panels as packing them at
/// once.
fn check_token_runs<S: Scalar>(tokens: usize, n: usize) {
    let dy = Framed::<S>::new(&values(tokens * n, 10), tokens, n, n);
    for isa in Isa::available() {
        let mut whole = Panels::<S>::new(tokens, n);
        whole.pack_tokens(isa, dy.view());
        let mut runs = Panels::<S>::new(tokens, n);
        let (panels, len) = (n / PANEL_COLS, runs.panel_len());
        let mut cut = MatMut::new(runs.units_mut(), panels, len);
        for first in (0..tokens).step_by(14) {
            let rows = 14.min(tokens - first);
            let units = rows.div_ceil(S::PACK) * PANEL_COLS;
            let part = cut.view(0, panels, first / S::PACK * PANEL_COLS, units);
            pack_tokens(isa, dy.view().view(first, rows, 0, n), part);
        }
        assert_eq!(runs.units_mut(), whole.units_mut(), "{} {} {tokens}×{n}", isa.name(), S::NAME);
    }
}

#[test]
fn tokens_may_be_packed_in_runs() {
    for tokens in [1, 14, 15, 28, 69, 100] {
        check_token_runs::<f32>(tokens, 64);
        check_token_runs::<bf16>(tokens, 96);
    }
}
