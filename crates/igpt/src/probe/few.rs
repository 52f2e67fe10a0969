//! Probes with few labels (Chen et al. 2020, section 4.7).
//!
//! They use random subsets of the training images with the same number of images per class. Only the classifier's
//! training labels are few. Layer and strength are chosen on the validation images. Means and deviations are those of
//! all training images, which needs no labels.

use super::protocol::FeatureView;
use super::solver::ProbeFitter;
use super::{LabelledFeatures, Standardizer, accuracy};
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Test accuracy of a probe with few labels, over several subsets of the training images.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct FewLabelAccuracy {
    /// Number of labelled images per class.
    pub labels_per_class: usize,
    /// Mean test accuracy over the subsets.
    pub mean: f64,
    /// Sample standard deviation of the test accuracy over the subsets; `None` for a single subset.
    pub deviation: Option<f64>,
    /// Test accuracy of each subset.
    pub test_accuracy: Vec<f64>,
}

/// Indices of `per_class` images of each class, sorted; drawn by (`seed`, `per_class`).
///
/// # Errors
/// When a class has fewer images.
pub(crate) fn subset(labels: &[u32], classes: usize, per_class: usize, seed: u64) -> Result<Vec<usize>> {
    let mut by_class = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        let drawn = Rng::new(seed, Purpose::Probe, 2 + per_class as u64, i as u64).next_u32();
        by_class[label as usize].push((drawn, i));
    }
    let fewest = by_class.iter().map(Vec::len).filter(|images| *images > 0).min().unwrap_or(0);
    let mut taken = Vec::new();
    // A class without any training image is skipped.
    for (class, mut images) in by_class.into_iter().enumerate().filter(|(_, images)| !images.is_empty()) {
        if images.len() < per_class {
            return Err(Error::Invalid(format!(
                "class {class} (counted from 0) has {} training images, too few for {per_class} labels a class: ask for {fewest} at most",
                images.len()
            )));
        }
        images.sort_unstable();
        taken.extend(images.into_iter().take(per_class).map(|(_, i)| i));
    }
    taken.sort_unstable();
    Ok(taken)
}

/// Fits the probe to subsets of the training images, one per seed of `seeds`, and tests each.
///
/// # Errors
/// When a class has too few images.
pub fn few_labels(
    fitter: &ProbeFitter<'_>,
    view: FeatureView<'_>,
    test: LabelledFeatures<'_>,
    per_class: usize,
    seeds: std::ops::Range<u64>,
) -> Result<FewLabelAccuracy> {
    let width = view.train.width();
    let standardizer = Standardizer::fit(view.train.features(), width);
    let mut found = Vec::new();
    for seed in seeds {
        let taken = subset(view.train.labels(), fitter.classes, per_class, seed)?;
        let features: Vec<f32> =
            taken.iter().flat_map(|&i| &view.train.features()[i * width..][..width]).copied().collect();
        let labels: Vec<u32> = taken.iter().map(|&i| view.train.labels()[i]).collect();
        let train = LabelledFeatures::new(&features, width, &labels)?;
        let choice = fitter.choose(&standardizer, train, view.validation)?;
        let (classifier, _) = fitter.fit(&standardizer, train, &choice)?;
        found.push(accuracy(&classifier.predict(fitter.workers, test.features()), test.labels()));
    }
    let n = found.len() as f64;
    let mean = found.iter().sum::<f64>() / n;
    let squares: f64 = found.iter().map(|x| (x - mean).powi(2)).sum();
    let deviation = (found.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
    Ok(FewLabelAccuracy { labels_per_class: per_class, mean, deviation, test_accuracy: found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::clouds;
    use crate::probe::{Solver, Workers};

    #[test]
    fn subsets_are_balanced_and_keyed_by_their_seed() {
        let labels: Vec<u32> = (0..200).map(|i| (i % 7 + i % 3) as u32 % 5).collect();
        let taken = subset(&labels, 5, 4, 1).unwrap();
        (0..5).for_each(|class| assert_eq!(taken.iter().filter(|&&i| labels[i] == class).count(), 4));
        assert_eq!(taken, subset(&labels, 5, 4, 1).unwrap());
        assert_ne!(taken, subset(&labels, 5, 4, 2).unwrap());
    }

    #[test]
    fn too_few_images_of_a_class_are_refused_by_its_number() {
        let error = subset(&[0, 0, 1, 0], 2, 2, 0).unwrap_err().to_string();
        assert!(
            error.contains("class 1 (counted from 0) has 1 training images, too few for 2 labels")
                && error.contains("ask for 1 at most"),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_chosen_by_the_test_images() {
        let parts = [1, 2, 3].map(|seed| clouds(90, 20, 3, 3.0, seed));
        let [train, validation] = [0, 1].map(|i| LabelledFeatures::new(&parts[i].0, 20, &parts[i].1).unwrap());
        let workers = Workers::new(1);
        let fitter = ProbeFitter { workers: &workers, solver: Solver::Ridge, classes: 3, seed: 0 };
        // If all test labels are class c, the accuracy is the share of predictions of c. Over all c these shares add up
        // to one, unless predictions depend on the labels.
        let of_class = |class: u32| {
            let labels = vec![class; 90];
            let test = LabelledFeatures::new(&parts[2].0, 20, &labels).unwrap();
            few_labels(&fitter, FeatureView { train, validation }, test, 4, 0..5).unwrap().test_accuracy
        };
        let shares = [0, 1, 2].map(of_class);
        for seed in 0..5 {
            let whole: f64 = shares.iter().map(|shares| shares[seed]).sum();
            assert!((whole - 1.0).abs() < 1e-12, "{shares:?}");
        }
    }

    #[test]
    fn more_labels_classify_better() {
        let parts = [1, 2, 3].map(|seed| clouds(900, 20, 4, 3.0, seed));
        let [train, validation, test] = [0, 1, 2].map(|i| LabelledFeatures::new(&parts[i].0, 20, &parts[i].1).unwrap());
        let workers = Workers::new(1);
        let fitter = ProbeFitter { workers: &workers, solver: Solver::Lbfgs, classes: 4, seed: 0 };
        let view = FeatureView { train, validation };
        let [few, many] = [2, 100].map(|count| few_labels(&fitter, view, test, count, 0..3).unwrap());
        assert_eq!((few.test_accuracy.len(), few.labels_per_class), (3, 2));
        assert!(few.mean + 0.05 < many.mean, "{few:?} {many:?}");
        assert!(few.deviation.unwrap() > 0.0);
    }
}
