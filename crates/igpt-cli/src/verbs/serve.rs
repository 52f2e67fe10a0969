//! `igpt serve`: a model as a page to play and work with, and as an API.

use std::path::{Path, PathBuf};

use igpt::data::{self, Dataset};
use igpt::device::Precision;
use igpt::inspect::InspectionFit;
use igpt::train::RunConfig;
use igpt::{Error, Result, files};
use igpt_server::{ServeOptions, ServerLimits};

use super::drawing::bar;
use super::page_args::AccessArgs;
use crate::model_args::{Quantize, inference, open_or_bundled};
use crate::named::named;
use crate::output::say;
use crate::shared::{DeviceArgs, open_options};
use crate::signals::Signals;

const EXAMPLES: &str = "\
Examples:
  igpt serve                                                     # the emoji model that comes with igpt
  igpt serve --model runs/fashion --listen 127.0.0.1:8000
  igpt serve --model runs/mine --neighbors path/to/images        # and the nearest of these images
  igpt serve --model runs/parts                                  # odd pictures, too, after igpt inspect fit
  IGPT_TOKEN=$TOKEN igpt serve --model runs/mine --listen 0.0.0.0:8000
  curl -s http://127.0.0.1:8000/v1/sample -H 'Content-Type: application/json' -d '{\"n\": 4, \"seed\": 1}'

The page is at the address itself, the API's document at /openapi.json. Ctrl-C finishes what is under way; a second one \
ends at once.";

/// Flags of `igpt serve`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Model directory, or a run directory; without it the emoji model that comes with igpt
    #[arg(long, value_name = "DIR", env = "IGPT_MODEL")]
    model: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDR", env = "IGPT_LISTEN", default_value = "127.0.0.1:8000")]
    listen: String,
    #[command(flatten)]
    access: AccessArgs,
    /// The API alone, without the page
    #[arg(long, env = "IGPT_NO_UI")]
    no_ui: bool,
    /// Images for the page to begin with; those that the run was trained on if not said
    #[arg(long, value_name = "SPEC", env = "IGPT_EXAMPLES")]
    examples: Option<String>,
    /// Images among which the nearest to a given one are found
    #[arg(long, value_name = "SPEC", env = "IGPT_NEIGHBORS")]
    neighbors: Option<String>,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR", env = "IGPT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Threads to compute with; 0 is one for each available core
    #[arg(long, value_name = "N", env = "IGPT_THREADS", default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Number format of the matrix products
    #[arg(
        long,
        env = "IGPT_PRECISION",
        value_parser = named(&[Precision::F32, Precision::Bf16], Precision::name),
        default_value = Precision::F32.name()
    )]
    precision: Precision,
    /// Draw with weights, keys and values of 8 bits: faster, for a slightly worse likelihood
    #[arg(long, value_enum, env = "IGPT_QUANTIZE")]
    quantize: Option<Quantize>,
    /// Images drawn at once, each candidate of a completion counting as one; 0 is a good number
    #[arg(long, value_name = "N", env = "IGPT_ROWS", default_value_t = 0)]
    rows: usize,
    /// Most MiB of a request
    #[arg(long, value_name = "MIB", env = "IGPT_MAX_BODY", default_value_t = 32)]
    max_body: usize,
    /// Most million pixels of an image
    #[arg(long, value_name = "MP", env = "IGPT_MAX_PIXELS", default_value_t = 40)]
    max_pixels: usize,
    /// Most images, samples or completions of a request
    #[arg(long, value_name = "N", env = "IGPT_MAX_IMAGES", default_value_t = 64)]
    max_images: usize,
    /// Most images waiting for their turn; what comes then is told to ask again
    #[arg(long, value_name = "N", env = "IGPT_QUEUE", default_value_t = 256)]
    queue: usize,
    /// Most seconds of a request
    #[arg(long, value_name = "S", env = "IGPT_TIMEOUT", default_value_t = 120)]
    timeout: u64,
    /// Most requests of one client at a time; 0 is no limit, for behind a proxy, where all clients look like one
    #[arg(long, value_name = "N", env = "IGPT_PER_CLIENT", default_value_t = 64)]
    per_client: usize,
    /// Seconds that open requests have to finish in when the server is told to stop
    #[arg(long, value_name = "S", env = "IGPT_GRACE", default_value_t = 30)]
    grace: u64,
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    let access = args.access.at(&args.listen)?;
    let limits = limits(&args)?;
    let model = open_or_bundled(args.model.as_deref())?;
    let name = args.model.as_deref().map_or("emoji".into(), base_name);
    let open = |spec: &str, dir: Option<PathBuf>| -> Result<Dataset> {
        data::open(spec, &open_options(args.data_dir.clone().or(dir)))
    };
    let examples = match (&args.examples, &args.model) {
        (Some(spec), _) => Some(open(spec, None)?),
        (None, None) => Some(open("emoji", None)?),
        // A page without examples is better than none.
        (None, Some(run)) => trained_on(run).and_then(|(spec, dir)| open(&spec, dir).ok()),
    };
    let neighbors = args.neighbors.as_ref().map(|spec| open(spec, None)).transpose()?;
    let inspection = args.model.as_deref().map_or(Ok(None), |path| InspectionFit::find(path, &model))?;
    let engine = inference(args.device.device, args.threads, args.precision, args.quantize);
    let (bar, ui) = (bar("embedding")?, !args.no_ui);
    let progress = Box::new(move |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total {
            bar.finish_and_clear();
        }
    });
    let rows = args.rows;
    let options =
        ServeOptions { model, name, access, ui, limits, rows, engine, examples, neighbors, inspection, progress };
    let stop = signals.left_to_verb();
    let what = if ui { "the page and the API" } else { "the API" };
    let mut ready = |address| say!("{what}: http://{address}; Ctrl-C ends");
    igpt_server::serve(options, stop, &mut ready)
}

fn limits(args: &Args) -> Result<ServerLimits> {
    let Args { max_body, max_pixels, max_images, queue, timeout, per_client, grace, .. } = *args;
    let named =
        [("--max-body", max_body), ("--max-pixels", max_pixels), ("--max-images", max_images), ("--queue", queue)];
    if let Some((name, _)) = named.into_iter().chain([("--timeout", timeout as usize)]).find(|(_, value)| *value == 0) {
        return Err(Error::Invalid(format!("{name} 0 would let nothing through: give at least 1")));
    }
    Ok(ServerLimits {
        body: max_body << 20,
        pixels: max_pixels.saturating_mul(1_000_000),
        images: max_images,
        queue,
        seconds: timeout,
        per_client,
        grace,
    })
}

/// The data that the run in `run` was trained on, if it is one.
fn trained_on(run: &Path) -> Option<(String, Option<PathBuf>)> {
    let path = run.join("config.resolved.toml");
    let config = RunConfig::from_toml(&files::read_to_string(&path).ok()?, &path).ok()?;
    Some((config.data.spec, config.data.dir))
}

/// The last part of a path that names a run.
fn base_name(path: &Path) -> String {
    let name = path.file_name().filter(|name| *name != "model").or(path.parent().and_then(Path::file_name));
    name.map_or("model".into(), |name| name.to_string_lossy().into_owned())
}
