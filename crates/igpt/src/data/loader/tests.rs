use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::data::Source;
use crate::image::ImageSize;

/// Images of 10×10 with their number in every pixel's value; those in `broken` are damaged.
struct Fixture {
    count: usize,
    broken: Vec<usize>,
    in_memory: bool,
    decoded: Arc<AtomicUsize>,
}

impl Source for Fixture {
    fn len(&self) -> usize {
        self.count
    }
    fn channels(&self) -> usize {
        1
    }
    fn pixels(&self, i: usize) -> Result<Pixels> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        if self.broken.contains(&i) {
            return Err(Error::format(format!("{i}.jpg"), "cut off"));
        }
        let data = (0..100).map(|p| (i * 31 + p) as u8).collect();
        Ok(Pixels::new(ImageSize::square(10), 1, data))
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn name(&self, i: usize) -> String {
        format!("{i}.jpg")
    }
    fn in_memory(&self) -> bool {
        self.in_memory
    }
}

fn fixture(count: usize) -> Fixture {
    Fixture { count, broken: Vec::new(), in_memory: false, decoded: Arc::default() }
}

fn loader(source: Fixture, augment: Augment, seed: u64, batch: usize, first: u64, threads: usize) -> Result<Loader> {
    let preprocess = Preprocess { augment, ..Preprocess::new(ImageSize::square(8)) };
    part(source, preprocess, seed, (batch, 0..batch), first, threads)
}

fn part(
    source: Fixture,
    preprocess: Preprocess,
    seed: u64,
    batch: (usize, Range<usize>),
    first: u64,
    threads: usize,
) -> Result<Loader> {
    let quantize = Box::new(|pixels: &Pixels, out: &mut [u16]| {
        out.iter_mut().zip(&pixels.data).for_each(|(token, &value)| *token = value as u16);
    });
    Loader::with_quantize(Images::all(Arc::new(source)), preprocess, quantize, seed, batch, first, threads)
}

fn batches(mut loader: Loader, n: usize) -> Vec<Batch> {
    (0..n).map(|_| loader.next().unwrap()).collect()
}

const RECIPES: [Augment; 3] = [Augment::None, Augment::Cifar, Augment::Imagenet];

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    for augment in RECIPES {
        let one = batches(loader(fixture(23), augment, 1, 5, 0, 1).unwrap(), 20);
        for threads in [2, 3, 7] {
            assert_eq!(batches(loader(fixture(23), augment, 1, 5, 0, threads).unwrap(), 20), one);
        }
        assert_ne!(batches(loader(fixture(23), augment, 2, 5, 0, 2).unwrap(), 20), one);
    }
}

#[test]
fn a_loader_started_later_goes_on_where_another_was() {
    for augment in RECIPES {
        let all = batches(loader(fixture(23), augment, 1, 5, 0, 2).unwrap(), 20);
        for first in [1, 4, 13] {
            let late = loader(fixture(23), augment, 1, 5, first as u64, 3).unwrap();
            assert_eq!(batches(late, 20 - first), all[first..]);
        }
    }
}

#[test]
fn memory_and_threads_give_the_same_batches() {
    let memory = loader(Fixture { in_memory: true, ..fixture(23) }, Augment::None, 1, 5, 3, 2).unwrap();
    assert!(matches!(memory.feed, Feed::Memory { .. }));
    assert_eq!(batches(memory, 12), batches(loader(fixture(23), Augment::None, 1, 5, 3, 2).unwrap(), 12));
}

#[test]
fn an_epoch_holds_every_image_once() {
    // Batches larger than an epoch too.
    for batch in [4, 30] {
        let mut loader = loader(fixture(12), Augment::None, 1, batch, 0, 2).unwrap();
        assert_eq!(loader.steps_per_epoch(), if batch == 4 { 3 } else { 1 });
        let mut firsts = Vec::new();
        while firsts.len() < 24 {
            let batch = loader.next().unwrap();
            firsts.extend((0..batch.images()).map(|i| batch.image(i)[0]));
        }
        let sorted = |epoch: &[u16]| {
            let mut epoch = epoch.to_vec();
            epoch.sort_unstable();
            epoch.dedup();
            epoch
        };
        assert_eq!(sorted(&firsts[..12]).len(), 12);
        assert_eq!(sorted(&firsts[..12]), sorted(&firsts[12..24]));
        assert_ne!(firsts[..12], firsts[12..24], "each epoch has its own order");
    }
}

#[test]
fn augmentation_differs_between_epochs() {
    let twice = batches(loader(fixture(1), Augment::Imagenet, 1, 1, 0, 1).unwrap(), 6);
    assert!(twice.iter().any(|batch| *batch != twice[0]));
}

#[test]
fn a_damaged_image_is_replaced_by_the_next_and_listed() {
    let broken = || Fixture { broken: vec![17, 199], ..fixture(200) };
    for augment in RECIPES {
        let one = batches(loader(broken(), augment, 1, 20, 0, 1).unwrap(), 20);
        let mut three = loader(broken(), augment, 1, 20, 0, 3).unwrap();
        let again: Vec<Batch> = (0..20).map(|_| three.next().unwrap()).collect();
        assert_eq!(again, one);
        assert_eq!(three.damaged().iter().map(|d| d.name.clone()).collect::<Vec<_>>(), ["17.jpg", "199.jpg"]);
    }
}

#[test]
fn more_than_one_percent_of_damage_stops_training() {
    let mut loader = loader(Fixture { broken: vec![3, 5], ..fixture(100) }, Augment::None, 1, 100, 0, 2).unwrap();
    for _ in 0..2 {
        let error = loader.next().unwrap_err().to_string();
        assert!(error.contains("2 of 100 images are damaged") && error.contains("5.jpg (cut off)"), "{error}");
    }
}

#[test]
fn scaled_images_are_kept_unless_the_recipe_starts_from_the_original() {
    for (augment, expected) in [(Augment::None, 10..=10), (Augment::Cifar, 10..=10), (Augment::Imagenet, 50..=70)] {
        let source = fixture(10);
        let decoded = source.decoded.clone();
        batches(loader(source, augment, 1, 10, 0, 1).unwrap(), 5);
        assert!(expected.contains(&decoded.load(Ordering::Relaxed)), "{augment:?}: {decoded:?}");
    }
}

#[test]
fn nothing_to_load_is_an_error() {
    assert!(loader(fixture(0), Augment::None, 1, 4, 0, 1).is_err());
    assert!(loader(fixture(4), Augment::None, 1, 0, 0, 1).is_err());
}

#[test]
fn parts_of_batches_make_the_whole_ones_and_decode_no_others() {
    for augment in RECIPES {
        for in_memory in [false, true] {
            let whole = batches(loader(Fixture { in_memory, ..fixture(24) }, augment, 1, 6, 2, 2).unwrap(), 8);
            for places in [0..2, 2..6] {
                let preprocess = Preprocess { augment, ..Preprocess::new(ImageSize::square(8)) };
                let source = Fixture { in_memory, ..fixture(24) };
                let decoded = source.decoded.clone();
                let parts = part(source, preprocess, 1, (6, places.clone()), 2, 1).unwrap();
                let parts = batches(parts, 8);
                let wanted: Vec<Batch> = whole.iter().map(|batch| batch.slice(places.clone())).collect();
                assert_eq!(parts, wanted, "{places:?}");
                // Two batches may be ready and one under way.
                let most = if in_memory && augment == Augment::None { 24 } else { 11 * places.len() };
                assert!(decoded.load(Ordering::Relaxed) <= most);
            }
        }
    }
}
