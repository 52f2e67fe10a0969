//! Writing of token directories: shard after shard, each by all threads, each written completely or not at all.
//!
//! A shard's bytes depend on the manifest and its images only. Threads and interruptions therefore leave no trace: a
//! killed process is continued with the missing shards, and a damaged shard is made again. Memory holds one shard.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use igpt_kernels::pool::Pool;
use sha2::{Digest, Sha256};

use super::dir::{FileProblem, PALETTE, palette_text};
use super::format::{Entry, HEADER, Shape, crc, finish};
use super::manifest::{MANIFEST, MAX_SIDE, Manifest, SplitCounts};
use super::settings::TokenizeSettings;
use super::shard::{Found, Shard};
use crate::checksum::hex;
use crate::data::{
    Augment, DamagedImage, Dataset, Images, Preprocess,
    damaged::{NAMED, check_count},
};
use crate::files;
use crate::machine::expect_memory;
use crate::palette::Quantizer;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Images that a thread takes at a time.
const RUN: usize = 16;

/// Largest number of stored views per image.
const MOST_VIEWS: usize = 1 << 16;

/// Summary of a tokenization: the manifest, and counts of shards, damaged images and bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenizeSummary {
    /// Manifest of the token directory.
    pub manifest: Manifest,
    /// Number of shards that existed already, undamaged.
    pub kept: usize,
    /// Number of shards made now.
    pub made: usize,
    /// Files that were found damaged and made again.
    pub mended: Vec<FileProblem>,
    /// Number of images that could not be decoded; the directory records them as damaged.
    pub damaged: usize,
    /// The first images that could not be decoded.
    pub first_damaged: Vec<DamagedImage>,
    /// Total size of all shards, in bytes.
    pub bytes: u64,
}

/// Callback for the progress of a tokenization: (stage, shards or images done, total).
pub type TokenizeProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// Tokenizes a data set into the token directory `out`, or resumes an unfinished one.
///
/// # Errors
/// When the settings make no tokens; when `out` holds something else, or tokens of another palette, size or source; when
/// more than 1 % of the images of a split are damaged; or when a file can't be written. Complete shards then remain.
pub fn write_token_dir(
    dataset: &Dataset,
    quantizer: &Quantizer,
    settings: &TokenizeSettings,
    out: &Path,
    progress: TokenizeProgress<'_>,
) -> Result<TokenizeSummary> {
    check(dataset, settings)?;
    let manifest = manifest_of(dataset, quantizer, settings);
    manifest.check().map_err(|problem| Error::Invalid(format!("{problem}: give other sizes")))?;
    let mut written = TokenizeSummary {
        manifest: manifest.clone(),
        kept: 0,
        made: 0,
        mended: Vec::new(),
        damaged: 0,
        first_damaged: Vec::new(),
        bytes: 0,
    };
    claim(out, &manifest)?;
    put(&out.join(MANIFEST), manifest.text().as_bytes())?;
    let palette = palette_text(quantizer.palette(), settings.n_px);
    if files::read(&out.join(PALETTE)).is_ok_and(|text| text != palette.as_bytes()) {
        written.mended.push(FileProblem { file: PALETTE.into(), problem: "not as it was written".into() });
    }
    put(&out.join(PALETTE), palette.as_bytes())?;

    let shapes: Vec<Shape> = manifest.shards().map(|shard| Shape::new(&manifest, shard)).collect();
    let largest = shapes.iter().map(|shape| shape.images as u64 * shape.row() as u64).max().unwrap_or(0);
    expect_memory(2 * largest, || {
        format!("a shard of {} images with {} views each", manifest.shard_images, manifest.views)
    })?;
    let mut missing = Vec::new();
    let mut damage = Damage::new(&manifest);
    for (done, &shape) in shapes.iter().enumerate() {
        if whole(out, shape, &manifest, &mut written.mended)? {
            written.kept += 1;
            let shard = Shard::open(out, shape, &manifest)?;
            damage.add(
                shape,
                (0..shape.images)
                    .filter_map(|row| Some(DamagedImage { problem: shard.problem(row)?, name: shard.name(row) })),
            )?;
        } else {
            missing.push(shape);
        }
        progress("checking", done + 1, shapes.len());
    }

    let (mut done, total) = (0, missing.iter().map(|shape| shape.images).sum());
    for shape in missing {
        let (bytes, entries) = make(dataset, quantizer, settings, &manifest, shape, &mut |images| {
            done += images;
            progress("tokenizing", done, total);
        })?;
        damage.add(
            shape,
            entries
                .iter()
                .filter(|entry| !entry.problem.is_empty())
                .map(|entry| DamagedImage { name: entry.name.clone(), problem: entry.problem.clone() }),
        )?;
        put(&out.join(shape.name()), &finish(bytes, &shape.fixed(&manifest), &entries))?;
        written.made += 1;
    }
    for shape in shapes {
        let path = out.join(shape.name());
        written.bytes += fs::metadata(&path).map_err(Error::io(&path))?.len();
    }
    (written.damaged, written.first_damaged) = (damage.counts.iter().sum(), damage.first.concat());
    Ok(written)
}

/// Creates the manifest of a tokenized data set.
pub(super) fn manifest_of(dataset: &Dataset, quantizer: &Quantizer, settings: &TokenizeSettings) -> Manifest {
    let parts = [&dataset.train, &dataset.validation, &dataset.test];
    let [train, validation, test] = parts.map(Images::len);
    let (images, classes) = (SplitCounts { train, validation, test }, dataset.classes.clone());
    Manifest::new(images, fingerprint(parts), classes, quantizer.palette(), settings)
}

/// Hash that distinguishes lists of images without decoding any.
fn fingerprint(parts: [&Images; 3]) -> String {
    let mut sha = Sha256::new();
    for images in parts {
        sha.update((images.len() as u64).to_le_bytes());
        for i in 0..images.len() {
            let name = images.name(i);
            sha.update((name.len() as u64).to_le_bytes());
            sha.update(name);
            sha.update(images.label(i).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    hex(&sha.finalize())
}

fn check(dataset: &Dataset, settings: &TokenizeSettings) -> Result<()> {
    let invalid = |problem: String| Err(Error::Invalid(problem));
    if dataset.train.tokens().is_some() {
        return invalid(format!("{} holds tokens already: give the images themselves", dataset.name));
    }
    let sides = [settings.n_px.height, settings.n_px.width];
    if sides.iter().any(|side| *side > MAX_SIDE) {
        return invalid(format!("images of {}, but sides of at most {MAX_SIDE} pixels are supported", settings.n_px));
    }
    if sides.contains(&0) || settings.shard_images == Some(0) {
        return invalid("images and shards must not be empty: give sizes above 0".into());
    }
    if settings.views > MOST_VIEWS {
        return invalid(format!("{} views of each image: at most {MOST_VIEWS} are possible", settings.views));
    }
    match (settings.augment, settings.views) {
        (Augment::None, views) if views > 0 => {
            invalid(format!("{views} views without an augmentation are all the same: give --augment, or no --views"))
        }
        (Augment::None, _) => Ok(()),
        (Augment::Tiles, _) => invalid(
            "tiles are cut out of the pictures anew each time: train on the pictures themselves (--augment tiles there)".into(),
        ),
        (augment, 0) if augment.needs_pixels() => {
            invalid(format!("augmentation {} is stored as views: say how many (--views)", augment.name()))
        }
        (augment, 0) => invalid(format!(
            "augmentation {} is exact on tokens, so training does it (--augment there): leave it out here, or store views \
             of it (--views)",
            augment.name()
        )),
        _ => Ok(()),
    }
}

/// Creates `out`, or checks that it is the same directory, begun earlier.
fn claim(out: &Path, manifest: &Manifest) -> Result<()> {
    if out.join(MANIFEST).is_file() {
        let differences = Manifest::read(out)?.differences(manifest);
        if differences.is_empty() {
            return Ok(());
        }
        return Err(Error::Mismatch(format!(
            "{} was begun otherwise: {}; give what it was begun with, or another --out",
            out.display(),
            differences.join("; ")
        )));
    }
    fs::create_dir_all(out).map_err(Error::io(out))?;
    for entry in fs::read_dir(out).map_err(Error::io(out))? {
        let name = entry.map_err(Error::io(out))?.file_name().to_string_lossy().into_owned();
        // Leftovers of a killed run, and files that remain where a damaged manifest was removed.
        let own = name.starts_with('.') || name.ends_with(".tokens") || name == PALETTE;
        if !own {
            return Err(Error::Invalid(format!(
                "{} is there already and is no token directory ({name} is in it): choose another --out",
                out.display()
            )));
        }
    }
    Ok(())
}

/// Whether the shard exists and is undamaged; a damaged one is added to `mended`.
fn whole(out: &Path, shape: Shape, manifest: &Manifest, mended: &mut Vec<FileProblem>) -> Result<bool> {
    let path = out.join(shape.name());
    if !path.exists() {
        return Ok(false);
    }
    match Shard::inspect(&path, shape, &shape.fixed(manifest))? {
        Found::Whole => Ok(true),
        Found::Damaged(problem) => {
            mended.push(FileProblem { file: shape.name(), problem });
            Ok(false)
        }
        Found::Foreign => Err(Error::Mismatch(format!(
            "{} is a shard of another token directory: choose another --out, or remove it",
            path.display()
        ))),
    }
}

/// Writes a file completely or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if files::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    files::write(path, bytes).map_err(|error| match error {
        Error::Io { path, source } => {
            let hint = "what is whole stays: make room and give the same command again";
            let source = std::io::Error::new(source.kind(), format!("{source}; {hint}"));
            Error::Io { path, source }
        }
        other => other,
    })
}

/// Makes the bytes of a shard (room for its header, then the tokens), and the table entry of each image.
fn make(
    dataset: &Dataset,
    quantizer: &Quantizer,
    settings: &TokenizeSettings,
    manifest: &Manifest,
    shape: Shape,
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<u8>, Vec<Entry>)> {
    let images = [&dataset.train, &dataset.validation, &dataset.test][shape.split];
    let first = shape.number * manifest.shard_images;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(shape.table()).map_err(|_| {
        let (bytes, file) = (shape.table(), shape.name());
        Error::Invalid(format!(
            "{file} would have {bytes} bytes, for which there is no memory: give a smaller --shard-images"
        ))
    })?;
    bytes.resize(shape.table(), 0);
    let runs = Mutex::new(bytes[HEADER..].chunks_mut(RUN * shape.row()).enumerate());
    let threads = Pool::thread_count(settings.threads);
    let mut entries = BTreeMap::new();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..threads.min(shape.images.div_ceil(RUN)) {
            let (runs, sender) = (&runs, sender.clone());
            scope.spawn(move || {
                let mut tokens = vec![0; shape.n_ctx];
                loop {
                    let next = runs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((run, bytes)) = next else { return };
                    let rows = bytes.chunks_exact_mut(shape.row()).enumerate();
                    let rows: Vec<Entry> = rows
                        .map(|(k, row)| {
                            let image = first + run * RUN + k;
                            entry(images, image, quantizer, settings, shape, &mut tokens, row)
                        })
                        .collect();
                    if sender.send((run, rows)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (run, rows) in receiver {
            progress(rows.len());
            entries.insert(run, rows);
        }
    });
    let entries = entries.into_values().flatten().collect();
    Ok((bytes, entries))
}

/// Fills `row` with the tokens of image `i`, with all copies.
fn entry(
    images: &Images,
    i: usize,
    quantizer: &Quantizer,
    settings: &TokenizeSettings,
    shape: Shape,
    tokens: &mut [u16],
    row: &mut [u8],
) -> Entry {
    let mut entry = Entry { label: images.label(i), name: images.name(i), ..Entry::default() };
    let preprocess = Preprocess { augment: settings.augment, ..Preprocess::of(quantizer.palette(), settings.n_px) };
    let pixels = images.pixels(i).and_then(|pixels| Ok((preprocess.evaluation(&pixels)?, pixels)));
    let pixels = pixels.map_err(|error| DamagedImage::new(images.name(i), &error).problem);
    for (copy, bytes) in row.chunks_exact_mut(shape.n_ctx * shape.token_bytes).enumerate() {
        if let Ok((whole, pixels)) = &pixels {
            let view = copy.checked_sub(1).and_then(|view| {
                let mut rng = Rng::new(settings.seed, Purpose::Augment, view as u64, i as u64);
                // An image that can be prepared for evaluation can be augmented.
                preprocess.unflipped(pixels, &mut rng).ok()
            });
            quantizer.tokens(view.as_ref().unwrap_or(whole), tokens);
            match shape.token_bytes {
                1 => bytes.iter_mut().zip(&*tokens).for_each(|(byte, &token)| *byte = token as u8),
                _ => bytes.as_chunks_mut().0.iter_mut().zip(&*tokens).for_each(|(b, t)| *b = t.to_le_bytes()),
            }
        }
        entry.checksums.push(crc(bytes));
    }
    if let Err(problem) = pixels {
        entry.problem = if problem.is_empty() { "damaged".into() } else { problem };
    }
    entry
}

/// Damaged images of each split: their number, and the first of them.
struct Damage {
    images: [usize; 3],
    counts: [usize; 3],
    first: [Vec<DamagedImage>; 3],
}

impl Damage {
    fn new(manifest: &Manifest) -> Self {
        Self { images: manifest.images.lengths(), counts: [0; 3], first: Default::default() }
    }

    /// Adds the damaged images of a shard.
    fn add(&mut self, shape: Shape, damaged: impl Iterator<Item = DamagedImage>) -> Result<()> {
        let (count, first) = (&mut self.counts[shape.split], &mut self.first[shape.split]);
        for image in damaged {
            *count += 1;
            if first.len() < NAMED {
                first.push(image);
            }
        }
        check_count(first, *count, self.images[shape.split])
    }
}
