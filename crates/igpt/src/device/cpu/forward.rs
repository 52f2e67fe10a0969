//! The forward pass.
//!
//! Each block is two parallel phases. The first is attention, one piece per (sequence, head). The second is
//! everything up to the next block's attention, one piece per tile of rows; a tile stays in the core's cache through
//! projection, norm, MLP and the next block's q, k, v. Rows do not depend on each other there, so tiles may be cut
//! anywhere.

use igpt_kernels::attention::attention_forward;
use igpt_kernels::matmul::{Out, Panels, matmul};
use igpt_kernels::pool::{chunks, grid, rows};
use igpt_kernels::{Isa, MatMut, MatRef, Scalar, embedding, norm};

use super::context::{Cpu, Shape};
use super::model::{BlockPanels, Model, StreamedPanels, forward_panels, pack_forward};
use super::workspace::{LayerActivations, Scratch, Workspace};

/// Runs the blocks below `until` over the input ids in the workspace. Returns the index of the residual buffer with
/// the result.
///
/// For each layer, `before` receives the residual stream (rows, C) and the block's activations, q, k, v included, as
/// soon as they are known. Layer `until` has no activations.
pub(crate) fn forward<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    work: &mut Workspace<S>,
    shape: Shape,
    until: usize,
    mut before: impl FnMut(usize, MatRef<'_, f32>, Option<&LayerActivations<S>>, &mut [Scratch<S>]),
) -> usize {
    let dims = &model.dims;
    let Workspace { residual, layers, ids, scratch, one_block, .. } = work;
    let (slots, kept) = (residual.len(), layers.len());
    let (n, c) = (shape.rows(), dims.channels);

    let (wte, wpe) = (model.wte(), model.wpe().view(0, shape.len, 0, c));
    let ids = &ids[..n];
    cpu.pool.each(chunks(&mut residual[0][..n * c], shape.len * c), scratch, |i, x, _| {
        embedding::embed(cpu.isa, wte, wpe, &ids[i * shape.len..][..shape.len], MatMut::new(x, shape.len, c));
    });
    if until > 0 {
        pack_forward(cpu, model, one_block, 0);
        let panels = forward_panels(model, one_block, 0);
        enter_block(cpu, model, 0, panels, &residual[0][..n * c], &mut layers[0], scratch);
    }
    for l in 0..until {
        before(l, MatRef::new(&residual[l % slots][..n * c], n, c), Some(&layers[l % kept]), scratch);
        attend(cpu, model, shape, &mut layers[l % kept], scratch);
        let (x, x_out) = pair(residual, l % slots, (l + 1) % slots);
        if l + 1 < until {
            pack_forward(cpu, model, one_block, l + 1);
        }
        let panels = forward_panels(model, one_block, l);
        let next = (l + 1 < until)
            .then(|| Next { activations: (l + 1) % kept, panels: &forward_panels(model, one_block, l + 1).attn });
        leave_block(cpu, model, l, panels, &x[..n * c], &mut x_out[..n * c], layers, next, scratch);
    }
    let last = until % slots;
    before(until, MatRef::new(&residual[last][..n * c], n, c), None, scratch);
    last
}

/// Recomputes the activations of block `l` from `x`, the residual stream before it, with the same bits as in the
/// forward pass.
#[allow(clippy::too_many_arguments)]
pub(crate) fn recompute<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    shape: Shape,
    l: usize,
    x: &[f32],
    layers: &mut [LayerActivations<S>],
    one_block: &mut Option<StreamedPanels<S>>,
    scratch: &mut [Scratch<S>],
) {
    let kept = layers.len();
    pack_forward(cpu, model, one_block, l);
    let panels = forward_panels(model, one_block, l);
    enter_block(cpu, model, l, panels, x, &mut layers[l % kept], scratch);
    attend(cpu, model, shape, &mut layers[l % kept], scratch);
    leave_block(cpu, model, l, panels, x, &mut [], layers, None, scratch);
}

/// Borrows two different buffers of a list, the second for writing.
fn pair<T>(list: &mut [T], read: usize, write: usize) -> (&T, &mut T) {
    if read < write {
        let (head, tail) = list.split_at_mut(write);
        (&head[read], &mut tail[0])
    } else {
        let (head, tail) = list.split_at_mut(read);
        (&tail[0], &mut head[write])
    }
}

/// Computes norm and fused q, k, v of the first block; later blocks get theirs from [`leave_block`].
fn enter_block<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    l: usize,
    panels: &BlockPanels<S>,
    x: &[f32],
    layer: &mut LayerActivations<S>,
    scratch: &mut [Scratch<S>],
) {
    let c = model.dims.channels;
    let n = x.len() / c;
    let x = MatRef::new(x, n, c);
    let qkv = MatMut::new(&mut layer.qkv[..n * model.dims.qkv], n, model.dims.qkv);
    let piece = model.dims.forward_rows();
    cpu.pool.each(rows(qkv, piece), scratch, |i, qkv, scratch| {
        query_key_value(cpu.isa, model, l, &panels.attn, x.view(i * piece, qkv.rows(), 0, c), qkv, scratch);
    });
}

/// Computes `ln_1` and the fused q, k, v of some rows.
fn query_key_value<S: Scalar>(
    isa: Isa,
    model: &Model<S>,
    l: usize,
    panels: &Panels<S>,
    x: MatRef<'_, f32>,
    qkv: MatMut<'_, S>,
    scratch: &mut Scratch<S>,
) {
    let (m, c) = (x.rows(), x.cols());
    let places = &model.places.blocks[l];
    let y = &mut scratch.norm[..m * c];
    rms_norm(isa, model, x, &places.ln_1, MatMut::new(y, m, c), &mut scratch.rstd[..m]);
    matmul(isa, MatRef::new(y, m, c), panels, model.bias(&places.attn), Out::Store(qkv));
}

/// Computes a norm with the gain at `place`.
pub(crate) fn rms_norm<S: Scalar, Y: Scalar>(
    isa: Isa,
    model: &Model<S>,
    x: MatRef<'_, f32>,
    place: &std::ops::Range<usize>,
    y: MatMut<'_, Y>,
    rstd: &mut [f32],
) {
    norm::rms_norm(isa, x, model.vector(place), model.dims.n_embd, model.dims.eps, y, rstd);
}

/// Returns the heads of q, k and v of one sequence as column views.
pub(crate) fn head_views<'a, S: Scalar>(
    model: &Model<S>,
    qkv: &'a [S],
    shape: Shape,
    image: usize,
    head: usize,
) -> [MatRef<'a, S>; 3] {
    let dims = &model.dims;
    let all = MatRef::new(&qkv[image * shape.len * dims.qkv..][..shape.len * dims.qkv], shape.len, dims.qkv);
    [0, 1, 2].map(|which| all.view(0, shape.len, (which * dims.n_head + head) * dims.head, dims.head))
}

fn attend<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    shape: Shape,
    layer: &mut LayerActivations<S>,
    scratch: &mut [Scratch<S>],
) {
    let dims = &model.dims;
    let n = shape.rows();
    let used = dims.n_head * dims.head;
    let attn = MatMut::strided(&mut layer.attn[..n * dims.heads], n, used, dims.heads);
    let parts = (grid(attn, shape.len, dims.head), chunks(&mut layer.lse[..n * dims.n_head], shape.len));
    let qkv = &layer.qkv;
    cpu.pool.each(parts, scratch, |i, (out, lse), scratch| {
        let [q, k, v] = head_views(model, qkv, shape, i / dims.n_head, i % dims.n_head);
        attention_forward(cpu.isa, dims.mask, dims.scale, q, k, v, out, lse, &mut scratch.attention);
    });
}

/// Destination of a block's q, k and v, and the weights that compute them.
#[derive(Clone, Copy)]
struct Next<'a, S: Scalar> {
    /// Index of the block's activations.
    activations: usize,
    panels: &'a Panels<S>,
}

/// Computes a block from attention's output to its own output, and the next block's q, k, v.
///
/// The output is skipped if there is no room for it, and q, k, v if `next` is `None`.
#[allow(clippy::too_many_arguments)]
fn leave_block<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    l: usize,
    panels: &BlockPanels<S>,
    x: &[f32],
    x_out: &mut [f32],
    layers: &mut [LayerActivations<S>],
    next: Option<Next<'_, S>>,
    scratch: &mut [Scratch<S>],
) {
    let dims = &model.dims;
    let (c, inner, isa) = (dims.channels, dims.inner, cpu.isa);
    let n = x.len() / c;
    let places = &model.places.blocks[l];
    let x = MatRef::new(x, n, c);

    // The next block's buffers are this block's own when only one layer is kept: take what is written next out of
    // the list, so that both can be borrowed.
    let mut qkv = next.map(|next| std::mem::take(&mut layers[next.activations].qkv)).unwrap_or_default();
    let kept = layers.len();
    let LayerActivations { attn, mid, fc, .. } = &mut layers[l % kept];
    let attn = MatRef::new(&attn[..n * dims.heads], n, dims.heads);
    // Tiles of what is not computed have no columns.
    let (gives_out, width) = (!x_out.is_empty(), if next.is_some() { dims.qkv } else { 0 });
    let c_out = if gives_out { c } else { 0 };
    let piece = dims.forward_rows();
    let parts = (
        rows(MatMut::new(&mut mid[..n * c], n, c), piece),
        rows(MatMut::new(&mut fc[..n * inner], n, inner), piece),
        rows(MatMut::new(x_out, n, c_out), piece),
        rows(MatMut::new(&mut qkv[..n * width], n, width), piece),
    );
    cpu.pool.each(parts, scratch, |i, (mut mid, fc, mut x_out, qkv), scratch| {
        let m = mid.rows();
        let first = i * piece;
        let attn = attn.view(first, m, 0, dims.heads);
        let sum = Out::SumF32 { to: x.view(first, m, 0, c), out: mid.reborrow() };
        matmul(isa, attn, &panels.proj, model.bias(&places.proj), sum);

        let y = &mut scratch.norm[..m * c];
        rms_norm(isa, model, mid.as_ref(), &places.ln_2, MatMut::new(y, m, c), &mut scratch.rstd[..m]);
        let hidden = &mut scratch.inner[..m * inner];
        let out = Out::Gelu { pre: fc, out: MatMut::new(hidden, m, inner) };
        matmul(isa, MatRef::new(y, m, c), &panels.fc, model.bias(&places.fc), out);

        if gives_out {
            let hidden = MatRef::new(hidden, m, inner);
            let sum = Out::SumF32 { to: mid.as_ref(), out: x_out.reborrow() };
            matmul(isa, hidden, &panels.out, model.bias(&places.out), sum);
        }
        if let Some(next) = next {
            query_key_value(isa, model, l + 1, next.panels, x_out.as_ref(), qkv, scratch);
        }
    });
    if let Some(next) = next {
        layers[next.activations].qkv = qkv;
    }
}
