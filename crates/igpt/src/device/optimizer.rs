//! Optimizers: the moments that each keeps, and the parameters of one step.

use crate::model::LrMultipliers;
use crate::{Error, Result};

/// Optimizer, which decides how weights are updated and which moments an engine holds.
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

    /// Name of the optimizer in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Adam => "adam",
            Optimizer::Muon => "muon",
        }
    }
}

/// One optimizer step over the whole gradient, which is clipped by its global norm first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Largest global gradient norm; 0 turns clipping off.
    pub clip: f32,
    /// Adam step for all parameters but the hidden matrices, and for these too under [`HiddenUpdate::Adam`].
    pub adam: AdamUpdate,
    /// Update of the hidden matrices.
    pub hidden: HiddenUpdate,
    /// Multipliers of both learning rates, from tensor to tensor.
    pub rates: LrMultipliers,
}

impl Update {
    /// Returns the optimizer that this step belongs to.
    pub fn optimizer(&self) -> Optimizer {
        match self.hidden {
            HiddenUpdate::Adam => Optimizer::Adam,
            HiddenUpdate::Muon(_) => Optimizer::Muon,
        }
    }

    /// Refuses a step of another optimizer than `own`, an engine's optimizer.
    ///
    /// # Errors
    /// When they differ; the message names both.
    pub fn expect_of(&self, own: Optimizer) -> Result<()> {
        if self.optimizer() == own {
            return Ok(());
        }
        let (given, own) = (self.optimizer().name(), own.name());
        Err(Error::Mismatch(format!("a step of {given} was given to an engine opened for {own}: open it for {given}")))
    }
}

/// Update of the hidden matrices in an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HiddenUpdate {
    /// Adam, with the settings of [`Update::adam`].
    Adam,
    /// Muon, with settings of its own.
    Muon(MuonUpdate),
}

/// Parameters of an Adam step (torch.optim.AdamW's semantics).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamUpdate {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment (β₁).
    pub beta1: f32,
    /// Decay of the second moment (β₂).
    pub beta2: f32,
    /// Epsilon, added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, 0 in the paper.
    pub weight_decay: f32,
}

/// Parameters of a Muon step (torch.optim.Muon's semantics).
///
/// It uses Nesterov momentum and the scale √max(1, fan out / fan in).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonUpdate {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the momentum.
    pub momentum: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}
