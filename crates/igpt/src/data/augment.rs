//! Augmentations: what is done to an image each time it is trained on, and which of them suits a data set.

use std::str::FromStr;

use crate::image::ImageSize;
use crate::rng::Rng;
use crate::{Error, Result};

/// What is done to an image each time it is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Augment {
    /// As in evaluation.
    #[default]
    None,
    /// At the model's size, moved by up to a sixteenth of the side each way, what comes in at the border mirrored.
    Shift,
    /// A random crop of 80 to 100 % of the shorter side, scaled to the model's size.
    Crop,
    /// The paper's ImageNet recipe: a random crop of 224 where the shorter side is a random 256 to 384, that is 58 to
    /// 88 % of it, then down to the model's size. No flip.
    Imagenet,
    /// The CIFAR recipe: at the model's size, 4 pixels of reflected border, a random crop, a flip every other time.
    /// Also called `crop-flip`.
    #[serde(alias = "crop-flip")]
    Cifar,
    /// A random tile of the model's size, cut out at the picture's own resolution: for large pictures in which small things
    /// count. The model then reads tiles only.
    Tiles,
}

impl Augment {
    /// Every name in configs and flags.
    pub const NAMES: [&'static str; 7] = ["none", "shift", "crop", "imagenet", "cifar", "crop-flip", "tiles"];

    /// Its name in configs and flags.
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

    /// Whether it starts from the picture's own pixels, so that images at the model's size are not enough.
    pub(super) fn needs_pixels(self) -> bool {
        matches!(self, Self::Crop | Self::Imagenet | Self::Tiles)
    }

    /// Which share of the largest centred crop a random crop has.
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

/// What moves whole pixels about, so that it does the same to tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) top: isize,
    pub(super) left: isize,
    pub(super) flip: bool,
}

impl Shift {
    /// Nothing.
    pub(super) const NONE: Shift = Shift { top: 0, left: 0, flip: false };
    /// No shift, but a flip.
    pub(super) const MIRROR: Shift = Shift { top: 0, left: 0, flip: true };

    /// Draws one of `augment` for images of `size`; none moves for an augmentation that doesn't.
    pub(super) fn draw(augment: Augment, size: ImageSize, rng: &mut Rng) -> Self {
        let reach = match augment {
            Augment::Cifar => [PAD; 2],
            Augment::Shift => [size.height, size.width].map(|side| (side / SHIFT_OF).max(1)),
            _ => return Self::NONE,
        };
        let [top, left] = reach.map(|reach| rng.below(2 * reach as u64 + 1) as isize - reach as isize);
        Self { top, left, flip: augment == Augment::Cifar && rng.below(2) == 1 }
    }

    /// The image (height, width, `channels`) moved by (`left`, `top`) pixels, what comes in at the border mirrored; and
    /// flipped if `flip`.
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

/// Position `i` of an axis of `n` that goes on beyond its ends as a mirror image, the end itself not repeated.
pub(super) fn reflect(i: isize, n: usize) -> usize {
    let period = 2 * (n as isize - 1).max(1);
    let i = i.rem_euclid(period);
    i.min(period - i) as usize % n
}
