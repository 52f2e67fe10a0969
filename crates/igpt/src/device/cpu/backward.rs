//! The backward pass, from the gradient of the logits to the gradient of every parameter.
//!
//! Each block is three parallel phases:
//! - everything above attention, in pieces of rows;
//! - attention, one piece per (sequence, head), together with the weight gradients whose operands are ready;
//! - everything below attention, in pieces of rows.
//!
//! Pieces of rows end at image borders, and every sum over tokens is taken image by image, in order. The bits of the
//! gradients therefore do not depend on the number of threads or on how a batch is split into micro-batches.

use std::ops::Range;

use igpt_kernels::attention::attention_backward;
use igpt_kernels::matmul::{Out, Panels, matmul, pack_tokens};
use igpt_kernels::pool::{Either, chunks, columns, grid, rows, then};
use igpt_kernels::{LANE_PAD, MatMut, MatRef, Scalar, embedding, norm, reduce};

use super::classes::ClassGradient;
use super::context::{Cpu, Shape};
use super::forward::{head_views, recompute, rms_norm};
use super::model::{BlockOffsets, BlockPanels, Model, Packed, backward_panels};
use super::weights::{Tokens, WeightGradient, weight_rows};
use super::workspace::{Gradients, LayerActivations, Scratch, Workspace};

/// Losses whose gradients the backward pass computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses<'a> {
    /// Whether pixels are trained on. The workspace then holds the gradient of their logits.
    pub(crate) pixels: bool,
    /// Gradient of the classes, if they are trained on; always present without pixels.
    pub(crate) classes: Option<&'a ClassGradient>,
}

/// Reports gradient buckets: the pass goes from the flat gradient's end to its beginning, and what it leaves behind
/// is final.
pub(crate) struct BucketReport<'a> {
    ready: Option<ReadyHook<'a>>,
    end: usize,
}

/// Callback that receives a range of the flat gradient that is final, and its values.
pub(crate) type ReadyHook<'a> = &'a mut dyn FnMut(Range<usize>, &mut [f32]);

impl<'a> BucketReport<'a> {
    /// Returns the report for a gradient of `len` values; without `ready`, nobody receives it.
    pub(crate) fn new(len: usize, ready: Option<ReadyHook<'a>>) -> Self {
        Self { ready, end: len }
    }

    /// Reports everything from `start` on as final.
    pub(crate) fn from(&mut self, start: usize, grads: &mut [f32]) {
        let range = start..self.end;
        if let Some(ready) = self.ready.as_mut().filter(|_| !range.is_empty()) {
            ready(range.clone(), &mut grads[range]);
            self.end = start;
        }
    }
}

/// Adds the gradients of the batch whose activations are in the workspace to `grads`, the flat gradient.
///
/// With `fresh`, the gradient starts anew. The gradients of the embeddings and the first `frozen` blocks are left
/// unchanged if `frozen` is not 0. Without a loss of pixels, the pass starts at the layer that the classifier reads.
/// `told` reports what becomes final before the end of the pass.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    work: &mut Workspace<S>,
    shape: Shape,
    grads: &mut [f32],
    fresh: bool,
    frozen: usize,
    losses: Losses<'_>,
    told: &mut BucketReport<'_>,
) {
    let (n, c) = (shape.rows(), model.dims.channels);
    let Workspace { residual, layers, gradients, scratch, ids, one_block, .. } = work;
    let g = gradients.as_mut().expect("the engine was opened for training");
    let packed = model.backward.as_ref().expect("the engine was opened for training");

    if fresh {
        // Weight gradients of products are overwritten before anything is added to them.
        model.places.others.iter().for_each(|(place, _)| grads[place.clone()].fill(0.0));
    }
    let classes = losses.classes.map(|classes| (classes.layer, classes.backward(model, shape.len, grads)));
    let tokens = Tokens::new::<S>(&model.dims, shape);
    let pass = Pass { cpu, model, packed, shape, tokens, fresh, pixels: losses.pixels, classes };
    let top = pass.top();
    if fresh && !losses.pixels {
        // No loss reaches these products.
        let behind = model.places.blocks[top.max(frozen)..].iter().flat_map(BlockOffsets::products);
        behind.chain([&model.places.head]).for_each(|product| grads[product.weight.clone()].fill(0.0));
    }
    if top < frozen {
        return;
    }
    pass.start(&residual[top][..n * c], g, grads, scratch);
    let kept = layers.len();
    for l in (frozen..top).rev() {
        // If only one block's activations are kept, they are those of the block that was processed last.
        if kept == 1 && l + 1 < top {
            recompute(cpu, model, shape, l, &residual[l][..n * c], layers, one_block, scratch);
        }
        let acts = &layers[l % kept];
        let panels = backward_panels(cpu, model, packed, one_block, l);
        pass.behind_attention(l, panels, acts, g, grads, scratch);
        pass.attention(l, acts, g, grads, scratch);
        // The weight gradients of the products above this block had waited for it.
        let behind = model.places.blocks.get(l + 1).map_or(model.places.ln_f.start, |block| block.attn.weight.start);
        told.from(behind, grads);
        pass.before_attention(l, &panels.attn, &residual[l][..n * c], g, grads, scratch);
    }
    pass.last_weights(frozen, g, grads, scratch);
    if frozen == 0 {
        pass.embeddings(&ids[..n], &g.dx[..n * c], grads, scratch);
    }
}

/// Data that every step of the pass needs.
struct Pass<'a, S: Scalar> {
    cpu: Cpu<'a>,
    model: &'a Model<S>,
    packed: &'a Packed<S>,
    shape: Shape,
    tokens: Tokens,
    fresh: bool,
    /// Whether there is a loss of pixels.
    pixels: bool,
    /// Layer that the classifier reads, and the gradient of its norm from there: the same at all positions of an
    /// image, (images, C).
    classes: Option<(usize, Vec<f32>)>,
}

impl<S: Scalar> Pass<'_, S> {
    /// The last layer that a loss reaches.
    fn top(&self) -> usize {
        let n_layer = self.model.dims.n_layer;
        if self.pixels { n_layer } else { self.classes.as_ref().map_or(n_layer, |(layer, _)| *layer) }
    }

    /// Starts the gradient of the residual stream `x` at the last layer that a loss reaches: through the output
    /// matrix and `ln_f`, or through the norm of the classes alone.
    fn start(&self, x: &[f32], g: &mut Gradients<S>, grads: &mut [f32], scratch: &mut [Scratch<S>]) {
        let (n, vocab) = (self.shape.rows(), self.model.dims.vocab);
        g.dx[..x.len()].fill(0.0);
        if !self.pixels {
            return self.norm_and_product(self.top(), None, x, g, grads, scratch);
        }
        let dlogits = std::mem::take(&mut g.dlogits);
        let dy = MatRef::new(&dlogits[..n * vocab], n, vocab);
        // The output matrix is stored (V, C): its gradient is dlogitsᵀ · norm, so it is the norm that is packed.
        self.norm_and_product(self.top(), Some((dy, &self.packed.head)), x, g, grads, scratch);
        g.dlogits = dlogits;
    }

    /// Goes through the MLP and `ln_2` to the gradient of attention's output. `g.dout` is the gradient of the block's
    /// output.
    fn behind_attention(
        &self,
        l: usize,
        packed: &BlockPanels<S>,
        acts: &LayerActivations<S>,
        g: &mut Gradients<S>,
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let Pass { cpu, model, shape, tokens, .. } = *self;
        let dims = &model.dims;
        let (n, c, inner, heads) = (shape.rows(), dims.channels, dims.inner, dims.heads);
        let (isa, piece) = (cpu.isa, dims.piece());
        let places = &model.places.blocks[l];
        let mid = MatRef::new(&acts.mid[..n * c], n, c);
        let fc = MatRef::new(&acts.fc[..n * inner], n, inner);
        let dout = MatRef::new(&g.dout[..n * c], n, c);
        let parts = (
            (rows(MatMut::new(&mut g.inner[..n * inner], n, inner), piece), tokens.pieces(&mut g.packed.fc, inner)),
            (tokens.pieces(&mut g.packed.out, c), tokens.pieces(&mut g.packed.proj, c)),
            (
                rows(MatMut::new(&mut g.norm_mid[..n * c], n, c), piece),
                rows(MatMut::new(&mut g.dattn[..n * heads], n, heads), piece),
            ),
            (rows(MatMut::new(&mut g.dx[..n * c], n, c), piece), chunks(&mut g.dgain[..n / piece * c], c)),
        );
        cpu.pool.each(parts, scratch, |i, part, scratch| {
            let ((hidden, packed_fc), (packed_out, packed_proj), (y, dattn), (dx, dgain)) = part;
            let first = i * piece;
            let dout = dout.view(first, piece, 0, c);
            pack_tokens(isa, dout, packed_out);
            let dfc = &mut scratch.inner[..piece * inner];
            let d = MatMut::new(dfc, piece, inner);
            let activation = Out::GeluBackward { pre: fc.view(first, piece, 0, inner), d, out: hidden };
            matmul(isa, dout, &packed.out, None, activation);

            let dfc = MatRef::new(dfc, piece, inner);
            pack_tokens(isa, dfc, packed_fc);
            let dnorm = &mut scratch.norm[..piece * c];
            matmul(isa, dfc, &packed.fc, None, Out::Store(MatMut::new(dnorm, piece, c)));
            let (mid, dnorm) = (mid.view(first, piece, 0, c), MatRef::new(dnorm, piece, c));
            let dmid = &mut scratch.stream[..piece * c];
            let stream = MatMut::new(dmid, piece, c);
            self.norm_backward(mid, &places.ln_2, y, dnorm, dx, stream, dgain, &mut scratch.rstd[..piece]);

            let dmid = MatRef::new(dmid, piece, c);
            pack_tokens(isa, dmid, packed_proj);
            matmul(isa, dmid, &packed.proj, None, Out::Store(dattn));
        });
        self.gain_gradient(&places.ln_2, g, grads);
    }

    /// Goes through attention to the gradient of q, k and v. All weight gradients that are ready run in the same
    /// phase.
    fn attention(
        &self,
        l: usize,
        acts: &LayerActivations<S>,
        g: &mut Gradients<S>,
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let dims = &self.model.dims;
        let (n, c, inner) = (self.shape.rows(), dims.channels, dims.inner);
        let attn = MatRef::new(&acts.attn[..n * dims.heads], n, dims.heads);
        let places = &self.model.places.blocks[l];
        let mut dqkv = std::mem::take(&mut g.dqkv);
        let out = MatRef::new(&g.inner[..n * inner], n, inner);
        let out = WeightGradient { product: &places.out, x: out, dy: &g.packed.out };
        let fc = MatRef::new(&g.norm_mid[..n * c], n, c);
        let fc = WeightGradient { product: &places.fc, x: fc, dy: &g.packed.fc };
        let proj = WeightGradient { product: &places.proj, x: attn, dy: &g.packed.proj };
        let dattn = MatRef::new(&g.dattn[..n * dims.heads], n, dims.heads);
        match self.late_weights(l + 1, g) {
            Some(late) => self.heads_and_weights([out, fc, proj, late], acts, dattn, &mut dqkv, grads, scratch),
            None => self.heads_and_weights([out, fc, proj], acts, dattn, &mut dqkv, grads, scratch),
        }
        g.dqkv = dqkv;
    }

    /// Processes all heads of all sequences, and some weight gradients in the same phase.
    fn heads_and_weights<const N: usize>(
        &self,
        jobs: [WeightGradient<'_, S>; N],
        acts: &LayerActivations<S>,
        dattn: MatRef<'_, S>,
        dqkv: &mut [S],
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let Pass { cpu, model, shape, tokens, fresh, .. } = *self;
        let dims = &model.dims;
        let (n, qkv, width) = (shape.rows(), dims.qkv, dims.n_head * dims.head);
        let [dq, dk, dv] = MatMut::new(&mut dqkv[..n * qkv], n, qkv).columns([width, width, width]);
        let heads = (grid(dq, shape.len, dims.head), grid(dk, shape.len, dims.head), grid(dv, shape.len, dims.head));
        cpu.pool.each(then(heads, weight_rows(tokens, &jobs, grads)), scratch, |_, part, scratch| match part {
            Either::First(i, dqkv) => self.head_backward(acts, i, dattn, dqkv, scratch),
            Either::Second(_, (job, i, dw)) => jobs[job].rows(cpu.isa, tokens, i, dw, fresh, &mut scratch.columns),
        });
        jobs.iter().for_each(|job| job.bias(cpu.isa, tokens, grads));
    }

    /// Processes one (sequence, head): from the gradient of attention's output to that of q, k and v.
    fn head_backward(
        &self,
        acts: &LayerActivations<S>,
        i: usize,
        dattn: MatRef<'_, S>,
        (dq, dk, dv): (MatMut<'_, S>, MatMut<'_, S>, MatMut<'_, S>),
        scratch: &mut Scratch<S>,
    ) {
        let Pass { cpu, model, shape, .. } = *self;
        let dims = &model.dims;
        let (image, head, len, n) = (i / dims.n_head, i % dims.n_head, shape.len, shape.rows());
        let [q, k, v] = head_views(model, &acts.qkv, shape, image, head);
        let attn = MatRef::new(&acts.attn[..n * dims.heads], n, dims.heads);
        let [out, dout] = [attn, dattn].map(|all| all.view(image * len, len, head * dims.head, dims.head));
        let lse = &acts.lse[i * len..][..len];
        attention_backward(cpu.isa, dims.mask, dims.scale, q, k, v, out, dout, lse, dq, dk, dv, &mut scratch.attention);
    }

    /// Goes through q, k, v and `ln_1`. `g.dqkv` is the gradient of q, k and v.
    fn before_attention(
        &self,
        l: usize,
        panels: &Panels<S>,
        x: &[f32],
        g: &mut Gradients<S>,
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let (n, qkv) = (self.shape.rows(), self.model.dims.qkv);
        let dqkv = std::mem::take(&mut g.dqkv);
        let dy = MatRef::new(&dqkv[..n * qkv], n, qkv);
        self.norm_and_product(l, Some((dy, panels)), x, g, grads, scratch);
        g.dqkv = dqkv;
    }

    /// Goes through the product and the norm at the start of layer `l` into the gradient of the residual stream `x`.
    ///
    /// For the last layer, these are the output matrix and `ln_f`. If the classifier reads this layer, its gradient
    /// goes through the norm, too. The norm's output or the gradient of the product's output is packed for
    /// [`late_weights`](Pass::late_weights). If `product` is `None`, there is only the classifier's gradient.
    fn norm_and_product(
        &self,
        l: usize,
        product: Option<(MatRef<'_, S>, &Panels<S>)>,
        x: &[f32],
        g: &mut Gradients<S>,
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let Pass { cpu, model, shape, tokens, .. } = *self;
        let (n, c, piece) = (shape.rows(), model.dims.channels, model.dims.piece());
        let (gain, pack_norm) = (model.places.norm(l), l == model.dims.n_layer);
        let width = product.map_or(c, |(dy, _)| dy.cols());
        let classes = self.classes.as_ref().filter(|(layer, _)| *layer == l).map(|(_, dnorm)| dnorm);
        let x = MatRef::new(x, n, c);
        let parts = (
            (rows(MatMut::new(&mut g.dx[..n * c], n, c), piece), rows(MatMut::new(&mut g.dout[..n * c], n, c), piece)),
            rows(MatMut::new(&mut g.norm_late[..n * c], n, c), piece),
            tokens.pieces(&mut g.packed.late, if pack_norm { c } else { width }),
            chunks(&mut g.dgain[..n / piece * c], c),
        );
        cpu.pool.each(parts, scratch, |i, ((mut dx, mut dout), mut y, packed, dgain), scratch| {
            let (x, rstd) = (x.view(i * piece, piece, 0, c), &mut scratch.rstd[..piece]);
            let product = product.map(|(dy, panels)| (dy.view(i * piece, piece, 0, width), panels));
            match product {
                Some((dy, panels)) => {
                    let dnorm = &mut scratch.norm[..piece * c];
                    matmul(cpu.isa, dy, panels, None, Out::Store(MatMut::new(dnorm, piece, c)));
                    let dnorm = MatRef::new(dnorm, piece, c);
                    self.norm_backward(x, gain, y.reborrow(), dnorm, dx.reborrow(), dout.reborrow(), dgain, rstd);
                }
                None => {
                    rms_norm(cpu.isa, model, x, gain, y.reborrow(), rstd);
                    dgain.fill(0.0);
                }
            }
            if let Some(classes) = classes {
                // In the same piece, so that an image's share of the gain's gradient is complete before the next
                // image's.
                let of_image = &classes[i * piece / shape.len * c..][..c];
                for row in scratch.norm[..piece * c].chunks_exact_mut(c) {
                    row.iter_mut().zip(of_image).for_each(|(to, &value)| *to = S::from_f32(value));
                }
                let dnorm = MatRef::new(&scratch.norm[..piece * c], piece, c);
                let gain = model.vector(gain);
                norm::rms_norm_backward(cpu.isa, dnorm, x, rstd, gain, model.dims.n_embd, dx, dout, dgain);
            }
            if let Some((dy, _)) = product {
                pack_tokens(cpu.isa, if pack_norm { y.as_ref() } else { dy }, packed);
            }
        });
        self.gain_gradient(gain, g, grads);
    }

    /// Weight gradient of the product that [`norm_and_product`](Pass::norm_and_product) processed last: q, k, v of
    /// block `l`, or the output matrix above the last block. `None` if no loss reaches it.
    fn late_weights<'a>(&'a self, l: usize, g: &'a Gradients<S>) -> Option<WeightGradient<'a, S>> {
        if !self.pixels && l >= self.top() {
            return None;
        }
        let (n, dims) = (self.shape.rows(), &self.model.dims);
        let (product, x) = match self.model.places.blocks.get(l) {
            Some(block) => (&block.attn, MatRef::new(&g.norm_late[..n * dims.channels], n, dims.channels)),
            None => (&self.model.places.head, MatRef::new(&g.dlogits[..n * dims.vocab], n, dims.vocab)),
        };
        Some(WeightGradient { product, x, dy: &g.packed.late })
    }

    /// Computes the weight gradients that are left after block `l`, the first that is trained.
    fn last_weights(&self, l: usize, g: &Gradients<S>, grads: &mut [f32], scratch: &mut [Scratch<S>]) {
        let Pass { cpu, tokens, fresh, .. } = *self;
        let Some(late) = self.late_weights(l, g) else { return };
        let jobs = [late];
        cpu.pool.each(weight_rows(tokens, &jobs, grads), scratch, |_, (job, i, dw), scratch| {
            jobs[job].rows(cpu.isa, tokens, i, dw, fresh, &mut scratch.columns);
        });
        jobs[0].bias(cpu.isa, tokens, grads);
    }

    /// Recomputes a norm's output into `y` and adds its input's gradient to `dx`. The rounded sum goes to `dx_copy`,
    /// and the gain's gradient over these rows to `dgain`.
    #[allow(clippy::too_many_arguments)]
    fn norm_backward(
        &self,
        x: MatRef<'_, f32>,
        gain: &Range<usize>,
        y: MatMut<'_, S>,
        dy: MatRef<'_, S>,
        dx: MatMut<'_, f32>,
        dx_copy: MatMut<'_, S>,
        dgain: &mut [f32],
        rstd: &mut [f32],
    ) {
        let (isa, model) = (self.cpu.isa, self.model);
        rms_norm(isa, model, x, gain, y, rstd);
        dgain.fill(0.0);
        let gain = model.vector(gain);
        norm::rms_norm_backward(isa, dy, x, rstd, gain, model.dims.n_embd, dx, dx_copy, dgain);
    }

    /// Adds the gain gradients of the pieces, in order.
    fn gain_gradient(&self, gain: &Range<usize>, g: &Gradients<S>, grads: &mut [f32]) {
        let pieces = self.shape.rows() / self.model.dims.piece();
        for piece in g.dgain.chunks_exact(self.model.dims.channels).take(pieces) {
            reduce::add_assign(self.cpu.isa, &mut grads[gain.clone()], piece);
        }
    }

    /// Adds the gradient at the start of the residual stream to the embeddings' gradients: by token (sos included)
    /// and by position.
    fn embeddings(&self, ids: &[u32], dx: &[f32], grads: &mut [f32], scratch: &mut [Scratch<S>]) {
        let Pass { cpu, model, shape, .. } = *self;
        let (c, len) = (model.dims.channels, shape.len);
        let dx = MatRef::new(dx, shape.rows(), c);
        let matrix = |place: &Range<usize>| (place.clone(), place.len() / c);

        let (place, vocab) = matrix(&model.places.wte);
        let dwte = MatMut::new(&mut grads[place], vocab, c);
        const STRIP: usize = LANE_PAD;
        cpu.pool.each(columns(dwte, STRIP), scratch, |i, dwte, _| {
            embedding::embed_backward(cpu.isa, ids, dx.view(0, dx.rows(), i * STRIP, dwte.cols()), dwte);
        });
        let (place, positions) = matrix(&model.places.wpe);
        let dwpe = MatMut::new(&mut grads[place], positions, c);
        cpu.pool.each(rows(dwpe, STRIP), scratch, |i, mut dwpe, _| {
            let first = i * STRIP;
            let m = dwpe.rows().min(len.saturating_sub(first));
            for b in 0..shape.images {
                let dx = dx.view(b * len + first.min(len), m, 0, c);
                embedding::add_rows(cpu.isa, dx, dwpe.view(0, m, 0, c));
            }
        });
    }
}
