//! Recipes: named bundles of training settings, the lowest layer below files, flags and `--set`.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// A named bundle of settings, each of which can still be set by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// As Chen et al. 2020 trained, section 3.4: Adam, batches of 128, a cosine.
    Paper,
    /// What gets further in the same time on a CPU: Muon, small batches, a line to zero.
    Modern,
}

/// The recipe where none is named.
pub const DEFAULT: Recipe = Recipe::Paper;

impl Recipe {
    /// Every recipe.
    pub const ALL: [Recipe; 2] = [Recipe::Paper, Recipe::Modern];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Recipe::Paper => "paper",
            Recipe::Modern => "modern",
        }
    }

    /// `[train]` where it differs from the defaults.
    fn settings(self) -> &'static str {
        match self {
            Recipe::Paper => "",
            Recipe::Modern => {
                r#"
                optimizer = "muon"
                muon_lr = 0.02
                lr = 3e-3
                batch = 16
                schedule = "linear"
                "#
            }
        }
    }

    /// `[train]` of this recipe, its name included.
    fn table(self) -> Table {
        let mut table: Table = self.settings().parse().expect("a recipe is TOML");
        table.insert("recipe".into(), self.name().into());
        table
    }
}

/// Whether `key` of `[train]` is for a recipe to decide.
pub(crate) fn decides(key: &str) -> bool {
    const ALSO: [&str; 2] = ["plan", "warmup_epochs"];
    key.starts_with("muon_") || ALSO.contains(&key) || Recipe::Modern.table().contains_key(key)
}

/// `settings` on top of the recipe that they name, or else the [`DEFAULT`]. An unknown name is left for whoever reads
/// the table to refuse.
pub(crate) fn onto(mut settings: Table) -> Table {
    let train = settings.entry("train").or_insert_with(|| Value::Table(Table::new()));
    let Some(train) = train.as_table_mut() else { return settings };
    let mut recipe = match train.get("recipe") {
        None => DEFAULT.table(),
        Some(name) => match Recipe::ALL.iter().find(|recipe| name.as_str() == Some(recipe.name())) {
            Some(recipe) => recipe.table(),
            None => return settings,
        },
    };
    // What belongs to the recipe's optimizer goes with it.
    if train.get("optimizer").is_some_and(|optimizer| Some(optimizer) != recipe.get("optimizer")) {
        recipe.retain(|key, _| !key.starts_with("muon_"));
    }
    recipe.extend(std::mem::take(train));
    *train = recipe;
    settings
}

#[cfg(test)]
mod tests {
    use crate::model::Optimizer;
    use crate::train::config::{RunConfig, TrainSection};
    use crate::train::{Decay, Overrides};

    fn read(text: &str) -> RunConfig {
        RunConfig::from_toml(text, std::path::Path::new("run.toml")).unwrap()
    }

    #[test]
    fn the_paper_is_the_default_and_changes_nothing() {
        assert_eq!(read(""), RunConfig::default());
        assert_eq!(
            read("[train]\nrecipe = \"paper\"\nlr = 0.5\n").train,
            TrainSection { lr: 0.5, ..Default::default() }
        );
        assert_eq!(Overrides::default().finish().unwrap(), RunConfig::default());
    }

    #[test]
    fn every_part_of_a_recipe_can_be_set_by_itself() {
        let modern = read("[train]\nrecipe = \"modern\"\n").train;
        assert_eq!((modern.optimizer, modern.schedule, modern.batch), (Optimizer::Muon, Decay::Linear, 16));
        assert_eq!((modern.muon_lr, modern.lr), (Some(0.02), 3e-3));
        let mut layers = Overrides::default();
        layers.set("train.batch=5").unwrap();
        layers.put("train.recipe", "modern");
        layers.set("train.muon_lr=0.01").unwrap();
        let mixed = layers.clone().finish().unwrap().train;
        assert_eq!(mixed, TrainSection { batch: 5, muon_lr: Some(0.01), ..modern });
        // Another optimizer takes the settings of the recipe's, and of lower layers, away.
        layers.set("train.optimizer=adam").unwrap();
        let adam = layers.finish().unwrap().train;
        assert_eq!((adam.optimizer, adam.muon_lr, adam.schedule), (Optimizer::Adam, None, Decay::Linear));
    }

    #[test]
    fn a_resolved_config_repeats_its_recipe() {
        let mut config = read("[train]\nrecipe = \"modern\"\nsteps = 3\nschedule = \"cosine\"\n");
        config.train.resolve();
        let text = config.to_toml();
        for part in ["recipe = \"modern\"", "muon_momentum = 0.95", "muon_heads = false", "schedule = \"cosine\""] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(read(&text), config);
    }

    #[test]
    fn unknown_names_list_the_allowed_ones() {
        for (assignment, allowed) in [
            ("train.recipe=old", "`paper` or `modern`"),
            ("train.optimizer=sgd", "`adam` or `muon`"),
            ("train.schedule=flat", "`cosine`, `linear`, `constant`"),
        ] {
            let message = Overrides::default().set(assignment).unwrap_err().to_string();
            assert!(message.contains(allowed), "{message}");
        }
    }
}
