//! What the verbs that draw images share: their flags, the model, and the files they write.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use igpt::device::Precision;
use igpt::formats::{gif, png};
use igpt::generate::SamplingSettings;

use igpt::image::{GAP, Pixels, grid, readable_scale};

use igpt::formats::{npy, png::TextChunks};
use igpt::machine::expect_memory;
use igpt::{Error, Model, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::model_args::{EngineArgs, ModelArgs, QuantizeArgs};
use crate::output::say;
use crate::shared::{JsonArgs, SeedArgs, ending_in};

/// Side of a picture beyond which images are enlarged less.
const LARGE: usize = 4096;

/// Flags of every verb that draws.
#[derive(clap::Args)]
pub(crate) struct DrawArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Logits are divided by this; 0 always takes the likeliest colour
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,
    /// Draw only among the K likeliest colours; 0 is all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw only among the likeliest colours that together reach this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// The picture, or all images as an array (N, H, W, C) of bytes
    #[arg(long, value_name = "FILE.png|FILE.npy", value_parser = ending_in(&["png", "npy"]))]
    out: PathBuf,
    /// Also write an animation of the images being drawn
    #[arg(long, value_name = "FILE.gif")]
    gif: Option<PathBuf>,
    #[command(flatten)]
    quantize: QuantizeArgs,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    pub json: JsonArgs,
}

/// A model ready to draw.
pub(crate) struct Artist {
    pub model: Model,
    pub settings: SamplingSettings,
    /// The model's name, for texts.
    pub name: String,
    out: PathBuf,
    gif: Option<PathBuf>,
}

impl Artist {
    /// Opens the model and checks the flags.
    pub(crate) fn open(args: &DrawArgs) -> Result<Self> {
        let DrawArgs { temperature, top_k, top_p, .. } = *args;
        let settings =
            SamplingSettings::default().temperature(temperature).top_k(top_k).top_p(top_p).seed(args.seed.seed);
        settings.validate()?;
        let (model, name) = (args.model.open()?, args.model.name());
        model.expect_generative(&name)?;
        let model = args.engine.open(model, Precision::F32, args.quantize.quantize)?;
        Ok(Self { model, settings, name, out: args.out.clone(), gif: args.gif.clone() })
    }

    /// Refuses pictures of so many `cells`, and an animation of `images`, that can't be made, before any is drawn.
    pub(crate) fn expect_room(&self, [cells, columns]: [usize; 2], [images, gif_columns]: [usize; 2]) -> Result<()> {
        let size = self.model.config().n_px;
        if self.gif.is_some() {
            gif::expect_size(images, size, gif_columns, self.scale(images, gif_columns))?;
        }
        // The images, the picture of them, and the file.
        let scale = self.scale(cells, columns);
        let each = 3 * (size.pixels() + 2 * (size.height * scale + GAP) * (size.width * scale + GAP));
        expect_memory((cells as u64).saturating_mul(each as u64), || format!("a picture of {cells} images"))
    }

    /// Token sequences as images.
    pub(crate) fn pixels(&self, images: &[Vec<u16>]) -> Vec<Pixels> {
        images.iter().map(|tokens| self.model.pixels(tokens)).collect()
    }

    /// Writes `--out`: `cells` as a grid of `columns`, or `images` as an array.
    pub(crate) fn save(&self, title: &str, images: &[Pixels], cells: &[Pixels], columns: usize) -> Result<()> {
        if self.out.extension().is_some_and(|e| e == "npy") {
            return npy::save_images(&self.out, images);
        }
        let text = TextChunks::new(title).with_all(self.settings.lines()).with("Model", &self.name);
        png::save(&self.out, &grid(cells, columns, self.scale(cells.len(), columns)), &text)
    }

    /// Writes `--gif`, if asked for: images being drawn after their first `given` pixels.
    pub(crate) fn save_gif(&self, images: &[Vec<u16>], given: usize, columns: usize) -> Result<()> {
        let Some(path) = &self.gif else { return Ok(()) };
        let palette = self.model.palette();
        let colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
        let size = self.model.config().n_px;
        gif::save(path, images, size, &colors, given, columns, self.scale(images.len(), columns))
    }

    fn scale(&self, cells: usize, columns: usize) -> usize {
        let size = self.model.config().n_px;
        let side = columns.saturating_mul(size.width).max(cells.div_ceil(columns).saturating_mul(size.height));
        readable_scale(size).min(LARGE / side).max(1)
    }

    /// Says on standard error what was drawn, and gives the figures of the JSON line.
    pub(crate) fn summary(&self, images: usize, pixels: usize, time: Duration) -> serde_json::Value {
        let seconds = time.as_secs_f64();
        let files: Vec<&Path> = std::iter::once(&*self.out).chain(self.gif.as_deref()).collect();
        let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        say!("{images} images from {} in {seconds:.1} s ({}): {}", self.name, self.settings, names.join(", "));
        serde_json::json!({
            "images": images,
            "out": self.out,
            "gif": self.gif,
            "model": self.name,
            "seed": self.settings.seed,
            "temperature": self.settings.temperature,
            "top_k": self.settings.top_k,
            "top_p": self.settings.top_p,
            "seconds": seconds,
            "tokens_per_second": pixels as f64 / seconds,
        })
    }
}

/// Columns that make a grid of `n` images about square.
pub(crate) fn square_columns(n: usize) -> usize {
    let floor = n.isqrt();
    (floor + usize::from(floor * floor < n)).max(1)
}

/// Runs `work` with a bar over what is done; gives its result and how long it took.
pub(crate) fn with_bar<T>(
    what: &'static str,
    work: impl FnOnce(&mut dyn FnMut(usize, usize)) -> Result<T>,
) -> Result<(T, Duration)> {
    with_bar_if(true, what, work)
}

/// As [`with_bar`], with a bar only where it is to be `shown`: by rank 0 of several.
pub(crate) fn with_bar_if<T>(
    shown: bool,
    what: &'static str,
    work: impl FnOnce(&mut dyn FnMut(usize, usize)) -> Result<T>,
) -> Result<(T, Duration)> {
    with_phases_if(shown, |progress| work(&mut |done, total| progress(what, done, total)))
}

/// A bar with the time left.
pub(crate) fn bar(what: &'static str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:12} {wide_bar} {percent:>3} %  {eta} left")
        .map_err(|e| Error::Invalid(e.to_string()))?;
    Ok(ProgressBar::new(0).with_style(style).with_message(what))
}

/// As [`with_bar`], for work that says itself what it is doing.
pub(crate) fn with_phases<T>(
    work: impl FnOnce(&mut dyn FnMut(&'static str, usize, usize)) -> Result<T>,
) -> Result<(T, Duration)> {
    with_phases_if(true, work)
}

/// As [`with_bar_if`], for work that says itself what it is doing.
pub(crate) fn with_phases_if<T>(
    shown: bool,
    work: impl FnOnce(&mut dyn FnMut(&'static str, usize, usize)) -> Result<T>,
) -> Result<(T, Duration)> {
    let bar = if shown { bar("")? } else { ProgressBar::hidden() };
    let (start, mut phase) = (Instant::now(), "");
    let result = work(&mut |what, done, total| {
        if what != phase {
            phase = what;
            bar.reset();
            bar.set_message(what);
        }
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    result.map(|result| (result, start.elapsed()))
}
