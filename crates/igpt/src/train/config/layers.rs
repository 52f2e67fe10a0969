//! Layers of settings, where later layers override earlier ones.

pub use toml::{Table, Value};

use crate::model::Objective;
use crate::train::config::optimizer::OptimizerSettings;

/// Keys that exclude each other: one in a later layer removes the others from the layers before.
const EXCLUSIVE: [(&str, &[&str]); 4] = [
    ("model", &["preset", "n_embd n_layer n_head"]),
    ("palette", &["colors", "file"]),
    ("train", &["steps", "epochs", "minutes plan"]),
    ("train", &["warmup_epochs", "warmup_steps"]),
];

/// Settings gathered so far from files, flags and code.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    pub(super) table: Table,
}

impl Overrides {
    /// Merges `upper` into these settings; values of `upper` win.
    pub fn merge_under(mut self, upper: Overrides) -> Self {
        self.layer(upper.table);
        self
    }

    /// Returns the value of one key, such as `train.lr`, if it is set.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (section, key) = key.split_once('.')?;
        self.table.get(section)?.get(key)
    }

    /// Removes one key, such as `train.lr`.
    pub fn remove(&mut self, key: &str) {
        if let Some((section, key)) = key.split_once('.')
            && let Some(keys) = self.table.get_mut(section).and_then(Value::as_table_mut)
        {
            keys.remove(key);
        }
    }

    /// Sets one key, such as `train.lr`.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let mut value = value.into();
        for part in key.rsplit('.') {
            value = Value::Table(Table::from_iter([(part.to_string(), value)]));
        }
        if let Value::Table(table) = value {
            self.layer(table);
        }
    }

    pub(super) fn layer(&mut self, upper: Table) {
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
        // Another kind of optimizer removes the optimizer settings of the layers below.
        let kind = upper.get("train").and_then(|train| train.get("optimizer")?.get("kind"));
        let lower = self.table.get_mut("train").and_then(|train| train.get_mut("optimizer")?.as_table_mut());
        if let (Some(kind), Some(lower)) = (kind, lower)
            && !OptimizerSettings::keeps(kind, lower)
        {
            lower.clear();
        }
        // An objective that is not masked removes the masking probability.
        let objective = upper.get("train").and_then(|train| train.get("objective"));
        if objective.is_some_and(|objective| objective.as_str() != Some(Objective::Masked.name()))
            && let Some(train) = self.table.get_mut("train").and_then(Value::as_table_mut)
        {
            train.remove("mask_prob");
        }
        merge(&mut self.table, upper);
    }
}

/// Whether `choice` is removed because the upper layer gives another one.
///
/// A preset replaces single sizes, but a single size modifies a preset.
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
