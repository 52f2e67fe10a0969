//! What the demo trains, and where.

use std::path::{Path, PathBuf};

use igpt::device;
use igpt::train::{Overrides, Recipe, RunConfig};
use igpt::{Error, Result};

use super::Args;

/// Minutes of training when none are asked for: with palette, evaluation and pictures the whole command stays well
/// under three on two cores.
pub(super) const MINUTES: f64 = 2.0;

/// The run's configuration: what its minutes are best spent on, it finds out itself.
pub(super) fn recipe(args: &Args) -> Result<RunConfig> {
    let mut layers = Overrides::default();
    if let Some(recipe) = args.recipe {
        layers.recipe(recipe.name());
    }
    layers.set("train.minutes", args.minutes);
    let mut config = layers.finish()?;
    config.data.spec = args.data.data.clone();
    config.data.dir = args.data.data_dir.clone();
    if config.train.recipe == Recipe::Paper {
        (config.train.batch, config.train.lr) = (32, 5e-3);
    }
    config.train.device = args.engine.device();
    config.train.precision = device::backend(config.train.device)?.precisions()[0];
    config.train.seed = args.seed.seed;
    config.train.threads = args.engine.threads();
    // Two minutes are for learning.
    config.train.probe_images = Some(0);
    Ok(config)
}

/// `--out`, or the first of `runs/demo`, `runs/demo-2`, … that is not there yet.
pub(super) fn run_directory(out: Option<&Path>) -> Result<PathBuf> {
    free_directory(out, Path::new("runs"))
}

fn free_directory(out: Option<&Path>, runs: &Path) -> Result<PathBuf> {
    if let Some(out) = out {
        return match out.exists() {
            true => Err(Error::Invalid(format!("{} is there already: name another --out", out.display()))),
            false => Ok(out.into()),
        };
    }
    let names = std::iter::once("demo".to_owned()).chain((2..).map(|i| format!("demo-{i}")));
    let free = names.map(|name| runs.join(name)).find(|path| !path.exists());
    Ok(free.expect("the names never end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_demo_gets_its_own_directory_and_a_named_one_is_never_overwritten() {
        let runs = tempfile::tempdir().unwrap();
        let free = || free_directory(None, runs.path()).unwrap();
        assert_eq!(free(), runs.path().join("demo"));
        std::fs::create_dir(free()).unwrap();
        assert_eq!(free(), runs.path().join("demo-2"));
        std::fs::create_dir(free()).unwrap();
        assert_eq!(free(), runs.path().join("demo-3"));
        let named = runs.path().join("demo-2");
        let error = free_directory(Some(&named), runs.path()).unwrap_err().to_string();
        assert!(error.contains("demo-2 is there already"), "{error}");
    }
}
