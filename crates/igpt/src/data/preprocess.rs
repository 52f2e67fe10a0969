//! Preprocessing of decoded images to a model's size: the paper's crops for evaluation and its two training recipes.
//!
//! Chen et al. 2020, section 3.1, crop 224 of a shorter side of 224 (evaluation) or of 256 to 384 (training) and then
//! scale down. Here both are one resampling straight from the original. This avoids a blur and keeps the crop's share of
//! the picture, so the recipe also applies to originals smaller than 224.

use super::augment::{Augment, Shift};
use crate::image::{
    ImageSize, PixelRect, Pixels, Resampling,
    resize::{Rect, resample},
};
use crate::palette::Palette;
use crate::rng::Rng;
use crate::{Error, Result};

/// Preprocessing that brings images to a model's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocess {
    /// The model's image size.
    pub size: ImageSize,
    /// Augmentation that [`Preprocess::training`] applies.
    pub augment: Augment,
    /// Whether training mirrors half of the images left to right; [`Augment::Cifar`] does in any case.
    pub flip: bool,
    /// Scaling method: that of the palette, see [`crate::palette::Palette::resampling`].
    pub resampling: Resampling,
}

impl Preprocess {
    /// Creates the preprocessing of evaluation: no augmentation, bilinear scaling.
    pub fn new(size: ImageSize) -> Self {
        Self { size, augment: Augment::None, flip: false, resampling: Resampling::default() }
    }

    /// Creates the preprocessing of evaluation with the scaling method of `palette`.
    pub fn of(palette: &Palette, size: ImageSize) -> Self {
        Self { resampling: palette.resampling(), ..Self::new(size) }
    }

    /// Prepares an image for evaluation: the largest centred crop of the model's aspect, scaled to the model's size.
    ///
    /// An image of that size stays as it is. With [`Resampling::Crop`] the middle is cut out at the image's own
    /// resolution.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an image of another size if [`Resampling::Off`] forbids scaling, and for a smaller image
    /// if [`Resampling::Crop`] cuts out the middle.
    pub fn evaluation(&self, image: &Pixels) -> Result<Pixels> {
        if image.size == self.size {
            return Ok(image.clone());
        }
        let PixelRect { top, left, size } = self.crop_rect(image.size)?;
        let cropped = if size == image.size { image.clone() } else { cut(image, left, top, size) };
        Ok(resample(&cropped, Rect::whole(size), self.size, self.resampling))
    }

    /// Returns the rectangle that [`Preprocess::evaluation`] cuts out of an image of size `own` before it scales.
    ///
    /// It is the largest centred crop of the model's aspect, or the middle with [`Resampling::Crop`].
    ///
    /// # Errors
    /// Same as [`Preprocess::evaluation`].
    pub fn crop_rect(&self, own: ImageSize) -> Result<PixelRect> {
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

    /// Prepares an image for training, with the augmentation drawn from `rng`; the result has the model's size.
    ///
    /// # Errors
    /// Same as [`Preprocess::evaluation`].
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

    /// Prepares an image like [`Preprocess::training`], by the same draws, but never flips it.
    ///
    /// Such images are stored, to be flipped later.
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

    /// Whether an image is mirrored; this is the last of its draws.
    pub(super) fn mirrors(&self, rng: &mut Rng) -> bool {
        self.flip && self.augment != Augment::Cifar && rng.below(2) == 1
    }
}

fn shifted(image: &Pixels, shift: &Shift) -> Pixels {
    Pixels::new(image.size, image.channels, shift.apply(&image.data, image.size, image.channels))
}

/// The largest size with the proportions of `aspect` inside `size`, at least one pixel in each direction.
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

/// Draws the rectangle of a random crop, a `share` of the largest centred one, in the original's coordinates.
fn random_area(image: ImageSize, model: ImageSize, share: f64, rng: &mut Rng) -> Rect {
    let (image_width, image_height) = (image.width as f64, image.height as f64);
    let aspect = model.width as f64 / model.height as f64;
    let width = share * image_width.min(image_height * aspect);
    let height = share * image_height.min(image_width / aspect);
    Rect { left: rng.uniform() * (image_width - width), top: rng.uniform() * (image_height - height), width, height }
}

#[cfg(test)]
mod tests;
