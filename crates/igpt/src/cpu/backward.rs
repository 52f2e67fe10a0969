//! The backward pass, from the gradient of the logits to the gradient of every parameter.
//!
//! Row-wise work goes in pieces that end at image borders, and every sum over tokens is taken image by image in
//! order, so that the bits of the gradients do not depend on threads or on how a batch is cut into micro-batches.

use std::ops::Range;

use igpt_kernels::attention::attention_backward;
use igpt_kernels::matmul::{Out, PanelsRef, matmul, matmul_tn_add, pack_token_panel};
use igpt_kernels::pool::{chunks, columns, grid, rows};
use igpt_kernels::{LANE_PAD, MatMut, MatRef, Scalar, activation, embedding, norm, reduce};

use super::forward::{Cpu, Shape, head_views, rms_norm};
use super::model::{Model, Packed, Product};
use super::workspace::{GRADIENT_ROWS, Gradients, LayerActivations, Scratch, Workspace};

/// Adds the gradients of the batch whose activations are in the workspace to `grads`, the flat gradient. The
/// workspace must hold the gradient of the logits.
pub(crate) fn backward<S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    work: &mut Workspace<S>,
    shape: Shape,
    grads: &mut [f32],
) {
    let (n, c) = (shape.rows(), model.dims.channels);
    let Workspace { residual, layers, gradients, scratch, ids, .. } = work;
    let g = gradients.as_mut().expect("the engine was opened for training");
    let packed = model.backward.as_ref().expect("the engine was opened for training");
    let pass = Pass { cpu, model, packed, shape };

    pass.head(&residual[model.dims.n_layer][..n * c], g, grads, scratch);
    for l in (0..model.dims.n_layer).rev() {
        pass.mlp(l, &layers[l], g, grads, scratch);
        pass.attention(l, &layers[l], &residual[l][..n * c], g, grads, scratch);
    }
    pass.embeddings(&ids[..n], &g.dx[..n * c], grads, scratch);
}

/// What every step of the pass needs.
struct Pass<'a, S: Scalar> {
    cpu: Cpu<'a>,
    model: &'a Model<S>,
    packed: &'a Packed<S>,
    shape: Shape,
}

impl<S: Scalar> Pass<'_, S> {
    /// Through the output matrix and `ln_f`: starts the gradient of the residual stream.
    fn head(&self, x: &[f32], g: &mut Gradients<S>, grads: &mut [f32], scratch: &mut [Scratch<S>]) {
        let Pass { cpu, model, packed, shape } = *self;
        let (n, c, vocab) = (shape.rows(), model.dims.channels, model.dims.vocab);
        let piece = model.dims.piece();
        let x = MatRef::new(x, n, c);
        let dlogits = MatRef::new(&g.dlogits[..n * vocab], n, vocab);
        let parts = (
            rows(MatMut::new(&mut g.dx[..n * c], n, c), piece),
            rows(MatMut::new(&mut g.dout[..n * c], n, c), piece),
            rows(MatMut::new(&mut g.norm[..n * c], n, c), piece),
            chunks(&mut g.dgain[..n / piece * c], c),
        );
        cpu.pool.each(parts, scratch, |i, (mut dx, dout, y, dgain), scratch| {
            let x = x.view(i * piece, piece, 0, c);
            for r in 0..piece {
                dx.row_mut(r).fill(0.0);
            }
            let dnorm = &mut scratch.norm[..piece * c];
            let dlogits = dlogits.view(i * piece, piece, 0, vocab);
            matmul(cpu.isa, dlogits, &packed.head, None, Out::Store(MatMut::new(dnorm, piece, c)));
            let dnorm = MatRef::new(dnorm, piece, c);
            self.norm_backward(x, &model.places.ln_f, y, dnorm, dx, dout, dgain, &mut scratch.rstd[..piece]);
        });
        self.gain_gradient(&model.places.ln_f, g, grads);
        // The output matrix is stored (V, C): its gradient is dlogitsᵀ · norm.
        let head = &model.places.head;
        self.weight_gradient(head, dlogits, &g.norm[..n * c], &mut g.panels, grads, scratch);
    }

    /// Through the MLP and `ln_2`: `g.dout` is the gradient of the block's output.
    fn mlp(
        &self,
        l: usize,
        acts: &LayerActivations<S>,
        g: &mut Gradients<S>,
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let Pass { cpu, model, packed, shape } = *self;
        let (n, c, inner) = (shape.rows(), model.dims.channels, model.dims.inner);
        let piece = model.dims.piece();
        let (places, packed) = (&model.places.blocks[l], &packed.blocks[l]);
        let mid = MatRef::new(&acts.mid[..n * c], n, c);
        let fc = &acts.fc[..n * inner];
        let dout = MatRef::new(&g.dout[..n * c], n, c);
        let parts = (
            (chunks(&mut g.dfc[..n * inner], piece * inner), chunks(&mut g.inner[..n * inner], piece * inner)),
            (rows(MatMut::new(&mut g.dx[..n * c], n, c), piece), rows(MatMut::new(&mut g.dmid[..n * c], n, c), piece)),
            rows(MatMut::new(&mut g.norm[..n * c], n, c), piece),
            chunks(&mut g.dgain[..n / piece * c], c),
        );
        cpu.pool.each(parts, scratch, |i, ((dfc, hidden), (dx, dmid), y, dgain), scratch| {
            let dout = dout.view(i * piece, piece, 0, c);
            matmul(cpu.isa, dout, &packed.out, None, Out::Store(MatMut::new(dfc, piece, inner)));
            activation::gelu_backward(cpu.isa, &fc[i * piece * inner..][..piece * inner], dfc, hidden);
            let dnorm = &mut scratch.norm[..piece * c];
            let dfc = MatRef::new(dfc, piece, inner);
            matmul(cpu.isa, dfc, &packed.fc, None, Out::Store(MatMut::new(dnorm, piece, c)));
            let (mid, dnorm) = (mid.view(i * piece, piece, 0, c), MatRef::new(dnorm, piece, c));
            self.norm_backward(mid, &places.ln_2, y, dnorm, dx, dmid, dgain, &mut scratch.rstd[..piece]);
        });
        self.gain_gradient(&places.ln_2, g, grads);
        let hidden = MatRef::new(&g.inner[..n * inner], n, inner);
        self.weight_gradient(&places.out, hidden, &g.dout[..n * c], &mut g.panels, grads, scratch);
        let y = MatRef::new(&g.norm[..n * c], n, c);
        self.weight_gradient(&places.fc, y, &g.dfc[..n * inner], &mut g.panels, grads, scratch);
    }

    /// Through attention and `ln_1`: `g.dmid` is the gradient of the stream after attention.
    fn attention(
        &self,
        l: usize,
        acts: &LayerActivations<S>,
        x: &[f32],
        g: &mut Gradients<S>,
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let Pass { cpu, model, packed, shape } = *self;
        let dims = &model.dims;
        let (n, c, heads, qkv) = (shape.rows(), dims.channels, dims.heads, dims.qkv);
        let piece = dims.piece();
        let (places, packed) = (&model.places.blocks[l], &packed.blocks[l]);

        let dmid = MatRef::new(&g.dmid[..n * c], n, c);
        let dattn = MatMut::new(&mut g.dattn[..n * heads], n, heads);
        cpu.pool.each(rows(dattn, piece), scratch, |i, dattn, _| {
            matmul(cpu.isa, dmid.view(i * piece, piece, 0, c), &packed.proj, None, Out::Store(dattn));
        });
        self.heads_backward(acts, &g.dattn[..n * heads], &mut g.dqkv[..n * qkv], scratch);
        let attn = MatRef::new(&acts.attn[..n * heads], n, heads);
        self.weight_gradient(&places.proj, attn, &g.dmid[..n * c], &mut g.panels, grads, scratch);

        let x = MatRef::new(x, n, c);
        let dqkv = MatRef::new(&g.dqkv[..n * qkv], n, qkv);
        let parts = (
            rows(MatMut::new(&mut g.dx[..n * c], n, c), piece),
            rows(MatMut::new(&mut g.dout[..n * c], n, c), piece),
            rows(MatMut::new(&mut g.norm[..n * c], n, c), piece),
            chunks(&mut g.dgain[..n / piece * c], c),
        );
        cpu.pool.each(parts, scratch, |i, (dx, dout, y, dgain), scratch| {
            let dnorm = &mut scratch.norm[..piece * c];
            let dqkv = dqkv.view(i * piece, piece, 0, qkv);
            matmul(cpu.isa, dqkv, &packed.attn, None, Out::Store(MatMut::new(dnorm, piece, c)));
            let (x, dnorm) = (x.view(i * piece, piece, 0, c), MatRef::new(dnorm, piece, c));
            self.norm_backward(x, &places.ln_1, y, dnorm, dx, dout, dgain, &mut scratch.rstd[..piece]);
        });
        self.gain_gradient(&places.ln_1, g, grads);
        let y = MatRef::new(&g.norm[..n * c], n, c);
        self.weight_gradient(&places.attn, y, &g.dqkv[..n * qkv], &mut g.panels, grads, scratch);
    }

    /// One piece a (sequence, head): from the gradient of attention's output to that of q, k and v.
    fn heads_backward(&self, acts: &LayerActivations<S>, dattn: &[S], dqkv: &mut [S], scratch: &mut [Scratch<S>]) {
        let Pass { cpu, model, shape, .. } = *self;
        let dims = &model.dims;
        let (len, width) = (shape.len, dims.n_head * dims.head);
        let [dq, dk, dv] = MatMut::new(dqkv, shape.rows(), dims.qkv).columns([width, width, width]);
        let parts = (grid(dq, len, dims.head), grid(dk, len, dims.head), grid(dv, len, dims.head));
        cpu.pool.each(parts, scratch, |i, (dq, dk, dv), scratch| {
            let (image, head) = (i / dims.n_head, i % dims.n_head);
            let [q, k, v] = head_views(model, &acts.qkv, shape, image, head);
            let view =
                |all| MatRef::new(all, shape.rows(), dims.heads).view(image * len, len, head * dims.head, dims.head);
            let (out, dout) = (view(&acts.attn[..dattn.len()]), view(dattn));
            let lse = &acts.lse[i * len..][..len];
            let scratch = &mut scratch.attention;
            attention_backward(cpu.isa, dims.scale, q, k, v, out, dout, lse, dq, dk, dv, scratch);
        });
    }

    /// Computes a norm's output again into `y`, adds its input's gradient to `dx`, leaves the rounded sum in
    /// `dx_copy` and the gain's gradient over these rows in `dgain`.
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

    /// Adds the pieces' gain gradients, in order.
    fn gain_gradient(&self, gain: &Range<usize>, g: &Gradients<S>, grads: &mut [f32]) {
        let pieces = self.shape.rows() / self.model.dims.piece();
        for piece in g.dgain.chunks_exact(self.model.dims.channels).take(pieces) {
            reduce::add_assign(self.cpu.isa, &mut grads[gain.clone()], piece);
        }
    }

    /// Adds xᵀ · dy of each image in turn to a product's weight gradient, and dy's column sums to its bias's.
    fn weight_gradient(
        &self,
        product: &Product,
        x: MatRef<'_, S>,
        dy: &[S],
        panels: &mut [u32],
        grads: &mut [f32],
        scratch: &mut [Scratch<S>],
    ) {
        let Pass { cpu, shape: Shape { images, len }, .. } = *self;
        let width = product.cols;
        let dy = MatRef::new(dy, images * len, width);
        let image = |b: usize| dy.view(b * len, len, 0, width);

        let panel_len = len.div_ceil(S::PACK) * LANE_PAD;
        let per_image = width / LANE_PAD;
        let packed = &mut panels[..images * per_image * panel_len];
        cpu.pool.each(chunks(packed, panel_len), scratch, |i, panel, _| {
            pack_token_panel(cpu.isa, i % per_image, image(i / per_image), panel);
        });
        let packed = &*packed;
        let dw = MatMut::new(&mut grads[product.weight.clone()], product.rows, width);
        cpu.pool.each(rows(dw, GRADIENT_ROWS), scratch, |i, mut dw, scratch| {
            for b in 0..images {
                let x = x.view(b * len, len, i * GRADIENT_ROWS, dw.rows());
                let dy = &packed[b * per_image * panel_len..][..per_image * panel_len];
                let dy = PanelsRef::new(dy, len, width);
                matmul_tn_add(cpu.isa, x, dy, dw.reborrow(), &mut scratch.columns);
            }
        });
        if let Some(bias) = &product.bias {
            for b in 0..images {
                reduce::column_sums(cpu.isa, image(b), &mut grads[bias.clone()]);
            }
        }
    }

    /// Adds the gradient of the residual stream's start to the embeddings': by token (sos included) and by position.
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
        cpu.pool.each(rows(dwpe, model.dims.piece()), scratch, |i, mut dwpe, _| {
            let first = i * model.dims.piece();
            let m = dwpe.rows().min(len.saturating_sub(first));
            for b in 0..shape.images {
                let dx = dx.view(b * len + first.min(len), m, 0, c);
                embedding::add_rows(cpu.isa, dx, dwpe.view(0, m, 0, c));
            }
        });
    }
}
