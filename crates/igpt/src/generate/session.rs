//! Images being drawn side by side, each at its own pixel: one joins when rows are free for it and leaves when it is
//! whole, and none depends on who else is there.
//!
//! Pixels are drawn in raster order, so those known before a hole condition it by themselves. Those that come after it do
//! so through a particle filter (Gordon et al. 1993): several candidates are drawn side by side, each is weighed by how
//! likely it makes the known pixels that it meets, and when few of them carry the weight they are drawn anew in proportion
//! to it. The more candidates, the nearer this comes to the exact conditional.

use std::collections::BTreeSet;

use super::candidates::{self, Candidate};
use crate::device::{Decoder, Engine};
use crate::generate::{Sampler, SamplingSettings};
use crate::{Error, Result};

/// Most candidates of a completion, and most attempts at an image: what the keys of their draws can tell apart.
pub(crate) const MOST: usize = 1 << 16;

/// One image to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRequest {
    /// Its pixels (T) in raster order; none are those to be drawn.
    pub known: Vec<Option<u16>>,
    /// The image's number: with the seed and `attempt` the key of its random numbers.
    pub image: u64,
    /// Which attempt at this image it is.
    pub attempt: u64,
    /// How tokens are drawn.
    pub settings: SamplingSettings,
    /// Candidates that are drawn side by side where known pixels come after a hole.
    pub candidates: usize,
}

impl GenerationRequest {
    /// Whether known pixels come after a hole.
    pub fn is_steered(&self) -> bool {
        self.known.iter().skip_while(|token| token.is_some()).any(Option::is_some)
    }

    /// Rows that it takes.
    pub fn rows(&self) -> usize {
        if self.is_steered() { self.candidates } else { 1 }
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

/// What a step added to an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationProgress<'a> {
    /// The image, as its drawer named it.
    pub id: u64,
    /// The pixel from which on `tokens` are its pixels now. Of several candidates the weightiest is shown: where that is
    /// another one than before, this lies before what was shown last.
    pub from: usize,
    /// Its pixels from there.
    pub tokens: &'a [u16],
    /// Of several candidates the effective number: how many of equal weight would tell as much.
    pub effective: Option<f64>,
    /// Whether the image is whole; it has left then.
    pub done: bool,
}

/// The images being drawn, and their decoder.
pub struct GenerationSession {
    decoder: Box<dyn Decoder>,
    n_ctx: usize,
    n_vocab: usize,
    /// Logits of each row's next pixel, (rows, n_vocab).
    logits: Vec<f32>,
    /// Those of the rows of one step, in its order.
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
    /// The pixels that were told.
    shown: Vec<u16>,
}

impl GenerationSession {
    /// A session of `rows` rows with the engine's present weights.
    ///
    /// # Errors
    /// When the engine can't draw.
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

    /// Rows that no image has.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Whether nothing is being drawn.
    pub fn is_idle(&self) -> bool {
        self.images.is_empty()
    }

    /// Begins an image, which `id` names from now on. The pixels before its first hole are read in one pass.
    ///
    /// # Errors
    /// When too few rows are free, nothing is to be drawn, or a token or setting is none that can be used.
    pub fn add(&mut self, id: u64, request: GenerationRequest) -> Result<()> {
        request.check(self.n_ctx, self.n_vocab)?;
        let (wanted, free) = (request.rows(), self.free());
        if wanted > free {
            return Err(Error::Invalid(format!("{wanted} rows are needed to draw this image, but {free} are free")));
        }
        let given: Vec<u16> = request.known.iter().map_while(|token| *token).collect();
        let rows: Vec<usize> = self.free.iter().copied().take(wanted).collect();
        let n_vocab = self.n_vocab;
        // Another image may be where this one begins: several completions of one image are added together.
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
        let (steered, sampler) = (request.is_steered(), Sampler::new(&request.settings)?);
        self.images.push(Image { id, request, steered, sampler, candidates, shown: given });
        Ok(())
    }

    /// Stops drawing the images named `id`, if there are any.
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

    /// Draws the next pixel of every image and tells `hear` of each.
    ///
    /// # Errors
    /// [`Error::ResultNotFinite`] when the model's scores are no numbers: its weights are damaged, or its training
    /// diverged. Nothing is drawn then, of any image.
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
    /// Pixels that every candidate has.
    fn position(&self) -> usize {
        self.candidates[0].tokens.len()
    }

    /// Refuses scores of the next pixel that are no numbers.
    fn check(&self, logits: &[f32], n_vocab: usize) -> Result<()> {
        let image = self.request.image;
        let scores = self.candidates.iter().map(|candidate| &logits[candidate.row * n_vocab..][..n_vocab]);
        scores.into_iter().try_for_each(|logits| super::draw::check(logits, image, self.position()))
    }

    /// Gives each candidate its next pixel: the known one, which weighs it, or a drawn one.
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

    /// Draws the candidates anew where too few carry the weight; gives the rows to be copied, from and to.
    fn resample(&mut self) -> Vec<(usize, usize)> {
        let n = self.candidates.len();
        let weighed = self.request.known[self.position() - 1].is_some();
        if !weighed || candidates::effective(&self.candidates) >= n as f64 / 2.0 {
            return Vec::new();
        }
        let uniform = self.uniforms()[0];
        candidates::resample(&mut self.candidates, uniform)
    }

    /// Two random numbers of the last pixel, for choices among candidates.
    fn uniforms(&self) -> [f64; 2] {
        let GenerationRequest { image, attempt, settings, .. } = &self.request;
        super::draw::choices(settings.seed, *image, *attempt, self.position() - 1)
    }

    /// Tells what became of the image: of its weightiest candidate or, at the end, of one drawn by weight.
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
