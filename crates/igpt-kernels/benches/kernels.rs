//! Each kernel on the shapes that one image gives it: `cargo bench -p igpt-kernels`, or with a word after it only the
//! benchmarks whose names contain that. Throughput is in flops (as elements) where these bound a kernel, otherwise in
//! bytes.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use igpt_kernels::adam::{AdamStep, adam};
use igpt_kernels::attention::{AttentionScratch, KvShape, Mask, PIECE, attention_backward, attention_forward};
use igpt_kernels::cross_entropy::cross_entropy;
use igpt_kernels::matmul::{Out, Panels, TnScratch, matmul, matmul_tn, pack_tokens};
use igpt_kernels::{Isa, LANE_PAD, MatMut, MatRef, bf16, norm};

/// (name, tokens, width, head size): nano on Fashion-MNIST, the 6.8 M model and iGPT-S at 32×32.
const SHAPES: [(&str, usize, usize, usize); 3] =
    [("nano", 784, 128, 32), ("tiny", 1024, 256, 32), ("iGPT-S", 1024, 512, 64)];

/// Values that are neither all alike nor special.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn rounded(len: usize) -> Vec<bf16> {
    values(len).into_iter().map(bf16::from_f32).collect()
}

fn products(c: &mut Criterion) {
    let isa = Isa::detect();
    let mut group = c.benchmark_group("matmul");
    for (name, t, width, _) in SHAPES {
        for (k, n) in [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)] {
            group.throughput(Throughput::Elements(2 * (t * k * n) as u64));
            let (x, dy, weights) = (rounded(t * k), rounded(t * n), values(k * n));
            let (x, dy) = (MatRef::new(&x, t, k), MatRef::new(&dy, t, n));
            let mut panels = Panels::<bf16>::new(k, n);
            panels.pack(isa, MatRef::new(&weights, k, n), false);
            let mut y = vec![bf16::ZERO; t * n];
            group.bench_function(format!("{name} {t}x{k}x{n}"), |b| {
                b.iter(|| matmul(isa, x, &panels, None, Out::Store(MatMut::new(&mut y, t, n))));
            });
            let mut packed = Panels::<bf16>::new(t, n);
            let (count, len) = (n / LANE_PAD, packed.panel_len());
            let (mut dw, mut scratch) = (vec![0.0; k * n], TnScratch::default());
            group.bench_function(format!("{name} weight gradient {k}x{t}x{n}"), |b| {
                b.iter(|| {
                    pack_tokens(isa, dy, MatMut::new(packed.units_mut(), count, len));
                    for first in (0..k).step_by(32) {
                        let dw = MatMut::new(&mut dw[first * n..(first + 32) * n], 32, n);
                        matmul_tn(isa, x.view(0, t, first, 32), &[(&packed).into()], dw, false, &mut scratch);
                    }
                });
            });
        }
    }
    group.finish();
}

fn attention(c: &mut Criterion) {
    let isa = Isa::detect();
    let mut group = c.benchmark_group("attention");
    for (name, t, _, head) in SHAPES {
        let [q, k, v, dout] = [(); 4].map(|()| rounded(t * head));
        let [q, k, v, dout] = [&q, &k, &v, &dout].map(|x| MatRef::new(x, t, head));
        let (mut out, mut lse) = (vec![bf16::ZERO; t * head], vec![0.0; t]);
        let mut scratch = AttentionScratch::new::<bf16>(t, head);
        let scale = (head as f32).powf(-0.5);
        let product = (t * t * head) as u64; // over the causal half
        group.throughput(Throughput::Elements(2 * product));
        group.bench_function(format!("{name} forward {t}x{head}"), |b| {
            b.iter(|| {
                attention_forward(
                    isa,
                    Mask::Causal,
                    scale,
                    q,
                    k,
                    v,
                    MatMut::new(&mut out, t, head),
                    &mut lse,
                    &mut scratch,
                )
            });
        });
        let out = MatRef::new(&out, t, head);
        let mut gradients = [(); 3].map(|()| vec![bf16::ZERO; t * head]);
        group.throughput(Throughput::Elements(5 * product));
        group.bench_function(format!("{name} backward {t}x{head}"), |b| {
            b.iter(|| {
                let [dq, dk, dv] = gradients.each_mut().map(|x| MatMut::new(x, t, head));
                attention_backward(isa, Mask::Causal, scale, q, k, v, out, dout, &lse, dq, dk, dv, &mut scratch);
            });
        });
        let shape = KvShape::new(1, head);
        let mut piece = vec![0; shape.units::<bf16>()];
        (0..PIECE).for_each(|i| shape.append(&mut piece, i, k.row(i), v.row(i)));
        let (mut seen, mut scratch) = (vec![0.0; shape.partial_len()], shape.scratch());
        group.throughput(Throughput::Bytes(4 * (PIECE * head) as u64));
        group.bench_function(format!("{name} one query of {PIECE}x{head}"), |b| {
            b.iter(|| shape.attend(isa, scale, (&piece, PIECE), q.row(0), &mut seen, &mut scratch));
        });
    }
    group.finish();
}

fn rows(c: &mut Criterion) {
    let isa = Isa::detect();
    let mut group = c.benchmark_group("rows");
    for (name, t, width, _) in SHAPES {
        let (x, gain, dy) = (values(t * width), vec![1.0; width], rounded(t * width));
        let (x, dy) = (MatRef::new(&x, t, width), MatRef::new(&dy, t, width));
        let (mut y, mut rstd) = (vec![bf16::ZERO; t * width], vec![0.0; t]);
        group.throughput(Throughput::Bytes(6 * (t * width) as u64));
        group.bench_function(format!("{name} norm {t}x{width}"), |b| {
            b.iter(|| norm::rms_norm(isa, x, &gain, width, 1e-5, MatMut::new(&mut y, t, width), &mut rstd));
        });
        let (mut dx, mut dgain) = (vec![0.0; t * width], vec![0.0; width]);
        group.throughput(Throughput::Bytes(16 * (t * width) as u64));
        group.bench_function(format!("{name} norm backward {t}x{width}"), |b| {
            b.iter(|| {
                let (dx, copy) = (MatMut::new(&mut dx, t, width), MatMut::new(&mut y, t, width));
                norm::rms_norm_backward(isa, dy, x, &rstd, &gain, width, dx, copy, &mut dgain);
            });
        });
    }
    let (t, vocab) = (1024, 512);
    let (logits, targets, mut losses) = (values(t * vocab), vec![0; t], vec![0.0; t]);
    let mut dlogits = vec![bf16::ZERO; t * vocab];
    group.throughput(Throughput::Bytes(6 * (t * vocab) as u64));
    group.bench_function(format!("cross-entropy {t}x{vocab}"), |b| {
        b.iter(|| {
            let gradient = Some((1.0, MatMut::new(&mut dlogits, t, vocab)));
            cross_entropy(isa, MatRef::new(&logits, t, vocab), vocab, &targets, &mut losses, gradient);
        });
    });
    group.finish();
}

fn optimizer(c: &mut Criterion) {
    const LEN: usize = 8 << 20;
    let [mut p, mut m, mut v, g] = [(); 4].map(|()| vec![1e-3; LEN]);
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
    let mut group = c.benchmark_group("optimizer");
    group.throughput(Throughput::Bytes(28 * LEN as u64));
    group.bench_function("adam 8M", |b| b.iter(|| adam(Isa::detect(), &step, &mut p, &mut m, &mut v, &g)));
    group.finish();
}

criterion_group!(benches, products, attention, rows, optimizer);
criterion_main!(benches);
