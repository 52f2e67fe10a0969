//! Batches of training images, decoded and augmented ahead of the trainer, with labels if the images have them.
//!
//! The epochs form an endless sequence of images, each epoch a seeded permutation of the set ([`Permutation`]). The
//! batch of a step holds the positions after those of the previous step. With several ranks, each prepares its own part
//! of a batch. A batch is a pure function of (seed, step). Threads only decide when it is ready, never what is in it,
//! and a resumed run starts at any step. Thread w of n prepares the batches of the steps with remainder w modulo n and
//! keeps two of them ready. Memory is therefore bounded, and batches arrive in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::damaged::check_damaged;
use super::permutation::Permutation;
use super::tokens::tokenize_with;
use super::{Augment, Batch, DamagedImage, Images, Preprocess, TokenSet};
use crate::image::Pixels;
use crate::palette::Quantizer;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Largest total size, in bytes, of scaled images that are kept instead of decoded again each epoch.
const KEPT_BYTES: usize = 1 << 30;

/// Turns one image into its tokens.
type Quantize = dyn Fn(&Pixels, &mut [u16]) + Send + Sync;

/// Endless, ordered loader of training batches, decoded and augmented ahead of the trainer.
#[doc(alias = "dataloader")]
pub struct Loader {
    recipe: Arc<Recipe>,
    feed: Feed,
    step: u64,
    waited: Duration,
}

enum Feed {
    /// Nothing changes from epoch to epoch and everything is in memory: batches are gathered on request.
    Memory { tokens: TokenSet, order: Order },
    /// Batches of worker w come through channel w.
    Threads { channels: Vec<Receiver<Result<Batch>>>, workers: Vec<JoinHandle<()>> },
}

/// Definition of the batches; shared by the workers.
struct Recipe {
    images: Images,
    preprocess: Preprocess,
    quantize: Box<Quantize>,
    seed: u64,
    /// Images per step.
    batch: usize,
    /// Places of a batch that this loader prepares.
    part: Range<usize>,
    damaged: Mutex<BTreeMap<usize, DamagedImage>>,
    /// Images at the model's size, if the augmentation starts from those and they fit into [`KEPT_BYTES`].
    kept: Option<Vec<OnceLock<Pixels>>>,
    stop: AtomicBool,
}

impl Loader {
    /// Creates a loader of batches of `batch` images, from `first_step` on, with one thread per core.
    ///
    /// # Errors
    /// When there are no images or the batch is 0, and when the images are tokens of another palette, size or
    /// augmentation.
    pub fn new(
        images: Images,
        preprocess: Preprocess,
        quantizer: Arc<Quantizer>,
        seed: u64,
        batch: usize,
        first_step: u64,
    ) -> Result<Self> {
        Self::for_rank(images, preprocess, quantizer, seed, (batch, 0..batch), first_step)
    }

    /// Creates a loader like [`Loader::new`] that prepares only the images at the places `part` of each batch.
    ///
    /// Each rank of a data-parallel run uses it for its own part.
    pub fn for_rank(
        images: Images,
        preprocess: Preprocess,
        quantizer: Arc<Quantizer>,
        seed: u64,
        (batch, part): (usize, Range<usize>),
        first_step: u64,
    ) -> Result<Self> {
        if let Some(tokens) = images.tokens() {
            tokens.check(preprocess.size, quantizer.palette())?;
            tokens.check_augment(preprocess.augment)?;
        }
        let quantize = Box::new(move |pixels: &Pixels, out: &mut [u16]| quantizer.tokens(pixels, out));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_quantize(images, preprocess, quantize, seed, (batch, part), first_step, threads)
    }

    /// Creates a loader like [`Loader::for_rank`]; `quantize` makes the tokens on `threads` threads.
    fn with_quantize(
        images: Images,
        preprocess: Preprocess,
        quantize: Box<Quantize>,
        seed: u64,
        (batch, part): (usize, Range<usize>),
        first_step: u64,
        threads: usize,
    ) -> Result<Self> {
        if images.is_empty() || batch == 0 {
            return Err(Error::Invalid(format!("batches of {batch} out of {} images: both must be > 0", images.len())));
        }
        let fixed = preprocess.augment == Augment::None && !preprocess.flip;
        let bytes = images.len() * preprocess.size.pixels() * images.channels();
        let keeps = !preprocess.augment.needs_pixels()
            && !images.in_memory()
            && images.tokens().is_none()
            && bytes <= KEPT_BYTES;
        let kept = keeps.then(|| (0..images.len()).map(|_| OnceLock::new()).collect());
        let recipe = Arc::new(Recipe {
            images,
            preprocess,
            quantize,
            seed,
            batch,
            part,
            damaged: Mutex::default(),
            kept,
            stop: AtomicBool::new(false),
        });
        let feed = if fixed && recipe.images.in_memory() {
            let tokens =
                tokenize_with(&recipe.images, Preprocess { augment: Augment::None, ..preprocess }, &recipe.quantize)?;
            if !tokens.damaged.is_empty() {
                return Err(Error::Invalid("images in memory can't be damaged".into()));
            }
            Feed::Memory { tokens, order: Order::new(seed, recipe.images.len()) }
        } else {
            start(&recipe, first_step, threads.max(1) as u64)
        };
        Ok(Self { recipe, feed, step: first_step, waited: Duration::ZERO })
    }

    /// Steps per epoch: images / batch, rounded up.
    pub fn steps_per_epoch(&self) -> u64 {
        self.recipe.images.len().div_ceil(self.recipe.batch) as u64
    }

    /// Position of the next step's first image in the endless sequence of epochs.
    pub fn position(&self) -> u64 {
        self.recipe.positions(self.step).start
    }

    /// Total time that [`Loader::next`] has waited for images.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Images found damaged so far, in the order of the set.
    pub fn damaged(&self) -> Vec<DamagedImage> {
        self.recipe.damaged().values().cloned().collect()
    }

    /// Returns the batch of the next step.
    ///
    /// # Errors
    /// When more than 1 % of the images are damaged; a damaged image is otherwise replaced by the next undamaged one.
    #[allow(clippy::should_implement_trait)] // It never ends and it can fail.
    pub fn next(&mut self) -> Result<Batch> {
        let step = self.step;
        self.step += 1;
        match &mut self.feed {
            Feed::Memory { tokens, order } => {
                let images: Vec<_> = self.recipe.positions(step).map(|position| order.at(position).1).collect();
                let gathered = images.iter().flat_map(|&i| tokens.image(i).iter().copied()).collect();
                let labels = images.iter().map(|&i| tokens.labels[i]).collect();
                Ok(labelled(Batch::new(gathered, tokens.n_px.pixels()), labels))
            }
            Feed::Threads { channels, .. } => {
                let start = Instant::now();
                let received = channels[(step % channels.len() as u64) as usize].recv();
                self.waited += start.elapsed();
                received.unwrap_or_else(|_| {
                    // The worker has reported its error before.
                    self.recipe.check()?;
                    Err(Error::Invalid("a loader thread has ended early: start again".into()))
                })
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.recipe.stop.store(true, Relaxed);
        if let Feed::Threads { channels, workers } = &mut self.feed {
            // Workers waiting to send wake up when nobody can receive.
            channels.clear();
            for worker in workers.drain(..) {
                // A panic has been printed by its thread.
                let _ = worker.join();
            }
        }
    }
}

/// Starts the workers; their first batch is that of `first_step`.
fn start(recipe: &Arc<Recipe>, first_step: u64, threads: u64) -> Feed {
    let (mut channels, mut workers) = (Vec::new(), Vec::new());
    for worker in 0..threads {
        let (sender, receiver) = sync_channel(1);
        channels.push(receiver);
        let recipe = recipe.clone();
        workers.push(std::thread::spawn(move || {
            let mut order = Order::new(recipe.seed, recipe.images.len());
            let first = first_step + (worker + threads - first_step % threads) % threads;
            for step in (first..).step_by(threads as usize) {
                let Some(batch) = recipe.batch(&mut order, step).transpose() else { return };
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        }));
    }
    Feed::Threads { channels, workers }
}

impl Recipe {
    fn damaged(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, DamagedImage>> {
        // The map is whole even if another thread has panicked.
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Positions of a step's images in the endless sequence of epochs.
    fn positions(&self, step: u64) -> Range<u64> {
        let first = step * self.batch as u64;
        first + self.part.start as u64..first + self.part.end as u64
    }

    /// Returns the batch of `step`; `None` when the loader is being dropped.
    fn batch(&self, order: &mut Order, step: u64) -> Result<Option<Batch>> {
        let n_ctx = self.preprocess.size.pixels();
        let positions = self.positions(step);
        let images = (positions.end - positions.start) as usize;
        let (mut tokens, mut labels) = (vec![0; images * n_ctx], Vec::with_capacity(images));
        for (position, out) in positions.zip(tokens.chunks_exact_mut(n_ctx)) {
            if self.stop.load(Relaxed) {
                return Ok(None);
            }
            let (epoch, image) = order.at(position);
            let image = self.whole(epoch, image, out)?;
            labels.push(self.images.label(image));
        }
        self.check()?;
        Ok(Some(labelled(Batch::new(tokens, n_ctx), labels)))
    }

    /// Refuses to continue with more than 1 % of damaged images, whichever thread found them.
    fn check(&self) -> Result<()> {
        let damaged: Vec<DamagedImage> = self.damaged().values().cloned().collect();
        check_damaged(&damaged, self.images.len())
    }

    /// Fills `out` with the tokens of `image` in `epoch`, or of the next undamaged image, and returns that image's
    /// number.
    fn whole(&self, epoch: u64, image: usize, out: &mut [u16]) -> Result<usize> {
        let n = self.images.len();
        for i in (image..n).chain(0..image) {
            if self.damaged().contains_key(&i) {
                continue;
            }
            match self.fill(epoch, i, out)? {
                None => return Ok(i),
                Some(damaged) => {
                    self.damaged().insert(i, damaged);
                    self.check()?;
                }
            }
        }
        Err(Error::Invalid("every image is damaged".into()))
    }

    /// Fills `out` with the tokens of image `i` in `epoch`, unless the image is damaged.
    ///
    /// # Errors
    /// When the file of the tokens is damaged, not the image.
    fn fill(&self, epoch: u64, i: usize, out: &mut [u16]) -> Result<Option<DamagedImage>> {
        let mut rng = Rng::new(self.seed, Purpose::Augment, epoch, i as u64);
        if let Some((tokens, index)) = self.images.stored(i) {
            return tokens.training(index, epoch, &self.preprocess, &mut rng, out);
        }
        match self.augmented(i, &mut rng) {
            Ok(pixels) => (self.quantize)(&pixels, out),
            // An undamaged image that the model does not read; undecodable images have other errors.
            Err(error @ Error::Mismatch(_)) => return Err(error),
            Err(error) => return Ok(Some(DamagedImage::new(self.images.name(i), &error))),
        }
        Ok(None)
    }

    fn augmented(&self, i: usize, rng: &mut Rng) -> Result<Pixels> {
        let Some(kept) = &self.kept else {
            return self.preprocess.training(&self.images.pixels(i)?, rng);
        };
        if let Some(pixels) = kept[i].get() {
            return self.preprocess.training(pixels, rng);
        }
        let scaled = self.preprocess.evaluation(&self.images.pixels(i)?)?;
        let augmented = self.preprocess.training(&scaled, rng)?;
        // Another thread may have kept the same pixels already.
        let _ = kept[i].set(scaled);
        Ok(augmented)
    }
}

/// Adds the labels to the batch, if every image has one.
fn labelled(batch: Batch, labels: Vec<Option<u32>>) -> Batch {
    match labels.into_iter().collect() {
        Some(labels) => batch.with_labels(labels),
        None => batch,
    }
}

/// The endless sequence of epochs.
///
/// It is the only definition of the order, for sets of every size and kind. Images and their tokens, in memory or in
/// files, are therefore seen in the same order. A list would cost each thread 4 bytes per image, and a pause at every
/// epoch.
struct Order {
    seed: u64,
    images: u64,
    current: Option<(u64, Permutation)>,
}

impl Order {
    fn new(seed: u64, images: usize) -> Self {
        Self { seed, images: images as u64, current: None }
    }

    /// Returns the epoch and the image at `position`.
    fn at(&mut self, position: u64) -> (u64, usize) {
        let (epoch, within) = (position / self.images, position % self.images);
        let image = match &self.current {
            Some((current, permutation)) if *current == epoch => permutation.at(within),
            _ => {
                let permutation = Permutation::new(self.images, self.seed, epoch);
                self.current.insert((epoch, permutation)).1.at(within)
            }
        };
        (epoch, image as usize)
    }
}

#[cfg(test)]
mod tests;
