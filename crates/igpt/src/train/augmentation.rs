//! Choice of a run's augmentation: the configured one, or one that suits the number of images, their size and the
//! budget.

use crate::data::{Augment, Images, Preprocess};
use crate::image::{ImageSize, Resampling};
use crate::palette::Palette;
use crate::train::config::{DataSettings, RunConfig};
use crate::train::plan::sizing::TILE;
use crate::{Error, Result};

/// Passes over the images from which crops are chosen, for pictures that are large enough.
///
/// `studies/augmentation.py` finds crops better at 16 passes and more.
const CROPPED_FROM: f64 = 8.0;
/// Passes over the images from which shifts are chosen, for pictures too small for crops: better at 80 passes, worse at
/// 16.
const SHIFTED_FROM: f64 = 40.0;
/// Smallest ratio of picture size to model size for each kind of crop: each crop is then at least as large as the
/// model's images.
const LARGE_ENOUGH: [(f64, Augment); 2] = [(1.7, Augment::Imagenet), (1.2, Augment::Crop)];
/// Number of pictures whose size is looked at.
const LOOKED_AT: usize = 9;

/// Preprocessing of the training images.
pub(super) fn preprocess(data: &DataSettings, palette: &Palette, n_px: ImageSize) -> Preprocess {
    let augment = data.augment.unwrap_or(Augment::None);
    Preprocess { augment, flip: data.flip.unwrap_or(false), ..Preprocess::of(palette, n_px) }
}

/// Resampling of pictures to a new model's image size: the model reads tiles if it is trained on tiles.
pub(super) fn resampling(data: &DataSettings) -> Resampling {
    match data.augment {
        Some(Augment::Tiles) => Resampling::Crop,
        _ => Resampling::default(),
    }
}

/// Image size of a new model: the configured one, the images' own if they are small, or a default.
pub(super) fn size(config: &RunConfig, images: &Images) -> ImageSize {
    let usual = || match config.data.augment {
        Some(Augment::Tiles) => ImageSize::square(TILE),
        _ => images.common_size().unwrap_or(ImageSize::square(32)),
    };
    config.model.n_px.unwrap_or_else(usual)
}

/// Chooses the augmentation that `data` leaves open, and returns a message about the choice.
///
/// `images` are seen `epochs` times each by a model of `n_px`. `mirrors` says whether an image means the same when it
/// is mirrored. A model that `reads_tiles` is trained on tiles.
///
/// # Errors
/// When the config asks for another augmentation of a model that reads tiles.
pub(super) fn choose(
    data: &mut DataSettings,
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
        None if epochs < CROPPED_FROM => (Augment::None, format!("{count} images are seen {epochs:.1} times each")),
        None => match crops(images, n_px) {
            Some(augment) => (augment, format!("{count} images, larger than {n_px}, are seen {epochs:.0} times each")),
            None if epochs < SHIFTED_FROM => {
                (Augment::None, format!("{count} images, not larger than {n_px}, are seen {epochs:.0} times each"))
            }
            None => (Augment::Shift, format!("{count} images are seen {epochs:.0} times each")),
        },
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

/// The kind of crop that most pictures are large enough for, if any. Stored tokens have no larger pictures.
fn crops(images: &Images, n_px: ImageSize) -> Option<Augment> {
    if images.tokens().is_some() {
        return None;
    }
    let ratio = |size: ImageSize| (size.height as f64 / n_px.height as f64).min(size.width as f64 / n_px.width as f64);
    let some = images.spread(LOOKED_AT.min(images.len()));
    let mut ratios: Vec<f64> =
        (0..some.len()).filter_map(|i| some.pixels(i).ok()).map(|pixels| ratio(pixels.size)).collect();
    ratios.sort_by(f64::total_cmp);
    let usual = *ratios.get(ratios.len() / 2)?;
    LARGE_ENOUGH.into_iter().find(|(least, _)| usual >= *least).map(|(_, augment)| augment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, Split, open};

    fn chosen(
        n_px: usize,
        epochs: f64,
        mirrors: bool,
        edit: impl FnOnce(&mut DataSettings),
    ) -> (Augment, bool, String) {
        let images = open("emoji", &OpenOptions::default()).unwrap().split(Split::Validation).unwrap();
        let mut data = DataSettings::default();
        edit(&mut data);
        let told = choose(&mut data, &images, mirrors, (ImageSize::square(n_px), false), epochs).unwrap();
        (data.augment.unwrap(), data.flip.unwrap_or(false), told)
    }

    #[test]
    fn images_seen_a_few_times_are_left_alone_larger_ones_cropped_and_others_shifted() {
        assert_eq!(chosen(16, 3.0, true, |_| ()).0, Augment::None);
        assert_eq!(chosen(16, 30.0, true, |_| ()).0, Augment::Imagenet);
        assert_eq!(chosen(24, 30.0, true, |_| ()).0, Augment::Crop);
        // Pictures of the model's size must be seen often for a shift to be worth it.
        assert_eq!(chosen(32, 30.0, true, |_| ()).0, Augment::None);
        let (augment, flip, told) = chosen(32, 50.0, true, |_| ());
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
            let mut data = DataSettings { augment, ..DataSettings::default() };
            choose(&mut data, &images, false, (ImageSize::square(16), true), 1.0).map(|_| data.augment.unwrap())
        };
        assert_eq!(tiles(None).unwrap(), Augment::Tiles);
        assert_eq!(tiles(Some(Augment::None)).unwrap(), Augment::None);
        assert!(tiles(Some(Augment::Imagenet)).unwrap_err().to_string().contains("leave --augment out"));
    }

    #[test]
    fn what_may_not_be_mirrored_is_not_unless_it_is_asked_for() {
        assert!(!chosen(32, 50.0, false, |_| ()).1);
        assert!(chosen(32, 50.0, false, |data| data.flip = Some(true)).1);
        assert!(!chosen(32, 50.0, true, |data| data.flip = Some(false)).1);
        assert_eq!(chosen(32, 50.0, true, |data| data.augment = Some(Augment::None)).0, Augment::None);
        assert!(!chosen(32, 50.0, true, |data| data.augment = Some(Augment::None)).1);
    }
}
