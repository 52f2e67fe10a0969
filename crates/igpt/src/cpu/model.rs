//! The weights as the engine holds them: f32 masters in one arena, and copies packed for the matrix products.

use std::ops::Range;

use igpt_kernels::matmul::{Panels, pack_panel};
use igpt_kernels::pool::{Pool, chunks};
use igpt_kernels::{Buffer, Isa, MatRef, Scalar};

use super::dims::Dims;
use crate::model::{Layout, ModelConfig};

/// Where one block's tensors lie in the arena.
#[derive(Clone, Debug)]
pub(crate) struct BlockPlaces {
    pub(crate) attn: Product,
    pub(crate) proj: Product,
    pub(crate) fc: Product,
    pub(crate) out: Product,
    pub(crate) ln_1: Range<usize>,
    pub(crate) ln_2: Range<usize>,
}

/// Where a product's matrix and bias lie.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) weight: Range<usize>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) bias: Option<Range<usize>>,
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) wte: Range<usize>,
    pub(crate) wpe: Range<usize>,
    pub(crate) blocks: Vec<BlockPlaces>,
    pub(crate) ln_f: Range<usize>,
    pub(crate) head: Product,
}

impl Places {
    fn new(layout: &Layout, n_layer: usize) -> Self {
        let tensor = |name: &str| layout.tensor(name).expect("the layout names every tensor of its config");
        let product = |name: &str| {
            let weight = tensor(&format!("{name}.weight"));
            let bias = layout.tensor(&format!("{name}.bias")).map(|t| t.range());
            Product { weight: weight.range(), rows: weight.rows, cols: weight.cols, bias }
        };
        let block = |i: usize| {
            let h = format!("transformer.h.{i}");
            BlockPlaces {
                attn: product(&format!("{h}.attn.c_attn")),
                proj: product(&format!("{h}.attn.c_proj")),
                fc: product(&format!("{h}.mlp.c_fc")),
                out: product(&format!("{h}.mlp.c_proj")),
                ln_1: tensor(&format!("{h}.ln_1.weight")).range(),
                ln_2: tensor(&format!("{h}.ln_2.weight")).range(),
            }
        };
        Self {
            wte: tensor("transformer.wte.weight").range(),
            wpe: tensor("transformer.wpe.weight").range(),
            blocks: (0..n_layer).map(block).collect(),
            ln_f: tensor("transformer.ln_f.weight").range(),
            head: product("lm_head"),
        }
    }
}

/// The four products of a block, packed one way.
#[derive(Clone, Debug)]
pub(crate) struct BlockPanels<S: Scalar> {
    pub(crate) attn: Panels<S>,
    pub(crate) proj: Panels<S>,
    pub(crate) fc: Panels<S>,
    pub(crate) out: Panels<S>,
}

/// All products, packed one way.
#[derive(Clone, Debug)]
pub(crate) struct Packed<S: Scalar> {
    pub(crate) blocks: Vec<BlockPanels<S>>,
    pub(crate) head: Panels<S>,
    transposed: bool,
}

impl<S: Scalar> Packed<S> {
    /// Room for every product: as it multiplies activations (`transposed` false) or gradients (true).
    fn new(places: &Places, transposed: bool) -> Self {
        let room = |p: &Product, transposed: bool| {
            if transposed { Panels::new(p.cols, p.rows) } else { Panels::new(p.rows, p.cols) }
        };
        let blocks = places.blocks.iter().map(|b| BlockPanels {
            attn: room(&b.attn, transposed),
            proj: room(&b.proj, transposed),
            fc: room(&b.fc, transposed),
            out: room(&b.out, transposed),
        });
        // The output matrix is stored (V, C): multiplying activations takes its transpose.
        Self { blocks: blocks.collect(), head: room(&places.head, !transposed), transposed }
    }

    fn pack(&mut self, isa: Isa, pool: &Pool, places: &Places, weights: &[f32]) {
        let fill = |panels: &mut Panels<S>, product: &Product, transposed: bool| {
            let source = MatRef::new(&weights[product.weight.clone()], product.rows, product.cols);
            let len = panels.panel_len();
            pool.for_each(chunks(panels.units_mut(), len), |i, panel| {
                pack_panel::<S>(isa, i, source, transposed, panel)
            });
        };
        for (panels, places) in self.blocks.iter_mut().zip(&places.blocks) {
            fill(&mut panels.attn, &places.attn, self.transposed);
            fill(&mut panels.proj, &places.proj, self.transposed);
            fill(&mut panels.fc, &places.fc, self.transposed);
            fill(&mut panels.out, &places.out, self.transposed);
        }
        fill(&mut self.head, &places.head, !self.transposed);
    }
}

/// One copy of the model, shared by an engine and its decoders.
#[derive(Clone, Debug)]
pub(crate) struct Model<S: Scalar> {
    pub(crate) config: ModelConfig,
    pub(crate) dims: Dims,
    pub(crate) layout: Layout,
    pub(crate) places: Places,
    pub(crate) weights: Buffer<f32>,
    pub(crate) forward: Packed<S>,
    /// Present when training.
    pub(crate) backward: Option<Packed<S>>,
}

impl<S: Scalar> Model<S> {
    pub(crate) fn new(config: &ModelConfig, weights: &[f32], training: bool, isa: Isa, pool: &Pool) -> Self {
        let layout = Layout::new(config);
        let places = Places::new(&layout, config.n_layer);
        let forward = Packed::new(&places, false);
        let backward = training.then(|| Packed::new(&places, true));
        let mut arena = Buffer::zeroed(layout.arena_len());
        arena.copy_from_slice(weights);
        let config = config.clone();
        let mut model = Self { dims: Dims::new(&config), config, layout, places, weights: arena, forward, backward };
        model.pack(isa, pool);
        model
    }

    /// Packs the weights again after they changed.
    pub(crate) fn pack(&mut self, isa: Isa, pool: &Pool) {
        self.forward.pack(isa, pool, &self.places, &self.weights);
        if let Some(backward) = &mut self.backward {
            backward.pack(isa, pool, &self.places, &self.weights);
        }
    }

    /// A vector (gain or bias) of the arena.
    pub(crate) fn vector(&self, place: &Range<usize>) -> &[f32] {
        &self.weights[place.clone()]
    }

    /// A product's bias, if the model has any.
    pub(crate) fn bias(&self, product: &Product) -> Option<&[f32]> {
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
