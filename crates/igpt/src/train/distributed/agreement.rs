//! Agreement of a run's ranks before and after training.
//!
//! It covers the equality of their configs, the division of gradient groups, and what rank 0 alone reads from or writes
//! to the run directory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use crate::data::DamagedImage;
use crate::device::TrainEngine;
use crate::image::ImageSize;
use crate::palette::Palette;
use crate::ranks::{Collective, expect_same_program};
use crate::train::checkpoint::{Checkpoint, CheckpointMeta, Checkpoints, write_shard};
use crate::train::config::{RunConfig, WITHOUT_EFFECT};
use crate::train::distributed::outcome::agreed;
use crate::train::run::dir::Start;
use crate::train::trainer::accumulation::expect_divisible;
use crate::train::trainer::observer::{Event, Observer};
use crate::{Error, Result};

/// Settings that may differ between ranks, beside those without effect; their devices are compared separately.
const PLACES: [&str; 2] = ["data.dir", "train.device"];

/// Refuses ranks with another program, instruction set or config.
pub(in crate::train) fn expect_same_run(ranks: &mut Collective, config: &RunConfig) -> Result<()> {
    let mut settings = Vec::new();
    let table = toml::Table::try_from(config).expect("a config of plain values has a TOML form");
    for (section, values) in &table {
        let values = values.as_table().into_iter().flatten().map(|(key, value)| (format!("{section}.{key}"), value));
        let values = values.filter(|(key, _)| !PLACES.iter().chain(&WITHOUT_EFFECT).any(|free| free == key));
        settings.extend(values.map(|(key, value)| (key, value.to_string())));
    }
    expect_same_program(ranks, config.train.device, settings)
}

/// Returns the config with one gradient group per rank, if a new run leaves their number open.
///
/// # Errors
/// When the gradient groups can't be divided evenly among the ranks.
pub(in crate::train) fn with_groups(
    ranks: &Collective,
    config: &RunConfig,
    start: Start,
    observer: &mut dyn Observer,
) -> Result<RunConfig> {
    let mut config = config.clone();
    let (train, size) = (&mut config.train, ranks.size());
    if size > 1 && train.gradient_groups == 1 {
        if start == Start::Resume {
            return Err(Error::Invalid(format!(
                "the run to resume has train.gradient_groups 1, which {size} ranks can't divide: go on with one, or start \
                 a new run with --set train.gradient_groups={size}"
            )));
        }
        train.gradient_groups = size;
        observer.event(Event::Phase(&format!("{size} ranks: train.gradient_groups = {size}, one group a rank")));
    }
    expect_divisible(train.gradient_groups, size)?;
    config.validate().map(|()| config)
}

/// Opens rank 0's checkpoint on every rank. Each reads the parts that it needs, since all see the run directory.
pub(in crate::train) fn share_checkpoint(
    ranks: &mut Collective,
    own: Option<Checkpoint>,
) -> Result<Option<Checkpoint>> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    let meta = match &own {
        Some(own) => toml::to_string(&own.meta).expect("a checkpoint's plain values have a TOML form"),
        None => String::new(),
    };
    let meta = ranks.broadcast(meta.into_bytes())?;
    if meta.is_empty() {
        return Ok(None);
    }
    let path = own.as_ref().map(|own| own.path.to_string_lossy().into_owned()).unwrap_or_default();
    let path = ranks.broadcast(path.into_bytes())?;
    let meta: CheckpointMeta = toml::from_str(&String::from_utf8_lossy(&meta))
        .map_err(|e| Error::format("rank 0's checkpoint", e.to_string().trim_end()))?;
    let path = PathBuf::from(String::from_utf8_lossy(&path).into_owned());
    Ok(Some(own.unwrap_or(Checkpoint { path, meta })))
}

/// Sends rank 0's palette to every rank; only rank 0 makes it.
pub(in crate::train) fn share_palette(
    ranks: &mut Collective,
    n_px: ImageSize,
    make: impl FnOnce() -> Result<Palette>,
) -> Result<Palette> {
    let own = if ranks.is_leader() { Some(make()?) } else { None };
    let text = own.as_ref().map(|palette| palette.to_preprocessor(Some(n_px)).to_string()).unwrap_or_default();
    let text = ranks.broadcast(text.into_bytes())?;
    match own {
        Some(palette) => Ok(palette),
        None => {
            let wrong = |problem: String| Error::format("rank 0's palette", problem);
            let value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
            Palette::from_preprocessor(&value).map_err(|e| wrong(e.to_string()))
        }
    }
}

/// Sends the weights that each rank has updated to all others (all-gather).
pub(in crate::train) fn share_weights(ranks: &mut Collective, engine: &mut dyn TrainEngine) -> Result<()> {
    let shares = engine.optimizer_shard();
    if shares.len() == 1 {
        return Ok(());
    }
    let mut own = Vec::with_capacity(shares[ranks.rank()].len());
    engine.copy_owned_weights(&mut own)?;
    engine.set_unowned_weights(ranks.all_gather(&own, shares)?)
}

/// Writes the optimizer shards of a checkpoint, one per rank other than 0; returns their names and checksums.
///
/// Rank 0 has a `root` for them. There are no shards if every engine has all moments. An error is the same on all
/// ranks.
pub(in crate::train) fn write_shards(
    ranks: &mut Collective,
    engine: &dyn TrainEngine,
    checkpoints: Option<&Checkpoints>,
    root: &Path,
    step: u64,
) -> Result<BTreeMap<String, String>> {
    if engine.optimizer_shard().len() == 1 {
        return Ok(BTreeMap::new());
    }
    let begun = checkpoints.map_or(Ok(()), |checkpoints| checkpoints.begin(step));
    agreed(ranks, begun.map(|()| String::new()))?;
    let place = (ranks.rank(), ranks.size());
    let own = match ranks.is_leader() {
        true => Ok(String::new()),
        false => match write_shard(root, step, place, engine) {
            Ok((name, checksum)) => Ok(format!("{name} {checksum}")),
            Err(Error::Io { path, source }) => {
                let text = format!("{source} (every rank writes into the run directory)");
                Err(Error::Io { path, source: std::io::Error::new(source.kind(), text) })
            }
            Err(error) => Err(error),
        },
    };
    let all = agreed(ranks, own).inspect_err(|_| {
        if let Some(checkpoints) = checkpoints {
            checkpoints.abandon(step);
        }
    })?;
    let words = all.iter().filter_map(|text| text.split_once(' '));
    Ok(words.map(|(name, checksum)| (name.to_owned(), checksum.to_owned())).collect())
}

/// Indices of this rank's images in a batch of `batch`: those of its gradient groups.
pub(in crate::train) fn part(ranks: &Collective, batch: usize) -> Range<usize> {
    let images = batch / ranks.size();
    ranks.rank() * images..(ranks.rank() + 1) * images
}

/// Damaged images that any rank has found, as (name, problem), each once.
pub(in crate::train) fn all_damaged(ranks: &mut Collective, own: &[DamagedImage]) -> Result<Vec<(String, String)>> {
    let own: Vec<String> = own.iter().map(|image| format!("{}\0{}", image.name, image.problem)).collect();
    let mut all = BTreeMap::new();
    for bytes in ranks.gather(own.join("\0").as_bytes())? {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut words = text.split('\0').map(str::to_owned);
        while let (Some(name), Some(problem)) = (words.next(), words.next()) {
            all.insert(name, problem);
        }
    }
    Ok(all.into_iter().collect())
}
