//! Judges pictures by a fit.

use super::fit::InspectionFit;
use super::map::PixelMap;
use super::picture::{NamedPicture, TiledPicture, each_run};
use super::score_maps::{ScoreInputs, ScoreMaps, score_maps};
use crate::Result;
use crate::data::{DamagedImage, Images};
use crate::device::Engine;
use crate::image::{ImageSize, Pixels};
use crate::model::ModelDir;
use crate::palette::Quantizer;

/// A fit with what its model's pictures are made by.
#[derive(Debug)]
pub struct Inspector {
    /// The fit.
    pub fit: InspectionFit,
    /// What its score asks.
    needs: ScoreInputs,
    quantizer: Quantizer,
    n_px: ImageSize,
}

/// What is said of one picture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InspectionResult {
    /// How odd it is.
    pub score: f64,
    /// The share of held-out good pictures with a lower score, in percent.
    pub percentile: f64,
    /// The conformal p-value.
    pub p_value: f64,
    /// Where it is odd.
    pub map: PixelMap,
}

impl Inspector {
    /// Of `fit`, which is of `model`. Features are compared by `threads` threads; 0 is one for each available core.
    pub fn new(fit: InspectionFit, model: &ModelDir, threads: usize) -> Self {
        let needs = fit.needs(threads);
        Self { fit, needs, quantizer: Quantizer::new(model.palette.clone()), n_px: model.config.n_px }
    }

    /// A decoded picture of any size, ready for the engine.
    ///
    /// # Errors
    /// As [`TiledPicture::new`].
    pub fn picture(&self, pixels: &Pixels) -> Result<TiledPicture> {
        TiledPicture::new(pixels, self.fit.view, self.n_px, &self.quantizer)
    }

    /// An image of the model's size that is tokens already.
    pub fn picture_of_tokens(&self, tokens: Vec<u16>) -> TiledPicture {
        TiledPicture::of_tokens(tokens, self.n_px, &self.quantizer)
    }

    /// What its score asks of the model; cheap to clone.
    pub fn needs(&self) -> &ScoreInputs {
        &self.needs
    }

    /// In how many tiles a picture of this size is looked at; 1 of one that is looked at as a whole.
    pub fn tiles(&self, own: ImageSize) -> usize {
        TiledPicture::count(own, self.fit.view, self.n_px)
    }

    /// What is said of a picture from its maps.
    pub fn verdict(&self, maps: &ScoreMaps) -> InspectionResult {
        let (score, map) = self.fit.score.judge(maps, self.fit.statistics.as_ref());
        let held_out = &self.fit.held_out;
        InspectionResult { score, percentile: held_out.percentile(score), p_value: held_out.p_value(score), map }
    }

    /// The heat map of a picture, at the picture's own size.
    pub fn heat(&self, picture: &TiledPicture, verdict: &InspectionResult) -> Pixels {
        verdict.map.picture(picture.own, picture.place, self.fit.brightest)
    }

    /// The score of each of `images`, in their order; none of one that can't be read. `progress` is told how many are done.
    ///
    /// # Errors
    /// When the engine fails, or the surprise at a pixel is not finite.
    pub fn scores(
        &self,
        engine: &mut dyn Engine,
        images: &Images,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Option<f64>>> {
        let mut scores = vec![None; images.len()];
        let mut take = |named: &NamedPicture, verdict: InspectionResult| {
            scores[named.index] = Some(verdict.score);
            Ok(())
        };
        self.each(engine, images, &mut take, progress)?;
        Ok(scores)
    }

    /// Judges `images` one after the other and hands each to `take` with the verdict. `progress` is told how many are done.
    /// Gives those that could not be read.
    ///
    /// # Errors
    /// When the engine fails, the surprise at a pixel is not finite, or `take` fails.
    pub fn each(
        &self,
        engine: &mut dyn Engine,
        images: &Images,
        take: &mut dyn FnMut(&NamedPicture, InspectionResult) -> Result<()>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<DamagedImage>> {
        let mut done = 0;
        each_run(images, (self.fit.view, self.n_px), &self.quantizer, &mut |run| {
            let found = score_maps(engine, &run, self.fit.good(), &self.needs)?;
            for (named, maps) in run.iter().zip(&found) {
                take(named, self.verdict(maps))?;
            }
            done += run.len();
            progress(done, images.len());
            Ok(())
        })
    }
}
