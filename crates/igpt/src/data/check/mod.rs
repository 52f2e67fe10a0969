//! Checks of a data set before training: damaged images, duplicates, and leaks between the splits.
//!
//! Every image is decoded once and leaves a few hashes, about 64 bytes. Pairs whose hashes indicate the same picture are
//! decoded again and compared.
//!
//! ```
//! use igpt::data::Dataset;
//! use igpt::data::check::{CheckSettings, check};
//! use igpt::image::{ImageSize, Pixels};
//!
//! # fn main() -> igpt::Result<()> {
//! let noise = |i: usize| (0..256).map(|k| ((k * 37 + i * 91) * (k + 11 * i + 7) / 13 % 256) as u8).collect();
//! let mut images: Vec<Pixels> = (0..30).map(|i| Pixels::new(ImageSize::square(16), 1, noise(i))).collect();
//! images.push(images[0].clone());
//! let report = check(&Dataset::from_images(images)?, &CheckSettings::default(), &mut |_, _, _| ())?;
//! assert!(!report.is_clean());
//! # Ok(())
//! # }
//! ```

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

/// Settings of a data set check: number of images, hash distance, length of the lists, threads.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckSettings {
    /// Images checked in each split, spread evenly; 0 means all.
    pub images: usize,
    /// Largest Hamming distance, of 64 bits per perceptual hash, at which two images are compared again; at most 7.
    pub distance: u32,
    /// Largest number of pairs, damaged images and sizes that are listed.
    pub named: usize,
    /// Number of threads; 0 means one per core.
    ///
    /// The result does not depend on it.
    pub threads: usize,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self { images: 0, distance: 3, named: 24, threads: 0 }
    }
}

setters!(CheckSettings { images: usize, distance: u32, named: usize, threads: usize });

/// Result of a data set check: counts, sizes, damaged images and duplicates.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// Images and labels of each split.
    pub splits: Vec<CheckedSplit>,
    /// Number of images of each size, the most frequent size first.
    pub sizes: Vec<(ImageSize, usize)>,
    /// Number of images that could not be decoded, without those of unsupported formats.
    pub damaged: usize,
    /// Number of images of unsupported formats; they may be undamaged.
    pub not_supported: usize,
    /// The first images that are damaged or of unsupported formats.
    pub first_damaged: Vec<DamagedImage>,
    /// Exact duplicates: images that are the same, pixel for pixel.
    pub exact: DuplicatePairs,
    /// Near duplicates: images that look the same, but differ in pixels.
    pub near: DuplicatePairs,
    /// Whether some candidate pairs were not compared, so that `near` may be incomplete.
    pub near_incomplete: bool,
}

/// Counts of the checked images of one split.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedSplit {
    /// The split that the counts are for.
    pub split: Split,
    /// Number of images checked.
    pub images: usize,
    /// Number of images without a label.
    pub unlabelled: usize,
    /// Number of images of each class.
    pub classes: Vec<usize>,
}

/// Pairs of duplicate images, within and across splits.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DuplicatePairs {
    /// Number of images with a duplicate before them, in the order train, validation, test.
    pub images: usize,
    /// Number of images with a duplicate before them that has a different label.
    pub other_label: usize,
    /// Number of validation images with a duplicate in train.
    pub train_in_validation: usize,
    /// Number of test images with a duplicate in train.
    pub train_in_test: usize,
    /// Number of test images with a duplicate in validation.
    pub validation_in_test: usize,
    /// The first pairs; those across splits come before those within one.
    pub pairs: Vec<DuplicatePair>,
}

/// Pair of duplicate images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DuplicatePair {
    /// The two images, the one of the earlier split first.
    pub images: [ImageLocation; 2],
    /// Root mean square difference of the two thumbnails, in 8-bit levels; 0 if all pixels are the same.
    pub difference: f64,
}

/// Location of an image in a data set: split, name and class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageLocation {
    /// The image's split.
    pub split: Split,
    /// Index of the image among the checked images of its split.
    #[serde(skip)]
    pub position: usize,
    /// Name of the image.
    pub name: String,
    /// Class of the image, if it has a label.
    pub class: Option<String>,
}

/// Callback for the progress of a check: (stage, images or pairs done, total).
pub type CheckProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// Returns the images of `dataset` that a check looks at, by split.
///
/// The splits are train, validation and test; `images` is that of [`CheckSettings`].
pub fn checked_images(dataset: &Dataset, images: usize) -> [Images; 3] {
    [&dataset.train, &dataset.validation, &dataset.test].map(|part| match images {
        0 => part.clone(),
        images => part.spread(images),
    })
}

/// Checks every image of a data set for damage and duplicates.
///
/// # Errors
/// When `settings.distance` is larger than the search over hashes allows.
pub fn check(dataset: &Dataset, settings: &CheckSettings, progress: CheckProgress<'_>) -> Result<CheckReport> {
    near::check_distance(settings.distance)?;
    let parts = checked_images(dataset, settings.images);
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
    // A copy tells nothing that its original doesn't, except that it lies in another split.
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

/// Finds pairs (first, other) of images with the same pixels, by index into `seen`.
fn exact(seen: &[Seen]) -> Vec<[usize; 2]> {
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_unstable_by_key(|&i| (seen[i].hashes.exact, i));
    let runs = order.chunk_by(|&a, &b| seen[a].hashes.exact == seen[b].hashes.exact);
    let mut pairs = Vec::new();
    for run in runs.filter(|run| run.len() > 1) {
        // The first image of each split stands for its copies there.
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

/// Runs `work` for each of 0..`n` on several threads; results are in order.
fn each<T: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    progress: &mut dyn FnMut(usize),
) -> Vec<T> {
    const RUN: usize = 32;
    let threads = Pool::thread_count(threads);
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

/// Turns pairs of indices into the reported pairs.
struct Named<'a> {
    dataset: &'a Dataset,
    parts: &'a [Images; 3],
    most: usize,
}

impl Named<'_> {
    fn matches(&self, seen: &[Seen], mut pairs: Vec<([usize; 2], f64)>) -> DuplicatePairs {
        let mut matches = DuplicatePairs::default();
        // For each image: whether an earlier duplicate has another label, and in which splits it has duplicates.
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
    /// Number of leaks: validation and test images with a duplicate in another split.
    ///
    /// This is the sum of the three counts across splits.
    pub fn leaks(&self) -> usize {
        self.train_in_validation + self.train_in_test + self.validation_in_test
    }
}

impl CheckReport {
    /// Whether the check found no damaged or unsupported images and no duplicates.
    pub fn is_clean(&self) -> bool {
        self.damaged == 0 && self.not_supported == 0 && self.exact.images == 0 && self.near.images == 0
    }
}
