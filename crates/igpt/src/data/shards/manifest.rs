//! `tokens.json`: what the tokens of a directory are of, and which shards there must be.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::settings::TokenizeSettings;
use crate::checksum::sha256;
use crate::data::{Augment, Split};
use crate::image::ImageSize;
use crate::palette::Palette;
use crate::{Error, Result, files};

/// Version of the format.
pub(super) const VERSION: u32 = 1;
/// Name of the file.
pub(super) const MANIFEST: &str = "tokens.json";
/// Largest side of the images: no network has a larger one.
pub(super) const MAX_SIDE: usize = 64;
/// Most views of an image.
const MAX_VIEWS: usize = 1 << 20;
/// What the file says it is.
const FORMAT: &str = "igpt tokens";

/// Everything that decides the bytes of a token directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    format: String,
    /// Version of the format.
    pub version: u32,
    /// What `--data` said when the tokens were made.
    pub source: String,
    /// Size of the images.
    n_px: [usize; 2],
    /// Hash of the palette.
    pub palette_hash: String,
    /// Colours of the palette.
    pub n_vocab: usize,
    /// Channels of the palette.
    pub channels: usize,
    /// How the stored views differ from the image.
    pub augment: Augment,
    /// Augmented views of each training image, stored beside the image itself.
    pub views: usize,
    /// Seed of the views, and of the palette where it was fitted.
    pub seed: u64,
    /// Images of a shard; the last one of each split has the rest.
    pub shard_images: usize,
    /// Images of each split.
    pub images: SplitCounts,
    /// SHA-256 in hexadecimal of the images' names and labels.
    pub images_sha256: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// SHA-256 in hexadecimal of this file where this line is empty.
    sha256: String,
}

/// A count for each split that a data set is cut into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCounts {
    /// Of train.
    pub train: usize,
    /// Of validation.
    pub validation: usize,
    /// Of test.
    pub test: usize,
}

/// The splits in the order in which they are stored.
pub(super) const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

impl SplitCounts {
    /// The counts in the order train, validation, test.
    pub fn lengths(&self) -> [usize; 3] {
        [self.train, self.validation, self.test]
    }
}

impl Manifest {
    /// The manifest of `images` images, whose names and labels have the checksum `images_sha256`, turned into tokens.
    pub(super) fn new(
        images: SplitCounts,
        images_sha256: String,
        classes: Vec<String>,
        palette: &Palette,
        settings: &TokenizeSettings,
    ) -> Self {
        let n_px = settings.n_px;
        let mut manifest = Self {
            format: FORMAT.into(),
            version: VERSION,
            source: settings.source.clone(),
            n_px: [n_px.height, n_px.width],
            palette_hash: palette.hash(),
            n_vocab: palette.n_vocab(),
            channels: palette.channels(),
            augment: settings.augment,
            views: settings.views,
            seed: settings.seed,
            shard_images: 1,
            images,
            images_sha256,
            classes,
            sha256: String::new(),
        };
        manifest.shard_images = settings.shard_images.unwrap_or_else(|| manifest.usual_shard());
        manifest.sealed()
    }

    /// The same with its checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.sha256 = String::new();
        self.sha256 = sha256(self.text().as_bytes());
        self
    }

    /// Reads and checks the file in `root`.
    ///
    /// # Errors
    /// When it is not there, is of another version, or is not as it was written.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(MANIFEST);
        let text = files::read(&path)?;
        let damaged = |problem: String| Error::format(&path, format!("{problem}: remove it and tokenize again"));
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| damaged(format!("damaged, not JSON ({e})")))?;
        if value["format"] == FORMAT && value["version"].as_u64().is_some_and(|version| version != u64::from(VERSION)) {
            let version = &value["version"];
            return Err(damaged(format!("version {version}, but this igpt reads version {VERSION}")));
        }
        let manifest: Self = serde_json::from_value(value).map_err(|e| damaged(format!("damaged ({e})")))?;
        let unsealed = Self { sha256: String::new(), ..manifest.clone() };
        if manifest.sha256 != sha256(unsealed.text().as_bytes()) || manifest.text().as_bytes() != text {
            return Err(damaged("damaged, not what its checksum says".into()));
        }
        manifest.check().map_err(damaged)?;
        Ok(manifest)
    }

    /// Checks that the numbers make files that there can be: a checksum is no signature, and sizes and counts that fit into
    /// no address would panic wherever they are multiplied.
    pub(super) fn check(&self) -> Result<(), String> {
        let [height, width] = self.n_px;
        if [height, width].iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            return Err(format!("images of {height}×{width}, but sides of 1 to {MAX_SIDE} pixels are supported"));
        }
        if !(2..=65536).contains(&self.n_vocab) || ![1, 3].contains(&self.channels) {
            return Err(format!("a palette of {} colours with {} channels", self.n_vocab, self.channels));
        }
        if self.shard_images == 0 {
            return Err("shards of 0 images".into());
        }
        if self.views > MAX_VIEWS {
            return Err(format!("{} views of each image, but at most {MAX_VIEWS} are supported", self.views));
        }
        let images = self.images.lengths().iter().fold(0_u128, |sum, &images| sum + images as u128);
        // With a label, a checksum for each copy, and two numbers that end texts.
        let copies = self.views as u128 + 1;
        let row = copies * (height * width * self.token_bytes()) as u128 + 4 * (copies + 3);
        if images >= u128::from(u32::MAX) || images * row > isize::MAX as u128 {
            return Err(format!("{images} images, more than can be numbered or mapped"));
        }
        Ok(())
    }

    /// Number of all shards, as the manifest says.
    pub(super) fn shard_count(&self) -> usize {
        self.images.lengths().iter().map(|images| images.div_ceil(self.shard_images)).sum()
    }

    /// The file's contents.
    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a manifest of plain values has a JSON form");
        text + "\n"
    }

    /// Size of the images.
    pub fn n_px(&self) -> ImageSize {
        let [height, width] = self.n_px;
        ImageSize { height, width }
    }

    /// What shards refer to this directory by: the bytes of its checksum.
    pub(super) fn id(&self) -> [u8; 32] {
        Sha256::digest(self.sha256.as_bytes()).into()
    }

    /// Sequences stored of each image of a split: itself, and its views in train.
    pub(super) fn copies(&self, split: usize) -> usize {
        if split == 0 { self.views.saturating_add(1) } else { 1 }
    }

    /// Bytes of a token.
    pub(super) fn token_bytes(&self) -> usize {
        if self.n_vocab <= 256 { 1 } else { 2 }
    }

    /// Images that make shards of about 32 MiB.
    fn usual_shard(&self) -> usize {
        let row = self.n_px().pixels() * self.token_bytes();
        ((32 << 20) / row.saturating_mul(self.copies(0))).max(1)
    }

    /// All shards as (split, number, images), in order.
    pub(super) fn shards(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let most = self.shard_images;
        self.images.lengths().into_iter().enumerate().flat_map(move |(split, images)| {
            (0..images.div_ceil(most)).map(move |number| (split, number, most.min(images - number * most)))
        })
    }

    /// What differs between the directory that was begun (`self`) and what is asked for now, both values named.
    pub(super) fn differences(&self, asked: &Self) -> Vec<String> {
        let text = |value: &dyn std::fmt::Display| value.to_string();
        let of = |m: &Self| {
            [
                ("source", m.source.clone()),
                ("image size", text(&m.n_px())),
                ("palette", m.palette_hash.clone()),
                ("augmentation", format!("{:?}", m.augment).to_lowercase()),
                ("number of views", text(&m.views)),
                ("seed", text(&m.seed)),
                ("images a shard", text(&m.shard_images)),
                ("number of train, validation and test images", format!("{:?}", m.images.lengths())),
                ("list of names and labels", m.images_sha256.clone()),
                ("classes", m.classes.join(", ")),
            ]
        };
        let pairs = of(self).into_iter().zip(of(asked));
        let differing = pairs.filter(|((_, begun), (_, asked))| begun != asked);
        differing.map(|((name, begun), (_, asked))| format!("its {name} is {begun}, not {asked}")).collect()
    }
}
