//! Warm start: the weights of another model as the initial weights of a run.

use crate::Result;
use crate::model::{ModelConfig, ModelDir, ParamLayout};
use crate::palette::Palette;

/// Tensors whose rows are colours: the token embeddings, where sos follows the colours, and the output matrix.
const OF_COLORS: [&str; 2] = ["transformer.wte.weight", "lm_head.weight"];
/// Weights of the classifier, which always start anew.
const CLASSIFIER: &str = "score.weight";

/// Initial weights of `network`: those of `source`, and `fresh` ones for tensors that `source` lacks.
///
/// Each colour of another palette starts with the row of the nearest colour in the source's palette.
///
/// # Errors
/// When a tensor of the source has another shape.
pub(super) fn carried(
    network: &ModelConfig,
    palette: &Palette,
    source: &ModelDir,
    mut fresh: Vec<f32>,
) -> Result<Vec<f32>> {
    let (layout, theirs) = (ParamLayout::new(network), ParamLayout::new(&source.config));
    for tensor in layout.tensors().iter().filter(|tensor| tensor.name != CLASSIFIER) {
        let Some(from) = theirs.tensor(&tensor.name) else { continue };
        let values = &source.weights[from.range()];
        if *palette == source.palette || !OF_COLORS.contains(&tensor.name.as_str()) {
            layout.import(tensor, values, &mut fresh)?;
            continue;
        }
        let width = network.n_embd;
        let row = |color: usize| &values[color * width..][..width];
        let nearest = (0..palette.n_vocab()).map(|color| source.palette.nearest(palette.bytes(color as u16)) as usize);
        // The row after the colours is sos.
        let colors = nearest.chain(source.palette.n_vocab()..from.shape[0]);
        layout.import(tensor, &colors.flat_map(row).copied().collect::<Vec<_>>(), &mut fresh)?;
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_palette_starts_with_the_rows_of_the_nearest_colours_and_sos_stays_sos() {
        let source = ModelDir::bundled().unwrap();
        let (n, width) = (source.palette.n_vocab(), source.config.n_embd);
        // The palette in reverse order, with one more colour.
        let mut colors: Vec<[f32; 3]> = source.palette.colors().iter().rev().copied().collect();
        colors.push(colors[3].map(|value| value + 1e-4));
        let palette = Palette::new(colors, 3).unwrap();
        let network = ModelConfig { n_vocab: n + 1, ..source.config.clone() };
        let layout = ParamLayout::new(&network);
        let weights = carried(&network, &palette, &source, vec![f32::NAN; layout.parameters()]).unwrap();
        assert!(weights.iter().all(|weight| weight.is_finite()));
        let theirs = ParamLayout::new(&source.config);
        for name in OF_COLORS {
            let (own, from) = (layout.tensor(name).unwrap(), theirs.tensor(name).unwrap());
            let row = |values: &[f32], i: usize| values[i * width..][..width].to_vec();
            let (own, from) = (&weights[own.range()], &source.weights[from.range()]);
            for color in 0..n {
                assert_eq!(row(own, color), row(from, n - 1 - color), "{name} {color}");
            }
            assert_eq!(row(own, n), row(from, n - 4), "{name}");
        }
        let wte =
            |layout: &ParamLayout, weights: &[f32]| weights[layout.tensor(OF_COLORS[0]).unwrap().range()].to_vec();
        assert_eq!(wte(&layout, &weights)[(n + 1) * width..], wte(&theirs, &source.weights)[n * width..]);
        let same = carried(&source.config, &source.palette, &source, vec![0.0; source.weights.len()]).unwrap();
        assert!(same == source.weights);
    }
}
