//! `igpt demo`, the main job in one command: palette, pretraining, likelihood, samples, completions, and a page that
//! shows them.

mod findings;
mod page;
mod recipe;

use std::path::{Path, PathBuf};
use std::time::Instant;

use igpt::cpu;
use igpt::data::Split;
use igpt::model::{ModelDir, Precision};
use igpt::palette::Quantizer;
use igpt::report::{Text, png};
use igpt::train::{self, Start, Summary};
use igpt::{Error, Result};
use serde_json::json;

use self::findings::Findings;
use self::page::Facts;
use super::run_args::stop_on_signals;
use crate::output::print_json;
use crate::progress::Progress;
use crate::shared::{DataArgs, JsonArgs, SeedArgs, ThreadArgs};

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
    #[arg(long, value_parser = ["paper", "modern"])]
    recipe: Option<String>,
    /// Run directory; if not said runs/demo, or runs/demo-2 and so on when that is there
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `igpt` without a verb runs.
pub(crate) fn run_default() -> Result<()> {
    use clap::{Args as _, FromArgMatches};
    let command = Args::augment_args(clap::Command::new("demo"));
    run(Args::from_arg_matches(&command.get_matches_from(["demo"])).expect("every flag has a default"))
}

pub(crate) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    let run = recipe::run_directory(args.out.as_deref())?;
    let dataset = args.data.open()?;
    // Asked for before training, so that a lack of test images costs nobody two minutes.
    let (train, test) = (dataset.split(Split::Train)?, dataset.split(Split::Test)?);
    let config = recipe::recipe(&args, &train)?;
    eprintln!(
        "igpt demo: {} images of {}, {:.3} minutes of training, then a page in {}",
        train.len(),
        dataset.name,
        args.minutes,
        run.display()
    );

    let stop = stop_on_signals()?;
    let mut progress = Progress::new();
    let summary = train::pretrain(&config, &run, Start::New, &mut progress, &stop);
    progress.finish();
    let summary = summary?;
    if summary.stopped {
        let run = run.display();
        return Err(Error::Missing(format!("stopped early: go on with igpt pretrain --resume --out {run}")));
    }

    let model = ModelDir::open(&summary.model)?;
    let options = cpu::Options { threads: args.threads.threads, ..cpu::Options::inference(Precision::F32) };
    let isa = options.isa;
    let mut engine = cpu::open(&model.config, &model.weights, options)?;
    let quantizer = Quantizer::new(model.palette);
    let findings = Findings::gather(&mut *engine, &quantizer, &train, &test, args.seed.seed)?;
    let facts = Facts {
        run: &run,
        data: &args.data.data,
        train_images: train.len(),
        config: engine.config(),
        quantizer: &quantizer,
        chart: page::curve(&run.join("metrics.jsonl"))?,
        steps: summary.steps,
        taken: summary.best_step.unwrap_or(summary.steps),
        train_seconds: summary.seconds,
        isa: format!("{isa:?}"),
    };
    let page = page::page(facts, &findings);
    let path = run.join("index.html");
    std::fs::write(&path, page.html()).map_err(Error::io(&path))?;
    save_pictures(&run, &findings, &page, &quantizer)?;
    tell(&findings, &path, start.elapsed().as_secs_f64());
    if args.json.json {
        print_json(&result(&findings, &summary, &quantizer, &path, start.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// The page's pictures as files of their own.
fn save_pictures(run: &Path, findings: &Findings, page: &igpt::report::Page, quantizer: &Quantizer) -> Result<()> {
    use igpt::report::{grid, readable_scale};
    let Some(first) = page.samples.first() else { return Ok(()) };
    let scale = readable_scale(first.size);
    let text =
        |title: &str| Text::new(title).with_settings(&findings.settings).with("Palette", quantizer.palette().hash());
    png::save(run.join("samples.png"), &grid(&page.samples, 8, scale), &text("Samples"))?;
    let cells: Vec<_> = findings.completions.iter().flat_map(|c| c.cells()).collect();
    if let Some(first) = findings.completions.first() {
        let picture = grid(&cells, first.completions.len() + 2, scale);
        png::save(run.join("completions.png"), &picture, &text("Completions"))?;
    }
    if let Some((gif, _)) = &page.animation {
        let path = run.join("drawing.gif");
        std::fs::write(&path, gif).map_err(Error::io(&path))?;
    }
    Ok(())
}

fn tell(findings: &Findings, page: &Path, seconds: f64) {
    let Findings { likelihood, baselines, distortion, .. } = findings;
    let (best, _) = findings.best_baseline();
    let lead = 100.0 * findings.lead();
    eprintln!(
        "likelihood  {} nats per pixel on {} test images it has never seen (palette {:.1} dB PSNR)",
        findings.with_interval(),
        likelihood.images,
        distortion.psnr_db
    );
    eprintln!(
        "baselines   context {:.4}, unigram {:.4}, uniform {:.4}: {:.1} % {} the best, {best}",
        baselines.context,
        baselines.unigram,
        baselines.uniform,
        lead.abs(),
        if lead >= 0.0 { "below" } else { "above" }
    );
    eprintln!("page        {} after {seconds:.0} s: open it with any browser", page.display());
}

fn result(
    findings: &Findings,
    summary: &Summary,
    quantizer: &Quantizer,
    page: &Path,
    seconds: f64,
) -> serde_json::Value {
    let Findings { likelihood, baselines, distortion, .. } = findings;
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
        "palette_psnr_db": distortion.psnr_db,
        "n_vocab": quantizer.palette().n_vocab(),
        "palette": quantizer.palette().hash(),
        "parameters": summary.parameters,
        "steps": summary.steps,
        "step_taken": summary.best_step.unwrap_or(summary.steps),
        "tokens_per_second": summary.tokens_per_second,
        "train_seconds": summary.seconds,
        "seconds": seconds,
        "run": summary.run,
        "page": page,
    })
}
