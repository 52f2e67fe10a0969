//! Layers of settings: files, flags and `--set a.b=v`, of which the later wins.

use std::path::Path;

use toml::Table;
pub use toml::Value;

use crate::model::Objective;
use crate::train::config::optimizer::OptimizerSection;
use crate::train::config::{RunConfig, earlier, recipe};
use crate::{Error, Result, files};

/// Keys that exclude each other: one given by a later layer removes the others of the layers before.
const EXCLUSIVE: [(&str, &[&str]); 4] = [
    ("model", &["preset", "n_embd n_layer n_head"]),
    ("palette", &["colors", "file"]),
    ("train", &["steps", "epochs", "minutes plan"]),
    ("train", &["warmup_epochs", "warmup_steps"]),
];

/// Settings gathered so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    pub(super) table: Table,
}

impl Overrides {
    /// Starts from a whole config, for example that of the run to resume.
    pub fn from_config(config: &RunConfig) -> Self {
        Self { table: Table::try_from(config).expect("a config of plain values has a TOML form") }
    }

    /// These settings with those of `upper` on top.
    pub fn below(mut self, upper: Overrides) -> Self {
        self.layer(upper.table);
        self
    }

    /// Adds a TOML file. The error names the file, the line and the unknown or wrong key.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let table = RunConfig::settings(&files::read_to_string(path)?, path)?;
        self.layer(table);
        Ok(())
    }

    /// The value of one key, such as `train.lr`, where these settings have it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (section, key) = key.split_once('.')?;
        self.table.get(section)?.get(key)
    }

    /// Sets one key, such as `train.lr`.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        let mut value = value.into();
        for part in key.rsplit('.') {
            value = Value::Table(Table::from_iter([(part.to_string(), value)]));
        }
        if let Value::Table(table) = value {
            self.layer(table);
        }
    }

    /// Names the recipe. Where the layers so far name another, what a recipe decides is taken away from them: a config
    /// keeps its images and its network, but not its rates.
    pub fn recipe(&mut self, name: &str) {
        if let Some(train) = self.table.get_mut("train").and_then(Value::as_table_mut)
            && train.get("recipe").is_some_and(|other| other.as_str() != Some(name))
        {
            train.retain(|key, _| !recipe::decides(key));
        }
        self.put("train.recipe", name);
    }

    /// Reads `a.b=v` with a TOML value; a bare word is a string. The error names the unknown or wrong key.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, text)) = assignment.split_once('=') else {
            return Err(Error::Invalid(format!("--set {assignment}: wanted SECTION.KEY=VALUE, such as train.lr=1e-3")));
        };
        let (key, text) = (key.trim(), text.trim());
        let value = match format!("v = {text}").parse::<Table>() {
            Ok(mut table) => table.remove("v").expect("the text has the key v"),
            Err(_) => Value::String(text.to_string()),
        };
        let mut alone = Overrides::default();
        alone.put(key, value);
        let wrong = |error| Error::Invalid(format!("--set {assignment}: {error}"));
        alone.table = earlier::today(alone.table).map_err(wrong)?;
        alone.clone().finish().map_err(wrong)?;
        self.layer(alone.table);
        Ok(())
    }

    /// The config of all layers on top of the recipe that they name; not yet validated.
    pub fn finish(self) -> Result<RunConfig> {
        recipe::onto(self.table)
            .try_into()
            .map_err(|e: toml::de::Error| Error::Invalid(e.to_string().trim_end().to_string()))
    }

    fn layer(&mut self, upper: Table) {
        for (section, choices) in EXCLUSIVE {
            let given = |choice: &str| {
                let keys = upper.get(section).and_then(Value::as_table);
                choice.split(' ').any(|key| keys.is_some_and(|keys| keys.contains_key(key)))
            };
            if let Some(lower) = self.table.get_mut(section).and_then(Value::as_table_mut) {
                for removed in choices.iter().filter(|choice| removes(section, choice, &given, choices)) {
                    removed.split(' ').for_each(|key| drop(lower.remove(key)));
                }
            }
        }
        // Another optimizer takes the settings of that of the layers below away.
        let kind = upper.get("train").and_then(|train| train.get("optimizer")?.get("kind"));
        let lower = self.table.get_mut("train").and_then(|train| train.get_mut("optimizer")?.as_table_mut());
        if let (Some(kind), Some(lower)) = (kind, lower)
            && !OptimizerSection::keeps(kind, lower)
        {
            lower.clear();
        }
        // Another objective than the masked one takes the share of masked pixels away.
        let objective = upper.get("train").and_then(|train| train.get("objective"));
        if objective.is_some_and(|objective| objective.as_str() != Some(Objective::Masked.name()))
            && let Some(train) = self.table.get_mut("train").and_then(Value::as_table_mut)
        {
            train.remove("mask_prob");
        }
        merge(&mut self.table, upper);
    }
}

/// Whether `choice` goes because the upper layer gives another one. A preset replaces single sizes, but a single
/// size changes a preset.
fn removes(section: &str, choice: &str, given: &dyn Fn(&str) -> bool, choices: &[&str]) -> bool {
    let other = choices.iter().any(|c| *c != choice && given(c));
    other && !(section == "model" && choice == "preset")
}

fn merge(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => merge(lower, upper),
            (_, value) => drop(lower.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;
    use crate::model::Preset;
    use crate::train::config::TrainSection;

    #[test]
    fn later_layers_win_and_exclude() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[model]\npreset = \"xs\"\nn_layer = 3\n[train]\nepochs = 2\nlr = 0.5\nbatch = 7\n")
            .unwrap();
        let mut layers = Overrides::default();
        layers.file(&path).unwrap();
        layers.put("train.steps", 9);
        layers.set("train.lr=1e-3").unwrap();
        layers.set("data.spec = fashion-mnist").unwrap();
        layers.set("model.n_px=[8, 12]").unwrap();
        let config = layers.clone().finish().unwrap();
        assert_eq!((config.train.steps, config.train.epochs), (Some(9), None));
        assert_eq!((config.train.lr, config.train.batch), (1e-3, 7));
        assert_eq!(config.data.spec, "fashion-mnist");
        assert_eq!(config.model.n_px, Some(ImageSize { height: 8, width: 12 }));
        assert_eq!((config.model.preset, config.model.n_layer), (Some(Preset::Xs), Some(3)));
        layers.set("model.preset = \"nano\"").unwrap();
        assert_eq!(layers.finish().unwrap().model.n_layer, None);
    }

    #[test]
    fn naming_another_recipe_takes_the_rates_of_the_layers_below_away_but_not_their_images() {
        let mut layers = Overrides::default();
        for (key, value) in [("train.recipe", "paper"), ("train.schedule", "cosine"), ("data.spec", "mnist")] {
            layers.put(key, value);
        }
        layers.put("train.batch", 7);
        let mut same = layers.clone();
        same.recipe("paper");
        assert_eq!(same.finish().unwrap().train.batch, 7);
        layers.recipe("modern");
        layers.put("train.lr", 0.5);
        let (found, modern) = (layers.finish().unwrap(), Overrides::default().finish().unwrap().train);
        assert_eq!((found.data.spec.as_str(), found.train.lr), ("mnist", 0.5));
        assert_eq!(found.train, TrainSection { lr: 0.5, ..modern });
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let mut layers = Overrides::default();
        for (assignment, part) in [
            ("train.learning_rate=1", "unknown field `learning_rate`"),
            ("train.lr=fast", "invalid type"),
            ("lr=1", "unknown field `lr`"),
            ("train.lr", "SECTION.KEY=VALUE"),
        ] {
            let message = layers.set(assignment).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(assignment), "{message}");
        }
    }
}
