//! Layout of the parameters in the engine's flat arenas.
//!
//! Inside an arena each tensor is a matrix whose sides are padded with zeros, because the kernels handle whole lanes
//! only. Odd sizes are thus correct without any edge code above the kernels. The padding stays zero in training,
//! because its gradients are zero. [`PaddedLayout::export`] and [`PaddedLayout::import`] convert to and from compact
//! tensors.

use std::ops::Range;

use crate::model::{self, ModelConfig};
use crate::{Error, Result};

/// Mapping of a side of a compact tensor to the padded side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
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

    /// Returns the index on the padded side of compact entry `i`.
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

/// One parameter tensor in an arena.
#[derive(Clone, Debug)]
pub(crate) struct PaddedTensor {
    /// Name and compact shape of the tensor.
    pub(crate) of: model::ParamTensor,
    /// Index of the first element in the arena.
    pub(crate) offset: usize,
    /// Rows in the arena, padded; 1 for vectors.
    pub(crate) rows: usize,
    /// Columns in the arena, padded.
    pub(crate) cols: usize,
    sides: [Side; 2],
}

impl PaddedTensor {
    /// Range of the tensor in the arena, padding included.
    pub(crate) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.rows * self.cols
    }

    /// Indices in the arena of the compact entries, in order.
    fn places(&self) -> impl Iterator<Item = usize> {
        let [rows, cols] = self.sides;
        let (offset, stride) = (self.offset, self.cols);
        (0..rows.len()).flat_map(move |r| {
            let start = offset + rows.place(r) * stride;
            (0..cols.len()).map(move |c| start + cols.place(c))
        })
    }

    /// Returns the compact values of the tensor in `arena`.
    pub(crate) fn export(&self, arena: &[f32]) -> Vec<f32> {
        self.places().map(|place| arena[place]).collect()
    }

    /// Writes compact `values` to the tensor's place in `arena`. An error names the tensor when the count is wrong.
    pub(crate) fn import(&self, values: &[f32], arena: &mut [f32]) -> Result<()> {
        if values.len() != self.of.len() {
            return Err(Error::Mismatch(format!(
                "{} has {} values, but its shape {:?} needs {}",
                self.of.name,
                values.len(),
                self.of.shape,
                self.of.len()
            )));
        }
        self.places().zip(values).for_each(|(place, &value)| arena[place] = value);
        Ok(())
    }
}

/// Layout of all parameters of a model in an arena.
#[derive(Clone, Debug)]
pub(crate) struct PaddedLayout {
    tensors: Vec<PaddedTensor>,
    len: usize,
}

impl PaddedLayout {
    /// Returns the layout of `config`'s network, with tensors in the order of [`model::ParamLayout`].
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let mut layout = PaddedLayout { tensors: Vec::new(), len: 0 };
        let size = config.head_size();
        let padded = size.next_multiple_of(16);
        let heads = |groups| Side::Heads { groups, size, padded };
        for tensor in model::ParamLayout::new(config).tensors() {
            let sides = match *tensor.shape {
                [rows, cols] => [Side::Plain(rows), Side::Plain(cols)],
                _ => [Side::Plain(1), Side::Plain(tensor.len())],
            };
            let sides = match tensor.name.as_str() {
                name if name.contains(".attn.c_attn.") => [sides[0], heads(3 * config.n_head)],
                name if name.ends_with(".attn.c_proj.weight") => [heads(config.n_head), sides[1]],
                _ => sides,
            };
            let rows = if tensor.shape.len() > 1 { sides[0].padded() } else { 1 };
            let tensor = PaddedTensor { of: tensor.clone(), offset: layout.len, rows, cols: sides[1].padded(), sides };
            layout.len = tensor.range().end;
            layout.tensors.push(tensor);
        }
        layout
    }

    /// Returns the layout of second moments. If hidden matrices have none, the other tensors move up.
    pub(crate) fn second_moments(&self, of_hidden: bool) -> PaddedLayout {
        let mut layout = PaddedLayout { tensors: Vec::new(), len: 0 };
        for tensor in self.tensors.iter().filter(|tensor| of_hidden || !tensor.of.hidden) {
            layout.tensors.push(PaddedTensor { offset: layout.len, ..tensor.clone() });
            layout.len += tensor.range().len();
        }
        layout
    }

    /// Returns the layout of the tensors in `range`, which starts and ends at tensor borders.
    pub(crate) fn part(&self, range: &Range<usize>) -> PaddedLayout {
        let inside = self.tensors.iter().filter(|tensor| range.contains(&tensor.offset));
        let tensors = inside.map(|tensor| PaddedTensor { offset: tensor.offset - range.start, ..tensor.clone() });
        PaddedLayout { tensors: tensors.collect(), len: range.len() }
    }

    /// Returns the range of shard `share` of `count`: about equal parts of whole tensors, one after the other.
    pub(crate) fn share(&self, (share, count): (usize, usize)) -> Range<usize> {
        let end = |share: usize| {
            let wanted = self.len * share / count;
            let ends = self.tensors.iter().map(|tensor| tensor.range().end);
            std::iter::once(0).chain(ends).min_by_key(|end| end.abs_diff(wanted)).unwrap_or(0)
        };
        end(share)..end(share + 1)
    }

    /// Number of elements of an arena, padding included.
    pub(crate) fn arena_len(&self) -> usize {
        self.len
    }

    /// All tensors in the arena's order.
    pub(crate) fn tensors(&self) -> &[PaddedTensor] {
        &self.tensors
    }

    /// Returns the tensor called `name`.
    pub(crate) fn tensor(&self, name: &str) -> Option<&PaddedTensor> {
        self.tensors.iter().find(|tensor| tensor.of.name == name)
    }

    /// Writes compact `weights`, in the order of [`model::ParamLayout`], to an arena of zeros.
    pub(crate) fn spread(&self, weights: &[f32], arena: &mut [f32]) {
        for tensor in &self.tensors {
            let values = &weights[tensor.of.range()];
            tensor.places().zip(values).for_each(|(place, &value)| arena[place] = value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    #[test]
    fn second_moments_are_of_all_but_the_hidden_matrices_where_these_have_none() {
        let mut config = ModelConfig::new(ImageSize { height: 9, width: 17 }, 61, 72, 3, 3);
        config.biases = true;
        let layout = PaddedLayout::new(&config);
        assert_eq!(layout.second_moments(true).arena_len(), layout.arena_len());
        let rest = layout.second_moments(false);
        let hidden: usize = layout.tensors().iter().filter(|t| t.of.hidden).map(|t| t.range().len()).sum();
        assert_eq!(rest.arena_len() + hidden, layout.arena_len());
        assert_eq!(layout.tensors().len() - rest.tensors().len(), 4 * 3);
        let (mut end, kept) = (0, ["wte", "wpe", "bias", "ln_", "lm_head"]);
        for tensor in rest.tensors() {
            assert!(kept.iter().any(|part| tensor.of.name.contains(part)), "{}", tensor.of.name);
            assert_eq!(std::mem::replace(&mut end, tensor.range().end), tensor.offset);
        }
    }

    #[test]
    fn import_then_export_gives_the_same_values_and_zero_padding() {
        let config = ModelConfig::new(ImageSize::square(8), 61, 72, 1, 3);
        let layout = PaddedLayout::new(&config);
        let mut arena = vec![0.0; layout.arena_len()];
        for tensor in layout.tensors() {
            let values: Vec<f32> = (0..tensor.of.len()).map(|i| i as f32 + 1.0).collect();
            tensor.import(&values, &mut arena).unwrap();
            assert_eq!(tensor.export(&arena), values, "{}", tensor.of.name);
            let filled = arena[tensor.range()].iter().filter(|v| **v != 0.0).count();
            assert_eq!(filled, tensor.of.len(), "{}", tensor.of.name);
        }
        let error = layout.tensors()[0].import(&[1.0], &mut arena).unwrap_err().to_string();
        assert!(error.contains("transformer.wte.weight has 1 values"), "{error}");
    }

    #[test]
    fn shares_are_whole_tensors_that_make_the_arena_and_their_layouts_lie_in_it() {
        let layout = PaddedLayout::new(&ModelConfig::new(ImageSize::square(8), 61, 72, 4, 3));
        for count in [1, 2, 4, 64] {
            let shares: Vec<_> = (0..count).map(|share| layout.share((share, count))).collect();
            assert_eq!((shares[0].start, shares[count - 1].end), (0, layout.arena_len()));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            let names = |layout: &PaddedLayout| layout.tensors().iter().map(|t| t.of.name.clone()).collect::<Vec<_>>();
            let parts: Vec<_> = shares.iter().map(|share| layout.part(share)).collect();
            assert_eq!(parts.iter().flat_map(names).collect::<Vec<_>>(), names(&layout));
            for (part, share) in parts.iter().zip(&shares) {
                assert_eq!(part.arena_len(), part.tensors().iter().map(|t| t.range().len()).sum::<usize>());
                for tensor in part.tensors() {
                    assert_eq!(share.start + tensor.offset, layout.tensor(&tensor.of.name).unwrap().offset);
                }
            }
            let largest = layout.tensors().iter().map(|t| t.range().len()).max().unwrap();
            assert!(shares.iter().all(|share| share.len() <= layout.arena_len() / count + largest));
        }
    }
}
