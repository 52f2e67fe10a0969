//! Inference on the CPU, and what training shares with it: a batch is split into runs of images that fit the
//! workspace.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use igpt_kernels::embedding::MASKED;
use igpt_kernels::pool::Pool;
use igpt_kernels::{Isa, Scalar};

use super::classes::{self, ClassGradient, ClassTraining};
use super::context::{Cpu, Shape};
use super::decoder::{CpuDecoder, QuantizedWeights};
use super::forward::forward;
use super::head;
use super::model::{Model, StreamedPanels};
use super::setup::Setup;
use super::workspace::Workspace;
use crate::data::Batch;
use crate::device::{Decoder, Engine, LossSum, Pooling};
use crate::model::{ModelConfig, Objective};
use crate::{Error, Result};

/// Engine for inference on the CPU: a model, its memory and its threads.
#[derive(Debug)]
pub(crate) struct CpuEngine<S: Scalar> {
    pub(super) isa: Isa,
    pub(super) pool: Arc<Pool>,
    /// Whether decoders use 8-bit weights, keys and values.
    int8: bool,
    /// 8-bit weights, made when first needed and dropped when the weights change.
    quantized: OnceLock<Arc<QuantizedWeights>>,
    pub(super) model: Arc<Model<S>>,
    pub(super) work: Workspace<S>,
}

impl<S: Scalar> CpuEngine<S> {
    /// Returns an engine for `weights` in the order of [`crate::model::ParamLayout`].
    pub(super) fn new(config: &ModelConfig, weights: &[f32], setup: &Setup) -> Self {
        let threads = setup.threads();
        let pool = Arc::new(Pool::new(threads));
        let (isa, stream_weights) = (setup.isa, setup.engine.stream_weights);
        let model =
            Model::<S>::new(config, weights, setup.training.is_some(), !stream_weights, Cpu { isa, pool: &pool });
        let mut work = Workspace::new(&model.dims, setup.images(config), config.n_ctx(), threads, setup.passes());
        work.one_block = stream_weights.then(|| StreamedPanels::new(&model));
        let int8 = setup.engine.int8;
        Self { isa, pool, int8, quantized: OnceLock::new(), model: Arc::new(model), work }
    }

    /// Returns the model in order to change its weights. If a decoder still shares them, the model is copied first,
    /// and the decoder keeps the old weights.
    pub(super) fn model_mut(&mut self) -> &mut Model<S> {
        self.quantized = OnceLock::new();
        Arc::make_mut(&mut self.model)
    }

    /// Splits a batch into runs of images that fit the workspace, and calls `each` with each run's shape and range of
    /// images.
    ///
    /// The run's input ids are in the workspace by then: sos and all tokens but the last, or for a masked model all
    /// tokens that are not masked.
    pub(super) fn runs(
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

    /// Runs the forward pass through the blocks below `until`. Returns the index of the residual buffer with the
    /// result. If a classifier reads one of these layers, also returns its features, (images, C).
    pub(super) fn forward(&mut self, shape: Shape, until: usize) -> (usize, Vec<f32>) {
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

    /// Runs the whole forward pass and leaves the losses of all tokens in the workspace; `gradient` as in
    /// [`head::losses`]. Returns the features that the classifier reads, (images, C), if there is one.
    pub(super) fn losses(
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

    /// Returns the masks of a batch; `None` for a model that predicts the next pixel.
    ///
    /// # Errors
    /// When a masked model gets inputs without masks.
    pub(super) fn masks<'a>(&self, batch: &'a Batch) -> Result<Option<&'a [bool]>> {
        match self.model.config.objective {
            Objective::Autoregressive => Ok(None),
            Objective::Masked => batch
                .masked()
                .map(Some)
                .ok_or_else(|| Error::Mismatch("a model of masked pixels has no loss without masked inputs".into())),
        }
    }

    /// Returns the weight of each token in the loss of its image. `None` weighs all alike. For a masked model, the
    /// masked positions share a weight of T, and the others have 0.
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

    /// Adds the losses of the images' classes to `sum`, if the batch has labels and the model a classifier. In
    /// `training`, also returns what the backward pass needs.
    pub(super) fn class_losses(
        &self,
        batch: &Batch,
        images: &Range<usize>,
        pooled: Vec<f32>,
        training: Option<ClassTraining>,
        sum: &mut LossSum,
    ) -> Result<Option<ClassGradient>> {
        let labels = classes::labels(&self.model, batch)?;
        let Some((head, labels)) = self.model.config.class_head.zip(labels) else { return Ok(None) };
        let mut logits = vec![0.0; images.len() * head.num_labels];
        classes::logits(&self.model, &pooled, &mut logits);
        let dlogits = classes::losses(&logits, head.num_labels, &labels[images.clone()], training, sum);
        Ok(Some(ClassGradient { layer: head.layer, pooled, dlogits }))
    }

    /// Returns each image's nats, summed in the order of its tokens.
    pub(super) fn image_nats(&self, shape: Shape) -> impl Iterator<Item = f64> {
        let losses = &self.work.losses[..shape.rows()];
        losses.chunks_exact(shape.len).map(|image| image.iter().map(|&nats| nats as f64).sum())
    }

    /// Refuses to do `what` for a model that does not predict pixels from those before them.
    fn expect_order(&self, what: &str) -> Result<()> {
        match self.model.config.objective {
            Objective::Autoregressive => Ok(()),
            Objective::Masked => Err(Error::Invalid(format!(
                "{what} by a model that predicts the next pixel, but this one was trained on masked pixels: take a model \
                 pretrained with --objective autoregressive"
            ))),
        }
    }
}

/// Returns the tokens of some images of a batch.
fn tokens(batch: &Batch, images: Range<usize>) -> &[u16] {
    &batch.tokens()[images.start * batch.n_ctx()..images.end * batch.n_ctx()]
}

/// Refuses an output buffer of another size than the result.
fn expect_len(what: &str, got: usize, want: usize) -> Result<()> {
    if got == want {
        return Ok(());
    }
    Err(Error::Mismatch(format!("room for {got} {what} was given, but there are {want}")))
}

impl<S: Scalar> Engine for CpuEngine<S> {
    fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    fn copy_weight(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.model.layout.tensor(name);
        let tensor = tensor.ok_or_else(|| Error::Missing(format!("the network has no tensor {name}")))?;
        Ok(tensor.export(&self.model.weights))
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
        expect_len("nats of pixels", out.len(), batch.tokens().len())?;
        self.expect_order("the nats of every pixel are")?;
        self.runs(batch, |engine, shape, images| {
            engine.losses(shape, batch, &images, None)?;
            out[images.start * shape.len..][..shape.rows()].copy_from_slice(&engine.work.losses[..shape.rows()]);
            Ok(())
        })
    }

    fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        let n_vocab = self.model.dims.n_vocab;
        expect_len("logits of pixels", out.len(), batch.tokens().len() * n_vocab)?;
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
        expect_len("logits of classes", out.len(), batch.images() * classes)?;
        self.runs(batch, |engine, shape, images| {
            let (_, pooled) = engine.forward(shape, head.layer);
            classes::logits(&engine.model, &pooled, &mut out[images.start * classes..images.end * classes]);
            Ok(())
        })
    }

    fn features(&mut self, batch: &Batch, layers: &[usize], pooling: Pooling, out: &mut [f32]) -> Result<()> {
        let (n_layer, n_embd) = (self.model.dims.n_layer, self.model.dims.n_embd);
        let values = pooling.rows(batch.n_ctx()) * n_embd;
        expect_len("values of features", out.len(), batch.images() * layers.len() * values)?;
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

    fn has_decoders(&self) -> bool {
        self.work.one_block.is_none()
    }

    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>> {
        self.expect_order("pixels are drawn one after the other")?;
        if !self.has_decoders() {
            return Err(Error::Invalid(
                "an engine that packs one block at a time does not draw: open the saved model for that".into(),
            ));
        }
        let quantize = || Arc::new(QuantizedWeights::new(&self.model, &self.pool));
        let quantized = self.int8.then(|| self.quantized.get_or_init(quantize).clone());
        Ok(Box::new(CpuDecoder::new(self.isa, self.pool.clone(), self.model.clone(), quantized, rows)))
    }
}
