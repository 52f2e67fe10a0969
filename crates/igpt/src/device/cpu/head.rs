//! From the last residual to logits and losses, in tiles of rows, so that the logits of all rows never exist at once.

use igpt_kernels::cross_entropy::cross_entropy;
use igpt_kernels::matmul::{Out, matmul};
use igpt_kernels::pool::{chunks, rows};
use igpt_kernels::{MatMut, MatRef, Scalar};

use super::context::{Cpu, Shape};
use super::forward::rms_norm;
use super::model::Model;
use super::workspace::{Scratch, Workspace};
use crate::device::Pooling;

/// Computes `ln_f` and the output matrix over some rows; the logits (m, V padded) are left in the scratch.
fn head_rows<S: Scalar>(cpu: Cpu<'_>, model: &Model<S>, x: MatRef<'_, f32>, scratch: &mut Scratch<S>) {
    let (m, c, vocab) = (x.rows(), x.cols(), model.dims.vocab);
    let y = &mut scratch.norm[..m * c];
    rms_norm(cpu.isa, model, x, &model.places.ln_f, MatMut::new(y, m, c), &mut scratch.rstd[..m]);
    let logits = MatMut::new(&mut scratch.logits[..m * vocab], m, vocab);
    matmul(cpu.isa, MatRef::new(y, m, c), &model.forward.head, None, Out::F32(logits));
}

/// Writes the nats of every token to the workspace. With `gradient` (a scale), the gradient of the logits is written,
/// too. With `weights`, each token counts by its weight.
#[allow(clippy::too_many_arguments)]
pub(crate) fn losses<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    work: &mut Workspace<S>,
    shape: Shape,
    targets: &[u16],
    weights: Option<&[f32]>,
    last: usize,
    gradient: Option<f32>,
) {
    let (c, vocab, n) = (model.dims.channels, model.dims.vocab, shape.rows());
    let Workspace { residual, losses, gradients, scratch, .. } = work;
    let x = MatRef::new(&residual[last][..n * c], n, c);
    // Without a gradient the tiles of dlogits have no columns.
    let (dlogits, width): (&mut [S], usize) = match (gradient, gradients) {
        (Some(_), Some(g)) => (&mut g.dlogits[..n * vocab], vocab),
        _ => (&mut [], 0),
    };
    let piece = model.dims.forward_rows();
    let parts = (chunks(&mut losses[..n], piece), rows(MatMut::new(dlogits, n, width), piece));
    cpu.pool.each(parts, scratch, |i, (losses, dlogits), scratch| {
        let (first, m) = (i * piece, losses.len());
        let weights = weights.map(|weights| &weights[first..first + m]);
        if weights.is_some_and(|weights| weights.iter().all(|w| *w == 0.0)) {
            losses.fill(0.0);
            let mut dlogits = dlogits;
            (0..m).for_each(|r| dlogits.row_mut(r).fill(S::default()));
            return;
        }
        head_rows(cpu, model, x.view(first, m, 0, c), scratch);
        let logits = MatRef::new(&scratch.logits[..m * vocab], m, vocab);
        let gradient = gradient.map(|scale| (scale, dlogits));
        let (n_vocab, targets) = (model.dims.n_vocab, &targets[first..first + m]);
        match weights {
            None => cross_entropy(cpu.isa, logits, n_vocab, targets, losses, gradient),
            Some(weights) => weighted_cross_entropy(cpu, logits, n_vocab, targets, weights, losses, gradient),
        }
    });
}

/// Computes [`cross_entropy`], with each row counted by its weight.
fn weighted_cross_entropy<S: Scalar>(
    cpu: Cpu<'_>,
    logits: MatRef<'_, f32>,
    n_vocab: usize,
    targets: &[u16],
    weights: &[f32],
    losses: &mut [f32],
    mut gradient: Option<(f32, MatMut<'_, S>)>,
) {
    let width = logits.cols();
    for (r, (&weight, loss)) in weights.iter().zip(losses).enumerate() {
        let mut gradient = gradient.as_mut().map(|(scale, d)| (*scale * weight, d.view(r, 1, 0, width)));
        if weight == 0.0 {
            *loss = 0.0;
            if let Some((_, d)) = &mut gradient {
                d.row_mut(0).fill(S::default());
            }
            continue;
        }
        let (row, loss) = (logits.view(r, 1, 0, width), std::slice::from_mut(loss));
        cross_entropy(cpu.isa, row, n_vocab, &targets[r..=r], loss, gradient);
        loss[0] *= weight;
    }
}

/// Writes the logits (rows, n_vocab) of every position to `out`.
pub(crate) fn logits<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    work: &mut Workspace<S>,
    shape: Shape,
    last: usize,
    out: &mut [f32],
) {
    let (c, vocab, n_vocab, n) = (model.dims.channels, model.dims.vocab, model.dims.n_vocab, shape.rows());
    let Workspace { residual, scratch, .. } = work;
    let x = MatRef::new(&residual[last][..n * c], n, c);
    let piece = model.dims.forward_rows();
    cpu.pool.each(rows(MatMut::new(out, n, n_vocab), piece), scratch, |i, mut out, scratch| {
        let m = out.rows();
        head_rows(cpu, model, x.view(i * piece, m, 0, c), scratch);
        for (r, logits) in scratch.logits[..m * vocab].chunks_exact(vocab).enumerate() {
            out.row_mut(r).copy_from_slice(&logits[..n_vocab]);
        }
    });
}

/// Pools a norm's output over positions, (images, C real) or (images, T, C real), in f32: the paper's feature of a
/// layer.
#[allow(clippy::too_many_arguments)]
pub(crate) fn pooled<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    x: MatRef<'_, f32>,
    gain: &std::ops::Range<usize>,
    shape: Shape,
    pooling: Pooling,
    scratch: &mut [Scratch<S>],
    mut store: impl FnMut(usize, &[f32]),
) {
    let n_embd = model.dims.n_embd;
    let values = pooling.rows(shape.len) * n_embd;
    let mut features = vec![0.0f32; shape.images * values];
    cpu.pool.each(chunks(&mut features, values), scratch, |image, out, scratch| {
        let first = image * shape.len;
        let mut each = |take: &mut dyn FnMut(usize, &[f32]), positions: std::ops::Range<usize>| {
            for t in positions {
                let y = MatMut::new(&mut scratch.feature, 1, x.cols());
                rms_norm(cpu.isa, model, x.view(first + t, 1, 0, x.cols()), gain, y, &mut [0.0]);
                take(t, &scratch.feature[..n_embd]);
            }
        };
        let all = 0..shape.len;
        match pooling {
            Pooling::Mean => {
                let mut sums = vec![0.0f64; n_embd];
                each(&mut |_, row| sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value as f64), all);
                out.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum / shape.len as f64) as f32);
            }
            Pooling::Max => {
                out.fill(f32::NEG_INFINITY);
                each(&mut |_, row| out.iter_mut().zip(row).for_each(|(max, &value)| *max = max.max(value)), all);
            }
            Pooling::Last => each(&mut |_, row| out.copy_from_slice(row), shape.len - 1..shape.len),
            Pooling::None => each(&mut |t, row| out[t * n_embd..][..n_embd].copy_from_slice(row), all),
        }
    });
    for (image, features) in features.chunks_exact(values).enumerate() {
        store(image, features);
    }
}
