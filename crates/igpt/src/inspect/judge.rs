//! Judging of pictures by a fit.

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

/// Inspector: judges pictures by a fit and its model.
#[derive(Debug)]
#[doc(alias = "anomaly_detection")]
pub struct Inspector {
    /// Fit that judges.
    pub fit: InspectionFit,
    /// Inputs that the fit's score needs.
    needs: ScoreInputs,
    quantizer: Quantizer,
    n_px: ImageSize,
}

/// Result of inspecting one picture: score, percentile, p-value and map.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InspectionResult {
    /// Score of the picture; the higher, the odder.
    pub score: f64,
    /// Percentage of held-out good pictures with a lower score.
    pub percentile: f64,
    /// Conformal p-value of the score.
    pub p_value: f64,
    /// Map of where the picture is odd.
    pub map: PixelMap,
}

impl Inspector {
    /// Returns an inspector for `fit`, which belongs to `model`.
    ///
    /// `threads` threads compare features; 0 uses all available cores.
    pub fn new(fit: InspectionFit, model: &ModelDir, threads: usize) -> Self {
        let needs = fit.needs(threads);
        Self { fit, needs, quantizer: Quantizer::new(model.palette.clone()), n_px: model.config.n_px }
    }

    /// Prepares a decoded picture of any size for the engine.
    ///
    /// # Errors
    /// As [`TiledPicture::new`].
    pub fn picture(&self, pixels: &Pixels) -> Result<TiledPicture> {
        TiledPicture::new(pixels, self.fit.view, self.n_px, &self.quantizer)
    }

    /// Prepares an image of the model's size that consists of tokens already.
    pub fn picture_of_tokens(&self, tokens: Vec<u16>) -> TiledPicture {
        TiledPicture::of_tokens(tokens, self.n_px, &self.quantizer)
    }

    /// Returns the inputs that the fit's score needs; cheap to clone.
    pub fn needs(&self) -> &ScoreInputs {
        &self.needs
    }

    /// Returns the number of tiles of a picture of this size; 1 if it is seen as a whole.
    pub fn tiles(&self, own: ImageSize) -> usize {
        TiledPicture::count(own, self.fit.view, self.n_px)
    }

    /// Returns the result for a picture, from its maps.
    pub fn result(&self, maps: &ScoreMaps) -> InspectionResult {
        let (score, map) = self.fit.score.judge(maps, self.fit.statistics.as_ref());
        let held_out = &self.fit.held_out;
        InspectionResult { score, percentile: held_out.percentile(score), p_value: held_out.p_value(score), map }
    }

    /// Returns the heat map of a picture, at the picture's own size.
    pub fn heat(&self, picture: &TiledPicture, verdict: &InspectionResult) -> Pixels {
        verdict.map.picture(picture.own, picture.place, self.fit.brightest)
    }

    /// Returns the score of each of `images`, in order; `None` for one that can't be read.
    ///
    /// `progress` receives the number of pictures done.
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
        self.inspect_images(engine, images, &mut take, progress)?;
        Ok(scores)
    }

    /// Judges `images` one after the other and passes each to `take` with its result.
    ///
    /// `progress` receives the number of pictures done. Returns the pictures that could not be read.
    ///
    /// # Errors
    /// When the engine fails, the surprise at a pixel is not finite, or `take` fails.
    pub fn inspect_images(
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
                take(named, self.result(maps))?;
            }
            done += run.len();
            progress(done, images.len());
            Ok(())
        })
    }
}
