//! Completions of images of which any pixels are known, by a model of either objective.

use crate::Result;
use crate::device::Engine;
use crate::generate::infill::infill;
use crate::generate::run::draw_requests;
use crate::generate::session::GenerationRequest;
use crate::generate::settings::SamplingSettings;
use crate::model::Objective;
use crate::setters::setters;

/// How holes are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillSettings {
    /// Completions of each image.
    pub attempts: usize,
    /// Candidates of each completion, where known pixels come after a hole.
    pub candidates: usize,
    /// Rounds in which a model of masked pixels fills it.
    pub rounds: usize,
}

impl Default for FillSettings {
    fn default() -> Self {
        Self { attempts: 1, candidates: 16, rounds: 16 }
    }
}

setters!(FillSettings { attempts: usize, candidates: usize, rounds: usize });

/// Completes each image of which the pixels in `known` (T) are known: whole images, (images, attempts, T). Known pixels after a
/// hole count through candidates; a model of masked pixels fills holes in rounds. `progress` is told how much is done.
///
/// # Errors
/// As [`draw_requests`] and `infill`.
pub fn fill(
    engine: &mut dyn Engine,
    known: Vec<Vec<Option<u16>>>,
    filling: FillSettings,
    settings: &SamplingSettings,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    let FillSettings { attempts, candidates, rounds } = filling;
    if engine.config().objective == Objective::Masked {
        let mut filled = Vec::with_capacity(known.len() * attempts);
        for (i, known_pixels) in known.iter().enumerate() {
            filled.extend(infill(engine, known_pixels, i as u64, attempts, rounds, settings)?);
            progress(i + 1, known.len());
        }
        return Ok(filled);
    }
    let requests = (0u64..).zip(&known).flat_map(|(image, known)| {
        let request =
            move |attempt| GenerationRequest { known: known.clone(), image, attempt, settings: *settings, candidates };
        (0..attempts as u64).map(request)
    });
    draw_requests(engine, requests.collect(), 0, progress)
}
