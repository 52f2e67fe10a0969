//! Each kernel alone, on one thread, on the shapes that one image of the network gives it.

use std::time::{Duration, Instant};

use igpt::Result;
use igpt::device::Precision;
use igpt_kernels::Isa;
use igpt_kernels::adam::{AdamStep, adam};
use igpt_kernels::attention::{AttentionScratch, Mask, attention_backward, attention_forward};
use igpt_kernels::cross_entropy::cross_entropy;
use igpt_kernels::matmul::{self, Out, Panels, matmul, matmul_tn, pack_tokens};
use igpt_kernels::{LANE_PAD, MatMut, MatRef, Scalar, bf16, norm};
use serde_json::json;

use super::report::{beside_others, peak_flops, read_bandwidth, warn_if_noisy};
use super::shape::Shape;
use crate::output::say;

/// Time that each kernel is repeated for.
const TIME: Duration = Duration::from_millis(200);

/// One kernel's figures.
struct Row {
    name: String,
    seconds: f64,
    /// Flops and bytes of one call; one of them bounds it.
    flops: f64,
    bytes: f64,
}

pub(super) fn run(shape: &Shape) -> Result<()> {
    shape.config(None)?;
    let (rows, others) = beside_others(|| match shape.precision {
        Precision::Bf16 => measure::<bf16>(shape),
        Precision::F32 => measure::<f32>(shape),
    });
    let isa = Isa::detect();
    let (peak, bandwidth) = (peak_flops(shape.precision, isa, 1) / 1e9, read_bandwidth(isa, 1) / 1e9);
    say!("{}, one thread: {peak:.0} GFLOP/s and {bandwidth:.1} GB/s read at most", isa.name());
    say!("{:<34} {:>9} {:>10} {:>7} {:>8}", "kernel", "ms", "GFLOP/s", "peak", "GB/s");
    for Row { name, seconds, flops, bytes } in &rows {
        let (gflops, gbytes) = (flops / seconds / 1e9, bytes / seconds / 1e9);
        let share = 100.0 * gflops / peak;
        say!("{name:<34} {:>9.3} {gflops:>10.1} {share:>6.1}% {gbytes:>8.1}", seconds * 1e3);
    }
    warn_if_noisy(others);
    if shape.json {
        let kernels = rows.iter().map(|Row { name, seconds, flops, bytes }| {
            json!({"kernel": name, "seconds": seconds, "gflops": flops / seconds / 1e9, "gb_per_second": bytes / seconds / 1e9})
        });
        crate::output::print_json(&json!({
            "kernels": kernels.collect::<Vec<_>>(),
            "peak_gflops": peak,
            "peak_read_gb_per_second": bandwidth,
            "others_cpu": others,
            "isa": isa.name(),
            "threads": 1,
        }))?;
    }
    Ok(())
}

fn measure<S: Scalar>(shape: &Shape) -> Vec<Row> {
    let pad = |n: usize| n.next_multiple_of(LANE_PAD);
    let (isa, t, c) = (Isa::detect(), shape.n_ctx, pad(shape.n_embd));
    let mut rows = Vec::new();
    for (name, k, n) in [
        ("q, k, v", c, 3 * c),
        ("projection", c, c),
        ("MLP in", c, 4 * c),
        ("MLP out", 4 * c, c),
        ("output matrix", c, pad(shape.colors)),
    ] {
        product::<S>(&mut rows, isa, name, t, k, n);
    }
    attention::<S>(&mut rows, isa, t, (shape.n_embd / shape.n_head).next_multiple_of(16));
    row_wise::<S>(&mut rows, isa, t, c, shape.colors);
    optimizer(&mut rows, isa);
    rows
}

/// Adds a row for `work`, repeated.
fn time(rows: &mut Vec<Row>, name: &str, flops: f64, bytes: usize, mut work: impl FnMut()) {
    work();
    let mut best = f64::INFINITY;
    let start = Instant::now();
    while start.elapsed() < TIME {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    rows.push(Row { name: name.into(), seconds: best, flops, bytes: bytes as f64 });
}

/// Values that are neither all alike nor special.
fn values<S: Scalar>(len: usize) -> Vec<S> {
    (0..len).map(|i| S::from_f32((i as f32 * 0.37).sin())).collect()
}

/// A product in all the ways that training uses it.
fn product<S: Scalar>(rows: &mut Vec<Row>, isa: Isa, name: &str, t: usize, k: usize, n: usize) {
    let (x, dy) = (values::<S>(t * k), values::<S>(t * n));
    let (x, dy) = (MatRef::new(&x, t, k), MatRef::new(&dy, t, n));
    let weights = values::<f32>(k * n);
    let weights = MatRef::new(&weights, k, n);
    let (flops, size) = (2.0 * (t * k * n) as f64, size_of::<S>());

    let mut panels = Panels::<S>::new(k, n);
    panels.pack(isa, weights, false);
    let mut y = vec![S::default(); t * n];
    time(rows, &format!("{name}: {k} to {n}"), flops, (t * k + k * n + t * n) * size, || {
        matmul(isa, x, &panels, None, Out::Store(MatMut::new(&mut y, t, n)));
    });
    let mut panels = Panels::<S>::new(n, k);
    panels.pack(isa, weights, true);
    let mut dx = vec![S::default(); t * k];
    time(rows, &format!("{name}: gradient of input"), flops, (t * k + k * n + t * n) * size, || {
        matmul(isa, dy, &panels, None, Out::Store(MatMut::new(&mut dx, t, k)));
    });
    let mut packed = Panels::<S>::new(t, n);
    let (count, len) = (n / LANE_PAD, packed.panel_len());
    let (mut dw, mut scratch) = (vec![0.0f32; k * n], matmul::TnScratch::default());
    time(rows, &format!("{name}: gradient of weights"), flops, (t * k + 3 * t * n) * size + 4 * k * n, || {
        pack_tokens(isa, dy, MatMut::new(packed.units_mut(), count, len));
        for first in (0..k).step_by(32) {
            let dw = &mut dw[first * n..(first + 32) * n];
            matmul_tn(isa, x.view(0, t, first, 32), &[(&packed).into()], MatMut::new(dw, 32, n), false, &mut scratch);
        }
    });
}

/// One head.
fn attention<S: Scalar>(rows: &mut Vec<Row>, isa: Isa, t: usize, head: usize) {
    let [q, k, v, dout] = [1, 2, 3, 4].map(|_| values::<S>(t * head));
    let [q, k, v, dout] = [&q, &k, &v, &dout].map(|x| MatRef::new(x, t, head));
    let (mut out, mut lse) = (vec![S::default(); t * head], vec![0.0; t]);
    let mut scratch = AttentionScratch::new::<S>(t, head);
    let scale = (head as f32).powf(-0.5);
    // A product over the causal half.
    let flops = (t * t * head) as f64;
    let bytes = t * head * size_of::<S>();
    time(rows, &format!("attention, a head of {head}: forward"), 2.0 * flops, 4 * bytes, || {
        attention_forward(isa, Mask::Causal, scale, q, k, v, MatMut::new(&mut out, t, head), &mut lse, &mut scratch);
    });
    let out = MatRef::new(&out, t, head);
    let mut gradients = [1, 2, 3].map(|_| vec![S::default(); t * head]);
    time(rows, &format!("attention, a head of {head}: backward"), 5.0 * flops, 8 * bytes, || {
        let [dq, dk, dv] = gradients.each_mut().map(|x| MatMut::new(x, t, head));
        attention_backward(isa, Mask::Causal, scale, q, k, v, out, dout, &lse, dq, dk, dv, &mut scratch);
    });
}

/// Norm and loss.
fn row_wise<S: Scalar>(rows: &mut Vec<Row>, isa: Isa, t: usize, c: usize, colors: usize) {
    let (x, gain, dy) = (values::<f32>(t * c), vec![1.0; c], values::<S>(t * c));
    let (x, dy) = (MatRef::new(&x, t, c), MatRef::new(&dy, t, c));
    let (mut y, mut rstd) = (vec![S::default(); t * c], vec![0.0; t]);
    let size = size_of::<S>();
    time(rows, "norm: forward", 0.0, t * c * (4 + size), || {
        norm::rms_norm(isa, x, &gain, c, 1e-5, MatMut::new(&mut y, t, c), &mut rstd);
    });
    let (mut dx, mut copy, mut dgain) = (vec![0.0; t * c], vec![S::default(); t * c], vec![0.0; c]);
    time(rows, "norm: backward", 0.0, t * c * (12 + 2 * size), || {
        let (dx, copy) = (MatMut::new(&mut dx, t, c), MatMut::new(&mut copy, t, c));
        norm::rms_norm_backward(isa, dy, x, &rstd, &gain, c, dx, copy, &mut dgain);
    });
    let vocab = colors.next_multiple_of(LANE_PAD);
    let (logits, targets) = (values::<f32>(t * vocab), vec![0u16; t]);
    let (mut losses, mut dlogits) = (vec![0.0; t], vec![S::default(); t * vocab]);
    time(rows, "cross-entropy with gradient", 0.0, t * vocab * (4 + size), || {
        let gradient = Some((1.0, MatMut::new(&mut dlogits, t, vocab)));
        cross_entropy(isa, MatRef::new(&logits, t, vocab), colors, &targets, &mut losses, gradient);
    });
}

/// Adam, far outside the caches.
fn optimizer(rows: &mut Vec<Row>, isa: Isa) {
    const LEN: usize = 8 << 20;
    let [mut p, mut m, mut v, g] = [1, 2, 3, 4].map(|_| vec![1e-3f32; LEN]);
    let step = AdamStep {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        bias_correction1: 0.1,
        bias_correction2: 0.05,
        weight_decay: 0.0,
        grad_scale: 1.0,
    };
    time(rows, "Adam, 8 million parameters", 0.0, 28 * LEN, || adam(isa, &step, &mut p, &mut m, &mut v, &g));
}
