//! Layers of settings from files, flags and `--set a.b=v`, and the config made of them.

use std::path::Path;

use toml::Table;

use crate::train::config::layers::{Overrides, Value};
use crate::train::config::run_config::RunConfig;
use crate::train::config::{migrate, recipe};
use crate::{Error, Result, device, files};

impl Overrides {
    /// Starts from a whole config, for example that of the run to resume.
    pub fn from_config(config: &RunConfig) -> Self {
        Self { table: Table::try_from(config).expect("a config of plain values has a TOML form") }
    }

    /// Adds the settings of a TOML file.
    ///
    /// The error names the file, the line and the unknown or wrong key.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let text = files::read_to_string(path)?;
        let table = RunConfig::settings(&text, path)?;
        if let Ok(written) = text.parse() {
            migrate::expect_current_names(&written).map_err(|error| Error::format(path, error.to_string()))?;
        }
        self.layer(table);
        Ok(())
    }

    /// Adds the configuration of a run, which an earlier version may have written.
    ///
    /// # Errors
    /// When it can't be read, or has a key that no version had.
    pub fn run_file(&mut self, path: &Path) -> Result<()> {
        self.layer(RunConfig::settings(&files::read_to_string(path)?, path)?);
        Ok(())
    }

    /// Puts the quickest precision of the device below these settings, where they name none.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn with_quickest_precision(self) -> Result<Self> {
        let device = self.get("train.device").and_then(Value::as_str).unwrap_or("auto");
        let mut lowest = Self::default();
        lowest.set("train.precision", device::backend(device.parse()?)?.precisions()[0].name());
        Ok(lowest.merge_under(self))
    }

    /// Adds one setting `a.b=v`, where `v` is a TOML value and a bare word is a string.
    ///
    /// The error names the unknown or wrong key.
    pub fn assign(&mut self, assignment: &str) -> Result<()> {
        let Some((key, text)) = assignment.split_once('=') else {
            return Err(Error::Invalid(format!("--set {assignment}: wanted SECTION.KEY=VALUE, such as train.lr=1e-3")));
        };
        let (key, text) = (key.trim(), text.trim());
        let value = match format!("v = {text}").parse::<Table>() {
            Ok(mut table) => table.remove("v").expect("the text has the key v"),
            Err(_) => Value::String(text.to_string()),
        };
        let mut alone = Overrides::default();
        alone.set(key, value);
        let wrong = |error| Error::Invalid(format!("--set {assignment}: {error}"));
        migrate::expect_current_names(&alone.table).map_err(wrong)?;
        alone.table = migrate::today(alone.table).map_err(wrong)?;
        alone.clone().finish().map_err(wrong)?;
        self.layer(alone.table);
        Ok(())
    }

    /// Returns the config of all layers on top of their recipe; not yet validated.
    pub fn finish(self) -> Result<RunConfig> {
        recipe::onto(self.table)
            .try_into()
            .map_err(|e: toml::de::Error| Error::Invalid(e.to_string().trim_end().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;
    use crate::model::Preset;
    use crate::train::config::train_section::TrainSettings;

    #[test]
    fn later_layers_win_and_exclude() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[model]\npreset = \"xs\"\nn_layer = 3\n[train]\nepochs = 2\nlr = 0.5\nbatch = 7\n")
            .unwrap();
        let mut layers = Overrides::default();
        layers.file(&path).unwrap();
        layers.set("train.steps", 9);
        layers.assign("train.lr=1e-3").unwrap();
        layers.assign("data.spec = fashion-mnist").unwrap();
        layers.assign("model.n_px=[8, 12]").unwrap();
        let config = layers.clone().finish().unwrap();
        assert_eq!((config.train.steps, config.train.epochs), (Some(9), None));
        assert_eq!((config.train.lr, config.train.batch), (1e-3, 7));
        assert_eq!(config.data.spec, "fashion-mnist");
        assert_eq!(config.model.n_px, Some(ImageSize { height: 8, width: 12 }));
        assert_eq!((config.model.preset, config.model.n_layer), (Some(Preset::Xs), Some(3)));
        layers.assign("model.preset = \"nano\"").unwrap();
        assert_eq!(layers.finish().unwrap().model.n_layer, None);
    }

    #[test]
    fn naming_another_recipe_takes_the_rates_of_the_layers_below_away_but_not_their_images() {
        let mut layers = Overrides::default();
        for (key, value) in [("train.recipe", "paper"), ("train.schedule", "cosine"), ("data.spec", "mnist")] {
            layers.set(key, value);
        }
        layers.set("train.batch", 7);
        let mut same = layers.clone();
        same.recipe("paper");
        assert_eq!(same.finish().unwrap().train.batch, 7);
        layers.recipe("modern");
        layers.set("train.lr", 0.5);
        let (found, modern) = (layers.finish().unwrap(), Overrides::default().finish().unwrap().train);
        assert_eq!((found.data.spec.as_str(), found.train.lr), ("mnist", 0.5));
        assert_eq!(found.train, TrainSettings { lr: 0.5, ..modern });
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
            let message = layers.assign(assignment).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(assignment), "{message}");
        }
    }
}
