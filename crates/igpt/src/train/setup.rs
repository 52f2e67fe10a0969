//! Setup of pretraining and fine-tuning: images, a palette, a resolved config, an engine, and the checkpoint to resume
//! from.

use std::path::Path;

use crate::data::colors::fit_palette;
use crate::data::{
    self, Batch, Dataset, Fingerprint, Images, Loader, Masking, OpenOptions, Preprocess, Split, TokenSet,
};
use crate::device::{FinetuneObjective, TrainEngine, TrainOptions, backend};
use crate::files;
use crate::image::{ImageSize, Resampling};
use crate::model::{ModelConfig, Objective};
use crate::palette::{Palette, Quantizer};
use crate::ranks::Collective;
use crate::train::augmentation;
use crate::train::checkpoint::{Checkpoint, CheckpointMeta, Checkpoints};
use crate::train::config::{RunConfig, TrainSettings};
use crate::train::plan::memory;
use crate::train::resumable::{fits, same_images};
use crate::train::run::dir::{RunDir, Start};
use crate::train::trainer::observer::{Event, Observer};
use crate::train::trainer::quick_probe::QuickProbe;
use crate::{Error, Result, device};

/// Opens the data set of a run.
pub(super) fn dataset(config: &RunConfig, observer: &mut dyn Observer) -> Result<Dataset> {
    observer.event(Event::Phase(&format!("opening {}", config.data.spec)));
    let (data_dir, progress) = (config.data.dir.clone(), observer.download());
    let dataset = data::open(&config.data.spec, &OpenOptions { data_dir, progress, ..OpenOptions::default() })?;
    observer.event(Event::Note(&format!("{}: {}", config.data.spec, dataset.summary())));
    dataset.notes.iter().for_each(|note| observer.event(Event::Warning(note)));
    Ok(dataset)
}

/// Refuses to overwrite the palette or model that a run starts from.
pub(super) fn expect_sources_kept(config: &RunConfig, out: &Path, start: Start) -> Result<()> {
    let Ok(root) = out.canonicalize() else { return Ok(()) };
    let is_inside = |path: &&Path| path.canonicalize().is_ok_and(|path| path.starts_with(&root));
    match [config.palette.file.as_deref(), config.starts_from()].into_iter().flatten().find(is_inside) {
        Some(path) if start == Start::Overwrite => Err(Error::Invalid(format!(
            "the run begins with {}, which --overwrite would delete with what else is in {}: choose another --out",
            path.display(),
            out.display()
        ))),
        _ => Ok(()),
    }
}

/// The checkpoint that a resumed run continues from.
pub(super) fn newest(run: &RunDir, start: Start, observer: &mut dyn Observer) -> Result<Option<Checkpoint>> {
    match start {
        Start::Resume => Checkpoints::open(run.checkpoints())?.newest(&mut |text| warn(run, observer, text)),
        Start::New | Start::Overwrite => Ok(None),
    }
}

/// Begins the run: returns the state where it starts, and writes palette and config into the run directory.
///
/// It checks that `checkpoint` is of this run and of the data with `fingerprint`, and takes its plans into `config`.
/// The run trains on `images` images. An earlier run in the directory is removed if that was asked for.
pub(super) fn begin(
    run: &RunDir,
    config: &mut RunConfig,
    checkpoint: Option<&Checkpoint>,
    (palette, n_px): (&Palette, ImageSize),
    (fingerprint, images): (Fingerprint, usize),
    observer: &mut dyn Observer,
) -> Result<CheckpointMeta> {
    let mut others = Vec::new();
    let mut meta = match checkpoint {
        Some(checkpoint) => {
            let meta = &checkpoint.meta;
            let extends = config.train.phases.len() > meta.config.train.phases.len();
            fits(config, meta, &palette.hash(), &checkpoint.path, extends)?;
            others = same_images(run, config, meta, &fingerprint, images, &checkpoint.path)?;
            let mut meta = meta.clone();
            if extends {
                // The next phase makes its own plans. It begins at a high learning rate, and so above the best
                // validation loss.
                meta.plans.clear();
                (meta.best_loss_of_phase, meta.validations_since_best) = (None, 0);
            } else {
                config.train.plan = meta.config.train.plan.clone();
            }
            meta
        }
        None => CheckpointMeta::new(0, 0, images, &palette.hash(), config),
    };
    meta.data = Some(fingerprint);
    meta.train_images = images;
    if run.is_detached() {
        return Ok(meta);
    }
    run.begin()?;
    files::write(&run.palette(), format!("{:#}\n", palette.to_preprocessor(Some(n_px))).as_bytes())?;
    if checkpoint.is_none() || config.data.accept_other || meta.config.train.phases != config.train.phases {
        files::write(&run.config(), config.to_toml().as_bytes())?;
    }
    others.iter().for_each(|text| warn(run, observer, text));
    Ok(meta)
}

/// Options of the engine of this rank's share of `network`, so that it fits into memory.
///
/// The function is to be called before anything large is allocated. Ranks on one computer divide its memory.
pub(super) fn options(
    network: &ModelConfig,
    train: &TrainSettings,
    fine_tuning: FinetuneObjective,
    ranks: &mut Collective,
) -> Result<TrainOptions> {
    let left = backend(train.device)?.memory_left().map(|left| left / ranks.on_this_host() as u64);
    // No rank allocates before all have seen how much memory is free.
    ranks.barrier()?;
    memory::expect_batch_fits(left, network.n_ctx(), train.batch, ranks.size())?;
    memory::fitting(left, network, train, fine_tuning, (ranks.rank(), ranks.size()))
}

/// Logs the options that lack of memory decided.
pub(super) fn log_options(run: &RunDir, options: &TrainOptions, train: &TrainSettings) {
    if options.recompute && train.recompute.is_none() {
        run.log("activations are computed again in the backward pass: there is no memory to keep them");
    }
    if options.engine.stream_weights && train.stream_weights.is_none() {
        run.log("weights are packed block by block: there is no memory to keep them packed");
    }
}

/// Engine to train with, in the checkpoint's state if there is one, otherwise with these `weights`.
pub(super) fn engine(
    run: &RunDir,
    network: &ModelConfig,
    options: &TrainOptions,
    weights: Vec<f32>,
    checkpoint: Option<Checkpoint>,
) -> Result<Box<dyn TrainEngine>> {
    let mut engine = device::open_training(network, &weights, options)?;
    drop(weights);
    if let Some(checkpoint) = checkpoint {
        run.log(&format!("step {}: resumed from {}", checkpoint.meta.step, checkpoint.path.display()));
        checkpoint.restore(engine.as_mut())?;
    }
    Ok(engine)
}

/// The loader's batches, masked for a masked network.
pub(super) fn batches<'a>(
    loader: &'a mut Loader,
    network: &ModelConfig,
    train: &TrainSettings,
) -> impl FnMut() -> Result<Batch> + use<'a> {
    let masked = network.objective == Objective::Masked;
    let masking = masked.then(|| Masking::training(train.seed, network.mask_prob));
    move || {
        let position = loader.position();
        let batch = loader.next()?;
        Ok(match masking {
            Some(masking) => masking.mask(batch, position),
            None => batch,
        })
    }
}

pub(super) fn warn(run: &RunDir, observer: &mut dyn Observer, text: &str) {
    run.log(&format!("warning: {text}"));
    observer.event(Event::Warning(text));
}

/// Palette of the run: the one that it started with, one from a file, or one fitted to the training images.
///
/// A fitted palette has `usual` colours if the config gives no number.
pub(super) fn palette(
    config: &RunConfig,
    run: &RunDir,
    start: Start,
    (images, n_px, usual): (&Images, ImageSize, Option<usize>),
    observer: &mut dyn Observer,
) -> Result<Palette> {
    if start == Start::Resume && run.palette().exists() {
        return Palette::open(run.palette());
    }
    if let Some(file) = &config.palette.file {
        let palette = Palette::open(file)?;
        return Ok(match augmentation::resampling(&config.data) {
            Resampling::Crop => palette.with_resampling(Resampling::Crop),
            _ => palette,
        });
    }
    observer.event(Event::Phase("fitting the palette"));
    let preprocess = Preprocess { resampling: augmentation::resampling(&config.data), ..Preprocess::new(n_px) };
    let palette =
        fit_palette(images, preprocess, (config.palette.colors, usual), config.train.seed, config.train.threads)?;
    Ok(palette.with_resampling(preprocess.resampling))
}

/// Config with nothing left open that the data or another setting decide.
pub(super) fn resolve(config: &RunConfig, network: &ModelConfig) -> Result<RunConfig> {
    let mut config = config.clone();
    config.model.n_px = Some(network.n_px);
    config.model.n_embd = Some(network.n_embd);
    config.model.n_layer = Some(network.n_layer);
    config.model.n_head = Some(network.n_head);
    if config.palette.file.is_none() {
        config.palette.colors = Some(network.n_vocab);
    }
    if network.objective == Objective::Masked {
        config.train.mask_prob = Some(network.mask_prob);
    }
    config.train.resolve(network.n_ctx());
    config.train.device = device::resolve(config.train.device)?;
    Ok(config)
}

/// Tokens of the first validation images; `None`, with a warning, if there are no such images.
pub(super) fn validation(
    dataset: &Dataset,
    config: &RunConfig,
    n_px: ImageSize,
    quantizer: &Quantizer,
    run: &RunDir,
    observer: &mut dyn Observer,
) -> Result<Option<TokenSet>> {
    match dataset.split(Split::Validation) {
        Ok(images) => {
            let count = config.train.validated_images(images.len());
            // Images are sorted by class, and these choose the weights of a classifier.
            let images = if config.finetune.is_some() { images.spread(count) } else { images.take(count) };
            let set = match quantizer.palette().resampling() {
                // A few pictures make many tiles.
                Resampling::Crop => data::tokenize_tiles(&images, n_px, quantizer, config.train.validated_tiles())?,
                _ => data::tokenize(&images, n_px, quantizer)?,
            };
            for image in &set.damaged {
                warn(run, observer, &format!("{} was skipped: {}", image.name, image.problem));
            }
            Ok(Some(set))
        }
        Err(error) => {
            warn(run, observer, &format!("no validation loss: {error}"));
            Ok(None)
        }
    }
}

/// Images of the quick probes, if there are labels; warns if probes were asked for but are impossible.
pub(super) fn probe(
    dataset: &Dataset,
    config: &RunConfig,
    network: &ModelConfig,
    quantizer: &Quantizer,
    run: &RunDir,
    observer: &mut dyn Observer,
) -> Option<QuickProbe> {
    let train = &config.train;
    let images = train.probed_images();
    if images == 0 {
        return None;
    }
    match QuickProbe::of(dataset, images, network.n_layer, network.n_px, quantizer, (train.seed, train.threads)) {
        Ok(probe) => Some(probe),
        Err(error) => {
            if train.probe_images.is_some() {
                warn(run, observer, &format!("no probe while training: {error}"));
            }
            None
        }
    }
}
