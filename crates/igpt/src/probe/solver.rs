//! The classifiers behind one face: choose a setting on validation images, fit with it, predict.

use std::sync::Mutex;

use super::sgd::{RATES, SgdClassifier};
use super::{
    KnnClassifier, LabelledFeatures, LinearClassifier, LogisticRegression, RidgeRegression, Standardizer, Workers,
    accuracy,
};
use crate::{Error, Result};

/// Strengths of the logistic regression to choose from, the strongest first: each fit starts from the one before.
pub(crate) const STRENGTHS: [f64; 8] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7];
/// Weaker strengths are given up after so many that did not improve on the best.
const PATIENCE: usize = 2;

/// Which classifier a probe fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Solver {
    /// Logistic regression by L-BFGS, the paper's.
    #[default]
    Lbfgs,
    /// Logistic regression by stochastic gradient descent.
    Sgd,
    /// Ridge regression in closed form.
    Ridge,
    /// Weighted nearest neighbours.
    Knn,
}

impl Solver {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Solver::Lbfgs => "lbfgs",
            Solver::Sgd => "sgd",
            Solver::Ridge => "ridge",
            Solver::Knn => "knn",
        }
    }
}

/// A setting and how it did on the validation images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SolverChoice {
    /// The strength of the penalty, or the learning rate of SGD; none for nearest neighbours.
    pub setting: Option<f64>,
    /// Share of right classes.
    pub accuracy: f64,
}

/// A classifier that can predict.
#[derive(Debug)]
#[non_exhaustive]
pub enum Classifier {
    /// Weights.
    Linear(LinearClassifier),
    /// Neighbours.
    Knn(KnnClassifier),
}

impl Classifier {
    /// The classes of (n, d) features.
    pub fn predict(&self, workers: &Workers, features: &[f32]) -> Vec<u32> {
        match self {
            Classifier::Linear(linear) => linear.predict(workers, features),
            Classifier::Knn(knn) => knn.predict(workers, features),
        }
    }
}

/// What classifiers are fitted with, whatever the images.
#[derive(Clone, Copy, Debug)]
pub struct ProbeFitter<'a> {
    /// Who computes.
    pub workers: &'a Workers,
    /// Which classifier.
    pub solver: Solver,
    /// Number of classes.
    pub classes: usize,
    /// Seed of SGD's order of images.
    pub seed: u64,
}

impl ProbeFitter<'_> {
    /// Tries the solver's settings on `train` and takes the one that does best on `validation`; on a tie the stronger
    /// penalty or the larger rate.
    pub fn choose(
        &self,
        standardizer: &Standardizer,
        train: LabelledFeatures<'_>,
        validation: LabelledFeatures<'_>,
    ) -> Result<SolverChoice> {
        let Self { workers, classes, .. } = *self;
        let mut search = Search { best: None, since: 0 };
        let judge =
            |linear: &LinearClassifier| accuracy(&linear.predict(workers, validation.features()), validation.labels());
        match self.solver {
            Solver::Lbfgs => {
                let mut logistic = LogisticRegression::new(workers, standardizer, train, classes)?;
                for strength in STRENGTHS {
                    search.see(strength, judge(&logistic.fit(strength).linear));
                    if search.since >= PATIENCE {
                        break;
                    }
                }
            }
            Solver::Sgd => {
                let sgd = SgdClassifier::new(workers, standardizer, train, classes, self.seed)?;
                let found = Mutex::new(vec![0.0; RATES.len()]);
                workers.pool.run(RATES.len(), |i| {
                    let share = judge(&sgd.fit(workers, RATES[i]));
                    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[i] = share;
                });
                let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                RATES.into_iter().zip(found).for_each(|(rate, share)| search.see(rate, share));
            }
            Solver::Ridge => {
                let ridge = RidgeRegression::new(workers, standardizer, train, classes);
                ridge.each_strength(workers, |strength, linear| search.see(strength, judge(&linear)))?;
            }
            Solver::Knn => {
                let knn = KnnClassifier::new(workers, standardizer, train, classes);
                let share = accuracy(&knn.predict(workers, validation.features()), validation.labels());
                return Ok(SolverChoice { setting: None, accuracy: share });
            }
        }
        search.best.ok_or_else(|| Error::Invalid("there is no setting to choose from".into()))
    }

    /// The classifier of a chosen setting, and whether its fit came to an end: L-BFGS is broken off after some steps.
    pub fn fit(
        &self,
        standardizer: &Standardizer,
        train: LabelledFeatures<'_>,
        choice: &SolverChoice,
    ) -> Result<(Classifier, bool)> {
        let Self { workers, classes, .. } = *self;
        let setting = choice.setting.unwrap_or(1.0);
        let mut converged = true;
        let linear = match self.solver {
            Solver::Lbfgs => {
                let fit = LogisticRegression::new(workers, standardizer, train, classes)?.fit(setting);
                converged = fit.converged;
                fit.linear
            }
            Solver::Sgd => SgdClassifier::new(workers, standardizer, train, classes, self.seed)?.fit(workers, setting),
            Solver::Ridge => RidgeRegression::new(workers, standardizer, train, classes).solve(workers, setting)?,
            Solver::Knn => {
                return Ok((Classifier::Knn(KnnClassifier::new(workers, standardizer, train, classes)), true));
            }
        };
        Ok((Classifier::Linear(linear), converged))
    }
}

/// The best setting so far.
struct Search {
    best: Option<SolverChoice>,
    /// Settings seen since.
    since: usize,
}

impl Search {
    fn see(&mut self, setting: f64, accuracy: f64) {
        if self.best.is_none_or(|best| accuracy > best.accuracy) {
            self.best = Some(SolverChoice { setting: Some(setting), accuracy });
            self.since = 0;
        } else {
            self.since += 1;
        }
    }
}
