//! Manifest `tokens.json` of a token directory: what was tokenized, how, and into which shards.

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
/// Name of the manifest's file.
pub(super) const MANIFEST: &str = "tokens.json";
/// Largest side of the images: no network has a larger one.
pub(super) const MAX_SIDE: usize = 64;
/// Largest number of views per image.
const MAX_VIEWS: usize = 1 << 20;
/// The file's own name for its format.
const FORMAT: &str = "igpt tokens";

/// Manifest of a token directory: all settings that determine its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    format: String,
    /// Version of the directory's format.
    pub version: u32,
    /// Name of the data set as given to `--data` when the tokens were made.
    pub source: String,
    /// Height and width of the images.
    n_px: [usize; 2],
    /// Hash of the palette, see [`Palette::hash`].
    pub palette_hash: String,
    /// Number of colours of the palette.
    pub n_vocab: usize,
    /// Channels of the palette: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Augmentation of the stored views.
    pub augment: Augment,
    /// Number of augmented views stored per training image, in addition to the image itself.
    pub views: usize,
    /// Seed of the views, and of the palette if it was fitted.
    pub seed: u64,
    /// Images per shard; the last shard of each split has the rest.
    pub shard_images: usize,
    /// Number of images of each split.
    pub images: SplitCounts,
    /// SHA-256 of the images' names and labels, in hexadecimal.
    pub images_sha256: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// SHA-256 of this file with this field empty, in hexadecimal.
    sha256: String,
}

/// Counts for the splits train, validation and test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCounts {
    /// Count for the train split.
    pub train: usize,
    /// Count for the validation split.
    pub validation: usize,
    /// Count for the test split.
    pub test: usize,
}

/// The splits in the order in which they are stored.
pub(super) const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

impl SplitCounts {
    /// Returns the counts in the order train, validation, test.
    pub fn lengths(&self) -> [usize; 3] {
        [self.train, self.validation, self.test]
    }
}

impl Manifest {
    /// Creates the manifest of tokenized images; `images_sha256` is the checksum of their names and labels.
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

    /// Sets the manifest's checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.sha256 = String::new();
        self.sha256 = sha256(self.text().as_bytes());
        self
    }

    /// Reads and checks the manifest in the token directory `root`.
    ///
    /// # Errors
    /// When the file does not exist, has another version, or was changed.
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

    /// Checks that the numbers describe possible files.
    ///
    /// A checksum is not a signature: sizes and counts that fit into no address would panic wherever they are
    /// multiplied.
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
        // Plus a label, a checksum per copy, and two numbers that end texts.
        let copies = self.views as u128 + 1;
        let row = copies * (height * width * self.token_bytes()) as u128 + 4 * (copies + 3);
        if images >= u128::from(u32::MAX) || images * row > isize::MAX as u128 {
            return Err(format!("{images} images, more than can be numbered or mapped"));
        }
        Ok(())
    }

    /// Number of all shards, according to the manifest.
    pub(super) fn shard_count(&self) -> usize {
        self.images.lengths().iter().map(|images| images.div_ceil(self.shard_images)).sum()
    }

    /// Contents of the manifest's file.
    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a manifest of plain values has a JSON form");
        text + "\n"
    }

    /// Returns the size of the images.
    pub fn n_px(&self) -> ImageSize {
        let [height, width] = self.n_px;
        ImageSize { height, width }
    }

    /// Identity of this directory in its shards: the bytes of its checksum.
    pub(super) fn id(&self) -> [u8; 32] {
        Sha256::digest(self.sha256.as_bytes()).into()
    }

    /// Number of sequences stored per image of a split: the image itself, and its views in train.
    pub(super) fn copies(&self, split: usize) -> usize {
        if split == 0 { self.views.saturating_add(1) } else { 1 }
    }

    /// Bytes per token.
    pub(super) fn token_bytes(&self) -> usize {
        if self.n_vocab <= 256 { 1 } else { 2 }
    }

    /// Number of images that make shards of about 32 MiB.
    fn usual_shard(&self) -> usize {
        let row = self.n_px().pixels() * self.token_bytes();
        ((32 << 20) / row.saturating_mul(self.copies(0))).max(1)
    }

    /// Returns all shards as (split, number, images), in order.
    pub(super) fn shards(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let most = self.shard_images;
        self.images.lengths().into_iter().enumerate().flat_map(move |(split, images)| {
            (0..images.div_ceil(most)).map(move |number| (split, number, most.min(images - number * most)))
        })
    }

    /// Lists what differs between the unfinished directory (`self`) and the manifest `asked` for now, with both values.
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
