//! Completions of images with any known pixels, by a model of either objective.

use crate::device::Engine;
use crate::generate::infill::infill;
use crate::generate::run::draw_requests;
use crate::generate::session::GenerationRequest;
use crate::generate::settings::SamplingSettings;
use crate::model::Objective;
use crate::setters::setters;
use crate::{Error, Result};

/// Settings of filling holes: numbers of completions, of candidates and of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillSettings {
    /// Number of completions of each image.
    pub attempts: usize,
    /// Number of candidates (particles) of each completion, if known pixels come after a hole.
    pub candidates: usize,
    /// Number of rounds in which a masked model fills the holes.
    pub rounds: usize,
}

impl Default for FillSettings {
    fn default() -> Self {
        Self { attempts: 1, candidates: 16, rounds: 16 }
    }
}

setters!(FillSettings { attempts: usize, candidates: usize, rounds: usize });

/// Fills the holes of each image in `known`; returns whole images, (images, attempts, T).
///
/// Each entry of `known` has T pixels, `None` for those to draw. An autoregressive model takes known pixels after a
/// hole into account by a particle filter of candidates. A masked model fills holes in rounds. `progress` receives
/// the work done and the total.
///
/// # Errors
/// As [`draw_requests`], [`Infill::new`](crate::generate::Infill::new) and
/// [`Infill::round`](crate::generate::Infill::round).
pub fn fill(
    engine: &mut dyn Engine,
    known: Vec<Vec<Option<u16>>>,
    filling: FillSettings,
    settings: &SamplingSettings,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Vec<u16>>> {
    let FillSettings { attempts, candidates, rounds } = filling;
    if attempts == 0 || candidates == 0 || rounds == 0 {
        return Err(Error::Invalid(format!(
            "{attempts} attempts, {candidates} candidates, {rounds} rounds: want 1 or more"
        )));
    }
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
