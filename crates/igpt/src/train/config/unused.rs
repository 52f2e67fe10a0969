//! Refusal of settings that were given and would have no effect.
//!
//! A model to fine-tune and a run to resume bring a network, a palette and an objective. Settings that ask for others
//! would otherwise be ignored without a word.

use std::path::PathBuf;

use crate::model::{ModelConfig, Objective};
use crate::palette::Palette;
use crate::train::config::explicit::ExplicitSettings;
use crate::train::config::finetune_section::Head;
use crate::train::config::keep::Keep;
use crate::train::config::layers::Value;
use crate::train::config::run_config::{AUTO, RunConfig};
use crate::{Error, Result};

/// Settings without effect on a linear head, which is fitted without steps and chooses its layer itself.
const OF_TRAINING: [&str; 34] = [
    "train.steps",
    "train.epochs",
    "train.minutes",
    "train.batch",
    "train.gradient_groups",
    "train.optimizer",
    "train.lr",
    "train.layer_decay",
    "train.mup_base_width",
    "train.schedule",
    "train.beta1",
    "train.beta2",
    "train.eps",
    "train.clip",
    "train.weight_decay",
    "train.ema",
    "train.warmup_epochs",
    "train.warmup_steps",
    "train.eval_every",
    "train.sample_every",
    "train.sample_images",
    "train.checkpoint_every",
    "train.patience",
    "train.keep_last",
    "train.keep_every",
    "train.plan",
    "train.phases",
    "data.augment",
    "data.flip",
    "finetune.generative_weight",
    "finetune.class_layer",
    "finetune.frozen_blocks",
    "finetune.head_lr",
    "finetune.label_smoothing",
];

/// Whether `value` asks for what a linear head does anyway.
fn asks_for_nothing(key: &str, value: &Value) -> bool {
    match key {
        "data.augment" => matches!(value.as_str(), Some(AUTO | "none")),
        "data.flip" => value.as_bool() == Some(false),
        "train.sample_images" => value.as_integer() == Some(0),
        _ => false,
    }
}

/// Source of the network of a run that does not make its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::train) enum Decider {
    /// The model to start from.
    Model,
    /// The run to resume.
    Run,
}

impl Decider {
    fn name(self) -> &'static str {
        match self {
            Decider::Model => "the model to start from",
            Decider::Run => "the run to resume",
        }
    }
}

impl ExplicitSettings {
    /// Refuses settings that differ from the `network` and `palette` of `decider`.
    ///
    /// # Errors
    /// When there are such settings; the message has each with both values.
    pub(in crate::train) fn expect_used(
        &self,
        config: &RunConfig,
        decider: Decider,
        network: &ModelConfig,
        palette: &Palette,
    ) -> Result<()> {
        let asked = self.all.clone().finish()?;
        let model = &asked.model;
        let shape = model.preset.map(|preset| preset.shape());
        let mut problems = Vec::new();
        let mut compare = |key: &str, asked: Option<String>, used: String| {
            if let Some(asked) = asked.filter(|asked| *asked != used) {
                problems.push(format!("{key} is {asked}, but {} has {used}", decider.name()));
            }
        };
        let number = |n: Option<usize>| n.map(|n| n.to_string());
        compare("model.n_px", model.n_px.map(|n_px| n_px.to_string()), network.n_px.to_string());
        compare("model.n_embd", number(model.n_embd.or(shape.map(|s| s.0))), network.n_embd.to_string());
        compare("model.n_layer", number(model.n_layer.or(shape.map(|s| s.1))), network.n_layer.to_string());
        compare("model.n_head", number(model.n_head.or(shape.map(|s| s.2))), network.n_head.to_string());
        // Pretraining may give a model another palette.
        let keeps_palette = decider == Decider::Run || config.finetune.is_some();
        if keeps_palette {
            compare("palette.colors", number(asked.palette.colors), palette.n_vocab().to_string());
        }
        let objective = self.all.get("train.objective").map(|_| asked.train.objective.name().to_owned());
        compare("train.objective", objective, network.objective.name().into());
        // The palette file may be the model to start from itself.
        let differs = |file: &&PathBuf| keeps_palette && Some(file.as_path()) != config.starts_from();
        if let Some(file) = asked.palette.file.as_ref().filter(differs) {
            compare("palette.file", Some(Palette::open(file)?.hash()), palette.hash());
        }
        if asked.train.mask_prob.is_some() && network.objective == Objective::Autoregressive {
            let name = decider.name();
            problems.push(format!("train.mask_prob is given, but {name} is autoregressive and masks nothing"));
        }
        if decider == Decider::Model && self.from_flags.get("train.init").is_some() {
            problems.push(format!("train.init is given, but the weights are those of {}", decider.name()));
        }
        if decider == Decider::Run
            && self.from_flags.get("train.plan").is_some()
            && asked.train.plan != config.train.plan
        {
            problems.push("train.plan is given, but a resumed run keeps the plans that it made".into());
        }
        refuse(problems)
    }

    /// Refuses settings that fine-tuning ignores.
    ///
    /// # Errors
    /// When there are such settings; the message names each and says why.
    pub(in crate::train) fn expect_of_fine_tuning(&self, config: &RunConfig) -> Result<()> {
        let (mut problems, said) = (Vec::new(), |key: &str| self.from_flags.get(key));
        let is_linear = config.finetune.as_ref().is_some_and(|finetune| finetune.head == Head::Linear);
        let is_unused = |key: &&str| is_linear && said(key).is_some_and(|value| !asks_for_nothing(key, value));
        for key in OF_TRAINING.into_iter().filter(is_unused) {
            problems.push(format!("{key} is given, but a linear head trains nothing of the network"));
        }
        let few = config.finetune.as_ref().is_some_and(|finetune| finetune.labels_per_class.is_some());
        if few && said("finetune.balanced") == Some(&Value::Boolean(true)) {
            problems.push(
                "finetune.balanced is given, but finetune.labels_per_class makes all classes equal already".into(),
            );
        }
        if said("train.probe_images").and_then(Value::as_integer).is_some_and(|images| images > 0) {
            problems.push("train.probe_images is given, but only pretraining probes while it trains".into());
        }
        if said("train.keep").and_then(Value::as_str) == Some(Keep::Last.name()) {
            problems.push("train.keep is last, but a classifier always has its best weights".into());
        }
        refuse(problems)
    }
}

fn refuse(problems: Vec<String>) -> Result<()> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Mismatch(format!("settings without effect: {}; leave them out", problems.join("; ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;
    use crate::train::config::finetune_section::FinetuneSettings;
    use crate::train::config::recipe::Recipe;

    fn palette(n: usize) -> Palette {
        Palette::new((0..n).map(|i| [i as f32 / n as f32; 3]).collect(), 1).unwrap()
    }

    fn refusal(settings: &[&str], decider: Decider) -> String {
        let mut given = ExplicitSettings::default();
        for setting in settings {
            given.all.assign(setting).unwrap();
            given.from_flags.assign(setting).unwrap();
        }
        let network = ModelConfig::new(ImageSize::square(8), 6, 32, 2, 4);
        let fine_tuning = RunConfig { finetune: Some(Default::default()), ..RunConfig::of(Recipe::Paper) };
        given.expect_used(&fine_tuning, decider, &network, &palette(6)).err().map_or(String::new(), |e| e.to_string())
    }

    #[test]
    fn what_differs_from_the_model_is_refused_and_what_agrees_is_not() {
        let agreeing = [
            "model.n_px=8",
            "model.n_embd=32",
            "model.n_layer=2",
            "model.n_head=4",
            "palette.colors=6",
            "train.lr=0.5",
        ];
        for decider in [Decider::Model, Decider::Run] {
            assert_eq!(refusal(&agreeing, decider), "");
            for (setting, key) in [
                ("model.n_px=16", "model.n_px is 16×16"),
                ("model.n_embd=64", "model.n_embd is 64"),
                ("model.n_layer=3", "model.n_layer is 3"),
                ("model.n_head=2", "model.n_head is 2"),
                ("model.preset=nano", "model.n_embd is 128"),
                ("palette.colors=7", "palette.colors is 7"),
                ("train.objective=masked", "train.objective is masked"),
                ("train.mask_prob=0.3", "masks nothing"),
            ] {
                let said = refusal(&[setting], decider);
                assert!(said.contains(key) && said.contains(decider.name()), "{setting}: {said}");
            }
        }
        assert!(refusal(&["train.init=grid"], Decider::Model).contains("train.init"));
        assert_eq!(refusal(&["train.init=grid"], Decider::Run), "");
    }

    #[test]
    fn a_linear_head_refuses_settings_of_training_that_were_given_and_ask_for_something() {
        let refusal = |setting: &str| {
            let mut config = RunConfig { finetune: Some(FinetuneSettings::default()), ..RunConfig::of(Recipe::Paper) };
            config.explicit.from_flags.assign(setting).unwrap();
            assert!(config.explicit.expect_of_fine_tuning(&config).is_ok(), "{setting}");
            config.finetune = Some(FinetuneSettings { head: Head::Linear, ..FinetuneSettings::default() });
            config.explicit.expect_of_fine_tuning(&config).err().map_or(String::new(), |error| error.to_string())
        };
        for setting in [
            "train.patience=5",
            "train.optimizer.lr=0.1",
            "train.batch=7",
            "train.lr=0.1",
            "train.schedule=linear",
            "train.warmup_steps=3",
            "train.ema=0.9",
            "data.augment=shift",
            "data.flip=true",
        ] {
            let key = setting.split('=').next().unwrap().replace(".optimizer.lr", ".optimizer");
            assert!(refusal(setting).contains(&format!("{key} is given, but a linear head")), "{setting}");
        }
        for setting in
            ["train.seed=3", "train.threads=1", "train.eval_images=9", "data.augment=none", "data.flip=false"]
        {
            assert_eq!(refusal(setting), "", "{setting}");
        }
        // Every key is that of an existing setting.
        let config = RunConfig { finetune: Some(FinetuneSettings::default()), ..RunConfig::of(Recipe::Paper) };
        for key in OF_TRAINING {
            let name = key.split('.').next_back().unwrap();
            let mut table = toml::Table::try_from(&config).unwrap();
            let section = table.get_mut(key.split('.').next().unwrap()).and_then(Value::as_table_mut).unwrap();
            section.insert(name.into(), "no such value".into());
            let message = table.try_into::<RunConfig>().unwrap_err().to_string();
            assert!(!message.contains("unknown field"), "{key}: {message}");
        }
    }
}
