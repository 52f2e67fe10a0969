//! `igpt report`: one page about a run, or about several side by side.

use std::path::PathBuf;

use igpt::device::{self, Precision};
use igpt::report::{Findings, ReportSettings, run_page};
use igpt::{Result, files};
use serde_json::json;

use super::drawing::with_phases;
use crate::model_args::EngineArgs;
use crate::output::{own_command, print_json, say};
use crate::shared::{JsonArgs, SeedArgs, open_options};

/// Flags of `igpt report`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt report runs/a --out report.html\n  \
                        igpt report runs/adam runs/muon runs/masked --out compared.html\n\n\
                        One self-contained HTML file: loss curves, samples now and while training, completions, the palette, \
                        accuracy by layer beside its baselines, likelihood against probe accuracy, a map of the features, \
                        surprise maps, and the commands that make them. A probe that `igpt probe --out RUN/probe` has saved \
                        is shown; otherwise a quick one is made.")]
pub(crate) struct Args {
    /// Run directories, or model directories
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
    /// Look with these images instead of each run's own; a model directory that is no run needs this
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Test images scored at most, spread evenly; 0 is all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    images: usize,
    /// Training images of the quick probe, half as many of validation and of test; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 1000)]
    probe_images: usize,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let settings = ReportSettings::default()
        .data(args.data)
        .open(open_options(args.data_dir))
        .images(args.images)
        .probe_images(args.probe_images)
        .seed(args.seed.seed)
        .options(args.engine.options(Precision::F32));
    let (mut runs, time) = with_phases(|progress| {
        args.runs.iter().map(|run| Findings::gather(run, &settings, progress)).collect::<Result<Vec<_>>>()
    })?;
    Findings::shorten_names(&mut runs);
    let arithmetic = device::backend(settings.options.device)?.arithmetic_name();
    let html = run_page(&runs, &own_command(), &arithmetic, settings.seed).html();
    files::write(&args.out, html.as_bytes())?;
    for run in &runs {
        let what = match (run.with_interval(), &run.classifier) {
            (Some(nats), _) => format!("{nats} nats per pixel on "),
            (None, Some(classifier)) => format!("{:.2} % right of ", 100.0 * classifier.accuracy),
            (None, None) => "looked at with ".into(),
        };
        say!("{}: {what}{} test images", run.run.display(), run.looked_at);
        run.absent.iter().for_each(|why| say!("  not shown: {why}"));
    }
    say!("page        {} after {:.0} s: open it with any browser", args.out.display(), time.as_secs_f64());
    if args.json.json {
        let found = |run: &Findings| {
            json!({
                "run": run.run,
                "data": run.data,
                "nats_per_token": run.likelihood.as_ref().map(|likelihood| likelihood.nats_per_token),
                "images": run.looked_at,
                "probe_test_accuracy": run.probe.as_ref().map(|probe| probe.report.test_accuracy),
                "probe_is_quick": run.probe.as_ref().map(|probe| probe.quick),
                "class_accuracy": run.classifier.map(|found| found.accuracy),
                "not_shown": run.absent,
            })
        };
        print_json(&json!({
            "page": args.out,
            "runs": runs.iter().map(found).collect::<Vec<_>>(),
            "seconds": time.as_secs_f64(),
        }))?;
    }
    Ok(())
}
