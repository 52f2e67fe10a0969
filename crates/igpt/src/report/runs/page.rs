//! Page of one run or of several side by side: its heading, and its sections in order.

use super::findings::Findings;
use super::words::{duration, grouped};
use super::{compare, sections};
use crate::report::Page;
use crate::report::page::Section;

/// Composes the page of one run, or of several side by side.
///
/// `made` is the command that makes the page; `isa` and `seed` appear in its footer.
///
/// # Panics
/// When `runs` is empty.
pub fn run_page(runs: &[Findings], made: &str, isa: &str, seed: u64) -> Page {
    let first = &runs[0];
    let (title, lead, headline) = if runs.len() == 1 { alone(first) } else { compare::heading(runs) };
    let glance = if runs.len() == 1 { Vec::new() } else { compare::glance(runs, made) };
    let section = Section::new;
    let sections = vec![
        section("At a glance", glance),
        section("Drawn from nothing", sections::samples(runs)),
        section("Completed", sections::completions(runs)),
        section("Learning", sections::learning(runs)),
        section("Samples over time", sections::over_time(runs)),
        section("Figures", if runs.len() == 1 { sections::figures(first) } else { Vec::new() }),
        section("What the layers know", sections::layers(runs, made)),
        section("Likelihood and features", sections::likelihood_and_probe(runs)),
        section("A map of the features", sections::maps(runs, made)),
        section("Where it is surprised", sections::odd(runs)),
        section("Palette", sections::palettes(runs)),
        section("Not shown", sections::absent(runs)),
        section("Going on", sections::going_on(first, made)),
    ];
    let icon = first.drawn.as_ref().and_then(|drawn| drawn.samples.first());
    Page {
        title,
        lead,
        headline,
        icon: icon.map(|tokens| first.quantizer.pixels(tokens, first.config.n_px)),
        sections,
        footer: format!("igpt {} · {} · seed {seed} · {isa}", env!("CARGO_PKG_VERSION"), first.data),
    }
}

/// Title, lead and headline of a single run.
fn alone(run: &Findings) -> (String, String, Vec<(String, String)>) {
    let title = match run.data.as_str() {
        "emoji" => "Emoji, pixel by pixel".into(),
        data => format!("{data}, pixel by pixel"),
    };
    let parameters = grouped(run.config.parameters());
    let looked = match run.metrics.last() {
        Some(last) if run.own_data => {
            format!(" looked at {} images for {}", grouped(run.train_images), duration(last.elapsed_s))
        }
        Some(last) => format!(" was trained for {}", duration(last.elapsed_s)),
        None => " was trained".into(),
    };
    let unseen = match run.own_data {
        true => format!("{} images that it has never seen", grouped(run.looked_at)),
        false => format!("{} test images of {}", grouped(run.looked_at), run.data),
    };
    let mut headline = Vec::new();
    let nats = run.likelihood.as_ref().map(|likelihood| likelihood.nats_per_token);
    let lead = if let Some(nats) = nats.filter(|_| run.is_masked()) {
        headline.push((format!("{nats:.3}"), "nats per masked pixel on the test split".into()));
        format!(
            "A transformer of {parameters} parameters{looked} and learned to fill in masked pixels. On {unseen}, a masked pixel costs it {nats:.3} nats."
        )
    } else if let Some((nats, lead)) = nats.zip(run.lead()) {
        let (best, best_nats) = run.best_baseline();
        let lead = 100.0 * lead;
        let (ahead, against) = if lead >= 0.0 { ("below", "better") } else { ("above", "worse") };
        headline.push((format!("{nats:.3}"), "nats per pixel on the test split".into()));
        headline.push((format!("{:.0} %", lead.abs()), format!("{ahead} the best baseline, {best} ({best_nats:.3})")));
        format!(
            "A transformer of {parameters} parameters{looked} and learned to draw {} pictures one pixel after the other. On \
             {unseen}, its likelihood is {:.0} % {against} than that of the best of three \
             baselines.",
            run.config.n_px,
            lead.abs(),
        )
    } else {
        format!(
            "A transformer of {parameters} parameters{looked} and learned their classes alone. It was tried on {unseen}."
        )
    };
    if let Some(last) = run.metrics.last() {
        headline.push((duration(last.elapsed_s), format!("of training, {} steps", grouped(last.step as usize))));
    }
    if let Some(classifier) = &run.classifier {
        headline
            .push((format!("{:.1} %", 100.0 * classifier.accuracy), "of the test images classified rightly".into()));
    }
    let colors = run.config.n_vocab;
    if let Some(psnr_db) = run.psnr_db() {
        headline.push((format!("{psnr_db:.1} dB"), format!("PSNR of the {colors}-colour palette")));
    }
    (title, lead, headline)
}
