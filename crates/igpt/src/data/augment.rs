//! Augmentations of training images, applied anew in each epoch, and their names.

use std::str::FromStr;

use crate::image::ImageSize;
use crate::rng::Rng;
use crate::{Error, Result};

/// Augmentation of training images, drawn anew each time an image is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Augment {
    /// No augmentation: training images are prepared as for evaluation.
    #[default]
    None,
    /// A shift at the model's size by up to a sixteenth of the side in each direction; the border is mirrored.
    Shift,
    /// A random crop of 80 to 100 % of the shorter side, scaled to the model's size.
    Crop,
    /// The paper's ImageNet recipe: a random crop of 58 to 88 % of the shorter side, scaled to the model's size.
    ///
    /// The paper crops 224 pixels where the shorter side is a random 256 to 384. No flip.
    Imagenet,
    /// The CIFAR recipe: 4 pixels of reflected border, a random crop, and a flip half of the time.
    ///
    /// It works at the model's size.
    ///
    /// Also called `crop-flip`.
    #[serde(alias = "crop-flip")]
    Cifar,
    /// A random tile of the model's size, cut out at the picture's own resolution.
    ///
    /// It suits large pictures with important small details. The model then reads tiles only.
    Tiles,
}

impl Augment {
    /// All names of augmentations in configs and flags.
    pub const NAMES: [&'static str; 7] = ["none", "shift", "crop", "imagenet", "cifar", "crop-flip", "tiles"];

    /// Returns the name of the augmentation in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Shift => "shift",
            Self::Crop => "crop",
            Self::Imagenet => "imagenet",
            Self::Cifar => "cifar",
            Self::Tiles => "tiles",
        }
    }

    /// Whether the augmentation starts from the picture's own pixels, so that images at the model's size are not enough.
    pub(super) fn needs_pixels(self) -> bool {
        matches!(self, Self::Crop | Self::Imagenet | Self::Tiles)
    }

    /// Draws the share of the largest centred crop that a random crop has.
    pub(super) fn share(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Crop => 1.0 - 0.2 * rng.uniform(),
            _ => 224.0 / (256 + rng.below(384 - 256 + 1)) as f64,
        }
    }
}

impl FromStr for Augment {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "shift" => Ok(Self::Shift),
            "crop" => Ok(Self::Crop),
            "imagenet" => Ok(Self::Imagenet),
            "cifar" | "crop-flip" => Ok(Self::Cifar),
            "tiles" => Ok(Self::Tiles),
            _ => Err(Error::Invalid(format!(
                "no augmentation is called {name:?}: say auto, none, shift, crop, imagenet, cifar, crop-flip or tiles"
            ))),
        }
    }
}

/// Border of the CIFAR recipe, in pixels.
const PAD: usize = 4;
/// A shift is at most the side divided by this, and at least one pixel.
const SHIFT_OF: usize = 16;

/// A move of whole pixels and a flip; both do the same to tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) top: isize,
    pub(super) left: isize,
    pub(super) flip: bool,
}

impl Shift {
    /// No shift and no flip.
    pub(super) const NONE: Shift = Shift { top: 0, left: 0, flip: false };
    /// A flip without a shift.
    pub(super) const MIRROR: Shift = Shift { top: 0, left: 0, flip: true };

    /// Draws a shift of `augment` for images of `size`; no shift for an augmentation without one.
    pub(super) fn draw(augment: Augment, size: ImageSize, rng: &mut Rng) -> Self {
        let reach = match augment {
            Augment::Cifar => [PAD; 2],
            Augment::Shift => [size.height, size.width].map(|side| (side / SHIFT_OF).max(1)),
            _ => return Self::NONE,
        };
        let [top, left] = reach.map(|reach| rng.below(2 * reach as u64 + 1) as isize - reach as isize);
        Self { top, left, flip: augment == Augment::Cifar && rng.below(2) == 1 }
    }

    /// Shifts the image (height, width, `channels`) by (`left`, `top`) pixels and flips it if `flip`; the border is
    /// mirrored.
    pub(super) fn apply<T: Copy>(&self, image: &[T], size: ImageSize, channels: usize) -> Vec<T> {
        let columns: Vec<usize> = (0..size.width)
            .map(|x| if self.flip { size.width - 1 - x } else { x })
            .map(|x| reflect(self.left + x as isize, size.width))
            .collect();
        let mut data = Vec::with_capacity(image.len());
        for y in 0..size.height {
            let row = reflect(self.top + y as isize, size.height);
            let row = &image[row * size.width * channels..][..size.width * channels];
            columns.iter().for_each(|&x| data.extend_from_slice(&row[x * channels..][..channels]));
        }
        data
    }
}

/// Reflects position `i` into an axis of `n` positions that continues as a mirror image; the ends are not repeated.
pub(super) fn reflect(i: isize, n: usize) -> usize {
    let period = 2 * (n as isize - 1).max(1);
    let i = i.rem_euclid(period);
    i.min(period - i) as usize % n
}
