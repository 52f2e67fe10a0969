//! Recipes: named bundles of training settings, the lowest layer below files, flags and `--set`.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::train::config::layers::Overrides;

/// Recipe: a named bundle of training settings, each of which can still be set by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Recipe {
    /// The paper's settings (Chen et al. 2020, section 3.4): Adam, batches of 128, a cosine schedule.
    Paper,
    /// Settings that reach a lower loss in the same time: Muon, small batches, grid initialisation, a linear schedule.
    ///
    /// docs/recipe.md compares it with the paper's.
    Modern,
}

/// Recipe of a config that names none.
pub(crate) const DEFAULT: Recipe = Recipe::Modern;

impl Recipe {
    /// All recipes.
    pub const ALL: [Recipe; 2] = [Recipe::Paper, Recipe::Modern];

    /// Returns the name of this recipe in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Recipe::Paper => "paper",
            Recipe::Modern => "modern",
        }
    }

    /// Settings of `[train]` that differ from the defaults.
    fn settings(self) -> &'static str {
        match self {
            Recipe::Paper => r#"optimizer.kind = "adam""#,
            Recipe::Modern => {
                r#"
                batch = 0
                init = "grid"
                optimizer.kind = "muon"
                optimizer.lr = 0.01
                lr = 1.5e-3
                warmup_steps = 60
                schedule = "linear"
                "#
            }
        }
    }

    /// Settings that differ from [`Recipe::settings`] when a classifier is trained.
    fn fine_tuning(self) -> &'static str {
        match self {
            Recipe::Paper => {
                r#"
                train.patience = 10
                train.schedule = "constant"
                train.warmup_steps = 100
                train.eval_images = 1024
                "#
            }
            Recipe::Modern => {
                r#"
                train.patience = 0
                train.schedule = "linear"
                train.warmup_steps = 100
                train.eval_images = 1024
                "#
            }
        }
    }

    /// Settings that differ from [`Recipe::fine_tuning`] when the classifier starts from a pretrained model.
    ///
    /// In the paper's recipe this is a tenth of the learning rate, which the paper's search often found (section 4.5).
    /// In the modern one it is half of the rates (docs/recipe.md).
    fn on_a_model(self) -> &'static str {
        match self {
            Recipe::Paper => "train.lr = 3e-4",
            Recipe::Modern => "train.lr = 7.5e-4\ntrain.optimizer.lr = 0.005",
        }
    }

    /// All settings of the recipe, its name included, for a run with these other `settings`.
    fn layers(self, settings: &Table) -> Overrides {
        let read = |text: &str| Overrides { table: text.parse().expect("a recipe is TOML") };
        let mut train: Table = read(self.settings()).table;
        train.insert("recipe".into(), self.name().into());
        let pretraining = Overrides { table: Table::from_iter([("train".into(), train.into())]) };
        match settings.get("finetune").and_then(Value::as_table) {
            None => pretraining,
            Some(finetune) if !finetune.contains_key("model") => pretraining.merge_under(read(self.fine_tuning())),
            Some(_) => pretraining.merge_under(read(self.fine_tuning())).merge_under(read(self.on_a_model())),
        }
    }
}

/// Passes over the images that a classifier is trained for without a budget; below, the fewest steps.
const PASSES: u64 = 3;
const FEWEST_STEPS: u64 = 1000;

/// Steps of fine-tuning on `images` training images without a budget.
pub(in crate::train) fn fine_tuning_steps(images: usize, batch: usize) -> u64 {
    (PASSES * images as u64).div_ceil(batch as u64).max(FEWEST_STEPS)
}

/// Whether a recipe decides the key `key` of `[train]` in a config with these `settings`.
fn decides(settings: &Table, key: &str) -> bool {
    const ALSO: [&str; 2] = ["plan", "warmup_epochs"];
    ALSO.contains(&key) || Recipe::Modern.layers(settings).get(&format!("train.{key}")).is_some()
}

/// Puts `settings` on top of the recipe that they name, or else of the [`DEFAULT`].
///
/// An unknown name is left for the reader of the table to refuse.
pub(crate) fn onto(settings: Table) -> Table {
    let named = settings.get("train").and_then(Value::as_table).and_then(|train| train.get("recipe"));
    let recipe = match named {
        None => DEFAULT,
        Some(name) => match Recipe::ALL.into_iter().find(|recipe| name.as_str() == Some(recipe.name())) {
            Some(recipe) => recipe,
            None => return settings,
        },
    };
    recipe.layers(&settings).merge_under(Overrides { table: settings }).table
}

/// Settings of pretraining by `recipe` alone.
pub(super) fn alone(recipe: Recipe) -> Table {
    recipe.layers(&Table::new()).table
}

impl Overrides {
    /// Sets the recipe by its name.
    ///
    /// If the layers so far name another recipe, this removes from them what a recipe decides: they keep their images
    /// and their network, but not their learning rates.
    pub fn recipe(&mut self, name: &str) {
        let others = |train: &Table| train.get("recipe").is_some_and(|other| other.as_str() != Some(name));
        if self.table.get("train").and_then(Value::as_table).is_some_and(others) {
            let settings = self.table.clone();
            if let Some(train) = self.table.get_mut("train").and_then(Value::as_table_mut) {
                train.retain(|key, _| !decides(&settings, key));
            }
        }
        self.set("train.recipe", name);
    }
}

#[cfg(test)]
mod tests {
    use super::fine_tuning_steps;
    use crate::model::Initialization;
    use crate::train::config::{FinetuneSettings, MuonSettings, OptimizerSettings, RunConfig, TrainSettings};
    use crate::train::{Decay, Overrides, Recipe};

    fn read(text: &str) -> RunConfig {
        RunConfig::from_toml(text, std::path::Path::new("run.toml")).unwrap()
    }

    #[test]
    fn defaults_are_the_modern_recipe_in_files_in_flags_and_in_code() {
        assert_eq!(read("[train]\nrecipe = \"paper\"\n").train, TrainSettings::paper());
        assert_eq!(
            read("[train]\nrecipe = \"paper\"\nlr = 0.5\n").train,
            TrainSettings { lr: 0.5, ..TrainSettings::paper() }
        );
        assert_eq!(read(""), read("[train]\nrecipe = \"modern\"\n"));
        assert_eq!(Overrides::default().finish().unwrap(), read(""));
        assert_eq!(RunConfig::default(), read(""));
        assert_eq!(TrainSettings::default(), read("").train);
        for recipe in Recipe::ALL {
            let text = format!("[train]\nrecipe = \"{}\"\n", recipe.name());
            assert_eq!(RunConfig::of(recipe), read(&text));
        }
    }

    #[test]
    fn fine_tuning_has_rates_of_its_own_and_smaller_ones_from_a_model() {
        let train = |text: &str| read(text).train;
        let (fresh, tuned) = (train("[finetune]\n"), train("[finetune]\nmodel = \"a\"\n"));
        assert_eq!((fresh.optimizer, fresh.lr, fresh.schedule), (muon(0.01), 1.5e-3, Decay::Linear));
        assert_eq!((tuned.optimizer, tuned.lr, tuned.schedule), (muon(0.005), 7.5e-4, Decay::Linear));
        let set = read("[finetune]\nmodel = \"a\"\nhead_lr = 2.0\n[train]\nlr = 0.5\n");
        assert_eq!((set.train.lr, set.finetune.unwrap().head_lr), (0.5, 2.0));
        let paper = "[train]\nrecipe = \"paper\"\n[finetune]\n";
        let (fresh, tuned) = (read(paper), read(&format!("{paper}model = \"a\"\n")));
        assert_eq!((fresh.train.lr, tuned.train.lr, tuned.train.schedule), (3e-3, 3e-4, Decay::Constant));
        assert_eq!(fresh.finetune, Some(FinetuneSettings::default()));
        assert_eq!(tuned.finetune, Some(FinetuneSettings { model: Some("a".into()), ..Default::default() }));
    }

    #[test]
    fn naming_the_papers_recipe_takes_fine_tunings_settings_away_too() {
        let mut layers = Overrides::from_config(&read("[finetune]\nfrozen_blocks = 1\n"));
        layers.recipe("paper");
        let found = layers.finish().unwrap();
        assert_eq!(found.finetune, Some(FinetuneSettings { frozen_blocks: 1, ..Default::default() }));
        assert_eq!((found.train.patience, found.train.schedule), (Some(10), Decay::Constant));
        // Recipes decide neither of these for pretraining.
        let mut layers = Overrides::from_config(&read("[train]\npatience = 3\neval_images = 7\n"));
        layers.recipe("paper");
        let train = layers.finish().unwrap().train;
        assert_eq!((train.patience, train.eval_images), (Some(3), Some(7)));
    }

    #[test]
    fn without_a_budget_a_classifier_sees_its_images_three_times_and_few_ones_more_often() {
        assert_eq!((fine_tuning_steps(54_000, 20), fine_tuning_steps(250, 20)), (8100, 1000));
        assert!(read("[finetune]\n").validate().is_ok() && read("").validate().is_err());
    }

    #[test]
    fn a_warm_up_in_epochs_replaces_the_recipes_steps() {
        let train = read("[train]\nrecipe = \"modern\"\nwarmup_epochs = 0.5\n").train;
        assert_eq!((train.warmup_epochs, train.warmup_steps), (Some(0.5), None));
    }

    #[test]
    fn a_batch_of_zero_becomes_about_4096_tokens() {
        for (side, groups, images) in [(28, 1, 5), (28, 4, 8), (16, 1, 16), (32, 2, 4), (64, 1, 1)] {
            let mut train = TrainSettings { batch: 0, gradient_groups: groups, ..TrainSettings::paper() };
            train.resolve(side * side);
            assert_eq!(train.batch, images);
        }
    }

    fn muon(lr: f64) -> OptimizerSettings {
        OptimizerSettings::Muon(MuonSettings { lr, ..Default::default() })
    }

    #[test]
    fn every_part_of_a_recipe_can_be_set_by_itself() {
        let modern = read("[train]\nrecipe = \"modern\"\n").train;
        assert_eq!((modern.optimizer, modern.schedule, modern.batch), (muon(0.01), Decay::Linear, 0));
        assert_eq!((modern.lr, modern.init), (1.5e-3, Initialization::Grid));
        let mut layers = Overrides::default();
        layers.assign("train.batch=5").unwrap();
        layers.set("train.recipe", "modern");
        layers.assign("train.optimizer.lr=0.04").unwrap();
        let mixed = layers.clone().finish().unwrap().train;
        assert_eq!(mixed, TrainSettings { batch: 5, optimizer: muon(0.04), ..modern });
        // Another optimizer removes the settings of the recipe's optimizer and of lower layers.
        layers.assign("train.optimizer.kind=adam").unwrap();
        let adam = layers.finish().unwrap().train;
        assert_eq!((adam.optimizer, adam.schedule), (OptimizerSettings::Adam {}, Decay::Linear));
    }

    #[test]
    fn a_resolved_config_repeats_its_recipe() {
        let mut config = read("[train]\nrecipe = \"modern\"\nsteps = 3\nschedule = \"cosine\"\n");
        config.train.resolve(784);
        let text = config.to_toml();
        for part in ["recipe = \"modern\"", "\nmomentum = 0.95", "schedule = \"cosine\""] {
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
            let message = Overrides::default().assign(assignment).unwrap_err().to_string();
            assert!(message.contains(allowed), "{message}");
        }
    }
}
