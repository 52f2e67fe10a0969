//! Common interface of the probes' classifiers: choose a setting on validation images, fit with it, predict.

use std::sync::Mutex;

use super::sgd::{RATES, SgdClassifier};
use super::{
    KnnClassifier, LabelledFeatures, LinearClassifier, LogisticRegression, RidgeRegression, Standardizer, Workers,
    accuracy,
};
use crate::{Error, Result};

/// Strengths of the logistic regression to choose from, the strongest first: each fit starts from the previous one.
pub(crate) const STRENGTHS: [f64; 8] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7];
/// Number of weaker strengths without improvement after which the search stops.
const PATIENCE: usize = 2;

/// Kind of classifier that a probe fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Solver {
    /// Logistic regression by L-BFGS, as in the paper.
    #[default]
    Lbfgs,
    /// Logistic regression by stochastic gradient descent.
    Sgd,
    /// Ridge regression in closed form.
    Ridge,
    /// Weighted k nearest neighbours.
    Knn,
}

impl Solver {
    /// Returns the name of this solver in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Solver::Lbfgs => "lbfgs",
            Solver::Sgd => "sgd",
            Solver::Ridge => "ridge",
            Solver::Knn => "knn",
        }
    }
}

/// Setting of a solver, with its accuracy on the validation images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SolverChoice {
    /// Strength of the penalty, or learning rate of SGD; `None` for k-NN.
    pub setting: Option<f64>,
    /// Accuracy on the validation images.
    pub accuracy: f64,
}

/// Fitted classifier of any kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Classifier {
    /// Linear classifier.
    Linear(LinearClassifier),
    /// k-NN classifier.
    Knn(KnnClassifier),
}

impl Classifier {
    /// Predicts the classes of (n, d) features.
    pub fn predict(&self, workers: &Workers, features: &[f32]) -> Vec<u32> {
        match self {
            Classifier::Linear(linear) => linear.predict(workers, features),
            Classifier::Knn(knn) => knn.predict(workers, features),
        }
    }
}

/// Solver of a probe with its settings, independent of the images.
#[derive(Clone, Copy, Debug)]
pub struct ProbeFitter<'a> {
    /// Threads and instruction set to compute with.
    pub workers: &'a Workers,
    /// Kind of classifier.
    pub solver: Solver,
    /// Number of classes.
    pub classes: usize,
    /// Seed of SGD's order of images.
    pub seed: u64,
}

impl ProbeFitter<'_> {
    /// Fits the solver's settings to `train`, and chooses the one with the highest accuracy on `validation`.
    ///
    /// On a tie it is the stronger penalty or the larger learning rate.
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

    /// Fits the classifier with a chosen setting; returns it and whether the fit converged.
    ///
    /// L-BFGS stops after a fixed number of steps.
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

/// Best setting so far.
struct Search {
    best: Option<SolverChoice>,
    /// Number of settings tried since the best one.
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
