//! From a decoded image to the model's size: the paper's crops for evaluation and its two training recipes.
//!
//! Chen et al. 2020, section 3.1, crops 224 of a shorter side of 224 (evaluation) or of 256 to 384 (training) and then
//! scales down. Here both are one resampling straight from the original, which spares a blur and keeps the crop's
//! share of the picture; so the recipe also means something for originals smaller than 224.

use std::str::FromStr;

use crate::image::{
    ImageSize, Pixels, Resampling,
    resize::{Area, resample},
};
use crate::palette::Palette;
use crate::rng::Rng;
use crate::{Error, Result};

/// What is done to an image each time it is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// As in evaluation.
    #[default]
    None,
    /// The paper's ImageNet recipe: a random crop of 224 where the shorter side is a random 256 to 384, that is 58 to
    /// 88 % of it, then down to the model's size. No flip.
    Imagenet,
    /// The CIFAR recipe: at the model's size, 4 pixels of reflected border, a random crop, a flip every other time.
    /// Also called `crop-flip`.
    #[serde(alias = "crop-flip")]
    Cifar,
}

impl Augment {
    /// Every name in configs and flags.
    pub const NAMES: [&'static str; 4] = ["none", "imagenet", "cifar", "crop-flip"];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Imagenet => "imagenet",
            Self::Cifar => "cifar",
        }
    }
}

impl FromStr for Augment {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "imagenet" => Ok(Self::Imagenet),
            "cifar" | "crop-flip" => Ok(Self::Cifar),
            _ => Err(Error::Invalid(format!(
                "no augmentation is called {name:?}: say none, imagenet, cifar or crop-flip"
            ))),
        }
    }
}

/// Border of the CIFAR recipe, in pixels.
const PAD: usize = 4;

/// Brings images to a model's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocess {
    /// The model's size.
    pub size: ImageSize,
    /// What [`Preprocess::training`] does on top.
    pub augment: Augment,
    /// How images are scaled: the palette's, see [`crate::palette::Palette::resampling`].
    pub resampling: Resampling,
}

impl Preprocess {
    /// As in evaluation: no augmentation, and bilinear where the model says nothing else.
    pub fn new(size: ImageSize) -> Self {
        Self { size, augment: Augment::None, resampling: Resampling::default() }
    }

    /// As [`Preprocess::new`], scaled as `palette` asks for.
    pub fn of(palette: &Palette, size: ImageSize) -> Self {
        Self { resampling: palette.resampling(), ..Self::new(size) }
    }

    /// The largest centred crop of the model's aspect, scaled to the model's size; an image of that size is untouched.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an image of another size where [`Resampling::Off`] allows no scaling.
    pub fn evaluation(&self, image: &Pixels) -> Result<Pixels> {
        if image.size == self.size {
            return Ok(image.clone());
        }
        self.expect_scaling(image)?;
        let crop = largest_crop(image.size, self.size);
        let (left, top) = ((image.size.width - crop.width) / 2, (image.size.height - crop.height) / 2);
        let cropped = if crop == image.size { image.clone() } else { cut(image, left, top, crop) };
        Ok(resample(&cropped, Area::whole(crop), self.size, self.resampling))
    }

    fn expect_scaling(&self, image: &Pixels) -> Result<()> {
        if self.resampling != Resampling::Off || image.size == self.size {
            return Ok(());
        }
        Err(Error::Mismatch(format!(
            "an image of {}, but the model reads {} and its preprocessor_config.json forbids scaling (do_resize is false): \
             give images of that size, or set do_resize to true",
            image.size, self.size
        )))
    }

    /// The image as the recipe changes it, by draws from `rng`; always of the model's size.
    ///
    /// # Errors
    /// As [`Preprocess::evaluation`].
    pub fn training(&self, image: &Pixels, rng: &mut Rng) -> Result<Pixels> {
        match self.augment {
            Augment::None => self.evaluation(image),
            Augment::Imagenet => {
                self.expect_scaling(image)?;
                Ok(resample(image, random_area(image.size, self.size, rng), self.size, self.resampling))
            }
            Augment::Cifar => {
                let image = self.evaluation(image)?;
                let data = Shift::draw(rng).apply(&image.data, image.size, image.channels);
                Ok(Pixels::new(image.size, image.channels, data))
            }
        }
    }

    /// As [`Preprocess::training`], by the same draws, but never flipped: what is stored of an image to be flipped
    /// later.
    pub(super) fn unflipped(&self, image: &Pixels, rng: &mut Rng) -> Result<Pixels> {
        match self.augment {
            Augment::None | Augment::Imagenet => self.training(image, rng),
            Augment::Cifar => {
                let image = self.evaluation(image)?;
                let shift = Shift { flip: false, ..Shift::draw(rng) };
                Ok(Pixels::new(image.size, image.channels, shift.apply(&image.data, image.size, image.channels)))
            }
        }
    }
}

/// The largest size of `aspect`'s proportions inside `size`, at least one pixel each way.
fn largest_crop(size: ImageSize, aspect: ImageSize) -> ImageSize {
    let scaled = |side: usize, by: usize, over: usize| ((side * by + over / 2) / over).max(1);
    if size.width * aspect.height >= size.height * aspect.width {
        ImageSize { height: size.height, width: scaled(size.height, aspect.width, aspect.height).min(size.width) }
    } else {
        ImageSize { height: scaled(size.width, aspect.height, aspect.width).min(size.height), width: size.width }
    }
}

fn cut(image: &Pixels, left: usize, top: usize, size: ImageSize) -> Pixels {
    let c = image.channels;
    let rows = image.data.chunks_exact(image.size.width * c).skip(top).take(size.height);
    Pixels::new(size, c, rows.flat_map(|row| &row[left * c..][..size.width * c]).copied().collect())
}

/// Where the ImageNet recipe crops, in the original's coordinates.
fn random_area(image: ImageSize, model: ImageSize, rng: &mut Rng) -> Area {
    let share = 224.0 / (256 + rng.below(384 - 256 + 1)) as f64;
    let (image_width, image_height) = (image.width as f64, image.height as f64);
    let aspect = model.width as f64 / model.height as f64;
    let width = share * image_width.min(image_height * aspect);
    let height = share * image_height.min(image_width / aspect);
    Area { left: rng.uniform() * (image_width - width), top: rng.uniform() * (image_height - height), width, height }
}

/// What the CIFAR recipe does to an image: it moves whole pixels about, so it does the same to tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) top: isize,
    pub(super) left: isize,
    pub(super) flip: bool,
}

impl Shift {
    /// Draws one.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut offset = || rng.below(2 * PAD as u64 + 1) as isize - PAD as isize;
        let (top, left) = (offset(), offset());
        Self { top, left, flip: rng.below(2) == 1 }
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
fn reflect(i: isize, n: usize) -> usize {
    let period = 2 * (n as isize - 1).max(1);
    let i = i.rem_euclid(period);
    i.min(period - i) as usize % n
}

#[cfg(test)]
mod tests;
