//! What is wrong with a data set before a model learns it: damaged images, duplicates, and images of validation or test
//! that are among those of training.
//!
//! Every image is decoded once and leaves a few hashes behind, about 64 bytes; pairs whose hashes say that they may be
//! the same picture are decoded again and compared. Reading order: `hash`, `near`, this file.

pub(crate) mod hash;
pub(crate) mod near;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;

use igpt_kernels::pool::Pool;
use serde::Serialize;

use self::hash::{PerceptualHashes, Thumbnail};
use self::seen::Seen;
use crate::Result;
use crate::data::{DamagedImage, Dataset, Images, Split};
use crate::image::ImageSize;
use crate::setters::setters;

/// How to look.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckSettings {
    /// Images looked at in each split, spread evenly; 0 is all.
    pub images: usize,
    /// Bits, of the 64 of each perceptual hash, in which two images may differ to be looked at again; at most 7.
    pub distance: u32,
    /// Pairs, damaged images and sizes that are named.
    pub named: usize,
    /// Threads; 0 is one for each core. The result does not depend on it.
    pub threads: usize,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self { images: 0, distance: 3, named: 24, threads: 0 }
    }
}

setters!(CheckSettings { images: usize, distance: u32, named: usize, threads: usize });

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// Each split's images and labels.
    pub splits: Vec<CheckedSplit>,
    /// How many images have each size, the most frequent first.
    pub sizes: Vec<(ImageSize, usize)>,
    /// Images that could not be decoded, but for those of kinds that are not read.
    pub damaged: usize,
    /// Images of kinds that are not read; they may be whole.
    pub not_supported: usize,
    /// The first of both.
    pub first_damaged: Vec<DamagedImage>,
    /// Images that are the same, pixel for pixel.
    pub exact: DuplicatePairs,
    /// Images that are not the same but look it.
    pub near: DuplicatePairs,
    /// Whether there were more pairs to compare than are compared, so that `near` is not everything.
    pub near_incomplete: bool,
}

/// The images of one split.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedSplit {
    /// Which.
    pub split: Split,
    /// Images looked at.
    pub images: usize,
    /// Those without a label.
    pub unlabelled: usize,
    /// Images of each class.
    pub classes: Vec<usize>,
}

/// Pairs of images that are alike.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DuplicatePairs {
    /// Images that are like another one that comes before them, in the order train, validation, test.
    pub images: usize,
    /// Of these, those whose label is another one than that image's.
    pub other_label: usize,
    /// Images of validation that are like one of train.
    pub train_in_validation: usize,
    /// Images of test that are like one of train.
    pub train_in_test: usize,
    /// Images of test that are like one of validation.
    pub validation_in_test: usize,
    /// The first pairs, those across splits before others.
    pub pairs: Vec<DuplicatePair>,
}

/// Two images that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DuplicatePair {
    /// The two, the one of the earlier split first.
    pub images: [ImageLocation; 2],
    /// Root mean square difference of their thumbnails, in 8-bit levels; 0 where all pixels are the same.
    pub difference: f64,
}

/// An image of a data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageLocation {
    /// Its split.
    pub split: Split,
    /// Its position in what of the split was looked at.
    #[serde(skip)]
    pub position: usize,
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: Option<String>,
}

/// Told what is being done, how much of it, and of how much.
pub type CheckProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// The images of `dataset` that are looked at, split by split.
pub fn looked_at(dataset: &Dataset, images: usize) -> [Images; 3] {
    [&dataset.train, &dataset.validation, &dataset.test].map(|part| match images {
        0 => part.clone(),
        images => part.spread(images),
    })
}

/// Looks at every image.
///
/// # Errors
/// When the distance is more than the hashes can be searched for.
pub fn check(dataset: &Dataset, settings: &CheckSettings, progress: CheckProgress<'_>) -> Result<CheckReport> {
    near::check_distance(settings.distance)?;
    let parts = looked_at(dataset, settings.images);
    let mut found = CheckReport {
        splits: Vec::new(),
        sizes: Vec::new(),
        damaged: 0,
        not_supported: 0,
        first_damaged: Vec::new(),
        exact: DuplicatePairs::default(),
        near: DuplicatePairs::default(),
        near_incomplete: false,
    };
    let total = parts.iter().map(Images::len).sum();
    let (mut seen, mut sizes) = (Vec::with_capacity(total), BTreeMap::new());
    for ((split, images), name) in (0u8..).zip(&parts).zip([Split::Train, Split::Validation, Split::Test]) {
        let mut part =
            CheckedSplit { split: name, images: images.len(), unlabelled: 0, classes: vec![0; dataset.classes.len()] };
        for i in 0..images.len() {
            match images.label(i).and_then(|label| part.classes.get_mut(label as usize)) {
                Some(count) => *count += 1,
                None => part.unlabelled += 1,
            }
        }
        found.splits.push(part);
        let before = found.splits[..split as usize].iter().map(|part| part.images).sum::<usize>();
        let hashed = each(images.len(), settings.threads, |i| decode(images, i), &mut |done| {
            progress("looking", before + done, total);
        });
        for (position, hashed) in (0u32..).zip(hashed) {
            match hashed {
                Ok((size, hashes)) => {
                    *sizes.entry((size.height, size.width)).or_insert(0) += 1;
                    let label = images.label(position as usize);
                    seen.push(Seen { hashes, split, position, label });
                }
                Err(damaged) => {
                    *if damaged.is_unsupported() { &mut found.not_supported } else { &mut found.damaged } += 1;
                    if found.first_damaged.len() < settings.named {
                        found.first_damaged.push(damaged);
                    }
                }
            }
        }
    }
    found.sizes = sizes.into_iter().map(|((height, width), count)| (ImageSize { height, width }, count)).collect();
    found.sizes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));

    let named = Named { dataset, parts: &parts, most: settings.named };
    let exact = exact(&seen);
    found.exact = named.matches(&seen, exact.iter().map(|&pair| (pair, 0.0)).collect());
    // A copy tells nothing that its original doesn't, but where it lies in another split.
    let mut copies = vec![false; seen.len()];
    exact.iter().filter(|[a, b]| seen[*a].split == seen[*b].split).for_each(|[_, b]| copies[*b] = true);
    let kept: Vec<usize> = (0..seen.len()).filter(|&i| !copies[i]).collect();
    let (candidates, complete) = near::candidates(&seen, &kept, settings.distance);
    found.near_incomplete = !complete;
    let look = |k: usize| {
        let thumb =
            |i: usize| Thumbnail::of(&parts[seen[i].split as usize].pixels(seen[i].position as usize).ok()?).into();
        let [a, b]: [Option<Thumbnail>; 2] = candidates[k].map(thumb);
        a?.alike(&b?)
    };
    let differences = each(candidates.len(), settings.threads, look, &mut |done| {
        progress("comparing", done, candidates.len());
    });
    let alike = candidates.iter().zip(differences).filter_map(|(&pair, difference)| Some((pair, difference?)));
    found.near = named.matches(&seen, alike.collect());
    Ok(found)
}

fn decode(images: &Images, i: usize) -> Result<(ImageSize, PerceptualHashes), DamagedImage> {
    match images.pixels(i) {
        Ok(pixels) => Ok((pixels.size, PerceptualHashes::of(&pixels))),
        Err(error) => Err(DamagedImage::new(images.name(i), &error)),
    }
}

/// Pairs (first, other) of images with the same pixels, by position in `seen`.
fn exact(seen: &[Seen]) -> Vec<[usize; 2]> {
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_unstable_by_key(|&i| (seen[i].hashes.exact, i));
    let runs = order.chunk_by(|&a, &b| seen[a].hashes.exact == seen[b].hashes.exact);
    let mut pairs = Vec::new();
    for run in runs.filter(|run| run.len() > 1) {
        // The first of each split stands for it.
        let mut firsts: Vec<usize> = Vec::new();
        for &i in run {
            pairs.extend(firsts.iter().map(|&first| [first, i]));
            if firsts.last().is_none_or(|&last| seen[last].split != seen[i].split) {
                firsts.push(i);
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

/// `work` for each of 0..`n` on several threads, results in order.
fn each<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    progress: &mut dyn FnMut(usize),
) -> Vec<T> {
    const RUN: usize = 32;
    let threads = Pool::team(threads);
    let (next, mut done) = (AtomicUsize::new(0), 0);
    let mut runs = BTreeMap::new();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..threads {
            let (next, work, sender) = (&next, &work, sender.clone());
            scope.spawn(move || {
                loop {
                    let first = next.fetch_add(RUN, Relaxed);
                    if first >= n {
                        return;
                    }
                    let run: Vec<T> = (first..n.min(first + RUN)).map(work).collect();
                    if sender.send((first, run)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (first, run) in receiver {
            done += run.len();
            progress(done);
            runs.insert(first, run);
        }
    });
    runs.into_values().flatten().collect()
}

/// Turns pairs of positions into what is told of them.
struct Named<'a> {
    dataset: &'a Dataset,
    parts: &'a [Images; 3],
    most: usize,
}

impl Named<'_> {
    fn matches(&self, seen: &[Seen], mut pairs: Vec<([usize; 2], f64)>) -> DuplicatePairs {
        let mut matches = DuplicatePairs::default();
        // Of each image whether it is like an earlier one, one of another label, and one of each split.
        let mut told: BTreeMap<usize, (bool, [bool; 3])> = BTreeMap::new();
        for &([a, b], _) in &pairs {
            let (other_label, splits) = told.entry(b).or_default();
            *other_label |= seen[a].label != seen[b].label;
            splits[seen[a].split as usize] = true;
        }
        for (b, (other_label, splits)) in told {
            matches.images += 1;
            matches.other_label += usize::from(other_label);
            let split = seen[b].split;
            matches.train_in_validation += usize::from(split == 1 && splits[0]);
            matches.train_in_test += usize::from(split == 2 && splits[0]);
            matches.validation_in_test += usize::from(split == 2 && splits[1]);
        }
        let within = |[a, b]: [usize; 2]| seen[a].split == seen[b].split;
        pairs.sort_by(|(a, x), (b, y)| (within(*a), *x).partial_cmp(&(within(*b), *y)).expect("finite").then(a.cmp(b)));
        pairs.truncate(self.most);
        let named = |(pair, difference): ([usize; 2], f64)| DuplicatePair {
            images: pair.map(|i| self.place(&seen[i])),
            difference,
        };
        matches.pairs = pairs.into_iter().map(named).collect();
        matches
    }

    fn place(&self, seen: &Seen) -> ImageLocation {
        let (split, position) = (seen.split as usize, seen.position as usize);
        let class = seen.label.and_then(|label| self.dataset.classes.get(label as usize)).cloned();
        let name = self.parts[split].name(position);
        ImageLocation { split: [Split::Train, Split::Validation, Split::Test][split], position, name, class }
    }
}

impl DuplicatePairs {
    /// Images of validation or test that are like one of another split.
    pub fn across(&self) -> usize {
        self.train_in_validation + self.train_in_test + self.validation_in_test
    }
}

impl CheckReport {
    /// Whether there is anything to mend.
    pub fn is_clean(&self) -> bool {
        self.damaged == 0 && self.not_supported == 0 && self.exact.images == 0 && self.near.images == 0
    }
}
