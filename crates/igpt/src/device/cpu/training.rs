//! Training on the CPU: gradients, their groups, moments and the EMA, around the engine for inference.

use std::ops::Range;

use igpt_kernels::adam::AdamStep;
use igpt_kernels::pool::chunks;
use igpt_kernels::{Buffer, Scalar, reduce};

use super::backward::{self, BucketReport, Losses, backward};
use super::classes::ClassTraining;
use super::context::Cpu;
use super::engine::CpuEngine;
use super::layout::{self, PaddedLayout};
use super::model::Model;
use super::rule::{MatrixRule, Share, Step};
use super::rules::rule;
use super::setup::Setup;
use super::tree::GradientTree;
use super::update;
use crate::data::Batch;
use crate::device::{
    Decoder, Engine, EngineState, FinetuneObjective, GradientBucket, GradientReadyHook, LossSum, Optimizer, Pooling,
    TrainEngine, TrainOptions, Update,
};
use crate::model::{ModelConfig, ParamTensor};
use crate::{Error, Result};

/// Number of values in one piece of work on an arena.
const PIECE: usize = 1 << 15;

/// Engine for training: an engine for inference with gradients and the optimizer's state.
#[derive(Debug)]
pub(crate) struct TrainingEngine<S: Scalar> {
    engine: CpuEngine<S>,
    options: TrainOptions,
    gradients: Buffer<f32>,
    /// Whether the gradients count as zero, whatever their values.
    fresh: bool,
    tree: GradientTree,
    /// Optimizer shard: the part of the parameters that a step updates. Only its moments are held.
    owned: Range<usize>,
    moment1: Buffer<f32>,
    /// Second moments, without those of hidden matrices if their rule has none.
    moment2: Buffer<f32>,
    /// EMA of the weights, or the weights if the two are swapped.
    ema: Option<Buffer<f32>>,
    steps: u64,
    /// Update rule of the hidden matrices.
    rule: Box<dyn MatrixRule<S>>,
}

impl<S: Scalar> TrainingEngine<S> {
    pub(super) fn new(config: &ModelConfig, weights: &[f32], setup: &Setup, options: &TrainOptions) -> Self {
        let engine = CpuEngine::<S>::new(config, weights, setup);
        let layout = &engine.model.layout;
        let len = layout.arena_len();
        let owned = layout.share(options.share);
        let mut rule = rule(options.optimizer, &engine.model.dims, config);
        rule.reserve(setup.threads());
        let second = layout.part(&owned).second_moments(rule.has_second_moment()).arena_len();
        let ema = options.ema.then(|| {
            let mut ema = Buffer::zeroed(len);
            ema.copy_from_slice(&engine.model.weights);
            ema
        });
        Self {
            options: *options,
            gradients: Buffer::zeroed(len),
            fresh: true,
            tree: GradientTree::new(options.gradient_groups, len),
            moment1: Buffer::zeroed(owned.len()),
            moment2: Buffer::zeroed(second),
            owned,
            ema,
            steps: 0,
            rule,
            engine,
        }
    }

    /// Returns the gradient, with zeros filled in if it counts as zero.
    fn gradients(&mut self) -> &mut [f32] {
        if std::mem::take(&mut self.fresh) {
            self.gradients.fill(0.0);
        }
        &mut self.gradients
    }

    /// Runs a forward and a backward pass, as [`TrainEngine::accumulate`]. What is final of the gradient goes to
    /// `ready`.
    fn pass(&mut self, batch: &Batch, scale: f32, mut ready: Option<backward::ReadyHook<'_>>) -> Result<LossSum> {
        let FinetuneObjective { generative_weight, frozen_blocks, label_smoothing } = self.options.fine_tuning;
        // The weight is relative to a loss of classes. Without one, there is nothing to weigh.
        let head = self.engine.model.config.class_head.filter(|_| batch.labels().is_some());
        let generative = if head.is_some() { generative_weight } else { 1.0 };
        // Without a generative loss, nothing above the classifier's layer matters.
        let only = head.filter(|_| generative == 0.0).map(|head| head.layer);
        let mut sum = LossSum::default();
        let Self { engine, gradients, fresh, .. } = self;
        engine.runs(batch, |engine, shape, images| {
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
            let training = ClassTraining { scale: scale * shape.len as f32, smoothing: label_smoothing };
            let classes = engine.class_losses(batch, &images, pooled, Some(training), &mut sum)?;
            let cpu = Cpu { isa: engine.isa, pool: &engine.pool };
            let fresh = std::mem::take(fresh);
            let losses = Losses { pixels: only.is_none(), classes: classes.as_ref() };
            let last = images.end == batch.images();
            let mut told =
                BucketReport::new(gradients.len(), ready.as_mut().filter(|_| last).map(|ready| &mut **ready as _));
            let (model, work) = (&engine.model, &mut engine.work);
            backward(cpu, model, work, shape, gradients, fresh, frozen_blocks, losses, &mut told);
            told.from(0, gradients);
            Ok(())
        })?;
        Ok(sum)
    }

    /// Returns the layout and the arena of a state.
    pub(super) fn held(&self, state: EngineState) -> (PaddedLayout, &[f32]) {
        let model = &self.engine.model;
        match state {
            EngineState::Weights => (model.layout.clone(), &model.weights),
            EngineState::Ema => match &self.ema {
                Some(ema) => (model.layout.clone(), ema),
                None => (model.layout.part(&(0..0)), &[]),
            },
            EngineState::Moment1 => (model.layout.part(&self.owned), &self.moment1),
            EngineState::Moment2 => {
                (model.layout.part(&self.owned).second_moments(self.rule.has_second_moment()), &self.moment2)
            }
        }
    }
}

/// Gradient bucket in the host's memory.
struct HostBucket<'a> {
    range: Range<usize>,
    values: &'a [f32],
}

impl GradientBucket for HostBucket<'_> {
    fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    fn copy_to_host(&self, out: &mut Vec<f32>) -> Result<()> {
        out.extend_from_slice(self.values);
        Ok(())
    }
}

fn find<'a>(layout: &'a PaddedLayout, name: &str) -> Result<&'a layout::PaddedTensor> {
    layout.tensor(name).ok_or_else(|| Error::Missing(format!("the engine holds no tensor {name}")))
}

fn expect_values(what: &str, given: usize, wanted: usize) -> Result<()> {
    if given == wanted {
        return Ok(());
    }
    Err(Error::Mismatch(format!("{given} values were given for {what}, which has {wanted}")))
}

impl<S: Scalar> TrainEngine for TrainingEngine<S> {
    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum> {
        self.pass(batch, scale, None)
    }

    fn end_group(&mut self) -> Result<()> {
        if self.options.gradient_groups > 1 {
            self.gradients();
            self.fresh = self.tree.join(&mut self.gradients);
        }
        Ok(())
    }

    fn squared_norm(&mut self) -> Result<f64> {
        let isa = self.engine.isa;
        Ok(reduce::sum_squares(isa, self.gradients()))
    }

    fn accumulate_last(&mut self, batch: &Batch, scale: f32, ready: GradientReadyHook<'_>) -> Result<LossSum> {
        let mut told = Ok(());
        let tree = std::mem::take(&mut self.tree);
        let found = self.pass(
            batch,
            scale,
            Some(&mut |range, values| {
                tree.add_waiting(&range, values);
                if told.is_ok() {
                    told = ready(&HostBucket { range, values });
                }
            }),
        );
        self.tree = tree;
        self.tree.clear();
        let found = found?;
        told?;
        Ok(found)
    }

    fn copy_gradient_in(&mut self, range: Range<usize>, values: &[f32]) -> Result<()> {
        expect_values("a part of the gradient", values.len(), range.len())?;
        let len = self.gradients.len();
        let part = self.gradients().get_mut(range.clone());
        let part = part.ok_or_else(|| Error::Mismatch(format!("{range:?} is no part of a gradient of {len}")))?;
        part.copy_from_slice(values);
        Ok(())
    }

    fn copy_gradient(&mut self, name: &str) -> Result<Vec<f32>> {
        self.gradients();
        Ok(find(&self.engine.model.layout, name)?.export(&self.gradients))
    }

    fn step(&mut self, update: &Update) -> Result<f32> {
        update.expect_of(self.options.optimizer)?;
        let (isa, pool) = (self.engine.isa, self.engine.pool.clone());
        let gradients = &*self.gradients();
        let mut squares = vec![0.0f64; gradients.len().div_ceil(PIECE)];
        pool.for_each(chunks(&mut squares, 1), |i, sum| {
            let end = gradients.len().min((i + 1) * PIECE);
            sum[0] = reduce::sum_squares(isa, &gradients[i * PIECE..end]);
        });
        let norm = squares.iter().sum::<f64>().sqrt() as f32;
        let grad_scale = if update.clip > 0.0 { (update.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };

        self.steps += 1;
        let steps = self.steps as f64;
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
        let Self { engine, gradients, owned, moment1, moment2, rule, .. } = self;
        let model = engine.model_mut();
        let cpu = Cpu { isa, pool: &pool };
        let frozen = model.places.frozen(self.options.fine_tuning.frozen_blocks);
        let share = Share { owned: owned.clone(), frozen };
        update::step(&Step { cpu, update, adam, share }, rule.as_mut(), model, moment1, moment2, gradients);
        self.fresh = true;
        Ok(norm)
    }

    fn optimizer(&self) -> Optimizer {
        self.options.optimizer
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn update_ema(&mut self, share: f32) -> Result<()> {
        if let Some(ema) = &mut self.ema {
            let weights = &self.engine.model.weights;
            self.engine.pool.for_each(chunks(ema, PIECE), |i, ema| {
                let weights = &weights[i * PIECE..][..ema.len()];
                ema.iter_mut().zip(weights).for_each(|(ema, weight)| *ema += share * (weight - *ema));
            });
        }
        Ok(())
    }

    fn swap_ema(&mut self) -> Result<()> {
        let Self { engine, ema: Some(ema), .. } = self else { return Ok(()) };
        let (isa, pool) = (engine.isa, engine.pool.clone());
        let model = engine.model_mut();
        model.weights.swap_with_slice(ema);
        model.pack(Cpu { isa, pool: &pool });
        Ok(())
    }

    fn optimizer_shard(&self) -> Vec<Range<usize>> {
        let count = self.options.share.1;
        (0..count).map(|share| self.engine.model.layout.share((share, count))).collect()
    }

    fn copy_owned_weights(&self, out: &mut Vec<f32>) -> Result<()> {
        out.extend_from_slice(&self.engine.model.weights[self.owned.clone()]);
        Ok(())
    }

    fn set_unowned_weights(&mut self, weights: &[f32]) -> Result<()> {
        expect_values("all shares of the weights", weights.len(), self.engine.model.weights.len())?;
        let Self { engine, owned, .. } = self;
        let (isa, pool) = (engine.isa, engine.pool.clone());
        let model = engine.model_mut();
        for others in [0..owned.start, owned.end..weights.len()] {
            model.weights[others.clone()].copy_from_slice(&weights[others]);
        }
        model.each_product(|product, weights| {
            if !owned.contains(&product.weight.start) {
                weights.pack(Cpu { isa, pool: &pool });
            }
        });
        Ok(())
    }

    fn tensors(&self, state: EngineState) -> Vec<ParamTensor> {
        self.held(state).0.tensors().iter().map(|tensor| tensor.of.clone()).collect()
    }

    fn export(&self, state: EngineState, tensor: &ParamTensor) -> Result<Vec<f32>> {
        let (layout, arena) = self.held(state);
        Ok(find(&layout, &tensor.name)?.export(arena))
    }

    fn import(
        &mut self,
        steps: u64,
        read: &mut dyn FnMut(EngineState, &ParamTensor) -> Result<Vec<f32>>,
    ) -> Result<()> {
        for state in EngineState::ALL {
            let layout = self.held(state).0;
            for tensor in layout.tensors() {
                let values = read(state, &tensor.of)?;
                let arena = match state {
                    EngineState::Weights => &mut self.engine.model_mut().weights,
                    EngineState::Ema => self.ema.as_mut().expect("its layout has tensors"),
                    EngineState::Moment1 => &mut self.moment1,
                    EngineState::Moment2 => &mut self.moment2,
                };
                tensor.import(&values, arena)?;
            }
        }
        (self.fresh, self.steps) = (true, steps);
        self.tree.clear();
        let (isa, pool) = (self.engine.isa, self.engine.pool.clone());
        self.engine.model_mut().pack(Cpu { isa, pool: &pool });
        Ok(())
    }

    fn into_weights(self: Box<Self>) -> Result<Vec<f32>> {
        let Self { engine, .. } = *self;
        let CpuEngine { model, work, .. } = engine;
        drop(work);
        let Model { weights, layout, forward, backward, .. } = std::sync::Arc::unwrap_or_clone(model);
        drop((forward, backward));
        Ok(layout.tensors().iter().flat_map(|tensor| tensor.export(&weights)).collect())
    }
}

impl<S: Scalar> Engine for TrainingEngine<S> {
    fn config(&self) -> &ModelConfig {
        self.engine.config()
    }

    fn copy_weight(&self, name: &str) -> Result<Vec<f32>> {
        self.engine.copy_weight(name)
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<LossSum> {
        self.engine.evaluate(batch)
    }

    fn pixel_nats(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        self.engine.pixel_nats(batch, out)
    }

    fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        self.engine.logits(batch, out)
    }

    fn class_logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()> {
        self.engine.class_logits(batch, out)
    }

    fn features(&mut self, batch: &Batch, layers: &[usize], pooling: Pooling, out: &mut [f32]) -> Result<()> {
        self.engine.features(batch, layers, pooling, out)
    }

    fn has_decoders(&self) -> bool {
        self.engine.has_decoders()
    }

    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>> {
        self.engine.decoder(rows)
    }
}
