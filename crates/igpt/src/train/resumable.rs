//! Check whether a run may resume from a checkpoint: it must be the same run, on the same images.

use std::path::Path;

use crate::data::Fingerprint;
use crate::model::ModelDir;
use crate::train::checkpoint::CheckpointMeta;
use crate::train::config::{Keep, RunConfig, WITHOUT_EFFECT};
use crate::train::run::dir::RunDir;
use crate::{Error, Result};

/// Settings that extending a run may change.
const BUDGET: [&str; 4] = ["train.steps", "train.epochs", "train.minutes", "train.phases"];

/// Refuses to resume from another run's checkpoint: settings that decide the result's bits must be unchanged.
pub(super) fn fits(
    config: &RunConfig,
    meta: &CheckpointMeta,
    palette_hash: &str,
    path: &Path,
    extends: bool,
) -> Result<()> {
    if meta.palette_hash != palette_hash {
        return Err(Error::Mismatch(format!(
            "{} was trained with palette {}, but the run's palette is {palette_hash}: put the right \
             preprocessor_config.json back",
            path.display(),
            meta.palette_hash
        )));
    }
    if config.finetune.is_some() && meta.config.finetune.is_none() {
        return Err(Error::Mismatch(format!(
            "{} is of a run of pretraining: go on with igpt pretrain --resume, or fine-tune its model into another --out",
            path.display()
        )));
    }
    let mut changed = changed_keys(config, &meta.config);
    changed.retain(|key| key != "data.spec" || !config.data.accept_other);
    changed.retain(|key| !extends || !BUDGET.contains(&key.as_str()));
    // A model that was in memory had a directory for as long as its fine-tuning ran. The weights are in the checkpoint, and
    // the palettes were compared.
    let source = meta.config.finetune.as_ref().and_then(|finetune| finetune.model.as_ref());
    if source.is_some_and(|source| !source.exists()) {
        changed.retain(|key| !["finetune.model", "palette.file"].contains(&key.as_str()));
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "{} was trained with another {}: resume without changing it, or start a new run; to extend a run that is over, give \
         --resume a budget (--steps, --epochs or --minutes)",
        path.display(),
        changed.join(", ")
    )))
}

/// Refuses to resume with other images than the checkpoint's, unless the config accepts them; returns warnings.
///
/// A classifier always refuses other classes, since its outputs would get wrong names.
pub(super) fn same_images(
    run: &RunDir,
    config: &RunConfig,
    meta: &CheckpointMeta,
    now: &Fingerprint,
    images: usize,
    path: &Path,
) -> Result<Vec<String>> {
    let (path, spec) = (path.display(), &config.data.spec);
    let before = match &meta.data {
        Some(data) => Some(data.clone()),
        // A checkpoint without class names may be beside a model that has them.
        None => ModelDir::class_names(&run.model()).map(|classes| Fingerprint { classes, ..now.clone() }),
    };
    let classes = before.as_ref().and_then(|before| before.other_classes(&now.classes));
    if let Some(difference) = classes.filter(|_| config.finetune.is_some()) {
        return Err(Error::Mismatch(format!(
            "{path} was trained on other classes than {spec} now has: {difference}; put the folders of the classes back as they \
             were, or start a new run"
        )));
    }
    let mut others: Vec<String> = match (&meta.data, meta.train_images == images) {
        (Some(before), _) => before.other_images(now).into_iter().map(String::from).collect(),
        (None, true) => Vec::new(),
        (None, false) => vec!["training images".into()],
    };
    if meta.train_images != images {
        others.push(format!("{} of them then, {images} now", meta.train_images));
    }
    if !others.is_empty() && !config.data.accept_other {
        return Err(Error::Mismatch(format!(
            "{path} was trained on other images than {spec} now has (names, labels or file lengths differ: {}): a resumed run \
             needs the same images; put them back, or go on with these by --accept-other-data",
            others.join(", ")
        )));
    }
    Ok(match (&meta.data, others.is_empty()) {
        (None, true) => vec![format!(
            "{path} does not say what its images were, only that there were {images}: whether {spec} still has the same is \
             not known"
        )],
        (_, true) => Vec::new(),
        (_, false) => vec![format!(
            "the run goes on with other images than those of {path} ({}): its results are those of no single data set",
            others.join(", ")
        )],
    })
}

/// Keys in which two configs differ, except those that may change on resume.
fn changed_keys(a: &RunConfig, b: &RunConfig) -> Vec<String> {
    const FREE: [&str; 15] = [
        "data.dir",
        "model.preset",
        "train.recipe",
        "train.eval_every",
        "train.eval_images",
        "train.sample_every",
        "train.sample_images",
        "train.probe_images",
        "train.checkpoint_every",
        "train.keep",
        "train.patience",
        "train.keep_last",
        "train.keep_every",
        "train.plan",
        "train.device",
    ];
    let (a_classifier, keeps_best) = (a.finetune.is_some(), a.train.keep == Keep::Best);
    let table = |config: &RunConfig| toml::Table::try_from(config).expect("a config of plain values has a TOML form");
    let (a, b) = (table(a), table(b));
    let mut keys = Vec::new();
    for section in ["model", "palette", "data", "train", "finetune"] {
        let part =
            |table: &toml::Table| table.get(section).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let (a, b) = (part(&a), part(&b));
        let names = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        keys.extend(names.filter(|key| a.get(*key) != b.get(*key)).map(|key| format!("{section}.{key}")));
    }
    // The validation images decide which weights are kept.
    let decides = |key: &str| match key {
        "train.eval_every" => a_classifier,
        "train.eval_images" => a_classifier || keeps_best,
        _ => false,
    };
    keys.retain(|key| !FREE.iter().chain(&WITHOUT_EFFECT).any(|free| free == key) || decides(key));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::recipe::Recipe;

    #[test]
    fn a_resume_may_change_threads_but_not_the_learning_rate() {
        let mut config = RunConfig::of(Recipe::Paper);
        config.train.steps = Some(9);
        let mut other = config.clone();
        other.train.threads = 3;
        other.train.keep_last = 7;
        other.train.eval_every = Some(3);
        assert_eq!(changed_keys(&config, &other), [""; 0]);
        other.train.eval_images = Some(3);
        assert_eq!(changed_keys(&config, &other), ["train.eval_images"]);
        config.train.keep = Keep::Last;
        assert_eq!(changed_keys(&config, &other), [""; 0]);
        other.train.eval_images = None;
        other.train.ema = 0.9;
        assert_eq!(changed_keys(&config, &other), ["train.ema"]);
        (other.train.lr, other.train.ema) = (0.5, 0.0);
        (other.train.steps, other.train.epochs) = (None, Some(2.0));
        assert_eq!(changed_keys(&config, &other), ["train.lr", "train.steps", "train.epochs"]);
    }
}
