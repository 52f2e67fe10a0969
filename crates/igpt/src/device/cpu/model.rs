//! Weights as the engine holds them: f32 master weights in one arena, and copies packed for the matrix products.

use std::ops::Range;
use std::sync::Arc;

use igpt_kernels::matmul::{Panels, pack_panel};
use igpt_kernels::pool::chunks;
use igpt_kernels::{Buffer, MatMut, MatRef, Scalar};

use super::context::Cpu;
use super::dims::Dims;
use super::layout::{PaddedLayout, PaddedTensor};
use super::packing::WeightsMut;
use crate::model::{LrGroup, ModelConfig};

/// Places of one block's tensors in the arena.
#[derive(Clone, Debug)]
pub(crate) struct BlockOffsets {
    pub(crate) attn: LinearParams,
    pub(crate) proj: LinearParams,
    pub(crate) fc: LinearParams,
    pub(crate) out: LinearParams,
    pub(crate) ln_1: Range<usize>,
    pub(crate) ln_2: Range<usize>,
}

impl BlockOffsets {
    /// All products of the block, in the order of [`BlockPanels::products_mut`].
    pub(crate) fn products(&self) -> [&LinearParams; 4] {
        [&self.attn, &self.proj, &self.fc, &self.out]
    }
}

/// Places of a product's matrix and bias in the arena.
#[derive(Clone, Debug)]
pub(crate) struct LinearParams {
    pub(crate) weight: Range<usize>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) bias: Option<Range<usize>>,
    /// Whether the matrix is inside a block, so that the optimizer's own [rule](super::rule) updates it.
    pub(crate) hidden: bool,
    /// Properties that decide the matrix's learning rate.
    pub(crate) rate: LrGroup,
}

/// Places of all tensors in the arena.
#[derive(Clone, Debug)]
pub(crate) struct ParamOffsets {
    pub(crate) wte: Range<usize>,
    pub(crate) wpe: Range<usize>,
    pub(crate) blocks: Vec<BlockOffsets>,
    pub(crate) ln_f: Range<usize>,
    pub(crate) head: LinearParams,
    /// Place of the classifier's matrix, if there is one.
    pub(crate) score: Option<Range<usize>>,
    /// Places of all tensors that are not a product's matrix, in order, with the properties that decide their
    /// learning rates.
    pub(crate) others: Vec<(Range<usize>, LrGroup)>,
}

impl ParamOffsets {
    fn new(layout: &PaddedLayout, n_layer: usize) -> Self {
        let tensor = |name: &str| layout.tensor(name).expect("the layout names every tensor of its config");
        let product = |name: &str| {
            let weight = tensor(&format!("{name}.weight"));
            let bias = layout.tensor(&format!("{name}.bias")).map(|t| t.range());
            let PaddedTensor { rows, cols, ref of, .. } = *weight;
            LinearParams { weight: weight.range(), rows, cols, bias, hidden: of.hidden, rate: LrGroup::of(of, n_layer) }
        };
        let block = |i: usize| {
            let h = format!("transformer.h.{i}");
            BlockOffsets {
                attn: product(&format!("{h}.attn.c_attn")),
                proj: product(&format!("{h}.attn.c_proj")),
                fc: product(&format!("{h}.mlp.c_fc")),
                out: product(&format!("{h}.mlp.c_proj")),
                ln_1: tensor(&format!("{h}.ln_1.weight")).range(),
                ln_2: tensor(&format!("{h}.ln_2.weight")).range(),
            }
        };
        let mut places = Self {
            wte: tensor("transformer.wte.weight").range(),
            wpe: tensor("transformer.wpe.weight").range(),
            blocks: (0..n_layer).map(block).collect(),
            ln_f: tensor("transformer.ln_f.weight").range(),
            head: product("lm_head"),
            score: layout.tensor("score.weight").map(|t| t.range()),
            others: Vec::new(),
        };
        let is_product = |tensor: &&PaddedTensor| tensor.of.hidden || tensor.range() == places.head.weight;
        let others = layout.tensors().iter().filter(|tensor| !is_product(tensor));
        places.others = others.map(|tensor| (tensor.range(), LrGroup::of(&tensor.of, n_layer))).collect();
        places
    }

    /// Place of the gain of the norm at the start of a layer: a block's first norm, or `ln_f` after the last block.
    pub(crate) fn norm(&self, layer: usize) -> &Range<usize> {
        self.blocks.get(layer).map_or(&self.ln_f, |block| &block.ln_1)
    }

    /// End of the embeddings and the first `blocks` blocks in the arena; 0 for no blocks.
    pub(crate) fn frozen(&self, blocks: usize) -> usize {
        match blocks {
            0 => 0,
            _ => self.blocks.get(blocks).map_or(self.ln_f.start, |block| block.attn.weight.start),
        }
    }

    /// Place of the second moments of a range of the arena; those of hidden matrices may be omitted.
    pub(crate) fn second_moments(&self, place: &Range<usize>, of_hidden: bool) -> Range<usize> {
        let hidden = self.blocks.iter().flat_map(BlockOffsets::products).map(|product| &product.weight);
        let left_out: usize = match of_hidden {
            true => 0,
            false => hidden.filter(|weight| weight.start < place.start).map(Range::len).sum(),
        };
        place.start - left_out..place.end - left_out
    }
}

/// Packed weights of a block's four products, in one orientation.
#[derive(Clone, Debug)]
pub(crate) struct BlockPanels<S: Scalar> {
    pub(crate) attn: Panels<S>,
    pub(crate) proj: Panels<S>,
    pub(crate) fc: Panels<S>,
    pub(crate) out: Panels<S>,
}

impl<S: Scalar> BlockPanels<S> {
    /// Allocates the packed weights of a block.
    fn new(block: &BlockOffsets, transposed: bool) -> Self {
        let [attn, proj, fc, out] = block.products().map(|product| room(product, transposed));
        Self { attn, proj, fc, out }
    }

    /// Borrows all products of a block, in the order of [`BlockOffsets::products`], if the block is kept packed.
    fn copies(block: Option<&mut Self>) -> [Option<&mut Panels<S>>; 4] {
        block.map_or([const { None }; 4], |block| block.products_mut().map(Some))
    }

    /// Packs block `l` of `model`.
    fn pack(&mut self, cpu: Cpu<'_>, model: &Model<S>, l: usize, transposed: bool) {
        for (product, panels) in model.places.blocks[l].products().into_iter().zip(self.products_mut()) {
            let weights = MatRef::new(&model.weights[product.weight.clone()], product.rows, product.cols);
            let len = panels.panel_len();
            cpu.pool.for_each(chunks(panels.units_mut(), len), |panel, units| {
                pack_panel::<S>(cpu.isa, panel, weights, transposed, units);
            });
        }
    }

    /// All products, in the order of [`BlockOffsets::products`].
    pub(crate) fn products(&self) -> [&Panels<S>; 4] {
        [&self.attn, &self.proj, &self.fc, &self.out]
    }

    /// All products, in the order of [`BlockOffsets::products`].
    fn products_mut(&mut self) -> [&mut Panels<S>; 4] {
        [&mut self.attn, &mut self.proj, &mut self.fc, &mut self.out]
    }
}

/// Allocates a packed product: for multiplying activations (`transposed` false) or gradients (true).
fn room<S: Scalar>(product: &LinearParams, transposed: bool) -> Panels<S> {
    let LinearParams { rows, cols, .. } = *product;
    if transposed { Panels::new(cols, rows) } else { Panels::new(rows, cols) }
}

/// Packed weights of all products, in one orientation.
#[derive(Clone, Debug)]
pub(crate) struct Packed<S: Scalar> {
    /// Blocks; empty if they are packed when they are needed, see [`StreamedPanels`].
    pub(crate) blocks: Vec<BlockPanels<S>>,
    pub(crate) head: Panels<S>,
}

impl<S: Scalar> Packed<S> {
    fn new(places: &ParamOffsets, transposed: bool, keeps_blocks: bool) -> Self {
        let blocks = places.blocks.iter().filter(|_| keeps_blocks).map(|block| BlockPanels::new(block, transposed));
        // The output matrix is stored (V, C), so multiplying activations takes its transpose.
        Self { blocks: blocks.collect(), head: room(&places.head, !transposed) }
    }
}

/// Packed weights of the blocks that a pass is at, for networks whose packed copies don't all fit into memory.
#[derive(Debug)]
pub(crate) struct StreamedPanels<S: Scalar> {
    /// The present block and the next one, alternating, for multiplying activations.
    forward: [BlockPanels<S>; 2],
    /// The present block, for multiplying gradients.
    backward: BlockPanels<S>,
}

impl<S: Scalar> StreamedPanels<S> {
    pub(crate) fn new(model: &Model<S>) -> Self {
        let block = &model.places.blocks[0];
        let forward = || BlockPanels::new(block, false);
        Self { forward: [forward(), forward()], backward: BlockPanels::new(block, true) }
    }
}

/// Packs block `l` for multiplying activations, if blocks are packed when they are needed.
pub(crate) fn pack_forward<S: Scalar>(cpu: Cpu<'_>, model: &Model<S>, one: &mut Option<StreamedPanels<S>>, l: usize) {
    if let Some(one) = one {
        one.forward[l % 2].pack(cpu, model, l, false);
    }
}

/// Returns block `l` for multiplying activations, once it is [packed](pack_forward).
pub(crate) fn forward_panels<'a, S: Scalar>(
    model: &'a Model<S>,
    one: &'a Option<StreamedPanels<S>>,
    l: usize,
) -> &'a BlockPanels<S> {
    one.as_ref().map_or_else(|| &model.forward.blocks[l], |one| &one.forward[l % 2])
}

/// Returns block `l` for multiplying gradients, in a model that trains.
pub(crate) fn backward_panels<'a, S: Scalar>(
    cpu: Cpu<'_>,
    model: &Model<S>,
    packed: &'a Packed<S>,
    one: &'a mut Option<StreamedPanels<S>>,
    l: usize,
) -> &'a BlockPanels<S> {
    match one {
        None => &packed.blocks[l],
        Some(one) => {
            one.backward.pack(cpu, model, l, true);
            &one.backward
        }
    }
}

/// One copy of the model's weights, shared by an engine and its decoders.
#[derive(Clone, Debug)]
pub(crate) struct Model<S: Scalar> {
    pub(crate) config: ModelConfig,
    pub(crate) dims: Dims,
    pub(crate) layout: PaddedLayout,
    pub(crate) places: Arc<ParamOffsets>,
    pub(crate) weights: Buffer<f32>,
    pub(crate) forward: Packed<S>,
    /// Transposed packed weights; only for training.
    pub(crate) backward: Option<Packed<S>>,
}

impl<S: Scalar> Model<S> {
    /// Returns the model for compact `weights`. With `keeps_blocks`, all blocks stay packed.
    pub(crate) fn new(config: &ModelConfig, weights: &[f32], training: bool, keeps_blocks: bool, cpu: Cpu<'_>) -> Self {
        let layout = PaddedLayout::new(config);
        let places = Arc::new(ParamOffsets::new(&layout, config.n_layer));
        let forward = Packed::new(&places, false, keeps_blocks);
        let backward = training.then(|| Packed::new(&places, true, keeps_blocks));
        let mut arena = Buffer::zeroed(layout.arena_len());
        layout.spread(weights, &mut arena);
        let config = config.clone();
        let mut model =
            Self { dims: Dims::new::<S>(&config, cpu.isa), config, layout, places, weights: arena, forward, backward };
        model.pack(cpu);
        model
    }

    /// Packs the weights again after a change.
    pub(crate) fn pack(&mut self, cpu: Cpu<'_>) {
        self.each_product(|_, weights| weights.pack(cpu));
    }

    /// Calls `f` with every product's weights and their packed copies.
    pub(crate) fn each_product(&mut self, mut f: impl FnMut(&LinearParams, WeightsMut<'_, S>)) {
        let Self { places, weights, forward, backward, .. } = self;
        let mut backward = backward.as_mut();
        type Copy<'a, S> = Option<&'a mut Panels<S>>;
        let mut hand_over = |product: &LinearParams, straight: Copy<'_, S>, transposed: Copy<'_, S>| {
            let LinearParams { rows, cols, .. } = *product;
            let weights = MatMut::new(&mut weights[product.weight.clone()], rows, cols);
            f(product, WeightsMut { weights, straight, transposed });
        };
        for (l, places) in places.blocks.iter().enumerate() {
            let straight = BlockPanels::copies(forward.blocks.get_mut(l));
            let transposed = BlockPanels::copies(backward.as_mut().and_then(|backward| backward.blocks.get_mut(l)));
            for ((product, straight), transposed) in places.products().into_iter().zip(straight).zip(transposed) {
                hand_over(product, straight, transposed);
            }
        }
        hand_over(&places.head, backward.map(|backward| &mut backward.head), Some(&mut forward.head));
    }

    /// Returns a vector (gain or bias) of the arena.
    pub(crate) fn vector(&self, place: &Range<usize>) -> &[f32] {
        &self.weights[place.clone()]
    }

    /// Returns a product's bias, if the model has any.
    pub(crate) fn bias(&self, product: &LinearParams) -> Option<&[f32]> {
        product.bias.as_ref().map(|place| &self.weights[place.clone()])
    }

    /// Token embeddings, (V + 1 padded, C); row V is sos.
    pub(crate) fn wte(&self) -> MatRef<'_, f32> {
        self.embedding(&self.places.wte)
    }

    /// Position embeddings, (T padded, C).
    pub(crate) fn wpe(&self) -> MatRef<'_, f32> {
        self.embedding(&self.places.wpe)
    }

    fn embedding(&self, place: &Range<usize>) -> MatRef<'_, f32> {
        let channels = self.dims.channels;
        MatRef::new(&self.weights[place.clone()], place.len() / channels, channels)
    }
}
