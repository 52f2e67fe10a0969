//! Sessions that draw images side by side, each at its own pixel.
//!
//! An image joins when rows are free for it and leaves when it is whole. No image depends on which others are in the
//! session.
//!
//! Pixels are drawn in raster order, so known pixels before a hole condition it directly. Known pixels after a hole
//! condition it through a particle filter (Gordon et al. 1993). Several candidates are drawn side by side. The
//! likelihood of the known pixels that a candidate meets is its weight. When few candidates carry most of the weight,
//! all are resampled in proportion to it. More candidates bring the result nearer to the exact conditional.

use std::collections::BTreeSet;

use super::candidates::{self, Candidate};
use crate::device::{Decoder, Engine};
use crate::generate::{Sampler, SamplingSettings};
use crate::{Error, Result};

/// Largest number of candidates of a completion and of attempts at an image, limited by the keys of their draws.
pub(crate) const MOST: usize = 1 << 16;

/// Request for one image in a [`GenerationSession`], with any pixels known.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRequest {
    /// Pixels (T) in raster order; `None` for those to draw.
    pub known: Vec<Option<u16>>,
    /// Number of the image: with the seed and `attempt`, the key of its random numbers.
    pub image: u64,
    /// Number of the attempt at this image.
    pub attempt: u64,
    /// Settings of sampling.
    pub settings: SamplingSettings,
    /// Number of candidates (particles) drawn side by side, if known pixels come after a hole.
    pub candidates: usize,
}

impl GenerationRequest {
    /// Returns whether known pixels come after a hole.
    pub fn has_known_after_hole(&self) -> bool {
        self.known.iter().skip_while(|token| token.is_some()).any(Option::is_some)
    }

    /// Returns the number of decoder rows that the request needs.
    pub fn rows(&self) -> usize {
        if self.has_known_after_hole() { self.candidates } else { 1 }
    }

    fn check(&self, n_ctx: usize, n_vocab: usize) -> Result<()> {
        self.settings.validate()?;
        let pixels = self.known.len();
        if pixels != n_ctx {
            return Err(Error::Mismatch(format!("an image of {pixels} pixels, but the model's have {n_ctx}")));
        }
        if let Some(token) = self.known.iter().flatten().find(|token| **token as usize >= n_vocab) {
            return Err(Error::Mismatch(format!(
                "token {token}, but the model knows {n_vocab} colours: use the model's own palette"
            )));
        }
        if !self.known.contains(&None) {
            return Err(Error::Invalid("all pixels are known: erase some, there is nothing to draw".into()));
        }
        if self.candidates == 0 || self.candidates > MOST || self.attempt >= MOST as u64 || self.image >> 32 != 0 {
            let Self { candidates, attempt, image, .. } = self;
            return Err(Error::Invalid(format!(
                "{candidates} candidates of attempt {attempt} at image {image}: 1 to {MOST} candidates, attempts below \
                 {MOST} and images below 2^32 are possible"
            )));
        }
        Ok(())
    }
}

/// Progress of one image in a step of a [`GenerationSession`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationProgress<'a> {
    /// Id of the image, as given to [`GenerationSession::add`].
    pub id: u64,
    /// Index of the pixel where `tokens` start.
    ///
    /// Of several candidates, the one with the highest weight is shown. When another candidate overtakes it, this
    /// index may be before the end of what was shown last.
    pub from: usize,
    /// Tokens of the image's pixels from index `from` on.
    pub tokens: &'a [u16],
    /// Effective number of candidates, if there are several: the number of equally weighted ones with the same
    /// information.
    pub effective: Option<f64>,
    /// Whether the image is complete; it has left the session then.
    pub done: bool,
}

/// Session of images being drawn, with their decoder.
pub struct GenerationSession {
    decoder: Box<dyn Decoder>,
    n_ctx: usize,
    n_vocab: usize,
    /// Logits of each row's next pixel, (rows, n_vocab).
    logits: Vec<f32>,
    /// Logits of the rows of one step, in its order.
    fresh: Vec<f32>,
    free: BTreeSet<usize>,
    images: Vec<Image>,
}

/// One image being drawn.
struct Image {
    id: u64,
    request: GenerationRequest,
    steered: bool,
    sampler: Sampler,
    candidates: Vec<Candidate>,
    /// Pixels that were reported.
    shown: Vec<u16>,
}

impl GenerationSession {
    /// Returns a session of `rows` rows with the engine's present weights.
    ///
    /// # Errors
    /// When the engine has no decoder.
    pub fn new(engine: &dyn Engine, rows: usize) -> Result<Self> {
        let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
        let logits = vec![0.0; rows * n_vocab];
        let decoder = engine.decoder(rows)?;
        Ok(Self {
            decoder,
            n_ctx,
            n_vocab,
            fresh: logits.clone(),
            logits,
            free: (0..rows).collect(),
            images: Vec::new(),
        })
    }

    /// Returns the number of free rows.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Returns whether no image is being drawn.
    pub fn is_idle(&self) -> bool {
        self.images.is_empty()
    }

    /// Adds an image under the name `id`; the pixels before its first hole are read in one pass (prefill).
    ///
    /// # Errors
    /// When too few rows are free, nothing is to be drawn, or a token or setting is invalid.
    pub fn add(&mut self, id: u64, request: GenerationRequest) -> Result<()> {
        request.check(self.n_ctx, self.n_vocab)?;
        let (wanted, free) = (request.rows(), self.free());
        if wanted > free {
            return Err(Error::Invalid(format!("{wanted} rows are needed to draw this image, but {free} are free")));
        }
        let given: Vec<u16> = request.known.iter().map_while(|token| *token).collect();
        let rows: Vec<usize> = self.free.iter().copied().take(wanted).collect();
        let n_vocab = self.n_vocab;
        // Another image may be where this one begins, because several completions of one image are added together.
        let twin = self.images.iter().map(|image| &image.candidates[0]).find(|twin| twin.tokens == given);
        let read = twin.map_or(rows[0], |twin| twin.row);
        if twin.is_none() {
            self.decoder.start(read, &given, &mut self.logits[read * n_vocab..][..n_vocab])?;
        }
        for &row in rows.iter().filter(|row| **row != read) {
            self.decoder.copy(read, row)?;
            self.logits.copy_within(read * n_vocab..(read + 1) * n_vocab, row * n_vocab);
        }
        rows.iter().for_each(|row| assert!(self.free.remove(row)));
        let candidates =
            rows.into_iter().map(|row| Candidate { row, tokens: given.clone(), log_weight: 0.0 }).collect();
        let (steered, sampler) = (request.has_known_after_hole(), Sampler::new(&request.settings)?);
        self.images.push(Image { id, request, steered, sampler, candidates, shown: given });
        Ok(())
    }

    /// Removes the images named `id`, if there are any.
    pub fn remove(&mut self, id: u64) {
        let free = &mut self.free;
        self.images.retain(|image| {
            let stays = image.id != id;
            if !stays {
                free.extend(image.candidates.iter().map(|candidate| candidate.row));
            }
            stays
        });
    }

    /// Draws the next pixel of every image and reports each image's progress to `hear`.
    ///
    /// # Errors
    /// [`Error::ResultNotFinite`] when the model's logits are not finite: its weights are damaged, or its training
    /// diverged. Nothing is drawn for any image then.
    pub fn step(&mut self, hear: &mut dyn FnMut(GenerationProgress<'_>)) -> Result<()> {
        let Self { decoder, n_ctx, n_vocab, logits, fresh, free, images } = self;
        images.iter().try_for_each(|image| image.check(logits, *n_vocab))?;
        let mut inputs = Vec::with_capacity(logits.len() / *n_vocab);
        for image in images.iter_mut() {
            image.draw(logits, *n_vocab)?;
            for (from, to) in image.resample() {
                decoder.copy(from, to)?;
            }
            let done = image.position() == *n_ctx;
            image.tell(done, hear);
            let rows = image.candidates.iter();
            match done {
                true => free.extend(rows.map(|candidate| candidate.row)),
                false => {
                    inputs.extend(rows.map(|candidate| (candidate.row, candidate.tokens[candidate.tokens.len() - 1])))
                }
            }
        }
        images.retain(|image| image.position() < *n_ctx);
        if inputs.is_empty() {
            return Ok(());
        }
        let fresh = &mut fresh[..inputs.len() * *n_vocab];
        decoder.step(&inputs, fresh)?;
        for ((row, _), fresh) in inputs.iter().zip(fresh.chunks_exact(*n_vocab)) {
            logits[row * *n_vocab..][..*n_vocab].copy_from_slice(fresh);
        }
        Ok(())
    }
}

impl Image {
    /// Number of pixels that every candidate has.
    fn position(&self) -> usize {
        self.candidates[0].tokens.len()
    }

    /// Refuses logits of the next pixel that are not finite.
    fn check(&self, logits: &[f32], n_vocab: usize) -> Result<()> {
        let image = self.request.image;
        let scores = self.candidates.iter().map(|candidate| &logits[candidate.row * n_vocab..][..n_vocab]);
        scores.into_iter().try_for_each(|logits| super::draw::check(logits, image, self.position()))
    }

    /// Appends each candidate's next pixel: the known one, which changes its weight, or a drawn one.
    fn draw(&mut self, logits: &[f32], n_vocab: usize) -> Result<()> {
        let pixel = self.position();
        let GenerationRequest { known, image, attempt, .. } = &self.request;
        for (number, candidate) in (0u64..).zip(&mut self.candidates) {
            let logits = &logits[candidate.row * n_vocab..][..n_vocab];
            let token = match known[pixel] {
                Some(token) => {
                    candidate.log_weight += super::draw::log_probability(logits, token);
                    token
                }
                None => self.sampler.draw(logits, *image, attempt + number * MOST as u64, pixel)?,
            };
            candidate.tokens.push(token);
        }
        Ok(())
    }

    /// Resamples the candidates if too few carry the weight; returns the rows to copy, as (from, to).
    fn resample(&mut self) -> Vec<(usize, usize)> {
        let n = self.candidates.len();
        let weighed = self.request.known[self.position() - 1].is_some();
        if !weighed || candidates::effective(&self.candidates) >= n as f64 / 2.0 {
            return Vec::new();
        }
        let uniform = self.uniforms()[0];
        candidates::resample(&mut self.candidates, uniform)
    }

    /// Returns two random numbers of the last pixel, for choices among candidates.
    fn uniforms(&self) -> [f64; 2] {
        let GenerationRequest { image, attempt, settings, .. } = &self.request;
        super::draw::choices(settings.seed, *image, *attempt, self.position() - 1)
    }

    /// Reports the image's progress: of its candidate with the highest weight or, at the end, of one drawn by weight.
    fn tell(&mut self, done: bool, hear: &mut dyn FnMut(GenerationProgress<'_>)) {
        let chosen = match done {
            true => candidates::choose(&self.candidates, self.uniforms()[1]),
            false => candidates::weightiest(&self.candidates),
        };
        let tokens = &self.candidates[chosen].tokens;
        let from = match self.steered {
            true => self.shown.iter().zip(tokens).take_while(|(shown, token)| shown == token).count(),
            false => tokens.len() - 1,
        };
        let effective = self.steered.then(|| candidates::effective(&self.candidates));
        hear(GenerationProgress { id: self.id, from, tokens: &tokens[from..], effective, done });
        if self.steered {
            self.shown.clear();
            self.shown.extend_from_slice(tokens);
        } else {
            self.shown.push(tokens[tokens.len() - 1]);
        }
    }
}

#[cfg(test)]
mod tests;
