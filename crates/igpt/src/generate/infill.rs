//! Filling of holes by a masked model, in rounds.
//!
//! Each round draws some of the missing pixels, given all that are known by then. Pixels of one round do not see each
//! other, and the model was trained with far fewer pixels missing, so this is approximate. More rounds make it less
//! so (Ghazvininejad et al. 2019, "Mask-Predict"; here in a random order).

use crate::data::Batch;
use crate::device::{Engine, name_suspect_weight};
use crate::generate::{Sampler, SamplingSettings};
use crate::machine::expect_memory;
use crate::model::Objective;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Several attempts of a masked model at filling one image, side by side.
pub struct Infill {
    n_ctx: usize,
    image: u64,
    settings: SamplingSettings,
    rounds: usize,
    done: usize,
    /// Tokens, (attempts, T); 0 for pixels that are still masked.
    tokens: Vec<u16>,
    masked: Vec<bool>,
    /// Missing pixels of each attempt, in the order in which they are drawn.
    orders: Vec<Vec<usize>>,
}

/// Pixels that one round drew for one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillRound {
    /// Index of the attempt.
    pub attempt: usize,
    /// Indices of the pixels.
    pub pixels: Vec<usize>,
    /// Tokens of the pixels.
    pub tokens: Vec<u16>,
}

impl Infill {
    /// Starts `attempts` attempts at filling the pixels that are `None` in `known` (T), in `rounds` rounds.
    ///
    /// There are fewer rounds if fewer pixels are missing. Attempt `j` is the same, whatever is filled beside it.
    ///
    /// # Errors
    /// When the model is not a masked model, nothing is missing, or a token or setting is invalid.
    pub fn new(
        engine: &dyn Engine,
        known: &[Option<u16>],
        image: u64,
        attempts: usize,
        rounds: usize,
        settings: &SamplingSettings,
    ) -> Result<Self> {
        let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
        if engine.config().objective != Objective::Masked {
            return Err(Error::Invalid("only a model of masked pixels fills holes in rounds".into()));
        }
        settings.validate()?;
        if known.len() != n_ctx {
            let pixels = known.len();
            return Err(Error::Mismatch(format!("an image of {pixels} pixels, but the model's have {n_ctx}")));
        }
        if let Some(token) = known.iter().flatten().find(|token| **token as usize >= n_vocab) {
            return Err(Error::Mismatch(format!(
                "token {token}, but the model knows {n_vocab} colours: use the model's own palette"
            )));
        }
        let missing: Vec<usize> = (0..n_ctx).filter(|&t| known[t].is_none()).collect();
        if missing.is_empty() || attempts == 0 || rounds == 0 || image >> 32 != 0 {
            return Err(Error::Invalid(format!(
                "{} missing pixels, {attempts} attempts and {rounds} rounds at image {image}: at least one of each is needed, \
                 and an image below 2^32",
                missing.len()
            )));
        }
        // Tokens, masks and orders, and the logits of all positions at once.
        let each = (4 * n_vocab + 32) as u64 * n_ctx as u64;
        expect_memory(each.saturating_mul(attempts as u64), || format!("filling an image {attempts} times at once"))?;
        let order = |attempt| {
            let mut order = missing.clone();
            let mut rng = Rng::new(settings.seed, Purpose::Infill, image, attempt as u64);
            (1..order.len()).rev().for_each(|i| order.swap(i, rng.below(i as u64 + 1) as usize));
            order
        };
        Ok(Self {
            n_ctx,
            image,
            settings: *settings,
            rounds: rounds.min(missing.len()),
            done: 0,
            tokens: known.iter().map(|token| token.unwrap_or(0)).collect::<Vec<_>>().repeat(attempts),
            masked: known.iter().map(Option::is_none).collect::<Vec<_>>().repeat(attempts),
            orders: (0..attempts).map(order).collect(),
        })
    }

    /// Returns whether all pixels are filled.
    pub fn is_done(&self) -> bool {
        self.done == self.rounds
    }

    /// Returns the images, (attempts, T).
    pub fn images(&self) -> Vec<Vec<u16>> {
        self.tokens.chunks_exact(self.n_ctx).map(<[u16]>::to_vec).collect()
    }

    /// Runs one round: one forward pass, after which some pixels of each attempt are drawn.
    ///
    /// Returns the new pixels of each attempt; empty once all images are whole.
    ///
    /// # Errors
    /// When the engine fails, or the model's logits are not finite.
    pub fn round(&mut self, engine: &mut dyn Engine) -> Result<Vec<FillRound>> {
        if self.is_done() {
            return Ok(Vec::new());
        }
        let (n_ctx, n_vocab) = (self.n_ctx, engine.config().n_vocab);
        let batch = Batch::new(self.tokens.clone(), n_ctx).with_masks(self.masked.clone());
        let mut logits = vec![0.0; self.tokens.len() * n_vocab];
        engine.logits(&batch, &mut logits)?;
        let mut sampler = Sampler::new(&self.settings)?;
        let missing = self.orders[0].len();
        let part = missing * self.done / self.rounds..missing * (self.done + 1) / self.rounds;
        let mut filled = Vec::with_capacity(self.orders.len());
        for (attempt, order) in self.orders.iter().enumerate() {
            let pixels = order[part.clone()].to_vec();
            let mut tokens = Vec::with_capacity(pixels.len());
            for &pixel in &pixels {
                let place = attempt * n_ctx + pixel;
                let logits = &logits[place * n_vocab..][..n_vocab];
                let token = sampler.draw(logits, self.image, attempt as u64, pixel);
                let token = token.map_err(|error| name_suspect_weight(engine, error))?;
                (self.tokens[place], self.masked[place]) = (token, false);
                tokens.push(token);
            }
            filled.push(FillRound { attempt, pixels, tokens });
        }
        self.done += 1;
        Ok(filled)
    }
}

/// Fills the missing pixels of `known`, `attempts` times, and returns whole images. See [`Infill::new`].
///
/// # Errors
/// As [`Infill::new`] and [`Infill::round`].
pub(crate) fn infill(
    engine: &mut dyn Engine,
    known: &[Option<u16>],
    image: u64,
    attempts: usize,
    rounds: usize,
    settings: &SamplingSettings,
) -> Result<Vec<Vec<u16>>> {
    let mut infill = Infill::new(engine, known, image, attempts, rounds, settings)?;
    while !infill.is_done() {
        infill.round(engine)?;
    }
    Ok(infill.images())
}

#[cfg(test)]
mod tests;
