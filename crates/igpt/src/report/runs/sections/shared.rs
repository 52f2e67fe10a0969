//! What sections have in common: blocks run by run, names, and the arguments of commands.

use crate::report::Chart;
use crate::report::page::Block;
use crate::report::runs::findings::Findings;
use crate::report::runs::words::quoted;
use crate::train::MetricsRow;

/// `blocks` of each run that has any, under the run's name if there are several runs.
pub(super) fn each(runs: &[Findings], blocks: impl Fn(&Findings) -> Vec<Block>) -> Vec<Block> {
    let named = |run: &Findings| {
        let blocks = blocks(run);
        let name = (runs.len() > 1 && !blocks.is_empty()).then(|| Block::Heading(name(run)));
        name.into_iter().chain(blocks).collect::<Vec<_>>()
    };
    runs.iter().flat_map(named).collect()
}

/// A run's name.
pub(super) fn name(run: &Findings) -> String {
    run.name.clone()
}

/// Its directory, or `more` behind that, as an argument of a command.
pub(super) fn place(run: &Findings, more: &str) -> String {
    quoted(&format!("{}{more}", run.run.display()))
}

/// The flags that name a run's images.
pub(super) fn data(run: &Findings) -> String {
    let folder = run.data_dir.as_ref().map(|dir| format!(" --data-dir {}", quoted(&dir.display().to_string())));
    format!("--data {}{}", quoted(&run.data), folder.unwrap_or_default())
}

/// The flags that name a run and its images.
pub(super) fn source(run: &Findings) -> String {
    format!("--model {} {}", place(run, ""), data(run))
}

/// The flag for as many test images as were looked at, if not for all.
pub(super) fn images(run: &Findings) -> String {
    let shown = run.looked_at;
    if shown < run.test_images { format!(" --images {shown}") } else { String::new() }
}

/// The commands that train those runs again that `are_shown`.
pub(super) fn training(runs: &[Findings], are_shown: impl Fn(&Findings) -> bool) -> impl Iterator<Item = Block> {
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
pub(super) fn loss_name(run: &Findings) -> String {
    name(run) + if run.is_masked() { " (masked)" } else { "" }
}

pub(super) fn validations(run: &Findings) -> impl Iterator<Item = &MetricsRow> {
    run.metrics.iter().filter(|row| row.split == "validation")
}

/// A chart and its caption, unless there is nothing in it.
pub(super) fn push_chart(blocks: &mut Vec<Block>, chart: Chart, caption: &str) {
    if !chart.html().is_empty() {
        blocks.extend([Block::Chart(chart), Block::caption(caption)]);
    }
}
