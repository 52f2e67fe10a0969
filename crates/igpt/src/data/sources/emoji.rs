//! The embedded data set: 3,786 Google emoji, 32×32 in colour, labelled by category.
//!
//! It lets a new user train on real colour pictures without a download. Skin, gender and direction variants of one
//! emoji, and the same picture under two code points, form a group (`assets/emoji/make_labels.py`). A group stays in one
//! split, so that the model has not seen a test picture in another shade.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use super::packed::PackedSource;
use crate::data::{Dataset, Source, split};
use crate::image::ImageSize;
use crate::{Error, Result};

static SHEET: &[u8] = include_bytes!("../../../assets/emoji/sheet.png");
static LABELS: &str = include_str!("../../../assets/emoji/labels.tsv");

/// Side of a picture.
const SIDE: usize = 32;
/// Distance between two pictures in the sheet: a border of one pixel surrounds each.
const PITCH: usize = SIDE + 2;
/// Pictures in a column of the sheet.
const ROWS: usize = 62;

struct Emoji {
    packed: Arc<PackedSource>,
    groups: Vec<u32>,
    categories: Vec<String>,
}

/// Opens the emoji, split 80/10/10 by groups with `seed`; the sheet is decoded once per process.
pub(crate) fn open(seed: u64) -> Result<Dataset> {
    let emoji = load()?;
    let parts = split::by_groups(&emoji.groups, seed);
    let source: Arc<dyn Source> = emoji.packed.clone();
    Ok(Dataset::new("emoji", emoji.categories.clone(), source, parts))
}

fn load() -> Result<&'static Emoji> {
    static EMOJI: OnceLock<Emoji> = OnceLock::new();
    if let Some(emoji) = EMOJI.get() {
        return Ok(emoji);
    }
    let emoji = decode()?;
    Ok(EMOJI.get_or_init(|| emoji))
}

fn decode() -> Result<Emoji> {
    let damaged = |problem: String| Error::format("the embedded emoji", format!("{problem}: build igpt again"));
    let mut decoder = png::Decoder::new(Cursor::new(SHEET));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|e| damaged(e.to_string()))?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    // One byte of the sheet is an index into at most 256 colours; each is laid on white once.
    let palette = info.palette.as_deref().unwrap_or_default();
    let alpha = info.trns.as_deref().unwrap_or_default();
    let mut colors = [[255u8; 3]; 256];
    for (i, (color, rgb)) in colors.iter_mut().zip(palette.chunks_exact(3)).enumerate() {
        let a = alpha.get(i).copied().unwrap_or(255);
        *color = [rgb[0], rgb[1], rgb[2]].map(|c| crate::image::over_white(c, a));
    }
    let mut indices = vec![0u8; width * height];
    reader.next_frame(&mut indices).map_err(|e| damaged(e.to_string()))?;

    let mut lines = LABELS.lines();
    let categories = lines.next().unwrap_or_default().split('\t').map(str::to_owned).collect();
    let mut packed = PackedSource::new(ImageSize::square(SIDE), 3);
    let mut groups = Vec::new();
    for line in lines {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap_or_default();
        let mut number = || fields.next().and_then(|f| f.parse::<u32>().ok());
        let (Some(cell), Some(category), Some(group)) = (number(), number(), number()) else {
            return Err(damaged(format!("no numbers in the labels' line {line:?}")));
        };
        let (left, top) = (cell as usize / ROWS * PITCH + 1, cell as usize % ROWS * PITCH + 1);
        if left + SIDE > width || top + SIDE > height {
            return Err(damaged(format!("{name} lies outside the sheet")));
        }
        for y in top..top + SIDE {
            let row = &indices[y * width + left..][..SIDE];
            packed.data.extend(row.iter().flat_map(|&i| colors[i as usize]));
        }
        packed.labels.push(category);
        packed.names.push(name.to_owned());
        groups.push(group);
    }
    Ok(Emoji { packed: Arc::new(packed), groups, categories })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::data::{Images, Split};

    #[test]
    fn all_emoji_with_a_google_picture_are_there() {
        let emoji = open(0).unwrap();
        let all = emoji.split(Split::All).unwrap();
        assert_eq!((all.len(), emoji.classes.len(), emoji.channels), (3786, 10, 3));
        assert!((0..all.len()).all(|i| all.label(i).is_some_and(|l| (l as usize) < 10)));
        assert!((1..all.len()).all(|i| all.name(i - 1) < all.name(i)), "in the order of the names");
    }

    #[test]
    fn pictures_are_cropped_and_laid_on_white() {
        let all = open(0).unwrap().split(Split::All).unwrap();
        let find = |name: &str| all.pixels((0..all.len()).find(|&i| all.name(i) == name).unwrap()).unwrap();
        // Red heart and the flag of Japan: red in the middle, white in the corner.
        for name in ["2764-fe0f", "1f1ef-1f1f5"] {
            let picture = find(name);
            let middle = &picture.data[(16 * 32 + 16) * 3..][..3];
            assert!(middle[0] > 150 && middle[1] < 80 && middle[2] < 80, "{name}: {middle:?}");
            assert_eq!(picture.data[..3], [255; 3], "{name}");
        }
    }

    #[test]
    fn no_emoji_stands_on_two_sides_of_the_split() {
        for seed in [0, 1] {
            let dataset = open(seed).unwrap();
            let groups = &load().unwrap().groups;
            let mut side = HashMap::new();
            let mut pictures = HashMap::new();
            for (part, images) in [&dataset.train, &dataset.validation, &dataset.test].into_iter().enumerate() {
                for (i, &index) in images.indices().iter().enumerate() {
                    assert_eq!(*side.entry(groups[index as usize]).or_insert(part), part);
                    assert_eq!(*pictures.entry(images.pixels(i).unwrap().data).or_insert(part), part);
                }
            }
            let count = |images: &Images| images.len();
            assert_eq!(count(&dataset.train) + count(&dataset.validation) + count(&dataset.test), 3786);
            assert!((360..=379).contains(&count(&dataset.test)) && (360..=379).contains(&count(&dataset.validation)));
        }
    }

    #[test]
    fn variants_that_unicode_tells_apart_share_a_group() {
        let emoji = load().unwrap();
        let group = |name: &str| emoji.groups[emoji.packed.names.iter().position(|n| n == name).unwrap()];
        // Runner: plain, a skin tone, woman, man with a skin tone facing right.
        let runner = group("1f3c3");
        for name in ["1f3c3-1f3ff", "1f3c3-200d-2640-fe0f", "1f3c3-1f3fb-200d-2642-fe0f-200d-27a1-fe0f"] {
            assert_eq!(group(name), runner, "{name}");
        }
        assert_eq!(group("1f468-200d-1f33e"), group("1f9d1-1f3fd-200d-1f33e"), "man farmer and farmer");
        assert_eq!(group("1f1e6-1f1fa"), group("1f1ed-1f1f2"), "two territories with the same flag");
        assert_ne!(group("1f468-200d-1f33e"), group("1f468-200d-1f373"), "farmer and cook");
    }

    #[test]
    fn the_split_depends_on_the_seed_alone() {
        let test = |seed| open(seed).unwrap().test.indices().to_vec();
        assert_eq!(test(3), test(3));
        assert_ne!(test(3), test(4));
    }
}
