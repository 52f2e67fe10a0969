//! Initial weights of a new network: the official code's, or the same with position embeddings that encode row and
//! column.

use crate::image::ImageSize;
use crate::model::init::{Initialization, TensorInit};
use crate::model::{ModelConfig, ParamLayout};
use crate::rng::{Purpose, Rng};

/// Returns the weights of a new network, tensor after tensor in the order of [`ParamLayout`].
pub fn initial_weights(config: &ModelConfig, how: Initialization, seed: u64) -> Vec<f32> {
    let layout = ParamLayout::new(config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(seed, &mut weights);
    if how == Initialization::Grid {
        layout.init_grid(config.n_px, &mut weights);
    }
    weights
}

/// Amplitude of the sinusoids in the position embeddings.
const AMPLITUDE: f64 = 0.1;

impl ParamLayout {
    /// Fills `weights` with the official code's initial values.
    ///
    /// Each value is drawn by (seed, tensor, element).
    pub fn init(&self, seed: u64, weights: &mut [f32]) {
        for (index, tensor) in self.tensors().iter().enumerate() {
            for (element, value) in weights[tensor.range()].iter_mut().enumerate() {
                *value = match tensor.init {
                    TensorInit::Ones => 1.0,
                    TensorInit::Zeros => 0.0,
                    TensorInit::Normal(std) => {
                        let mut rng = Rng::new(seed, Purpose::Init, index as u64, element as u64);
                        (std * rng.normal()) as f32
                    }
                };
            }
        }
    }

    /// Fills the position embeddings (T, n_embd) in `weights` with sines and cosines of row and column.
    ///
    /// Half of the channels vary with the row and half with the column. Wavelengths go from 4 pixels to four times
    /// the image's side. A step in the image is then the same rotation everywhere: a head that has learned to look
    /// one row up at one place can do it at every place. Channels beyond a multiple of four keep their values.
    pub fn init_grid(&self, n_px: ImageSize, weights: &mut [f32]) {
        let wpe = self.tensor("transformer.wpe.weight").expect("every network has positions");
        let waves = wpe.shape[1] / 4;
        for (position, channels) in weights[wpe.range()].chunks_exact_mut(wpe.shape[1]).enumerate() {
            let axes = [(position / n_px.width, n_px.height), (position % n_px.width, n_px.width)];
            let axes = axes.into_iter().flat_map(|axis| std::iter::repeat_n(axis, waves));
            for (i, ((at, side), pair)) in axes.zip(channels.as_chunks_mut::<2>().0).enumerate() {
                let frequency = std::f64::consts::FRAC_PI_2 * (side as f64).powf(-((i % waves) as f64) / waves as f64);
                let (sin, cos) = (at as f64 * frequency).sin_cos();
                *pair = [(AMPLITUDE * sin) as f32, (AMPLITUDE * cos) as f32];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_grid_equal_steps_have_equal_likeness_and_all_else_is_the_papers() {
        let config = ModelConfig::new(ImageSize { height: 9, width: 17 }, 61, 72, 2, 3);
        let layout = ParamLayout::new(&config);
        let [paper, grid] = [Initialization::Paper, Initialization::Grid].map(|how| initial_weights(&config, how, 5));
        for tensor in layout.tensors() {
            let same = paper[tensor.range()] == grid[tensor.range()];
            assert_eq!(same, !tensor.name.contains("wpe"), "{}", tensor.name);
        }
        let wpe = layout.tensor("transformer.wpe.weight").unwrap();
        let values = &grid[wpe.range()];
        let likeness = |a: usize, b: usize| -> f32 { (0..72).map(|c| values[a * 72 + c] * values[b * 72 + c]).sum() };
        // One row up and two columns to the right, from several places.
        let at = |row: usize, column: usize| row * 17 + column;
        let step = |row, column| likeness(at(row, column), at(row - 1, column + 2));
        for (row, column) in [(1, 0), (8, 14), (4, 7)] {
            assert!((step(row, column) - step(3, 3)).abs() < 1e-5);
        }
        assert!(likeness(at(3, 3), at(3, 3)) > step(3, 3) + 0.01);
    }
}
