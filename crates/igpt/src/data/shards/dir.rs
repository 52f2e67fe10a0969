//! Reading of token directories: a source of images that are already tokens.

use std::path::{Path, PathBuf};

use super::format::Shape;
use super::manifest::{MANIFEST, Manifest};
use super::shard::{Found, Shard};
use crate::checksum::sha256;
use crate::data::augment::{Augment, Shift};
use crate::data::{DamagedImage, Preprocess};
use crate::image::ImageSize;
use crate::palette::Palette;
use crate::rng::Rng;
use crate::{Error, Result, files};

/// Name of the palette's file.
pub(super) const PALETTE: &str = "preprocessor_config.json";
/// Number of missing shards after which no others are looked for.
const MISSING: usize = 20;

/// An opened token directory, which is also a [`Source`](crate::data::Source) of images.
///
/// Its pixels are the palette's colours of the tokens.
pub struct TokenDir {
    root: PathBuf,
    pub(super) manifest: Manifest,
    palette: Palette,
    /// The palette's colours as bytes.
    pub(super) colors: Vec<[u8; 3]>,
    /// All shards, ordered by split.
    shards: Vec<Shard>,
    /// First image and first shard of each split.
    firsts: [(usize, usize); 3],
}

/// A damaged or missing file of a token directory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FileProblem {
    /// Name of the file in the directory.
    pub file: String,
    /// Description of what is wrong with the file.
    pub problem: String,
}

impl TokenDir {
    /// Whether there is a token directory at `path`, complete or not.
    pub fn is_at(path: &Path) -> bool {
        path.join(MANIFEST).is_file() || path.join("train-00000.tokens").is_file()
    }

    /// Opens a token directory and maps its shards into memory.
    ///
    /// Headers and tables are checked at once, tokens when they are read.
    ///
    /// # Errors
    /// Names the file that is missing or changed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let manifest = Manifest::read(&root)?;
        let palette = palette(&root, &manifest)?;
        // Not collected before they are known to exist: their number is only a claim of the manifest.
        let shapes = || manifest.shards().map(|shard| Shape::new(&manifest, shard));
        let missing: Vec<String> =
            shapes().map(|shape| shape.name()).filter(|name| !root.join(name).is_file()).take(2).collect();
        if let Some(first) = missing.first() {
            let (root, source) = (root.display(), &manifest.source);
            return Err(Error::Missing(format!(
                "{root} is not finished, {first} is missing{}: go on with igpt data tokenize --data {source} --out \
                 {root} and the other flags that it was begun with",
                if missing.len() > 1 { " among others" } else { "" }
            )));
        }
        let shards = shapes().map(|shape| Shard::open(&root, shape, &manifest)).collect::<Result<Vec<_>>>()?;
        let mut next = (0, 0);
        let firsts = manifest.images.lengths().map(|images| {
            let first = next;
            next = (first.0 + images, first.1 + images.div_ceil(manifest.shard_images));
            first
        });
        let colors = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
        Ok(Self { root, manifest, palette, colors, shards, firsts })
    }

    /// Reads every file of the token directory `root` and lists those that are missing or changed.
    ///
    /// `progress` is called with (shards done, all shards).
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn verify(root: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<FileProblem>> {
        let file = |name: &str, problem: String| FileProblem { file: name.into(), problem };
        let manifest = match Manifest::read(root) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(vec![file(MANIFEST, error.to_string())]),
        };
        let mut problems: Vec<FileProblem> =
            palette(root, &manifest).err().map(|error| file(PALETTE, error.to_string())).into_iter().collect();
        let (mut missing, mut seen) = (0, 0);
        for shape in manifest.shards().map(|shard| Shape::new(&manifest, shard)) {
            let path = root.join(shape.name());
            if !path.is_file() {
                problems.push(file(&shape.name(), "missing".into()));
                missing += 1;
                // Their number is only a claim of the manifest.
                if missing == MISSING {
                    problems.push(file("later shards", format!("not looked for, since {MISSING} are missing")));
                    break;
                }
                continue;
            }
            let problem = match Shard::inspect(&path, shape, &shape.fixed(&manifest))? {
                Found::Whole => None,
                Found::Damaged(problem) => Some(problem),
                Found::Foreign => Some("a shard of another token directory".into()),
            };
            problems.extend(problem.map(|problem| file(&shape.name(), problem)));
            seen += 1;
            progress(seen + missing, manifest.shard_count());
        }
        Ok(problems)
    }

    /// Checksum of the whole directory: SHA-256 over the manifest's checksum and those at the end of the shards.
    pub fn checksum(&self) -> String {
        let trailers = self.shards.iter().map(Shard::trailer);
        sha256(&[&self.manifest.id()[..]].into_iter().chain(trailers).collect::<Vec<_>>().concat())
    }

    /// Path of the token directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the manifest: what was tokenized, and how.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the palette of the tokens.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Path of the palette's file, which opens like any other palette.
    pub fn palette_file(&self) -> PathBuf {
        self.root.join(PALETTE)
    }

    /// Returns the number of shards in the directory.
    pub fn n_shards(&self) -> usize {
        self.shards.len()
    }

    /// Checks that the tokens have the image size, scaling and palette of a model.
    ///
    /// # Errors
    /// When one differs; the message names both values.
    pub fn check(&self, size: ImageSize, palette: &Palette) -> Result<()> {
        let (root, own) = (self.root.display(), self.manifest.n_px());
        if own != size {
            return Err(Error::Mismatch(format!(
                "{root} holds tokens of {own} images, but the model's are {size}: give the images themselves as --data, \
                 or tokenize them for it with igpt data tokenize --n-px"
            )));
        }
        if self.palette.resampling() != palette.resampling() {
            return Err(Error::Mismatch(format!(
                "{root} holds tokens of images scaled {}, but the model's are scaled {}: give the images themselves as \
                 --data, or tokenize them for it with igpt data tokenize --palette MODEL",
                self.palette.resampling(),
                palette.resampling()
            )));
        }
        if self.palette != *palette {
            return Err(Error::Mismatch(format!(
                "{root} holds tokens of palette {}, but the model's is {}: give the images themselves as --data, or \
                 tokenize them for it with igpt data tokenize --palette MODEL",
                self.manifest.palette_hash,
                palette.hash()
            )));
        }
        Ok(())
    }

    /// Checks that training on the tokens can still apply `augment`.
    ///
    /// # Errors
    /// When it can't; the message names `augment` and the augmentation of the stored views.
    pub fn check_augment(&self, augment: Augment) -> Result<()> {
        let (root, stored, views) = (self.root.display(), self.manifest.augment, self.manifest.views);
        let name = Augment::name;
        if views > 0 && augment != stored {
            return Err(Error::Mismatch(format!(
                "{root} holds {views} views of each training image with augmentation {}, but the run's is {}: leave that \
                 out, or tokenize again without --views",
                name(stored),
                name(augment)
            )));
        }
        if views == 0 && augment.needs_pixels() {
            let augment = augment.name();
            return Err(Error::Mismatch(format!(
                "{root} holds one view of each image, but crops of augmentation {augment} are made from the pixels: \
                 tokenize again with --augment {augment} --views K"
            )));
        }
        Ok(())
    }

    /// Returns the shard of image `i`, and the image's row there.
    pub(super) fn at(&self, i: usize) -> (&Shard, usize) {
        let split = self.split(i);
        let (image, shard) = self.firsts[split];
        let within = i - image;
        (&self.shards[shard + within / self.manifest.shard_images], within % self.manifest.shard_images)
    }

    fn split(&self, i: usize) -> usize {
        self.firsts.iter().rposition(|&(image, _)| image <= i).unwrap_or(0)
    }

    /// Fills `out`, (T), with image `i` as for evaluation, or returns why it could not be decoded.
    ///
    /// # Errors
    /// When its shard is damaged.
    pub(in crate::data) fn evaluation(&self, i: usize, out: &mut [u16]) -> Result<Option<DamagedImage>> {
        self.copy(i, 0, out)
    }

    /// Fills `out`, (T), with image `i` as `epoch` trains on it.
    ///
    /// Successive epochs cycle through the stored views. The part of the augmentation that is exact on tokens is applied
    /// here.
    ///
    /// # Errors
    /// When its shard is damaged.
    pub(in crate::data) fn training(
        &self,
        i: usize,
        epoch: u64,
        preprocess: &Preprocess,
        rng: &mut Rng,
        out: &mut [u16],
    ) -> Result<Option<DamagedImage>> {
        let views = self.manifest.copies(self.split(i)) as u64 - 1;
        let copy = if views > 0 { 1 + (epoch % views) as usize } else { 0 };
        let damaged = self.copy(i, copy, out)?;
        if damaged.is_none() {
            let n_px = self.manifest.n_px();
            let drawn = Shift::draw(preprocess.augment, n_px, rng);
            let flip = drawn.flip || preprocess.mirrors(rng);
            // A stored view already has its crop. The flip is applied now, so that K views become 2K.
            let shift = if views > 0 { Shift { top: 0, left: 0, flip } } else { Shift { flip, ..drawn } };
            if shift != Shift::NONE {
                out.copy_from_slice(&shift.apply(out, n_px, 1));
            }
        }
        Ok(damaged)
    }

    fn copy(&self, i: usize, copy: usize, out: &mut [u16]) -> Result<Option<DamagedImage>> {
        let (shard, row) = self.at(i);
        shard.tokens(row, copy, out)?;
        Ok(shard.problem(row).map(|problem| DamagedImage { name: shard.name(row), problem }))
    }
}

/// Reads the palette of a directory, and checks that its file is unchanged.
fn palette(root: &Path, manifest: &Manifest) -> Result<Palette> {
    let path = root.join(PALETTE);
    let text = files::read(&path)?;
    let palette = Palette::open(&path)?;
    let fits = (palette.n_vocab(), palette.channels()) == (manifest.n_vocab, manifest.channels);
    if !fits || palette.hash() != manifest.palette_hash || palette_text(&palette, manifest.n_px()).as_bytes() != text {
        return Err(Error::format(
            path,
            format!("damaged, not palette {} as it was written: tokenize again", manifest.palette_hash),
        ));
    }
    Ok(palette)
}

/// Contents of the palette's file.
pub(super) fn palette_text(palette: &Palette, n_px: ImageSize) -> String {
    format!("{:#}\n", palette.to_preprocessor(Some(n_px)))
}

impl std::fmt::Debug for TokenDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenDir").field("root", &self.root).finish_non_exhaustive()
    }
}
