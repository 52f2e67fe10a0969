//! Common parts of sections: blocks run by run, names, and the arguments of commands.

use crate::report::Chart;
use crate::report::page::Block;
use crate::report::runs::findings::Findings;
use crate::report::runs::words::quoted;
use crate::train::MetricsRow;

/// Blocks of each run that has any, under the run's name if there are several runs.
pub(super) fn each(runs: &[Findings], blocks: impl Fn(&Findings) -> Vec<Block>) -> Vec<Block> {
    let named = |run: &Findings| {
        let blocks = blocks(run);
        let name = (runs.len() > 1 && !blocks.is_empty()).then(|| Block::Heading(name(run)));
        name.into_iter().chain(blocks).collect::<Vec<_>>()
    };
    runs.iter().flat_map(named).collect()
}

/// Name of a run.
pub(super) fn name(run: &Findings) -> String {
    run.name.clone()
}

/// Path of a run's directory with the suffix `more`, as an argument of a command.
pub(super) fn place(run: &Findings, more: &str) -> String {
    quoted(&format!("{}{more}", run.run.display()))
}

/// Flags that name a run's images.
pub(super) fn data(run: &Findings) -> String {
    let folder = run.data_dir.as_ref().map(|dir| format!(" --data-dir {}", quoted(&dir.display().to_string())));
    format!("--data {}{}", quoted(&run.data), folder.unwrap_or_default())
}

/// Flags that name a run and its images.
pub(super) fn source(run: &Findings) -> String {
    format!("--model {} {}", place(run, ""), data(run))
}

/// Flag for the number of evaluated test images, if not all were evaluated.
pub(super) fn images(run: &Findings) -> String {
    let shown = run.looked_at;
    if shown < run.test_images { format!(" --images {shown}") } else { String::new() }
}

/// Commands that train again the runs for which `are_shown` holds.
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

/// Name of a run in a legend of losses, which are not comparable between objectives.
pub(super) fn loss_name(run: &Findings) -> String {
    name(run) + if run.is_masked() { " (masked)" } else { "" }
}

pub(super) fn validations(run: &Findings) -> impl Iterator<Item = &MetricsRow> {
    run.metrics.iter().filter(|row| row.split == "validation")
}

/// Adds a chart and its caption, unless the chart is empty.
pub(super) fn push_chart(blocks: &mut Vec<Block>, chart: Chart, caption: &str) {
    if !chart.html().is_empty() {
        blocks.extend([Block::Chart(chart), Block::caption(caption)]);
    }
}
