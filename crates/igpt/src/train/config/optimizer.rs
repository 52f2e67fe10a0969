//! Section `[train.optimizer]`: the optimizer of the hidden matrices, with its own settings.
//!
//! Adam updates all other parameters; its settings are those of `[train]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

use crate::device::{HiddenUpdate, MuonUpdate, Optimizer};
use crate::train::config::allowed::Allowed;
use crate::train::config::schedule::Schedule;

/// Optimizer of the hidden matrices, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerSettings {
    /// Adam, which updates all other parameters too.
    Adam {},
    /// Muon, for the hidden matrices alone.
    Muon(MuonSettings),
}

/// Settings of Muon.
///
/// The defaults are Jordan et al.'s (2024).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MuonSettings {
    /// Peak learning rate, which follows the same schedule as Adam's.
    pub lr: f64,
    /// Decay of the momentum.
    pub momentum: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self::Adam {}
    }
}

impl Default for MuonSettings {
    fn default() -> Self {
        Self { lr: 0.02, momentum: 0.95, weight_decay: 0.0 }
    }
}

impl OptimizerSettings {
    /// Kind of the optimizer, without its settings.
    pub fn kind(&self) -> Optimizer {
        match self {
            Self::Adam {} => Optimizer::Adam,
            Self::Muon(_) => Optimizer::Muon,
        }
    }

    /// Peak of the optimizer's own learning rate; `None` for Adam, whose rate is `lr` of `[train]`.
    pub fn own_rate(&self) -> Option<f64> {
        match self {
            Self::Adam {} => None,
            Self::Muon(muon) => Some(muon.lr),
        }
    }

    /// Sets the peak of the optimizer's own learning rate, if it has one.
    pub(super) fn set_own_rate(&mut self, rate: f64) {
        match self {
            Self::Adam {} => {}
            Self::Muon(muon) => muon.lr = rate,
        }
    }

    /// Update of the hidden matrices in step `step` (from 0) under `schedule`.
    pub(super) fn update(&self, schedule: &Schedule, step: u64) -> HiddenUpdate {
        match self {
            Self::Adam {} => HiddenUpdate::Adam,
            Self::Muon(muon) => HiddenUpdate::Muon(MuonUpdate {
                lr: schedule.rate_at(step, muon.lr) as f32,
                momentum: muon.momentum as f32,
                weight_decay: muon.weight_decay as f32,
            }),
        }
    }

    /// Passes every number to `number`, with its key in `[train]` and its allowed range.
    pub(super) fn each_number(&self, mut number: impl FnMut(&'static str, f64, Allowed)) {
        match self {
            Self::Adam {} => {}
            Self::Muon(muon) => {
                number("optimizer.lr", muon.lr, Allowed::Positive);
                number("optimizer.momentum", muon.momentum, Allowed::BelowOne);
                number("optimizer.weight_decay", muon.weight_decay, Allowed::NotNegative);
            }
        }
    }

    /// Whether the settings `lower` stay below others of this `kind`: only if they are settings of that optimizer.
    pub(super) fn keeps(kind: &Value, lower: &Table) -> bool {
        let mut settings = lower.clone();
        let before = settings.insert("kind".into(), kind.clone());
        before.is_none_or(|before| before == *kind) && settings.try_into::<Self>().is_ok()
    }
}

/// Reads the section `[train.optimizer]`.
///
/// Without a `kind`, which a recipe or a flag may name elsewhere, the section belongs to the first optimizer that has
/// its settings.
///
/// # Errors
/// Settings of another optimizer than the named one: the message says which optimizer has them and what to do.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OptimizerSettings, D::Error> {
    let table = Table::deserialize(deserializer)?;
    let of = |kind: &str, settings: &Table| {
        let mut table = settings.clone();
        table.insert("kind".into(), kind.into());
        table.try_into::<OptimizerSettings>()
    };
    let kinds = Optimizer::ALL.map(Optimizer::name);
    let Some(kind) = table.get("kind") else {
        let found = kinds.iter().find_map(|kind| of(kind, &table).ok());
        return found.map_or_else(|| of(kinds[kinds.len() - 1], &table).map_err(|e| D::Error::custom(e.message())), Ok);
    };
    let wrong = match table.clone().try_into() {
        Ok(found) => return Ok(found),
        Err(wrong) => wrong,
    };
    let kind = kind.as_str().unwrap_or_default();
    let other = kinds.iter().find(|other| kinds.contains(&kind) && of(other, &table).is_ok());
    let Some(other) = other else { return Err(D::Error::custom(wrong.message())) };
    let own = |key: &str| of(kind, &Table::from_iter([(key.into(), table[key].clone())])).is_ok();
    let strange: Vec<String> =
        table.keys().filter(|key| *key != "kind" && !own(key)).map(|key| format!("train.optimizer.{key}")).collect();
    let (is, it) = if strange.len() == 1 { ("is", "it") } else { ("are", "them") };
    Err(D::Error::custom(format!(
        "{} {is} given, but train.optimizer.kind is {kind}: leave {it} out or set train.optimizer.kind = \"{other}\"",
        strange.join(" and ")
    )))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::train::Overrides;
    use crate::train::config::recipe::Recipe;
    use crate::train::config::run_config::RunConfig;

    fn read(text: &str) -> Result<OptimizerSettings, String> {
        RunConfig::from_toml(text, Path::new("run.toml")).map(|run| run.train.optimizer).map_err(|e| e.to_string())
    }

    fn muon(lr: f64) -> OptimizerSettings {
        OptimizerSettings::Muon(MuonSettings { lr, ..Default::default() })
    }

    #[test]
    fn a_section_is_read_on_top_of_its_recipes_and_written_whole() {
        assert_eq!(read("").unwrap(), muon(0.01));
        assert_eq!(read("[train.optimizer]\nlr = 0.5\n").unwrap(), muon(0.5));
        assert_eq!(read("[train.optimizer]\nkind = \"adam\"\n").unwrap(), OptimizerSettings::Adam {});
        let paper = "[train]\nrecipe = \"paper\"\n[train.optimizer]\n";
        assert_eq!(read(paper).unwrap(), OptimizerSettings::Adam {});
        assert_eq!(read(&format!("{paper}kind = \"muon\"\n")).unwrap(), muon(0.02));
        let mut run = RunConfig::of(Recipe::Paper);
        run.train.optimizer = muon(0.25);
        let text = run.to_toml();
        let section = "[train.optimizer]\nkind = \"muon\"\nlr = 0.25\nmomentum = 0.95\nweight_decay = 0.0\n";
        assert!(text.contains(section), "{text}");
        assert_eq!(RunConfig::from_toml(&text, Path::new("run.toml")).unwrap(), run);
    }

    #[test]
    fn settings_of_another_optimizer_say_what_to_do() {
        for (text, wanted) in [
            ("recipe = \"paper\"\noptimizer.lr = 0.1\n", "train.optimizer.lr is given"),
            (
                "optimizer.kind = \"adam\"\noptimizer.momentum = 0.1\noptimizer.weight_decay = 0.1\n",
                "train.optimizer.momentum and train.optimizer.weight_decay are given",
            ),
        ] {
            let message = read(&format!("[train]\n{text}")).unwrap_err();
            for part in [wanted, "train.optimizer.kind is adam", "set train.optimizer.kind = \"muon\""] {
                assert!(message.contains(part), "{message}");
            }
        }
    }

    #[test]
    fn a_wrong_section_names_the_key() {
        for (text, part) in [
            ("[train.optimizer]\nkind = \"sgd\"\n", "`adam` or `muon`"),
            ("[train.optimizer]\nkind = 3\n", "invalid type"),
            ("[train.optimizer]\nrate = 3\n", "unknown field `rate`"),
            ("[train.optimizer]\nkind = \"muon\"\nlr = \"fast\"\n", "invalid type"),
            ("[train]\noptimizer = 3\n", "invalid type"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(part) && message.contains("run.toml"), "{text}: {message}");
        }
    }

    #[test]
    fn another_optimizer_takes_the_settings_of_the_one_below_away_but_not_those_that_wait_for_it() {
        let read = |settings: &[&str]| {
            let mut layers = Overrides::default();
            settings.iter().for_each(|setting| layers.assign(setting).unwrap());
            layers.finish().map(|run| run.train.optimizer).map_err(|e| e.to_string())
        };
        let (paper, adam) = ("train.recipe=paper", OptimizerSettings::Adam {});
        assert_eq!(read(&["train.optimizer.kind=adam"]).unwrap(), adam);
        assert_eq!(read(&["train.optimizer.lr=0.5", "train.optimizer.kind=adam"]).unwrap(), adam);
        assert_eq!(read(&["train.optimizer.kind=muon"]).unwrap(), muon(0.01));
        assert_eq!(read(&[paper, "train.optimizer.kind=muon"]).unwrap(), muon(0.02));
        for kind in ["train.optimizer.kind=muon", "train.optimizer=muon"] {
            assert_eq!(read(&[paper, "train.optimizer.lr=0.5", kind]).unwrap(), muon(0.5));
            assert_eq!(read(&[paper, kind, "train.optimizer.lr=0.5"]).unwrap(), muon(0.5));
        }
        assert!(read(&["train.optimizer=adam", "train.optimizer.lr=0.5"]).unwrap_err().contains("is given, but"));
    }
}
