//! Generation of images for a request: the specification, the pixels drawn so far, and the answer.

use std::time::Instant;

use igpt::generate::{GenerationRequest, SamplingSettings};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use utoipa::ToSchema;

use super::finite::expect_finite;
use super::state::Shared;
use super::worker::{Drawn, Hole};
use crate::refusal::Refusal;

/// Default number of candidates per completion.
const CANDIDATES: usize = 16;
/// Default number of rounds in which a masked model fills a hole.
const STEPS: usize = 16;

/// How missing pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    /// From nothing, pixel by pixel.
    Sample,
    /// After known rows, pixel by pixel: exact.
    Rows,
    /// Around known pixels, by candidates that are kept in proportion to how likely they make these: exact as
    /// candidates grow.
    Particles,
    /// In rounds, each given all known pixels: approximate.
    Masked,
}

/// What was drawn.
#[derive(Serialize, ToSchema)]
pub(super) struct Pictures {
    method: Method,
    seed: u64,
    /// Candidates of each image, where there were several.
    candidates: Option<usize>,
    /// Rounds, of a masked model.
    steps: Option<usize>,
    images: Vec<Picture>,
}

/// One drawn image.
#[derive(Serialize, ToSchema)]
struct Picture {
    /// In raster order.
    tokens: Vec<u16>,
    /// A PNG file in base64.
    png: String,
    /// The effective number of candidates at the end.
    effective_candidates: Option<f64>,
}

/// Generation in progress: the request, and the pixels drawn so far.
pub(super) struct GenerationStream {
    shared: Shared,
    pub(super) method: Method,
    seed: u64,
    pub(super) candidates: Option<usize>,
    steps: Option<usize>,
    /// Number of pixels that were known.
    pub(super) known: usize,
    pub(super) images: Vec<Vec<u16>>,
    effective: Vec<Option<f64>>,
    done: Vec<bool>,
    drawn: UnboundedReceiver<Drawn>,
    begun: Instant,
    deadline: Instant,
    first: bool,
}

impl GenerationStream {
    /// Next part that was drawn; `None` once all images are complete.
    pub(super) async fn next(&mut self) -> Result<Option<Drawn>, Refusal> {
        if self.done.iter().all(|done| *done) {
            return Ok(None);
        }
        let drawn = tokio::time::timeout_at(self.deadline.into(), self.drawn.recv()).await;
        let drawn = drawn.map_err(|_| self.shared.late())?;
        let drawn = drawn.ok_or_else(Refusal::dead)?;
        self.take(drawn).map(Some)
    }

    /// Further part that was drawn in the meantime, if any.
    pub(super) fn at_hand(&mut self) -> Result<Option<Drawn>, Refusal> {
        self.drawn.try_recv().ok().map(|drawn| self.take(drawn)).transpose()
    }

    fn take(&mut self, drawn: Drawn) -> Result<Drawn, Refusal> {
        if std::mem::take(&mut self.first) {
            self.shared.metrics.first_pixel(self.begun.elapsed());
        }
        match &drawn {
            Drawn::Run { image, from, tokens, effective, done } => {
                expect_finite(&self.shared, "an effective number of candidates", Some(*image), *effective)?;
                self.images[*image].truncate(*from);
                self.images[*image].extend_from_slice(tokens);
                (self.effective[*image], self.done[*image]) = (*effective, *done);
            }
            Drawn::Filled { image, pixels, tokens, done } => {
                for (pixel, token) in pixels.iter().zip(tokens) {
                    self.images[*image][*pixel] = *token;
                }
                self.done[*image] = *done;
            }
            Drawn::Failed(error) => return Err(self.shared.not_computed(None, error)),
        }
        Ok(drawn)
    }

    /// Answer, once all images are complete.
    pub(super) fn answer(&self) -> Pictures {
        let picture = |(tokens, effective): (&Vec<u16>, &Option<f64>)| Picture {
            tokens: tokens.clone(),
            png: self.shared.served.png(tokens),
            effective_candidates: *effective,
        };
        let images = self.images.iter().zip(&self.effective).map(picture).collect();
        Pictures { method: self.method, seed: self.seed, candidates: self.candidates, steps: self.steps, images }
    }
}

/// Specification of the images to draw.
pub(super) struct GenerationSpec {
    pub(super) known: Vec<Option<u16>>,
    pub(super) image: u64,
    pub(super) n: usize,
    /// Whether n different images are wanted, each with its own number, instead of n completions of one.
    pub(super) images: bool,
    pub(super) candidates: Option<usize>,
    pub(super) steps: Option<usize>,
    pub(super) settings: SamplingSettings,
}

/// Passes the specification to the worker.
pub(super) fn begin(shared: Shared, spec: GenerationSpec, deadline: Instant) -> Result<GenerationStream, Refusal> {
    let GenerationSpec { known, image, n, images, candidates, steps, settings } = spec;
    settings.validate()?;
    if n == 0 || n > shared.limits.images {
        let name = if images { "n" } else { "completions" };
        let error = format!("{name}: {n} images were asked for, 1 to {} are possible", shared.limits.images);
        return Err(Refusal::bad(error));
    }
    let last = if images { image.saturating_add(n as u64 - 1) } else { image };
    if last >> 32 != 0 {
        return Err(Refusal::bad(format!("first_image {image}: numbers of images below 2^32 are possible")));
    }
    let number = known.iter().flatten().count();
    let begun = Instant::now();
    let with = |shared, method, candidates, steps, images, drawn| GenerationStream {
        shared,
        method,
        seed: settings.seed,
        candidates,
        steps,
        known: number,
        images,
        effective: vec![None; n],
        done: vec![false; n],
        drawn,
        begun,
        deadline,
        first: true,
    };
    if !shared.served.is_autoregressive() {
        let rounds = steps.unwrap_or(STEPS);
        if rounds == 0 {
            return Err(Refusal::bad("steps: 0 of them fill nothing, give at least 1"));
        }
        let start: Vec<u16> = known.iter().map(|token| token.unwrap_or(0)).collect();
        let drawn = shared.worker.fill(Hole { known, image, attempts: n, rounds, settings })?;
        return Ok(with(shared, Method::Masked, None, Some(rounds), vec![start; n], drawn));
    }
    let rows = shared.worker.rows();
    let request = |i: usize| GenerationRequest {
        known: known.clone(),
        image: if images { image + i as u64 } else { image },
        attempt: if images { 0 } else { i as u64 },
        settings,
        candidates: candidates.unwrap_or(CANDIDATES.min(rows)),
    };
    let requests: Vec<GenerationRequest> = (0..n).map(request).collect();
    let (steered, wanted) = (requests[0].has_known_after_hole(), requests[0].candidates);
    if wanted == 0 || wanted > rows {
        return Err(Refusal::bad(format!("candidates: {wanted} were asked for, 1 to {rows} are possible here")));
    }
    let given: Vec<u16> = known.iter().map_while(|token| *token).collect();
    let method = match (number, steered) {
        (0, _) => Method::Sample,
        (_, true) => Method::Particles,
        (_, false) => Method::Rows,
    };
    let drawn = shared.worker.draw(requests)?;
    Ok(with(shared, method, steered.then_some(wanted), None, vec![given; n], drawn))
}
