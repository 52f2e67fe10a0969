use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::data::Source;
use crate::image::{
    Pixels,
    resize::{Rect, resize},
};
use crate::rng::{Purpose, Rng};

/// Any pictures.
struct Pictures(Vec<Option<Pixels>>);

impl Source for Pictures {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn channels(&self) -> usize {
        3
    }
    fn pixels(&self, i: usize) -> Result<Pixels> {
        self.0[i].clone().ok_or_else(|| Error::format(format!("{i}.png"), "cut off"))
    }
    fn label(&self, i: usize) -> Option<u32> {
        (i != 0).then_some(i as u32 % 2)
    }
    fn name(&self, i: usize) -> String {
        format!("{i}.png")
    }
    fn in_memory(&self) -> bool {
        true
    }
}

/// A smooth picture of its own.
fn picture(seed: u64, size: ImageSize) -> Pixels {
    let mut rng = Rng::new(seed, Purpose::Sample, 0, 0);
    let rough = Pixels::new(ImageSize::square(6), 3, (0..108).map(|_| rng.below(256) as u8).collect());
    resize(&rough, Rect::whole(rough.size), size)
}

/// With a little noise, as compression leaves it.
fn noisy(mut pixels: Pixels, seed: u64) -> Pixels {
    let mut rng = Rng::new(seed, Purpose::Sample, 1, 0);
    pixels.data.iter_mut().for_each(|byte| *byte = byte.saturating_add(rng.below(5) as u8).saturating_sub(2));
    pixels
}

const SIZE: ImageSize = ImageSize { height: 40, width: 40 };

fn found(pictures: Vec<Option<Pixels>>, parts: [std::ops::Range<u32>; 3], threads: usize) -> CheckReport {
    let classes = vec!["even".into(), "odd".into()];
    let set = Dataset::new("pictures", classes, Arc::new(Pictures(pictures)), parts.map(Iterator::collect));
    check(&set, &CheckSettings { threads, ..CheckSettings::default() }, &mut |_, _, _| ()).unwrap()
}

#[test]
fn copies_and_leaks_are_found_among_strangers() {
    let mut pictures: Vec<Option<Pixels>> = (0..300).map(|i| Some(picture(i, SIZE))).collect();
    pictures[7] = pictures[3].clone(); // within train, both odd
    pictures[210] = pictures[5].clone(); // train in validation, of another class
    pictures[260] = pictures[6].clone(); // train in test
    pictures[261] = pictures[211].clone(); // validation in test
    pictures[20] = Some(noisy(picture(10, SIZE), 1)); // within train
    pictures[270] = Some(picture(12, ImageSize { height: 64, width: 64 })); // train in test, of another size
    pictures[30] = None;
    let found = found(pictures, [0..200, 200..250, 250..300], 2);
    let DuplicatePairs { images, other_label, train_in_validation, train_in_test, validation_in_test, pairs } =
        &found.exact;
    assert_eq!((*images, *other_label), (4, 1));
    assert_eq!((*train_in_validation, *train_in_test, *validation_in_test), (1, 1, 1));
    let names = |m: &DuplicatePair| m.images.each_ref().map(|place| place.name.clone());
    assert_eq!(names(&pairs[0]), ["5.png", "210.png"]);
    assert_eq!(names(&pairs[3]), ["3.png", "7.png"], "pairs across splits come first");
    assert_eq!((found.near.images, found.near.train_in_test, found.near.other_label), (2, 1, 0));
    assert_eq!(found.near.pairs.iter().map(names).collect::<Vec<_>>(), [["12.png", "270.png"], ["10.png", "20.png"]]);
    assert!(found.near.pairs.iter().all(|pair| pair.difference > 0.0));
    assert_eq!((found.damaged, found.first_damaged[0].name.as_str()), (1, "30.png"));
    assert_eq!(found.sizes, [(SIZE, 298), (ImageSize::square(64), 1)]);
    assert_eq!((found.splits[0].unlabelled, &found.splits[0].classes), (1, &vec![99, 100]));
    assert!(!found.near_incomplete && !found.is_clean());
}

#[test]
fn even_images_of_other_colours_and_pictures_in_other_colours_are_strangers() {
    let even = |level: u8| Some(Pixels::new(SIZE, 3, vec![level; 4800]));
    let swapped = |pixels: &Pixels| {
        let data = pixels.data.chunks(3).flat_map(|c| [c[2], c[1], c[0]]).collect();
        Some(Pixels::new(SIZE, 3, data))
    };
    let one = picture(1, SIZE);
    let pictures = vec![even(0), even(40), even(80), even(255), Some(one.clone()), swapped(&one)];
    assert!(found(pictures, [0..6, 6..6, 6..6], 1).is_clean());
}

#[test]
fn what_is_found_does_not_depend_on_threads() {
    let pictures: Vec<_> = (0..150).map(|i| Some(noisy(picture(i % 100, SIZE), i))).collect();
    let found = |threads| found(pictures.clone(), [0..80, 80..120, 120..150], threads);
    let json = |found| serde_json::to_string(&found).unwrap();
    let one = found(1);
    assert!((45..=50).contains(&one.near.images), "{} of 50 noisy copies", one.near.images);
    assert_eq!(json(one), json(found(4)));
}

#[test]
fn a_distance_that_compares_everything_is_refused() {
    let set = Dataset::new("none", Vec::new(), Arc::new(Pictures(Vec::new())), Default::default());
    let settings = CheckSettings { distance: 8, ..CheckSettings::default() };
    assert!(check(&set, &settings, &mut |_, _, _| ()).unwrap_err().to_string().contains("at most 7"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bands_find_every_pair_that_comparing_all_finds(
        base in proptest::collection::vec(any::<u64>(), 1..12),
        flips in proptest::collection::vec((0usize..12, 0u64..1 << 20, 0u32..64, 0u32..64, 0u32..64), 1..40),
        distance in 0u32..8,
    ) {
        let hashes = |across: u64, exact: u128| PerceptualHashes { exact, across, down: across.rotate_left(7), brightness: 0 };
        let near = flips.iter().map(|&(i, _, a, b, c)| base[i % base.len()] ^ 1 << a ^ 1 << b ^ 1 << c);
        let all: Vec<u64> = base.iter().copied().chain(near).collect();
        let mut distinct = all.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let seen: Vec<Seen> = (0u32..).zip(&distinct)
            .map(|(position, &across)| Seen { hashes: hashes(across, position.into()), split: 0, position, label: None })
            .collect();
        let kept: Vec<usize> = (0..seen.len()).collect();
        let mut expected = Vec::new();
        for a in 0..seen.len() {
            for b in a + 1..seen.len() {
                if (distinct[a] ^ distinct[b]).count_ones() <= distance {
                    expected.push([a, b]);
                }
            }
        }
        prop_assert_eq!(near::candidates(&seen, &kept, distance), (expected, true));
    }
}
