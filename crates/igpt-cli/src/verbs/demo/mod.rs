//! `igpt demo`, the main job in one command: palette, pretraining, likelihood, samples, completions, and a page that
//! shows them.

mod recipe;

use std::path::{Path, PathBuf};
use std::time::Instant;

use igpt::data::Split;
use igpt::device::{self, Precision};
use igpt::formats::png::TextChunks;
use igpt::formats::{gif, png};
use igpt::image::{grid, readable_scale};
use igpt::ranks::Collective;
use igpt::report;
use igpt::report::{Findings, ReportSettings, quoted};
use igpt::train::{Context, PretrainSummary, Recipe};
use igpt::{Error, Pretrain, Result, files};
use serde_json::json;

use super::drawing::with_phases;
use crate::model_args::EngineArgs;
use crate::named::named;
use crate::output::{print_json, say};
use crate::ranks::RankZeroObserver;
use crate::shared::{DataArgs, JsonArgs, SeedArgs};
use crate::signals::Signals;

/// Why the demo's findings have a likelihood.
const GENERATES: &str = "the model was pretrained pixel by pixel";
/// Training images of the page's quick probe: seconds, not minutes.
const PROBE_IMAGES: usize = 600;

/// Flags of `igpt demo`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt demo --data my-pictures/ --minutes 20 --out runs/mine\n\n\
                        Open index.html in the run directory with any browser.")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Minutes of training
    #[arg(long, value_name = "M", default_value_t = recipe::MINUTES)]
    minutes: f64,
    /// How to train: modern (the default; most learned in the time) or paper (as Chen et al. 2020 trained)
    #[arg(long, value_parser = named(&Recipe::ALL, Recipe::name))]
    recipe: Option<Recipe>,
    /// Run directory; if not said runs/demo, or runs/demo-2 and so on when that is there
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `igpt` without a verb runs.
pub(crate) fn run_default(signals: &Signals) -> Result<()> {
    use clap::{Args as _, FromArgMatches};
    let command = Args::augment_args(clap::Command::new("demo"));
    let args = Args::from_arg_matches(&command.get_matches_from(["demo"])).expect("every flag has a default");
    run(args, signals)
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    let start = Instant::now();
    let run = recipe::run_directory(args.out.as_deref())?;
    let dataset = args.data.open_quietly()?;
    let train = dataset.split(Split::Train)?;
    // Asked for before training, so that a lack of test images costs nobody two minutes.
    dataset.split(Split::Test)?;
    let config = recipe::recipe(&args)?;
    say!(
        "igpt demo: {} images of {}, {:.3} minutes of training, then a page in {}",
        train.len(),
        dataset.name,
        args.minutes,
        run.display()
    );

    let ranks = &mut Collective::solo();
    let mut progress = RankZeroObserver::new(ranks, signals);
    let context = Context { ranks, observer: &mut progress, stop: signals.stop() };
    let summary = Pretrain::from_config(config).context(context).run_in(&run);
    progress.finish();
    let summary = summary?;
    signals.run_is_over();
    if summary.stopped {
        let run = run.display();
        return Err(Error::Missing(format!("stopped early: go on with igpt pretrain --resume --out {run}")));
    }

    let settings = ReportSettings::default()
        .images(0)
        .probe_images(PROBE_IMAGES)
        .seed(args.seed.seed)
        .options(args.engine.options(Precision::F32));
    let (findings, _) = with_phases(|progress| Findings::gather(&run, &settings, progress))?;
    let runs = [findings];
    let path = run.join("index.html");
    let made = format!(
        "igpt report {} --images 0 --probe-images {PROBE_IMAGES} --seed {} --out report.html",
        quoted(&run.display().to_string()),
        settings.seed
    );
    let arithmetic = device::backend(settings.options.device)?.arithmetic_name();
    let html = report::run_page(&runs, &made, &arithmetic, settings.seed).html();
    files::write(&path, html.as_bytes())?;
    let [findings] = runs;
    save_pictures(&run, &findings)?;
    tell(&findings, &path, start.elapsed().as_secs_f64());
    if args.json.json {
        print_json(&result(&findings, &summary, &path, start.elapsed().as_secs_f64()))?;
    }
    Ok(())
}

/// The page's pictures as files of their own.
fn save_pictures(run: &Path, findings: &Findings) -> Result<()> {
    let Some(drawn) = &findings.drawn else { return Ok(()) };
    let size = findings.config.n_px;
    let scale = readable_scale(size);
    let palette = findings.quantizer.palette();
    let text = |title: &str| TextChunks::new(title).with_all(drawn.settings.lines()).with("Palette", palette.hash());
    let samples: Vec<_> = drawn.samples.iter().map(|tokens| findings.quantizer.pixels(tokens, size)).collect();
    png::save(run.join("samples.png"), &grid(&samples, 8, scale), &text("Samples"))?;
    let cells: Vec<_> = drawn.completions.iter().flat_map(|c| c.cells()).collect();
    if let Some(first) = drawn.completions.first() {
        let picture = grid(&cells, first.completions.len() + 2, scale);
        png::save(run.join("completions.png"), &picture, &text("Completions"))?;
    }
    let colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
    gif::save(run.join("drawing.gif"), &drawn.samples[..8], size, &colors, 0, 8, scale)
}

fn tell(findings: &Findings, page: &Path, seconds: f64) {
    let Findings { baselines, distortion, .. } = findings;
    let (best, _) = findings.best_baseline();
    let (nats, lead) = findings.with_interval().zip(findings.lead()).expect(GENERATES);
    let lead = 100.0 * lead;
    say!(
        "likelihood  {nats} nats per pixel on {} test images it has never seen (palette {:.1} dB PSNR)",
        findings.looked_at,
        distortion.psnr_db
    );
    say!(
        "baselines   context {:.4}, unigram {:.4}, uniform {:.4}: {:.1} % {} the best, {best}",
        baselines.context,
        baselines.unigram,
        baselines.uniform,
        lead.abs(),
        if lead >= 0.0 { "below" } else { "above" }
    );
    say!("page        {} after {seconds:.0} s: open it with any browser", page.display());
}

fn result(findings: &Findings, summary: &PretrainSummary, page: &Path, seconds: f64) -> serde_json::Value {
    let Findings { likelihood, baselines, distortion, quantizer, .. } = findings;
    let likelihood = likelihood.as_ref().expect(GENERATES);
    let probe = findings.probe.as_ref().map(|probe| &probe.report);
    json!({
        "nats_per_token": likelihood.nats_per_token,
        "baselines": {
            "uniform": baselines.uniform,
            "unigram": baselines.unigram,
            "context": baselines.context,
        },
        "best_baseline": findings.best_baseline().0,
        "below_best_baseline": findings.lead(),
        "nats_per_image_interval95": likelihood.interval95,
        "bits_per_pixel": likelihood.bits_per_pixel,
        "bits_per_dim": likelihood.bits_per_dim,
        "nats_per_image": likelihood.nats_per_image,
        "images": likelihood.images,
        "probe": probe.map(|probe| json!({
            "best_layer": probe.best_layer,
            "test_accuracy": probe.test_accuracy,
            "raw_pixels": probe.baselines.raw_pixels,
            "random_init": probe.baselines.random_init,
            "majority": probe.baselines.majority,
        })),
        "palette_psnr_db": distortion.psnr_db,
        "n_vocab": quantizer.palette().n_vocab(),
        "palette": quantizer.palette().hash(),
        "parameters": summary.parameters,
        "steps": summary.steps,
        "step_taken": summary.kept_step,
        "tokens_per_second": summary.tokens_per_second,
        "train_seconds": summary.seconds,
        "seconds": seconds,
        "run": summary.run_dir,
        "page": page,
    })
}
