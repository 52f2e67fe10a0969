//! Optimizers: which moments an engine holds for them, and what a step of each is told.

use crate::model::LrMultipliers;
use crate::{Error, Result};

/// What updates the weights, and so which moments an engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam for every parameter: two moments each.
    #[default]
    Adam,
    /// Muon for the hidden matrices, which have one moment; Adam for everything else.
    Muon,
}

impl Optimizer {
    /// Both optimizers.
    pub const ALL: [Optimizer; 2] = [Optimizer::Adam, Optimizer::Muon];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Adam => "adam",
            Optimizer::Muon => "muon",
        }
    }
}

/// One optimizer step over the whole gradient, clipped by its global norm first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Largest global gradient norm; 0 turns clipping off.
    pub clip: f32,
    /// For everything but the hidden matrices, and for these where they have nothing else.
    pub adam: AdamUpdate,
    /// For the hidden matrices.
    pub hidden: HiddenUpdate,
    /// How the rates of both differ from tensor to tensor.
    pub rates: LrMultipliers,
}

impl Update {
    /// The optimizer that this is a step of.
    pub fn optimizer(&self) -> Optimizer {
        match self.hidden {
            HiddenUpdate::Adam => Optimizer::Adam,
            HiddenUpdate::Muon(_) => Optimizer::Muon,
        }
    }

    /// Refuses to be a step of another optimizer than that of an engine.
    ///
    /// # Errors
    /// Names both.
    pub fn expect_of(&self, own: Optimizer) -> Result<()> {
        if self.optimizer() == own {
            return Ok(());
        }
        let (given, own) = (self.optimizer().name(), own.name());
        Err(Error::Mismatch(format!("a step of {given} was given to an engine opened for {own}: open it for {given}")))
    }
}

/// What updates the hidden matrices in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HiddenUpdate {
    /// [`Update::adam`], as it does everything else.
    Adam,
    /// Muon.
    Muon(MuonUpdate),
}

/// A step of Adam (torch.optim.AdamW's semantics).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamUpdate {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, 0 in the paper.
    pub weight_decay: f32,
}

/// A step of Muon (torch.optim.Muon's semantics, with Nesterov momentum and the scale √max(1, fan out / fan in)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonUpdate {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the momentum.
    pub momentum: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}
