//! Completions of images of which any pixels are known, by a model of either objective.

use crate::Result;
use crate::device::Engine;
use crate::generate::infill::infill;
use crate::generate::run::draw_requests;
use crate::generate::session::Request;
use crate::generate::settings::Settings;
use crate::model::Objective;

/// How holes are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// Completions of each image.
    pub attempts: usize,
    /// Candidates of each completion, where known pixels come after a hole.
    pub candidates: usize,
    /// Rounds in which a model of masked pixels fills it.
    pub rounds: usize,
}

/// Completes each image of which the pixels in `known` (T) are known: whole images, (images, attempts, T). Known pixels after a
/// hole count through candidates; a model of masked pixels fills holes in rounds. `progress` is told how much is done.
///
/// # Errors
/// As [`draw_requests`] and [`infill`].
pub fn fill(
    engine: &mut dyn Engine,
    known: Vec<Vec<Option<u16>>>,
    filling: Filling,
    settings: &Settings,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    let Filling { attempts, candidates, rounds } = filling;
    if engine.config().objective == Objective::Masked {
        let mut filled = Vec::with_capacity(known.len() * attempts);
        for (i, known_pixels) in known.iter().enumerate() {
            filled.extend(infill(engine, known_pixels, i as u64, attempts, rounds, settings)?);
            progress(i + 1, known.len());
        }
        return Ok(filled);
    }
    let requests = (0u64..).zip(&known).flat_map(|(image, known)| {
        let request = move |attempt| Request { known: known.clone(), image, attempt, settings: *settings, candidates };
        (0..attempts as u64).map(request)
    });
    draw_requests(engine, requests.collect(), 0, progress)
}
