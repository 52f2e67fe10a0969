//! The augmentation of a run: what was asked for, or what suits the number of images, their size and the budget.

use crate::data::{Augment, Images, Preprocess};
use crate::image::{ImageSize, Resampling};
use crate::palette::Palette;
use crate::train::config::{DataSection, RunConfig};
use crate::train::plan::sizing::TILE;
use crate::{Error, Result};

/// Where images are seen less often than this, they are not learned by heart: augmented ones would only be harder to learn.
const FEW_EPOCHS: f64 = 8.0;
/// How much larger than the model pictures must be, for a crop of them to show more than a shift does.
const LARGER: f64 = 1.2;
/// Pictures whose size is looked at.
const LOOKED_AT: usize = 9;

/// How training images are preprocessed.
pub(super) fn preprocess(data: &DataSection, palette: &Palette, n_px: ImageSize) -> Preprocess {
    let augment = data.augment.unwrap_or(Augment::None);
    Preprocess { augment, flip: data.flip.unwrap_or(false), ..Preprocess::of(palette, n_px) }
}

/// How the pictures of a new model come to its size: it reads tiles if that is what it is trained on.
pub(super) fn resampling(data: &DataSection) -> Resampling {
    match data.augment {
        Some(Augment::Tiles) => Resampling::Crop,
        _ => Resampling::default(),
    }
}

/// The image size of a new model: the given one, that of small images, or a usual one.
pub(super) fn size(config: &RunConfig, images: &Images) -> ImageSize {
    let usual = || match config.data.augment {
        Some(Augment::Tiles) => ImageSize::square(TILE),
        _ => images.own_size().unwrap_or(ImageSize::square(32)),
    };
    config.model.n_px.unwrap_or_else(usual)
}

/// Chooses what `data` leaves open, for `images` that are seen `epochs` times each by a model of `n_px`; `mirrors` is whether
/// they mean the same when they are mirrored. Gives what to tell of it.
/// A model that `reads_tiles` is trained on them.
///
/// # Errors
/// When such a model is asked for another augmentation.
pub(super) fn choose(
    data: &mut DataSection,
    images: &Images,
    mirrors: bool,
    (n_px, reads_tiles): (ImageSize, bool),
    epochs: f64,
) -> Result<String> {
    let count = images.len();
    let (augment, why) = match data.augment {
        Some(augment) if reads_tiles && !matches!(augment, Augment::Tiles | Augment::None) => {
            return Err(Error::Invalid(format!(
                "data.augment is {}, but the model reads tiles at the pictures' own resolution: leave --augment out, or start \
                 a new model",
                augment.name()
            )));
        }
        None if reads_tiles => (Augment::Tiles, "the model reads tiles".into()),
        Some(augment) => (augment, "as asked for".to_owned()),
        None if epochs < FEW_EPOCHS => (Augment::None, format!("{count} images are seen {epochs:.1} times each")),
        None if are_larger(images, n_px) => {
            (Augment::Crop, format!("{count} images, larger than {n_px}, are seen {epochs:.0} times each"))
        }
        None => (Augment::Shift, format!("{count} images are seen {epochs:.0} times each")),
    };
    let chosen = data.augment.is_none();
    let flip = data.flip.unwrap_or(chosen && augment != Augment::None && mirrors);
    if chosen {
        (data.augment, data.flip) = (Some(augment), Some(flip));
    }
    let flips = if flip { " with flips" } else { "" };
    let off = if chosen && augment != Augment::None { "; --augment none turns it off" } else { "" };
    Ok(format!("augmentation {}{flips}: {why}{off}", augment.name()))
}

/// Whether the pictures are larger than the model's size; of tokens nothing larger is left.
fn are_larger(images: &Images, n_px: ImageSize) -> bool {
    if images.tokens().is_some() {
        return false;
    }
    let is_larger = |size: ImageSize| {
        let side = (size.height as f64 / n_px.height as f64).min(size.width as f64 / n_px.width as f64);
        side >= LARGER
    };
    if let Some(size) = images.own_size() {
        return is_larger(size);
    }
    let some = images.spread(LOOKED_AT.min(images.len()));
    let sizes: Vec<ImageSize> = (0..some.len()).filter_map(|i| some.pixels(i).ok()).map(|pixels| pixels.size).collect();
    2 * sizes.iter().filter(|size| is_larger(**size)).count() > sizes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, Split, open};

    fn chosen(n_px: usize, epochs: f64, mirrors: bool, edit: impl FnOnce(&mut DataSection)) -> (Augment, bool, String) {
        let images = open("emoji", &OpenOptions::default()).unwrap().split(Split::Validation).unwrap();
        let mut data = DataSection::default();
        edit(&mut data);
        let told = choose(&mut data, &images, mirrors, (ImageSize::square(n_px), false), epochs).unwrap();
        (data.augment.unwrap(), data.flip.unwrap_or(false), told)
    }

    #[test]
    fn images_seen_a_few_times_are_left_alone_larger_ones_cropped_and_others_shifted() {
        assert_eq!(chosen(16, 3.0, true, |_| ()).0, Augment::None);
        assert_eq!(chosen(16, 30.0, true, |_| ()).0, Augment::Crop);
        let (augment, flip, told) = chosen(32, 30.0, true, |_| ());
        assert_eq!((augment, flip), (Augment::Shift, true));
        assert!(
            told.contains("augmentation shift with flips") && told.contains("--augment none turns it off"),
            "{told}"
        );
    }

    #[test]
    fn a_model_of_tiles_goes_on_with_tiles_and_refuses_what_scales_pictures() {
        let images = open("emoji", &OpenOptions::default()).unwrap().split(Split::Validation).unwrap();
        let tiles = |augment| {
            let mut data = DataSection { augment, ..DataSection::default() };
            choose(&mut data, &images, false, (ImageSize::square(16), true), 1.0).map(|_| data.augment.unwrap())
        };
        assert_eq!(tiles(None).unwrap(), Augment::Tiles);
        assert_eq!(tiles(Some(Augment::None)).unwrap(), Augment::None);
        assert!(tiles(Some(Augment::Imagenet)).unwrap_err().to_string().contains("leave --augment out"));
    }

    #[test]
    fn what_may_not_be_mirrored_is_not_unless_it_is_asked_for() {
        assert!(!chosen(32, 30.0, false, |_| ()).1);
        assert!(chosen(32, 30.0, false, |data| data.flip = Some(true)).1);
        assert!(!chosen(32, 30.0, true, |data| data.flip = Some(false)).1);
        assert_eq!(chosen(32, 30.0, true, |data| data.augment = Some(Augment::None)).0, Augment::None);
        assert!(!chosen(32, 30.0, true, |data| data.augment = Some(Augment::None)).1);
    }
}
