//! Opening of data sets by one `--data` argument: a known name, a folder of images or a token directory.

use std::path::Path;

use super::sources::{catalog, cifar, emoji, folder, idx, stl10};
use super::{Dataset, OpenOptions, TokenDir, shards};
use crate::{Error, Result};

/// Names of the known data sets that [`open`] accepts.
pub const NAMES: [&str; 6] = ["emoji", "fashion-mnist", "mnist", "cifar10", "cifar100", "stl10"];

/// The known data sets whose images keep their meaning when mirrored: no digits, letters or signs.
const MIRRORED: [&str; 4] = ["fashion-mnist", "cifar10", "cifar100", "stl10"];

impl Dataset {
    /// Opens a data set like the program's `--data`: one of [`NAMES`], a folder of images or a token directory.
    ///
    /// # Errors
    /// Same as [`open`].
    pub fn open(spec: &str) -> Result<Self> {
        open(spec, &OpenOptions::default())
    }
}

/// Opens a data set: one of [`NAMES`], a token directory ([`TokenDir`]), a folder of images, or one image file.
///
/// # Errors
/// Names what is missing and where to put it, or the file that does not match its format.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Dataset> {
    let mut dataset = open_any(spec, options)?;
    dataset.mirrors = MIRRORED.contains(&spec);
    if NAMES.contains(&spec) && Path::new(spec).is_dir() {
        dataset
            .notes
            .push(format!("this is the data set {spec}, not the folder of that name here: say ./{spec} for that"));
    }
    Ok(dataset)
}

fn open_any(spec: &str, options: &OpenOptions) -> Result<Dataset> {
    match spec {
        "emoji" => emoji::open(options.seed),
        "fashion-mnist" => idx::open(&catalog::FASHION_MNIST, options),
        "mnist" => idx::open(&catalog::MNIST, options),
        "cifar10" => cifar::open_cifar10(options),
        "cifar100" => cifar::open_cifar100(options),
        "stl10" => stl10::open(options),
        _ if TokenDir::is_at(Path::new(spec)) => shards::open(Path::new(spec)),
        _ if Path::new(spec).is_dir() => folder::open(Path::new(spec), options.seed),
        _ if Path::new(spec).exists() => folder::open_file(Path::new(spec)),
        _ => Err(Error::NotFound(format!(
            "there is no folder {spec:?} and no data set of that name: say {} or the path of a folder of images or of tokens",
            NAMES.join(", ")
        ))),
    }
}
