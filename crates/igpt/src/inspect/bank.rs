//! Memory bank of the network's own features at positions of good pictures, and distances to it.
//!
//! The idea is PatchCore's (Roth et al. 2022). The features are those of the layer in the network's middle.

use igpt_kernels::pool::Pool;

use super::picture::{BATCH, NamedPicture};
use crate::Result;
use crate::data::Batch;
use crate::device::{Engine, Pooling};
use crate::evaluate::{Vectors, nearest};
use crate::rng::{Purpose, Rng};

/// Approximate number of positions in a bank; each is compared with each position of a picture.
const POSITIONS: usize = 2000;
/// Number of tiles whose features are held at once.
const TILES: usize = 8;

/// Memory bank (PatchCore): standardised features at positions of good pictures.
#[derive(Debug)]
pub struct FeatureBank {
    /// Mean and deviation of each value over the positions, for standardising.
    pub(super) moments: Vec<(f32, f32)>,
    /// Standardised features.
    pub(super) points: Vectors,
}

impl FeatureBank {
    /// Distance of each pixel of some tiles to its nearest neighbour in the bank, (tiles, T): the root of the mean
    /// squared difference per standardised value.
    ///
    /// A position's features depend on the pixels before it, so a pixel takes the features of the next position.
    ///
    /// # Errors
    /// When the engine fails.
    pub(super) fn distances(&self, engine: &mut dyn Engine, tokens: &[u16], pool: &Pool) -> Result<Vec<f32>> {
        let n_ctx = engine.config().n_ctx();
        let mut distances = Vec::with_capacity(tokens.len());
        for tiles in tokens.chunks(TILES * n_ctx) {
            let mut points = features(engine, tiles)?;
            // A value that is not finite would count as near.
            let broken = points.values.iter().any(|value| !value.is_finite());
            points.standardize(&self.moments);
            let found = nearest(&points, &self.points, pool);
            for tile in found.chunks_exact(n_ctx) {
                let next = |t: usize| if broken { f64::NAN } else { tile[(t + 1).min(n_ctx - 1)].distance };
                distances.extend((0..n_ctx).map(|t| next(t) as f32));
            }
        }
        Ok(distances)
    }
}

/// Collector of the features of a bank.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Number of positions per picture.
    each: usize,
    points: Vectors,
}

impl Gathered {
    /// Returns a collector for a bank of `pictures` pictures.
    pub(super) fn of(pictures: usize) -> Self {
        Self { each: POSITIONS.div_ceil(pictures.max(1)), points: Vectors { dim: 1, values: Vec::new() } }
    }

    /// Adds some positions of each of `pictures`, drawn by the pictures' indices.
    ///
    /// # Errors
    /// When the engine fails.
    pub(super) fn add(&mut self, engine: &mut dyn Engine, pictures: &[NamedPicture]) -> Result<()> {
        let n_ctx = engine.config().n_ctx();
        let (mut tokens, mut places) = (Vec::new(), Vec::new());
        for NamedPicture { index, picture, .. } in pictures {
            for draw in 0..self.each {
                let mut rng = Rng::new(0, Purpose::Inspect, *index as u64, draw as u64);
                let tile = rng.below(picture.tiles() as u64) as usize;
                tokens.extend_from_slice(&picture.tokens()[tile * n_ctx..][..n_ctx]);
                places.push(rng.below(n_ctx as u64) as usize);
            }
        }
        for (tokens, places) in tokens.chunks(BATCH * n_ctx).zip(places.chunks(BATCH)) {
            let found = features(engine, tokens)?;
            self.points.dim = found.dim;
            for (tile, place) in places.iter().enumerate() {
                self.points.values.extend_from_slice(&found.values[(tile * n_ctx + place) * found.dim..][..found.dim]);
            }
        }
        Ok(())
    }

    /// Returns the bank; `None` without pictures or with features that are not finite.
    pub(super) fn bank(mut self) -> Option<FeatureBank> {
        let finite = self.points.values.iter().all(|value| value.is_finite());
        if self.points.is_empty() || !finite {
            return None;
        }
        let moments = self.points.moments();
        self.points.standardize(&moments);
        Some(FeatureBank { moments, points: self.points })
    }
}

/// Returns the features of every position of some tiles.
fn features(engine: &mut dyn Engine, tokens: &[u16]) -> Result<Vectors> {
    let (n_ctx, dim) = (engine.config().n_ctx(), engine.config().n_embd);
    let layer = engine.config().n_layer.div_ceil(2);
    let mut values = vec![0.0; tokens.len() * dim];
    engine.features(&Batch::new(tokens.to_vec(), n_ctx), &[layer], Pooling::None, &mut values)?;
    Ok(Vectors { dim, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{self, Precision};
    use crate::image::ImageSize;
    use crate::inspect::TiledPicture;
    use crate::model::ModelConfig;
    use crate::palette::{Palette, Quantizer};
    use crate::testing::random_weights;

    #[test]
    fn what_is_in_the_bank_is_near_and_a_pixel_has_what_the_next_position_knows() {
        let config = ModelConfig::new(ImageSize::square(8), 20, 16, 2, 2);
        let options = device::EngineOptions { threads: 1, ..device::EngineOptions::new(Precision::F32) };
        let mut engine = device::open(&config, &random_weights(&config), &options).unwrap();
        let image = |seed: usize| -> Vec<u16> { (0..64).map(|t| ((t * 7 + seed * 5) % (3 + seed)) as u16).collect() };
        let greys = (0..20).map(|i| [i as f32 / 10.0 - 1.0; 3]).collect();
        let quantizer = Quantizer::new(Palette::new(greys, 1).unwrap());
        let named = |index: usize| NamedPicture {
            index,
            name: String::new(),
            picture: TiledPicture::of_tokens(image(index), config.n_px, &quantizer),
        };
        let mut gathered = Gathered::of(4);
        gathered.add(&mut *engine, &[named(0), named(1), named(2), named(3)]).unwrap();
        let bank = gathered.bank().unwrap();
        assert_eq!((bank.points.len(), bank.points.dim), (2000, 16));
        let pool = Pool::new(1);
        // 500 draws of 64 positions leave none out.
        let known = bank.distances(&mut *engine, &image(2), &pool).unwrap();
        assert!(known.iter().all(|distance| *distance < 1e-3), "{known:?}");
        let mut other = image(2);
        other[40] = 19;
        let found = bank.distances(&mut *engine, &other, &pool).unwrap();
        assert_eq!(found[..40], known[..40]);
        assert!(found[40] > 0.05, "{}", found[40]);
        // Alone and among others.
        let both = bank.distances(&mut *engine, &[image(2), other].concat(), &pool).unwrap();
        assert_eq!(both, [known, found].concat());
        assert!(Gathered::of(0).bank().is_none());
    }
}
