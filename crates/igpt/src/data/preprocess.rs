//! From a decoded image to the model's size: the paper's crops for evaluation and its two training recipes.
//!
//! Chen et al. 2020, section 3.1, crops 224 of a shorter side of 224 (evaluation) or of 256 to 384 (training) and then
//! scales down. Here both are one resampling straight from the original, which spares a blur and keeps the crop's
//! share of the picture; so the recipe also means something for originals smaller than 224.

use super::augment::{Augment, Shift};
use crate::image::{
    ImageSize, PixelRect, Pixels, Resampling,
    resize::{Rect, resample},
};
use crate::palette::Palette;
use crate::rng::Rng;
use crate::{Error, Result};

/// Brings images to a model's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocess {
    /// The model's size.
    pub size: ImageSize,
    /// What [`Preprocess::training`] does on top.
    pub augment: Augment,
    /// Whether it also mirrors every other image left to right; [`Augment::Cifar`] does in any case.
    pub flip: bool,
    /// How images are scaled: the palette's, see [`crate::palette::Palette::resampling`].
    pub resampling: Resampling,
}

impl Preprocess {
    /// As in evaluation: no augmentation, and bilinear where the model says nothing else.
    pub fn new(size: ImageSize) -> Self {
        Self { size, augment: Augment::None, flip: false, resampling: Resampling::default() }
    }

    /// As [`Preprocess::new`], scaled as `palette` asks for.
    pub fn of(palette: &Palette, size: ImageSize) -> Self {
        Self { resampling: palette.resampling(), ..Self::new(size) }
    }

    /// The largest centred crop of the model's aspect, scaled to the model's size; an image of that size is untouched.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an image of another size where [`Resampling::Off`] allows no scaling, and for a smaller one
    /// where [`Resampling::Crop`] cuts the middle out.
    pub fn evaluation(&self, image: &Pixels) -> Result<Pixels> {
        if image.size == self.size {
            return Ok(image.clone());
        }
        let PixelRect { top, left, size } = self.window(image.size)?;
        let cropped = if size == image.size { image.clone() } else { cut(image, left, top, size) };
        Ok(resample(&cropped, Rect::whole(size), self.size, self.resampling))
    }

    /// What [`Preprocess::evaluation`] takes of an image of size `own`, before it scales: the largest centred crop of the
    /// model's aspect, or with [`Resampling::Crop`] the middle.
    ///
    /// # Errors
    /// As [`Preprocess::evaluation`].
    pub fn window(&self, own: ImageSize) -> Result<PixelRect> {
        let size = match self.resampling {
            Resampling::Crop => {
                self.room(own)?;
                self.size
            }
            _ => {
                self.expect_scaling(own)?;
                largest_crop(own, self.size)
            }
        };
        Ok(PixelRect { top: (own.height - size.height) / 2, left: (own.width - size.width) / 2, size })
    }

    /// How many pixels further right and down a tile of the model's size can begin.
    fn room(&self, own: ImageSize) -> Result<(usize, usize)> {
        let (across, down) = (own.width.checked_sub(self.size.width), own.height.checked_sub(self.size.height));
        across.zip(down).ok_or_else(|| {
            Error::Mismatch(format!(
                "an image of {own}, but the model reads tiles of {} at the pictures' own resolution: give larger pictures",
                self.size
            ))
        })
    }

    fn expect_scaling(&self, own: ImageSize) -> Result<()> {
        if self.resampling != Resampling::Off || own == self.size {
            return Ok(());
        }
        Err(Error::Mismatch(format!(
            "an image of {own}, but the model reads {} and its preprocessor_config.json forbids scaling (do_resize is false): \
             give images of that size, or set do_resize to true",
            self.size
        )))
    }

    /// The image as the recipe changes it, by draws from `rng`; always of the model's size.
    ///
    /// # Errors
    /// As [`Preprocess::evaluation`].
    pub fn training(&self, image: &Pixels, rng: &mut Rng) -> Result<Pixels> {
        let pixels = match self.augment {
            Augment::None => self.evaluation(image)?,
            Augment::Crop | Augment::Imagenet => {
                self.expect_scaling(image.size)?;
                let area = random_area(image.size, self.size, self.augment.share(rng), rng);
                resample(image, area, self.size, self.resampling)
            }
            Augment::Tiles => {
                let (across, down) = self.room(image.size)?;
                let (left, top) = (rng.below(across as u64 + 1) as usize, rng.below(down as u64 + 1) as usize);
                cut(image, left, top, self.size)
            }
            Augment::Shift | Augment::Cifar => {
                let image = self.evaluation(image)?;
                shifted(&image, &Shift::draw(self.augment, self.size, rng))
            }
        };
        Ok(if self.mirrors(rng) { shifted(&pixels, &Shift::MIRROR) } else { pixels })
    }

    /// As [`Preprocess::training`], by the same draws, but never flipped: what is stored of an image to be flipped
    /// later.
    pub(super) fn unflipped(&self, image: &Pixels, rng: &mut Rng) -> Result<Pixels> {
        match self.augment {
            Augment::Cifar => {
                let image = self.evaluation(image)?;
                let shift = Shift { flip: false, ..Shift::draw(self.augment, self.size, rng) };
                Ok(shifted(&image, &shift))
            }
            _ => Self { flip: false, ..*self }.training(image, rng),
        }
    }

    /// Whether an image is mirrored, the last of its draws.
    pub(super) fn mirrors(&self, rng: &mut Rng) -> bool {
        self.flip && self.augment != Augment::Cifar && rng.below(2) == 1
    }
}

fn shifted(image: &Pixels, shift: &Shift) -> Pixels {
    Pixels::new(image.size, image.channels, shift.apply(&image.data, image.size, image.channels))
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

/// Where a random crop of a `share` of the largest centred one lies, in the original's coordinates.
fn random_area(image: ImageSize, model: ImageSize, share: f64, rng: &mut Rng) -> Rect {
    let (image_width, image_height) = (image.width as f64, image.height as f64);
    let aspect = model.width as f64 / model.height as f64;
    let width = share * image_width.min(image_height * aspect);
    let height = share * image_height.min(image_width / aspect);
    Rect { left: rng.uniform() * (image_width - width), top: rng.uniform() * (image_height - height), width, height }
}

#[cfg(test)]
mod tests;
