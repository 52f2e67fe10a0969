//! Flags that several verbs share, to be flattened into theirs.

use std::path::PathBuf;

use igpt::Result;
use igpt::data::{self, Dataset, OpenOptions};
use igpt::device::Device;
use igpt::ranks::{Collective, leader_first};

use crate::download;
use crate::output::say;

/// Which images.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// Images: emoji, fashion-mnist, mnist, cifar10, cifar100, stl10, a folder of pictures, one picture, or a folder of
    /// tokens (igpt data tokenize)
    #[arg(long, value_name = "SPEC", default_value = "emoji")]
    pub data: String,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DataArgs {
    /// Opens the data set and says what was noticed about it.
    pub(crate) fn open(&self) -> Result<Dataset> {
        let dataset = self.open_quietly()?;
        tell_notes(&dataset);
        Ok(dataset)
    }

    /// As [`DataArgs::open`], of which only rank 0 of several says anything.
    pub(crate) fn open_among(&self, ranks: &mut Collective) -> Result<Dataset> {
        let dataset = leader_first(ranks, || self.open_quietly())?;
        if ranks.is_leader() {
            tell_notes(&dataset);
        }
        Ok(dataset)
    }

    /// Opens the data set. Its cuts have a seed of their own, so that no verb's `--seed` moves a test image to train.
    pub(crate) fn open_quietly(&self) -> Result<Dataset> {
        data::open(&self.data, &open_options(self.data_dir.clone()))
    }
}

/// How data sets are opened that are looked for in `data_dir`: downloads are shown.
pub(crate) fn open_options(data_dir: Option<PathBuf>) -> OpenOptions {
    OpenOptions::default().data_dir(data_dir).progress(Some(download::hook()))
}

/// Says what was noticed about a data set.
pub(crate) fn tell_notes(dataset: &Dataset) {
    for note in &dataset.notes {
        say!("note: {note}");
    }
}

/// Takes a path whose name ends in one of `endings`.
pub(crate) fn ending_in(endings: &'static [&'static str]) -> impl Fn(&str) -> Result<PathBuf, String> + Clone {
    move |path| {
        let path = PathBuf::from(path);
        if path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending)) {
            return Ok(path);
        }
        let (last, others) = endings.split_last().expect("there is an ending");
        Err(match others {
            [] => format!("the name must end in .{last}"),
            _ => format!("the name must end in .{} or .{last}", others.join(", .")),
        })
    }
}

/// How many threads.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ThreadArgs {
    /// Threads to compute with; 0 is one for each available core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

/// Which device.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct DeviceArgs {
    /// Where to compute: auto (the quickest that is there), cpu, cuda or cuda:1
    #[arg(long, value_name = "DEVICE", env = "IGPT_DEVICE", default_value_t = Device::Auto)]
    pub device: Device,
}

/// The seed of everything random.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SeedArgs {
    /// Seed of everything random: the same seed gives the same result
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
}

/// Whether a program reads the result.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct JsonArgs {
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    pub json: bool,
}
