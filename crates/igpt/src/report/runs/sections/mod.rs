//! The sections of the page, each for one run or several: several come one below the other under their names, or share a
//! chart.

mod features;
mod learning;
mod pictures;
mod summary;

pub(super) use features::{layers, likelihood_and_probe, maps};
pub(super) use learning::learning;
pub(super) use pictures::{completions, odd, over_time, palettes, samples};
pub(super) use summary::{absent, figures, going_on};

use super::findings::Findings;
use super::words::quoted;
use crate::report::Chart;
use crate::report::page::Block;
use crate::train::Row;

/// `blocks` of each run that has any, under the run's name if there are several runs.
fn each(runs: &[Findings], blocks: impl Fn(&Findings) -> Vec<Block>) -> Vec<Block> {
    let named = |run: &Findings| {
        let blocks = blocks(run);
        let name = (runs.len() > 1 && !blocks.is_empty()).then(|| Block::Heading(name(run)));
        name.into_iter().chain(blocks).collect::<Vec<_>>()
    };
    runs.iter().flat_map(named).collect()
}

/// A run's name.
fn name(run: &Findings) -> String {
    run.name.clone()
}

/// Its directory, or `more` behind that, as an argument of a command.
fn place(run: &Findings, more: &str) -> String {
    quoted(&format!("{}{more}", run.run.display()))
}

/// The flags that name a run's images.
fn data(run: &Findings) -> String {
    let folder = run.data_dir.as_ref().map(|dir| format!(" --data-dir {}", quoted(&dir.display().to_string())));
    format!("--data {}{}", quoted(&run.data), folder.unwrap_or_default())
}

/// The flags that name a run and its images.
fn source(run: &Findings) -> String {
    format!("--model {} {}", place(run, ""), data(run))
}

/// The flag for as many test images as were looked at, if not for all.
fn images(run: &Findings) -> String {
    let shown = run.looked_at;
    if shown < run.test_images { format!(" --images {shown}") } else { String::new() }
}

/// The commands that train those runs again that `are_shown`.
fn training(runs: &[Findings], are_shown: impl Fn(&Findings) -> bool) -> impl Iterator<Item = Block> {
    runs.iter().filter(move |run| are_shown(run)).map(|run| {
        let verb = match (run.config.class_head, run.from_scratch) {
            (None, _) => "pretrain",
            (Some(_), false) => "finetune",
            (Some(_), true) => "finetune --from-scratch",
        };
        let (config, again) = (place(run, "/config.resolved.toml"), place(run, "-again"));
        Block::Command(format!("igpt {verb} --config {config} --out {again}"))
    })
}

/// A run's name for a legend of losses, which don't compare between objectives.
fn loss_name(run: &Findings) -> String {
    name(run) + if run.is_masked() { " (masked)" } else { "" }
}

fn validations(run: &Findings) -> impl Iterator<Item = &Row> {
    run.metrics.iter().filter(|row| row.split == "validation")
}

/// A chart and its caption, unless there is nothing in it.
fn push_chart(blocks: &mut Vec<Block>, chart: Chart, caption: &str) {
    if !chart.html().is_empty() {
        blocks.extend([Block::Chart(chart), Block::caption(caption)]);
    }
}
