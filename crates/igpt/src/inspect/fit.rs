//! What is fitted once on good pictures and kept with the model.

use serde::{Deserialize, Serialize};

use super::conformal::Conformal;
use super::picture::{Picture, View};
use super::score::Score;
use super::typical::Statistics;
use crate::checksum::sha256_of;
use crate::evaluate::Baselines;
use crate::model::ModelDir;

/// All that it takes to judge pictures.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Identity of the model whose scores these are: see [`identity`].
    pub model: String,
    /// How pictures are brought to the model.
    pub view: View,
    /// The rule.
    pub score: Score,
    /// Scores of the held-out good pictures.
    pub held_out: Conformal,
    /// What a map's brightest colour stands for: what the maps of 95 % of the held-out pictures nowhere exceed.
    pub brightest: f64,
    /// Which pictures were used for what.
    pub used: Used,
    /// The reference, a context model of good pictures.
    pub reference: Baselines,
    /// What good pictures' windows are like, where the score asks.
    pub statistics: Option<Statistics>,
    /// [`Fit::key`] of all pictures that it was fitted to or that are held out, sorted.
    pub pictures: Vec<u64>,
}

/// Which good pictures were used for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// What `--data` said.
    pub data: String,
    /// How they were divided, in words.
    pub how: String,
    /// Pictures that the reference was fitted to.
    pub reference: usize,
    /// Of these, pictures that the statistics are of.
    pub statistics: usize,
    /// Held-out pictures by which the score was chosen.
    pub choice: usize,
    /// Held-out pictures that the threshold is made of.
    pub held_out: usize,
}

impl Fit {
    /// Whether a picture was fitted to or held out, or is the same in the model's eyes as one that was.
    pub fn has_used(&self, picture: &Picture) -> bool {
        self.pictures.binary_search(&Self::key(picture)).is_ok()
    }

    /// What a picture is known by again: 64 bits of the SHA-256 of its tokens.
    pub fn key(picture: &Picture) -> u64 {
        let hash = sha256_of(&[bytemuck::cast_slice(picture.tokens())]);
        u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// What a model is known by again, whatever its files are called: SHA-256 of its shape, palette and weights, in hex.
pub(super) fn identity(model: &ModelDir) -> String {
    let shape = format!("{:?} {}", model.config, model.palette.hash());
    let hash = sha256_of(&[shape.as_bytes(), bytemuck::cast_slice(&model.weights)]);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
