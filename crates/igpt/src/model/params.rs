//! The parameters' names and places in one flat arena.
//!
//! Inside the arena each tensor is a matrix whose sides are padded with zeros (the kernels handle whole lanes
//! only); [`Layout::export`] and [`Layout::import`] translate to and from Hugging Face's compact tensors. The
//! padding stays zero under training: its gradients are zero.

use std::ops::Range;

use crate::model::{ModelConfig, Optimizer, init::Init};
use crate::{Error, Result};

/// How a side of a compact tensor is spread over the padded side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// `len` entries, then zeros.
    Plain(usize),
    /// `groups` runs of `size` entries, each padded to `padded`, then zeros (attention heads).
    Heads { groups: usize, size: usize, padded: usize },
}

impl Side {
    fn len(self) -> usize {
        match self {
            Side::Plain(len) => len,
            Side::Heads { groups, size, .. } => groups * size,
        }
    }

    /// Place of compact entry `i` on the padded side.
    fn place(self, i: usize) -> usize {
        match self {
            Side::Plain(_) => i,
            Side::Heads { size, padded, .. } => i / size * padded + i % size,
        }
    }

    fn padded(self) -> usize {
        let used = match self {
            Side::Plain(len) => len,
            Side::Heads { groups, padded, .. } => groups * padded,
        };
        used.next_multiple_of(igpt_kernels::LANE_PAD)
    }
}

/// One named parameter tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Hugging Face's name, for example `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// Hugging Face's shape: one or two sides.
    pub shape: Vec<usize>,
    /// First element in the arena.
    pub offset: usize,
    /// Rows in the arena (1 for vectors); not padded for embeddings.
    pub rows: usize,
    /// Columns in the arena, padded.
    pub cols: usize,
    /// Its initial values in the official code.
    pub init: Init,
    /// Whether it is the matrix of a product inside a block: what Muon updates.
    pub hidden: bool,
    sides: [Side; 2],
}

impl Tensor {
    /// The tensor's place in the arena, padding included.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.rows * self.cols
    }

    /// Number of entries without padding.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places in the arena of the compact entries, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let [rows, cols] = self.sides;
        let (offset, stride) = (self.offset, self.cols);
        (0..rows.len()).flat_map(move |r| {
            let start = offset + rows.place(r) * stride;
            (0..cols.len()).map(move |c| start + cols.place(c))
        })
    }
}

/// Names, shapes and places of all parameters of a model.
#[derive(Clone, Debug)]
pub struct Layout {
    tensors: Vec<Tensor>,
    len: usize,
}

impl Layout {
    /// The layout of `config`'s network. Order: embeddings, blocks, final norm, output matrix, classifier.
    pub fn new(config: &ModelConfig) -> Self {
        let mut layout = Layout { tensors: Vec::new(), len: 0 };
        let c = config.n_embd;
        let channels = Side::Plain(c);
        let inner = Side::Plain(config.n_inner);
        let head = config.head_size();
        let padded = head.next_multiple_of(16);
        let heads = Side::Heads { groups: config.n_head, size: head, padded };
        let qkv = Side::Heads { groups: 3 * config.n_head, size: head, padded };
        let fan_in = (c as f64).powf(-0.5);
        let residual = ((c * config.n_layer) as f64).powf(-0.5);

        layout.matrix("transformer.wte.weight", Side::Plain(config.n_vocab + 1), channels, Init::Normal(0.02));
        layout.matrix("transformer.wpe.weight", Side::Plain(config.n_ctx()), channels, Init::Normal(0.01));
        for i in 0..config.n_layer {
            let h = format!("transformer.h.{i}");
            let mut product = |name: &str, rows, cols, init| {
                layout.matrix(&format!("{h}.{name}.weight"), rows, cols, init);
                if config.biases {
                    layout.vector(&format!("{h}.{name}.bias"), cols, Init::Zeros);
                }
            };
            product("attn.c_attn", channels, qkv, Init::Normal(fan_in));
            product("attn.c_proj", heads, channels, Init::Normal(residual));
            product("mlp.c_fc", channels, inner, Init::Normal(0.02));
            product("mlp.c_proj", inner, channels, Init::Normal(0.02));
            layout.vector(&format!("{h}.ln_1.weight"), channels, Init::Ones);
            layout.vector(&format!("{h}.ln_2.weight"), channels, Init::Ones);
        }
        layout.vector("transformer.ln_f.weight", channels, Init::Ones);
        layout.matrix("lm_head.weight", Side::Plain(config.n_vocab), channels, Init::Zeros);
        if let Some(head) = config.class_head {
            layout.matrix("score.weight", Side::Plain(head.num_labels), channels, Init::Zeros);
        }
        layout
    }

    fn matrix(&mut self, name: &str, rows: Side, cols: Side, init: Init) {
        let shape = vec![rows.len(), cols.len()];
        self.push(name, shape, rows, cols, rows.padded(), init);
    }

    fn vector(&mut self, name: &str, side: Side, init: Init) {
        self.push(name, vec![side.len()], Side::Plain(1), side, 1, init);
    }

    fn push(&mut self, name: &str, shape: Vec<usize>, rows: Side, cols: Side, padded_rows: usize, init: Init) {
        let (offset, padded) = (self.len, cols.padded());
        self.len += padded_rows * padded;
        self.tensors.push(Tensor {
            name: name.into(),
            shape,
            offset,
            rows: padded_rows,
            cols: padded,
            init,
            hidden: name.starts_with("transformer.h.") && padded_rows > 1,
            sides: [rows, cols],
        });
    }

    /// The layout of `optimizer`'s second moments: Muon has none for hidden matrices, so the others close ranks.
    pub fn second_moments(&self, optimizer: Optimizer) -> Layout {
        let mut layout = Layout { tensors: Vec::new(), len: 0 };
        for tensor in self.tensors.iter().filter(|tensor| optimizer == Optimizer::Adam || !tensor.hidden) {
            layout.tensors.push(Tensor { offset: layout.len, ..tensor.clone() });
            layout.len += tensor.range().len();
        }
        layout
    }

    /// The layout of what lies in `range`, whose ends are ends of tensors.
    pub fn part(&self, range: &Range<usize>) -> Layout {
        let inside = self.tensors.iter().filter(|tensor| range.contains(&tensor.offset));
        let tensors = inside.map(|tensor| Tensor { offset: tensor.offset - range.start, ..tensor.clone() });
        Layout { tensors: tensors.collect(), len: range.len() }
    }

    /// Share `share` of `count` about equal ones of whole tensors, one behind the other.
    pub fn share(&self, (share, count): (usize, usize)) -> Range<usize> {
        let end = |share: usize| {
            let wanted = self.len * share / count;
            let ends = self.tensors.iter().map(|tensor| tensor.range().end);
            std::iter::once(0).chain(ends).min_by_key(|end| end.abs_diff(wanted)).unwrap_or(0)
        };
        end(share)..end(share + 1)
    }

    /// Elements of an arena, padding included.
    pub fn arena_len(&self) -> usize {
        self.len
    }

    /// All tensors in the arena's order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// The compact values of a tensor, in Hugging Face's order.
    pub fn export(&self, tensor: &Tensor, arena: &[f32]) -> Vec<f32> {
        tensor.places().map(|i| arena[i]).collect()
    }

    /// Writes a tensor's compact `values` into the arena. An error names the tensor when the count is wrong.
    pub fn import(&self, tensor: &Tensor, values: &[f32], arena: &mut [f32]) -> Result<()> {
        if values.len() != tensor.len() {
            return Err(Error::Mismatch(format!(
                "{} has {} values, but its shape {:?} needs {}",
                tensor.name,
                values.len(),
                tensor.shape,
                tensor.len()
            )));
        }
        for (i, &value) in tensor.places().zip(values) {
            arena[i] = value;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    #[test]
    fn layout_holds_as_many_values_as_the_config_counts() {
        for biases in [false, true] {
            let mut config = ModelConfig::new(ImageSize { height: 9, width: 17 }, 61, 72, 3, 3);
            config.biases = biases;
            let layout = Layout::new(&config);
            let total: usize = layout.tensors().iter().map(Tensor::len).sum();
            assert_eq!(total, config.parameters());
        }
    }

    #[test]
    fn muon_holds_second_moments_of_all_but_the_hidden_matrices() {
        let mut config = ModelConfig::new(ImageSize { height: 9, width: 17 }, 61, 72, 3, 3);
        config.biases = true;
        let layout = Layout::new(&config);
        assert_eq!(layout.second_moments(Optimizer::Adam).arena_len(), layout.arena_len());
        let rest = layout.second_moments(Optimizer::Muon);
        let hidden: usize = layout.tensors().iter().filter(|t| t.hidden).map(|t| t.range().len()).sum();
        assert_eq!(rest.arena_len() + hidden, layout.arena_len());
        assert_eq!(layout.tensors().len() - rest.tensors().len(), 4 * 3);
        let (mut end, kept) = (0, ["wte", "wpe", "bias", "ln_", "lm_head"]);
        for tensor in rest.tensors() {
            assert!(kept.iter().any(|part| tensor.name.contains(part)), "{}", tensor.name);
            assert_eq!(std::mem::replace(&mut end, tensor.range().end), tensor.offset);
        }
    }

    #[test]
    fn import_then_export_gives_the_same_values_and_zero_padding() {
        let config = ModelConfig::new(ImageSize::square(8), 61, 72, 1, 3);
        let layout = Layout::new(&config);
        let mut arena = vec![0.0; layout.arena_len()];
        for tensor in layout.tensors() {
            let values: Vec<f32> = (0..tensor.len()).map(|i| i as f32 + 1.0).collect();
            layout.import(tensor, &values, &mut arena).unwrap();
            assert_eq!(layout.export(tensor, &arena), values, "{}", tensor.name);
            let filled = arena[tensor.range()].iter().filter(|v| **v != 0.0).count();
            assert_eq!(filled, tensor.len(), "{}", tensor.name);
        }
    }

    #[test]
    fn shares_are_whole_tensors_that_make_the_arena_and_their_layouts_lie_in_it() {
        let layout = Layout::new(&ModelConfig::new(ImageSize::square(8), 61, 72, 4, 3));
        for count in [1, 2, 4, 64] {
            let shares: Vec<_> = (0..count).map(|share| layout.share((share, count))).collect();
            assert_eq!((shares[0].start, shares[count - 1].end), (0, layout.arena_len()));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            let names = |layout: &Layout| layout.tensors().iter().map(|t| t.name.clone()).collect::<Vec<_>>();
            let parts: Vec<_> = shares.iter().map(|share| layout.part(share)).collect();
            assert_eq!(parts.iter().flat_map(names).collect::<Vec<_>>(), names(&layout));
            for (part, share) in parts.iter().zip(&shares) {
                assert_eq!(part.arena_len(), part.tensors().iter().map(|t| t.range().len()).sum::<usize>());
                for tensor in part.tensors() {
                    assert_eq!(share.start + tensor.offset, layout.tensor(&tensor.name).unwrap().offset);
                }
            }
            let largest = layout.tensors().iter().map(|t| t.range().len()).max().unwrap();
            assert!(shares.iter().all(|share| share.len() <= layout.arena_len() / count + largest));
        }
    }
}
