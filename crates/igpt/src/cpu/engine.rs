//! [`Engine`] on the CPU.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use igpt_kernels::embedding::MASKED;
use igpt_kernels::newton_schulz;
use igpt_kernels::optimizer::AdamStep;
use igpt_kernels::pool::{Pool, chunks};
use igpt_kernels::{Buffer, Isa, Scalar, reduce};

use super::backward::{Losses, Ready, Told, backward};
use super::classes::{self, ClassGradient};
use super::decoder::{CpuDecoder, QuantizedWeights};
use super::forward::{Cpu, Shape, forward};
use super::model::{Model, OneBlock};
use super::update::{self, Share};
use super::workspace::Workspace;
use super::{Options, head, muon};
use crate::data::Batch;
use crate::model::{
    Arena, Decoder, Engine, FineTuning, Layout, LossSum, ModelConfig, Objective, Optimizer, Pooling, State, Update,
};
use crate::{Error, Result};

/// Values whose squares one piece of work sums.
const NORM_PIECE: usize = 1 << 15;

/// A model, its memory and its threads.
#[derive(Debug)]
pub(crate) struct CpuEngine<S: Scalar> {
    isa: Isa,
    pool: Arc<Pool>,
    /// Whether decoders use 8 bits.
    int8: bool,
    /// The weights with 8 bits, made when first needed; dropped when the weights change.
    quantized: OnceLock<Arc<QuantizedWeights>>,
    model: Arc<Model<S>>,
    work: Workspace<S>,
    training: Option<Training<S>>,
    fine_tuning: FineTuning,
}

/// What training adds to a model.
#[derive(Debug)]
struct Training<S: Scalar> {
    optimizer: Optimizer,
    gradients: Buffer<f32>,
    /// Whether the gradients count as zero, whatever they are.
    fresh: bool,
    /// The part of the parameters that a step updates. Only its moments are held.
    owned: Range<usize>,
    moment1: Buffer<f32>,
    /// Without those of hidden matrices under Muon.
    moment2: Buffer<f32>,
    step: u64,
    /// Muon's memory, one for each thread.
    scratch: Vec<newton_schulz::Scratch<S>>,
}

impl<S: Scalar> Training<S> {
    fn gradients(&mut self) -> &mut [f32] {
        if std::mem::take(&mut self.fresh) {
            self.gradients.fill(0.0);
        }
        &mut self.gradients
    }
}

impl<S: Scalar> CpuEngine<S> {
    pub(crate) fn new(config: &ModelConfig, weights: &[f32], options: Options) -> Self {
        let threads = options.threads();
        let pool = Arc::new(Pool::new(threads));
        let isa = options.isa;
        let trains = options.training.is_some();
        let model = Model::<S>::new(config, weights, trains, !options.repack, Cpu { isa, pool: &pool });
        let mut work = Workspace::new(&model.dims, options.images(config), config.n_ctx(), threads, options.passes());
        work.one_block = options.repack.then(|| OneBlock::new(&model));
        let owned = model.layout.share(options.share);
        let second = |optimizer| model.layout.part(&owned).second_moments(optimizer).arena_len();
        let training = options.training.map(|optimizer| Training {
            optimizer,
            gradients: Buffer::zeroed(weights.len()),
            fresh: true,
            owned: owned.clone(),
            moment1: Buffer::zeroed(owned.len()),
            moment2: Buffer::zeroed(second(optimizer)),
            step: 0,
            scratch: match optimizer {
                Optimizer::Adam => Vec::new(),
                Optimizer::Muon => (0..threads).map(|_| muon::scratch(&model.dims, config)).collect(),
            },
        });
        Self {
            isa,
            pool,
            int8: options.int8,
            quantized: OnceLock::new(),
            model: Arc::new(model),
            work,
            training,
            fine_tuning: options.fine_tuning,
        }
    }

    /// Cuts a batch into runs of images that fit the workspace, writes each run's input ids (sos, then the tokens
    /// but the last; of a model of masked pixels all tokens that are not masked) and hands it over with the images'
    /// range.
    fn runs(
        &mut self,
        batch: &Batch,
        mut each: impl FnMut(&mut Self, Shape, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let (len, sos) = (batch.n_ctx(), self.model.dims.n_vocab);
        if len != self.model.dims.n_ctx {
            return Err(Error::Mismatch(format!(
                "images of {len} tokens were given to a model of {}",
                self.model.config.n_px
            )));
        }
        if let Some(token) = batch.tokens().iter().find(|t| **t as usize >= sos) {
            return Err(Error::Mismatch(format!("token {token} is not in the model's palette of {sos} colours")));
        }
        let objective = self.model.config.objective;
        if batch.masked().is_some() && objective != Objective::Masked {
            return Err(Error::Mismatch("masked inputs were given to a model that predicts the next pixel".into()));
        }
        let mut first = 0;
        while first < batch.images() {
            let images = self.work.images.min(batch.images() - first);
            for b in 0..images {
                let ids = &mut self.work.ids[b * len..][..len];
                let tokens = batch.image(first + b);
                match objective {
                    Objective::Autoregressive => {
                        ids[0] = sos as u32;
                        ids[1..].iter_mut().zip(tokens).for_each(|(id, &token)| *id = token as u32);
                    }
                    Objective::Masked => {
                        ids.iter_mut().zip(tokens).for_each(|(id, &token)| *id = token as u32);
                        let masked = batch.masked().map(|masked| &masked[(first + b) * len..]);
                        let masked = ids.iter_mut().zip(masked.unwrap_or_default());
                        masked.filter(|(_, masked)| **masked).for_each(|(id, _)| *id = MASKED);
                    }
                }
            }
            each(self, Shape { images, len }, first..first + images)?;
            first += images;
        }
        Ok(())
    }

    /// Forward through the blocks below `until`. Gives the index of the residual buffer that holds the result and, if
    /// there is a classifier on one of these layers, the features that it reads, (images, C).
    fn forward(&mut self, shape: Shape, until: usize) -> (usize, Vec<f32>) {
        let cpu = Cpu { isa: self.isa, pool: &self.pool };
        let model = &self.model;
        let read = model.config.class_head.map(|head| head.layer);
        let mut pooled = Vec::new();
        let last = forward(cpu, model, &mut self.work, shape, until, |l, x, _, scratch| {
            if read == Some(l) {
                let mut store = |_, mean: &[f32]| pooled.extend_from_slice(mean);
                head::pooled(cpu, model, x, model.places.norm(l), shape, Pooling::Mean, scratch, &mut store);
            }
        });
        (last, pooled)
    }

    /// Forward through everything, losses of all tokens left in the workspace; `gradient` as in [`head::losses`]. Gives
    /// the features that are classified, (images, C), if there is a classifier.
    fn losses(
        &mut self,
        shape: Shape,
        batch: &Batch,
        images: &Range<usize>,
        gradient: Option<f32>,
    ) -> Result<Vec<f32>> {
        let weights = self.token_weights(batch, images)?;
        let (last, pooled) = self.forward(shape, self.model.dims.n_layer);
        let cpu = Cpu { isa: self.isa, pool: &self.pool };
        let targets = tokens(batch, images.clone());
        head::losses(cpu, &self.model, &mut self.work, shape, targets, weights.as_deref(), last, gradient);
        Ok(pooled)
    }

    /// The masks of a batch, none where the next pixel is predicted.
    ///
    /// # Errors
    /// When a model of masked pixels gets inputs without masks.
    fn masks<'a>(&self, batch: &'a Batch) -> Result<Option<&'a [bool]>> {
        match self.model.config.objective {
            Objective::Autoregressive => Ok(None),
            Objective::Masked => batch
                .masked()
                .map(Some)
                .ok_or_else(|| Error::Mismatch("a model of masked pixels has no loss without masked inputs".into())),
        }
    }

    /// How often each token counts in the loss of its image: all alike, or of T the share of a masked position.
    fn token_weights(&self, batch: &Batch, images: &Range<usize>) -> Result<Option<Vec<f32>>> {
        let Some(masked) = self.masks(batch)? else { return Ok(None) };
        let len = batch.n_ctx();
        let mut weights = Vec::with_capacity(images.len() * len);
        for masked in masked[images.start * len..images.end * len].chunks_exact(len) {
            let count = masked.iter().filter(|masked| **masked).count();
            weights.extend(masked.iter().map(|masked| if *masked { len as f32 / count as f32 } else { 0.0 }));
        }
        Ok(Some(weights))
    }

    /// Adds the losses of the images' classes to `sum`, if the batch has labels and the model a classifier. With
    /// `gradient` (a scale) also gives what the backward pass needs.
    fn class_losses(
        &self,
        batch: &Batch,
        images: &Range<usize>,
        pooled: Vec<f32>,
        gradient: Option<f32>,
        sum: &mut LossSum,
    ) -> Result<Option<ClassGradient>> {
        let labels = classes::labels(&self.model, batch)?;
        let Some((head, labels)) = self.model.config.class_head.zip(labels) else { return Ok(None) };
        let mut logits = vec![0.0; images.len() * head.num_labels];
        classes::logits(&self.model, &pooled, &mut logits);
        let dlogits = classes::losses(&logits, head.num_labels, &labels[images.clone()], gradient, sum);
        Ok(Some(ClassGradient { layer: head.layer, pooled, dlogits }))
    }

    /// Each image's nats, summed in the order of its tokens.
    fn image_nats(&self, shape: Shape) -> impl Iterator<Item = f64> {
        let losses = &self.work.losses[..shape.rows()];
        losses.chunks_exact(shape.len).map(|image| image.iter().map(|&nats| nats as f64).sum())
    }

    /// Refuses `what` of a model that predicts no pixel from those before it.
    fn expect_order(&self, what: &str) -> Result<()> {
        match self.model.config.objective {
            Objective::Autoregressive => Ok(()),
            Objective::Masked => Err(Error::Invalid(format!(
                "{what} by a model that predicts the next pixel, but this one was trained on masked pixels: take a model \
                 pretrained with --objective autoregressive"
            ))),
        }
    }

    /// A pass forward and backward, as [`Engine::accumulate`]; what is final of the gradient goes to `ready`.
    fn pass(&mut self, batch: &Batch, scale: f32, mut ready: Option<Ready<'_>>) -> Result<LossSum> {
        self.training()?;
        let FineTuning { generative_weight, frozen_blocks } = self.fine_tuning;
        // The weight is that beside a loss of classes; without one there is nothing to weigh.
        let head = self.model.config.class_head.filter(|_| batch.labels().is_some());
        let generative = if head.is_some() { generative_weight } else { 1.0 };
        // Without a generative loss nothing behind the classified layer matters.
        let only = head.filter(|_| generative == 0.0).map(|head| head.layer);
        let mut sum = LossSum::default();
        self.runs(batch, |engine, shape, images| {
            let pooled = match only {
                Some(layer) => {
                    engine.masks(batch)?;
                    engine.forward(shape, layer).1
                }
                None => {
                    let pooled = engine.losses(shape, batch, &images, Some(scale * generative))?;
                    sum.nats.extend(engine.image_nats(shape));
                    sum.tokens += shape.rows();
                    pooled
                }
            };
            let classes = engine.class_losses(batch, &images, pooled, Some(scale * shape.len as f32), &mut sum)?;
            let cpu = Cpu { isa: engine.isa, pool: &engine.pool };
            if let Some(training) = &mut engine.training {
                let fresh = std::mem::take(&mut training.fresh);
                let (model, work, gradients) = (&engine.model, &mut engine.work, &mut training.gradients);
                let losses = Losses { pixels: only.is_none(), classes: classes.as_ref() };
                let last = images.end == batch.images();
                let mut told =
                    Told::new(gradients.len(), ready.as_mut().filter(|_| last).map(|ready| &mut **ready as _));
                backward(cpu, model, work, shape, gradients, fresh, frozen_blocks, losses, &mut told);
                told.from(0, gradients);
            }
            Ok(())
        })?;
        Ok(sum)
    }

    fn training(&mut self) -> Result<&mut Training<S>> {
        self.training.as_mut().ok_or_else(|| Error::Invalid("this engine was opened without training".into()))
    }
}

/// The tokens of some images of a batch.
fn tokens(batch: &Batch, images: Range<usize>) -> &[u16] {
    &batch.tokens()[images.start * batch.n_ctx()..images.end * batch.n_ctx()]
}

/// Refuses `what` belongs to another optimiser than the engine's.
fn expect_optimizer(what: &str, given: Optimizer, own: Optimizer) -> Result<()> {
    if given == own {
        return Ok(());
    }
    let (given, own) = (given.name(), own.name());
    Err(Error::Mismatch(format!("{what} {given} was given to an engine opened for {own}: open it for {given}")))
}

fn expect_len(what: &str, got: usize, want: usize) {
    assert_eq!(got, want, "room for {what}");
}

impl<S: Scalar> Engine for CpuEngine<S> {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    fn layout(&self) -> &Layout {
        &self.model.layout
    }

    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum> {
        self.pass(batch, scale, None)
    }

    fn accumulate_ready(
        &mut self,
        batch: &Batch,
        scale: f32,
        ready: &mut dyn FnMut(Range<usize>, &mut [f32]),
    ) -> Result<LossSum> {
        self.pass(batch, scale, Some(ready))
    }

    fn gradients(&mut self) -> &mut [f32] {
        match &mut self.training {
            Some(training) => training.gradients(),
            None => &mut [],
        }
    }

    fn step(&mut self, update: &Update) -> Result<f32> {
        let (isa, pool) = (self.isa, self.pool.clone());
        let training = self.training()?;
        expect_optimizer("a step of", update.optimizer(), training.optimizer)?;
        let gradients = &*training.gradients();
        let mut squares = vec![0.0f64; gradients.len().div_ceil(NORM_PIECE)];
        pool.for_each(chunks(&mut squares, 1), |i, sum| {
            let end = gradients.len().min((i + 1) * NORM_PIECE);
            sum[0] = reduce::sum_squares(isa, &gradients[i * NORM_PIECE..end]);
        });
        let norm = squares.iter().sum::<f64>().sqrt() as f32;
        let grad_scale = if update.clip > 0.0 { (update.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };

        training.step += 1;
        let steps = training.step as f64;
        let correction = |beta: f32| (1.0 - (beta as f64).powf(steps)) as f32;
        let adam = AdamStep {
            lr: update.adam.lr,
            beta1: update.adam.beta1,
            beta2: update.adam.beta2,
            eps: update.adam.eps,
            bias_correction1: correction(update.adam.beta1),
            bias_correction2: correction(update.adam.beta2),
            weight_decay: update.adam.weight_decay,
            grad_scale,
        };
        let Some(Training { gradients, fresh, owned, moment1, moment2, scratch, .. }) = &mut self.training else {
            unreachable!()
        };
        // A decoder that still shares the old weights keeps them: the model is copied then.
        self.quantized = OnceLock::new();
        let model = Arc::make_mut(&mut self.model);
        let cpu = Cpu { isa, pool: &pool };
        let frozen = model.places.frozen(self.fine_tuning.frozen_blocks);
        let share = Share { owned: owned.clone(), frozen };
        let muon = update.muon.as_ref();
        if let Some(muon) = muon {
            muon::directions(cpu, model, muon, grad_scale, &share, moment1, gradients, scratch);
        }
        update::step(cpu, &adam, muon, &update.rates, &share, model, moment1, moment2, gradients);
        *fresh = true;
        Ok(norm)
    }

    fn state(&self) -> State<'_> {
        let weights = &self.model.weights[..];
        match &self.training {
            Some(t) => {
                let (moment1, moment2) = (&t.moment1[..], &t.moment2[..]);
                State { weights, optimizer: t.optimizer, moment1, moment2, step: t.step }
            }
            None => State { weights, optimizer: Optimizer::Adam, moment1: &[], moment2: &[], step: 0 },
        }
    }

    fn load(
        &mut self,
        optimizer: Optimizer,
        step: u64,
        fill: &mut dyn FnMut(Arena, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let training = self.training()?;
        expect_optimizer("a state of", optimizer, training.optimizer)?;
        fill(Arena::Moment1, &mut training.moment1)?;
        fill(Arena::Moment2, &mut training.moment2)?;
        training.fresh = true;
        training.step = step;
        self.quantized = OnceLock::new();
        let model = Arc::make_mut(&mut self.model);
        fill(Arena::Weights, &mut model.weights)?;
        model.pack(Cpu { isa: self.isa, pool: &self.pool });
        Ok(())
    }

    fn into_weights(self: Box<Self>) -> Vec<f32> {
        let Self { model, work, training, .. } = *self;
        drop((work, training));
        let Model { weights, forward, backward, .. } = Arc::unwrap_or_clone(model);
        drop((forward, backward));
        weights.to_vec()
    }

    fn owned(&self) -> Range<usize> {
        self.training.as_ref().map_or(0..self.model.weights.len(), |training| training.owned.clone())
    }

    fn renew(&mut self, weights: &[f32]) -> Result<()> {
        expect_len("weights to renew", weights.len(), self.model.weights.len());
        let owned = self.owned();
        self.quantized = OnceLock::new();
        let cpu = Cpu { isa: self.isa, pool: &self.pool };
        let model = Arc::make_mut(&mut self.model);
        for others in [0..owned.start, owned.end..weights.len()] {
            model.weights[others.clone()].copy_from_slice(&weights[others]);
        }
        model.each_product(|product, weights| {
            if !owned.contains(&product.weight.start) {
                weights.pack(cpu);
            }
        });
        Ok(())
    }

    fn exchange(&mut self, weights: &mut [f32]) -> Result<()> {
        expect_len("weights to exchange", weights.len(), self.model.weights.len());
        self.quantized = OnceLock::new();
        let model = Arc::make_mut(&mut self.model);
        model.weights.swap_with_slice(weights);
        model.pack(Cpu { isa: self.isa, pool: &self.pool });
        Ok(())
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<LossSum> {
        let mut sum = LossSum { tokens: batch.tokens().len(), ..LossSum::default() };
        self.runs(batch, |engine, shape, images| {
            let pooled = engine.losses(shape, batch, &images, None)?;
            sum.nats.extend(engine.image_nats(shape));
            engine.class_losses(batch, &images, pooled, None, &mut sum)?;
            Ok(())
        })?;
        Ok(sum)
    }

    fn pixel_nats(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        expect_len("nats of every pixel", out.len(), batch.tokens().len());
        self.expect_order("the nats of every pixel are")?;
        self.runs(batch, |engine, shape, images| {
            engine.losses(shape, batch, &images, None)?;
            out[images.start * shape.len..][..shape.rows()].copy_from_slice(&engine.work.losses[..shape.rows()]);
            Ok(())
        })
    }

    fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        let n_vocab = self.model.dims.n_vocab;
        expect_len("logits of every pixel", out.len(), batch.tokens().len() * n_vocab);
        self.runs(batch, |engine, shape, images| {
            let cpu = Cpu { isa: engine.isa, pool: &engine.pool };
            let (model, work) = (&engine.model, &mut engine.work);
            let last = forward(cpu, model, work, shape, model.dims.n_layer, |_, _, _, _| {});
            let out = &mut out[images.start * shape.len * n_vocab..][..shape.rows() * n_vocab];
            head::logits(cpu, model, work, shape, last, out);
            Ok(())
        })
    }

    fn class_logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        let Some(head) = self.model.config.class_head else {
            return Err(Error::Missing("the model has no classifier: train one with igpt finetune".into()));
        };
        let classes = head.num_labels;
        expect_len("logits of every class", out.len(), batch.images() * classes);
        self.runs(batch, |engine, shape, images| {
            let (_, pooled) = engine.forward(shape, head.layer);
            classes::logits(&engine.model, &pooled, &mut out[images.start * classes..images.end * classes]);
            Ok(())
        })
    }

    fn features(&mut self, batch: &Batch, layers: &[usize], pooling: Pooling, out: &mut [f32]) -> Result<()> {
        let (n_layer, n_embd) = (self.model.dims.n_layer, self.model.dims.n_embd);
        let values = pooling.rows(batch.n_ctx()) * n_embd;
        expect_len("features", out.len(), batch.images() * layers.len() * values);
        let Some(&deepest) = layers.iter().max() else { return Ok(()) };
        if deepest > n_layer {
            return Err(Error::Invalid(format!("layer {deepest} was asked for, but the model has 0 to {n_layer}")));
        }
        self.runs(batch, |engine, shape, images| {
            let cpu = Cpu { isa: engine.isa, pool: &engine.pool };
            let (model, work) = (&engine.model, &mut engine.work);
            forward(cpu, model, work, shape, deepest, |l, x, _, scratch| {
                for (slot, _) in layers.iter().enumerate().filter(|(_, layer)| **layer == l) {
                    let gain = model.places.norm(l);
                    head::pooled(cpu, model, x, gain, shape, pooling, scratch, |image, features| {
                        let place = (images.start + image) * layers.len() + slot;
                        out[place * values..][..values].copy_from_slice(features);
                    });
                }
            });
            Ok(())
        })
    }

    fn draws(&self) -> bool {
        self.work.one_block.is_none()
    }

    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>> {
        self.expect_order("pixels are drawn one after the other")?;
        if !self.draws() {
            return Err(Error::Invalid(
                "an engine that packs one block at a time does not draw: open the saved model for that".into(),
            ));
        }
        let quantize = || Arc::new(QuantizedWeights::new(&self.model, &self.pool));
        let quantized = self.int8.then(|| self.quantized.get_or_init(quantize).clone());
        Ok(Box::new(CpuDecoder::new(self.isa, self.pool.clone(), self.model.clone(), quantized, rows)))
    }
}
