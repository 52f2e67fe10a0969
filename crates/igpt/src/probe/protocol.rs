//! Protocol of the linear probe (Chen et al. 2020, sections 3.1, 3.4 and 4.1).
//!
//! Layer and strength are chosen on the validation images. Then the classifier is fitted again to training and
//! validation images together, and tested once. That nothing is chosen on the test images holds by construction:
//! [`choose`] doesn't get them, and [`judge`] gets a choice already made.

use super::solver::{ProbeFitter, SolverChoice};
use super::{LabelledFeatures, Standardizer, accuracy};
use crate::Result;
use crate::ranks::Collective;
use crate::stats::wilson;

/// Training and validation features of one kind: a layer, several layers, or pixels.
#[derive(Clone, Copy, Debug)]
pub struct FeatureView<'a> {
    /// Training features, to which classifiers are fitted.
    pub train: LabelledFeatures<'a>,
    /// Validation features, by which settings are chosen.
    pub validation: LabelledFeatures<'a>,
}

/// Best of several views, and the best setting of each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerSweep {
    /// Index of the view with the highest validation accuracy; the first on a tie.
    pub best: usize,
    /// Best setting of each view, and its validation accuracy.
    pub choices: Vec<SolverChoice>,
}

/// Finds the best setting of each view and the best view, by validation accuracy alone.
///
/// Ranks divide the views and exchange their choices. `progress` receives the number of views that are done, as if all
/// ranks were as far as this one.
pub(crate) fn choose(
    ranks: &mut Collective,
    fitter: &ProbeFitter<'_>,
    views: &[FeatureView<'_>],
    progress: &mut dyn FnMut(usize),
) -> Result<LayerSweep> {
    let share = ranks.shard(views.len());
    let mut own = Vec::with_capacity(share.len());
    for view in &views[share.clone()] {
        let standardizer = Standardizer::fit(view.train.features(), view.train.width());
        own.push(fitter.choose(&standardizer, view.train, view.validation)?);
        progress(own.len() * views.len() / share.len());
    }
    let choices = of_all(ranks, &own)?;
    let better = |best: usize, i: usize| if choices[i].accuracy > choices[best].accuracy { i } else { best };
    Ok(LayerSweep { best: (0..choices.len()).fold(0, better), choices })
}

/// Choices of all ranks, in their order. During the exchange, NaN stands for a missing setting.
fn of_all(ranks: &mut Collective, own: &[SolverChoice]) -> Result<Vec<SolverChoice>> {
    let own: Vec<f64> = own.iter().flat_map(|choice| [choice.setting.unwrap_or(f64::NAN), choice.accuracy]).collect();
    let all = ranks.gather(bytemuck::cast_slice(&own))?.concat();
    let all: Vec<[f64; 2]> = bytemuck::pod_collect_to_vec(&all);
    let choice =
        |[setting, accuracy]: [f64; 2]| SolverChoice { setting: Some(setting).filter(|s| !s.is_nan()), accuracy };
    Ok(all.into_iter().map(choice).collect())
}

/// Result of a chosen setting on the test images.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct TestResult {
    /// Strength of the penalty, or learning rate of SGD; `None` for k-NN.
    pub strength: Option<f64>,
    /// Accuracy on the validation images, by which the choice was made.
    pub validation_accuracy: f64,
    /// Accuracy on the test images.
    pub test_accuracy: f64,
    /// 95 % confidence interval (Wilson) of `test_accuracy`.
    pub interval: [f64; 2],
    /// Whether the fit that was tested converged: L-BFGS stops after 500 steps.
    #[serde(default)]
    pub converged: bool,
    /// Confusion matrix: test images by (true class, predicted class).
    #[serde(skip)]
    pub confusion: Vec<Vec<usize>>,
}

/// Fits the chosen setting to training and validation images together, and tests it.
pub(crate) fn judge(
    fitter: &ProbeFitter<'_>,
    view: FeatureView<'_>,
    choice: &SolverChoice,
    test: LabelledFeatures<'_>,
) -> Result<TestResult> {
    let width = view.train.width();
    let features = [view.train.features(), view.validation.features()].concat();
    let labels = [view.train.labels(), view.validation.labels()].concat();
    let both = LabelledFeatures::new(&features, width, &labels)?;
    let standardizer = Standardizer::fit(&features, width);
    let (classifier, converged) = fitter.fit(&standardizer, both, choice)?;
    let predicted = classifier.predict(fitter.workers, test.features());
    let mut confusion = vec![vec![0; fitter.classes]; fitter.classes];
    for (&predicted, &label) in predicted.iter().zip(test.labels()) {
        confusion[label as usize][predicted as usize] += 1;
    }
    let test_accuracy = accuracy(&predicted, test.labels());
    Ok(TestResult {
        strength: choice.setting,
        validation_accuracy: choice.accuracy,
        test_accuracy,
        interval: wilson(test_accuracy, test.images()),
        converged,
        confusion,
    })
}

/// Accuracy on the test images of always predicting the commonest training class.
pub(crate) fn majority(train: &[u32], test: &[u32]) -> f64 {
    let mut counts = vec![0usize; train.iter().max().map_or(0, |&label| label as usize + 1)];
    train.iter().for_each(|&label| counts[label as usize] += 1);
    let most = (1..counts.len()).fold(0, |most, c| if counts[c] > counts[most] { c } else { most });
    accuracy(&vec![most as u32; test.len()], test)
}

/// `count` neighbouring numbers from 0 to `last`, with `centre` as near the middle as the ends allow.
pub(crate) fn centred(centre: usize, count: usize, last: usize) -> std::ops::RangeInclusive<usize> {
    let count = count.clamp(1, last + 1);
    let first = centre.saturating_sub(count / 2).min(last + 1 - count);
    first..=first + count - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::clouds;
    use crate::probe::{Solver, Workers};
    use crate::ranks::collective::tests::on_ranks;

    const SOLVERS: [Solver; 4] = [Solver::Lbfgs, Solver::Sgd, Solver::Ridge, Solver::Knn];

    #[test]
    fn permuted_test_labels_change_no_choice_and_no_prediction() {
        let workers = Workers::new(2);
        // These are two views of the same images; the first is noisier.
        let noisy = [1, 2, 3].map(|seed| clouds(150, 5, 3, 4.0, seed));
        let clear = [4, 5, 6].map(|seed| clouds(150, 5, 3, 1.0, seed));
        for solver in SOLVERS {
            let fitter = ProbeFitter { workers: &workers, solver, classes: 3, seed: 0 };
            let run = |turn: u32| {
                let views = [&noisy, &clear].map(|parts| FeatureView {
                    train: LabelledFeatures::new(&parts[0].0, 5, &parts[0].1).unwrap(),
                    validation: LabelledFeatures::new(&parts[1].0, 5, &parts[1].1).unwrap(),
                });
                let permuted: Vec<u32> = clear[2].1.iter().map(|label| (label + turn) % 3).collect();
                let sweep = choose(&mut Collective::solo(), &fitter, &views, &mut |_| ()).unwrap();
                let test = LabelledFeatures::new(&clear[2].0, 5, &permuted).unwrap();
                let verdict = judge(&fitter, views[sweep.best], &sweep.choices[sweep.best], test).unwrap();
                (sweep, verdict)
            };
            let (sweep, verdict) = run(0);
            let (other_sweep, other) = run(1);
            assert_eq!(sweep, other_sweep, "{solver:?}");
            assert_eq!(sweep.best, 1, "{solver:?}: {sweep:?}");
            assert_eq!((verdict.strength, verdict.validation_accuracy), (other.strength, other.validation_accuracy));
            assert!(verdict.test_accuracy > 0.7 && other.test_accuracy < 0.3, "{solver:?}: {verdict:?}");
            // The columns of the confusion matrix count the predictions: they are the same, with permuted rows.
            (0..3).for_each(|c| assert_eq!(verdict.confusion[c], other.confusion[(c + 1) % 3]));
        }
    }

    #[test]
    fn ranks_that_divide_the_views_make_the_choices_of_one() {
        let parts = [1, 2, 3, 4, 5].map(|seed| clouds(80, 4, 3, seed as f64, seed));
        for solver in SOLVERS {
            let found = |size: usize| {
                on_ranks(size, |mut ranks| {
                    let workers = Workers::new(1);
                    let fitter = ProbeFitter { workers: &workers, solver, classes: 3, seed: 0 };
                    let views = [0, 1, 2, 3].map(|i| FeatureView {
                        train: LabelledFeatures::new(&parts[i].0, 4, &parts[i].1).unwrap(),
                        validation: LabelledFeatures::new(&parts[i + 1].0, 4, &parts[i + 1].1).unwrap(),
                    });
                    let few = choose(&mut ranks, &fitter, &views[..1], &mut |_| ()).unwrap();
                    let sweep = choose(&mut ranks, &fitter, &views[..3], &mut |_| ()).unwrap();
                    ranks.close().unwrap();
                    (few, sweep)
                })
            };
            let alone = &found(1)[0];
            assert_eq!((alone.0.choices.len(), alone.1.choices.len()), (1, 3));
            for size in [2, 4] {
                assert!(found(size).iter().all(|all| all == alone), "{size} ranks, {solver:?}: {alone:?}");
            }
        }
    }

    #[test]
    fn the_majority_class_is_the_commonest_of_train() {
        assert_eq!(majority(&[0, 2, 2, 1], &[2, 1, 1, 0]), 0.25);
    }

    #[test]
    fn neighbouring_layers_stay_within_the_model() {
        assert_eq!(centred(5, 5, 12), 3..=7);
        assert_eq!(centred(1, 5, 12), 0..=4);
        assert_eq!(centred(12, 5, 12), 8..=12);
        assert_eq!(centred(2, 9, 3), 0..=3);
    }
}
