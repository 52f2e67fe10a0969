//! Migration of settings that earlier versions wrote, in runs and files, to the present form before they are read.

use toml::{Table, Value};

use crate::train::config::keep::Keep;
use crate::{Error, Result};

/// Keys of `[train]` that have moved to `[train.optimizer]`.
const OF_OPTIMIZER: [(&str, &str); 3] =
    [("muon_lr", "lr"), ("muon_momentum", "momentum"), ("muon_weight_decay", "weight_decay")];

/// Keys of `[train]` that no longer exist, each with the value that has no effect.
const RETIRED: [(&str, Value); 3] = [
    ("batch_end", Value::Integer(0)),
    ("zero_projections", Value::Boolean(false)),
    ("muon_heads", Value::Boolean(false)),
];

/// Keys of `[finetune]` that every run of earlier versions wrote into its config.
///
/// `FINETUNE_SINCE` has the keys added later, each with the value that has no effect. A recipe must not decide these
/// for a run that is resumed.
const FINETUNE_BEFORE: [&str; 4] = ["generative_weight", "frozen_blocks", "balanced", "patience"];
const FINETUNE_SINCE: [(&str, Value); 2] = [("head_lr", Value::Float(1.0)), ("label_smoothing", Value::Float(0.0))];

/// Keys of `[train]` that were renamed, each with the value that has no effect.
const RENAMED: [(&str, &str, Option<Value>); 3] = [
    ("repack", "stream_weights", None),
    ("lr_width", "mup_base_width", Some(Value::Integer(0))),
    ("legs", "phases", None),
];

/// Last commit that trains with [`RETIRED`] settings.
const LAST: &str = "40f7568e580405ed8f2ac9253fbbe12789583bad";

/// Refuses keys that a file or a flag gives by the name of an earlier version.
///
/// # Errors
/// When there is such a key; the message has the key and its present name.
pub(super) fn expect_current_names(settings: &Table) -> Result<()> {
    let Some(train) = settings.get("train").and_then(Value::as_table) else { return Ok(()) };
    for (before, today, neutral) in RENAMED {
        if train.get(before).is_some_and(|value| Some(value) != neutral.as_ref()) {
            return Err(Error::Invalid(format!("train.{before} is called train.{today} now: use that name")));
        }
    }
    Ok(())
}

/// Brings a config of any version into the present form; other problems are left for its reader to refuse.
///
/// # Errors
/// When the config asks for a setting that no longer exists.
pub(in crate::train) fn today(mut config: Table) -> Result<Table> {
    if let Some(finetune) = config.get_mut("finetune").and_then(Value::as_table_mut)
        && FINETUNE_BEFORE.iter().all(|key| finetune.contains_key(*key))
        && !FINETUNE_SINCE.iter().any(|(key, _)| finetune.contains_key(*key))
    {
        finetune.extend(FINETUNE_SINCE.map(|(key, value)| (key.to_owned(), value)));
    }
    let patience = config.get_mut("finetune").and_then(Value::as_table_mut).and_then(|table| table.remove("patience"));
    if let Some(patience) = patience {
        let train = config.entry("train").or_insert_with(|| Table::new().into());
        put(train, "patience", patience, "finetune.patience")?;
    }
    let Some(train) = config.get_mut("train") else { return Ok(config) };
    if let Some(Value::Boolean(best)) = train.as_table_mut().and_then(|train| train.remove("take_best")) {
        let keep = if best { Keep::Best } else { Keep::Last };
        put(train, "keep", keep.name().into(), "train.take_best")?;
    }
    let Some(train) = train.as_table_mut() else { return Ok(config) };
    for (before, today, _) in RENAMED {
        if let Some(value) = train.remove(before)
            && train.insert(today.into(), value).is_some()
        {
            return Err(Error::Invalid(format!("train.{before} and train.{today} are the same: keep the latter")));
        }
    }
    for (key, neutral) in RETIRED {
        if let Some(value) = train.remove(key).filter(|value| *value != neutral) {
            return Err(Error::Invalid(format!(
                "train.{key} is {value}, but there is no such setting any more, since it did not help (docs/recipe.md): leave \
                 it out, or train with the last version that has it, commit {LAST}"
            )));
        }
    }
    if let Some(Value::String(kind)) = train.get("optimizer") {
        let section = Table::from_iter([("kind".to_string(), kind.as_str().into())]);
        train.insert("optimizer".into(), section.into());
    }
    for (key, name) in OF_OPTIMIZER {
        let Some(value) = train.remove(key) else { continue };
        let section = train.entry("optimizer").or_insert_with(|| Table::new().into());
        put_as(section, name, value, &format!("train.{key}"), &format!("train.optimizer.{name}"))?;
    }
    Ok(config)
}

/// Moves the value of a setting that was once called `before` to its present key in `[train]`.
fn put(train: &mut Value, key: &str, value: Value, before: &str) -> Result<()> {
    put_as(train, key, value, before, &format!("train.{key}"))
}

fn put_as(section: &mut Value, key: &str, value: Value, before: &str, today: &str) -> Result<()> {
    match section.as_table_mut().is_some_and(|section| section.insert(key.into(), value).is_some()) {
        true => Err(Error::Invalid(format!("{before} and {today} are the same: keep the latter"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Overrides;

    fn brought(text: &str) -> Result<Table> {
        today(text.parse().unwrap())
    }

    #[test]
    fn todays_settings_stay_as_they_are() {
        for text in ["", "train = 3\n", "[train]\nlr = 0.5\n[train.optimizer]\nkind = \"muon\"\nlr = 0.1\n"] {
            assert_eq!(brought(text).unwrap(), text.parse().unwrap());
        }
    }

    #[test]
    fn muons_settings_go_to_the_optimizers_section() {
        let found = brought("[train]\noptimizer = \"muon\"\nmuon_lr = 0.5\nmuon_momentum = 0.9\nlr = 0.1\n").unwrap();
        let wanted = "[train]\nlr = 0.1\n[train.optimizer]\nkind = \"muon\"\nlr = 0.5\nmomentum = 0.9\n";
        assert_eq!(found, wanted.parse().unwrap());
        assert_eq!(
            brought("[train]\nmuon_weight_decay = 0.5\n").unwrap(),
            "[train.optimizer]\nweight_decay = 0.5\n".parse().unwrap()
        );
        let twice = brought("[train]\nmuon_lr = 0.5\noptimizer.lr = 0.5\n").unwrap_err().to_string();
        assert!(twice.contains("train.muon_lr and train.optimizer.lr"), "{twice}");
    }

    #[test]
    fn weights_to_keep_and_patience_are_said_in_todays_keys() {
        for (before, today) in [
            ("[train]\ntake_best = true\n", "[train]\nkeep = \"best\"\n"),
            ("[train]\ntake_best = false\n", "[train]\nkeep = \"last\"\n"),
            ("[finetune]\npatience = 3\n", "[finetune]\n[train]\npatience = 3\n"),
        ] {
            assert_eq!(brought(before).unwrap(), today.parse().unwrap());
        }
        let twice = brought("[finetune]\npatience = 3\n[train]\npatience = 3\n").unwrap_err().to_string();
        assert!(twice.contains("finetune.patience and train.patience"), "{twice}");
    }

    #[test]
    fn a_run_from_before_the_classifier_had_a_rate_of_its_own_goes_on_without_one() {
        let before = "[finetune]\ngenerative_weight = 1.0\nfrozen_blocks = 0\nbalanced = false\npatience = 10\n";
        let wanted = "[finetune]\ngenerative_weight = 1.0\nfrozen_blocks = 0\nbalanced = false\nhead_lr = 1.0\nlabel_smoothing = 0.0\n[train]\npatience = 10\n";
        assert_eq!(brought(before).unwrap(), wanted.parse().unwrap());
        assert_eq!(brought(wanted).unwrap(), wanted.parse().unwrap());
        for (other, head_lr) in
            [(before.replace("balanced = false\n", ""), None), (format!("{before}head_lr = 5.0\n"), Some(5.0))]
        {
            let found = brought(&other).unwrap();
            assert_eq!(found["finetune"].get("head_lr").and_then(Value::as_float), head_lr, "{other}");
        }
    }

    #[test]
    fn a_key_that_was_renamed_is_refused_with_its_new_name_and_read_in_a_run() {
        for (setting, name) in [
            ("train.repack=true", "train.stream_weights"),
            ("train.lr_width=64", "train.mup_base_width"),
            ("train.legs=[]", "train.phases"),
        ] {
            let message = Overrides::default().assign(setting).unwrap_err().to_string();
            assert!(message.contains(setting) && message.contains(&format!("is called {name} now")), "{message}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "[train]\nrepack = true\n").unwrap();
        let message = Overrides::default().file(&path).unwrap_err().to_string();
        assert!(message.contains("run.toml") && message.contains("train.stream_weights"), "{message}");
        // The config of a run is read whatever it has.
        Overrides::default().run_file(&path).unwrap();
        // A config that an earlier version resolved has the value without effect.
        std::fs::write(&path, "[train]\nlr_width = 0\n").unwrap();
        Overrides::default().file(&path).unwrap();

        let run = "[train]\nrepack = true\nlr_width = 64\nlegs = [{ steps = 3, seconds = 1.0 }]\n";
        let wanted = "[train]\nstream_weights = true\nmup_base_width = 64\nphases = [{ steps = 3, seconds = 1.0 }]\n";
        assert_eq!(brought(run).unwrap(), wanted.parse().unwrap());
        assert!(brought("[train]\nrepack = true\nstream_weights = true\n").is_err());
    }

    #[test]
    fn what_is_gone_is_dropped_where_it_changed_nothing_and_otherwise_refused_with_the_reason() {
        let neutral = "[train]\nbatch_end = 0\nzero_projections = false\nmuon_heads = false\nsteps = 3\n";
        assert_eq!(brought(neutral).unwrap(), "[train]\nsteps = 3\n".parse().unwrap());
        for (setting, said) in [
            ("train.batch_end=16", "train.batch_end is 16"),
            ("train.zero_projections=true", "train.zero_projections is true"),
            ("train.muon_heads=true", "train.muon_heads is true"),
        ] {
            let message = Overrides::default().assign(setting).unwrap_err().to_string();
            for part in [setting, said, "did not help", LAST] {
                assert!(message.contains(part), "{message}");
            }
        }
        for setting in ["train.batch_end=0", "train.muon_lr=0.5", "train.optimizer=muon"] {
            Overrides::default().assign(setting).unwrap();
        }
    }
}
