//! Comparison of the classifiers with scikit-learn's, on `testdata/probe`.

use serde::Deserialize;

use super::{LabelledFeatures, LogisticRegression, RidgeRegression, Standardizer, Workers};

#[derive(Deserialize)]
struct Case {
    strength: f64,
    #[serde(default)]
    classes: usize,
    #[serde(default)]
    loss: f64,
    predicted: Vec<u32>,
}

#[derive(Deserialize)]
struct Golden {
    width: usize,
    /// Times 32.
    features: Vec<f32>,
    labels: Vec<u32>,
    logistic: Vec<Case>,
    logistic_two: Vec<Case>,
    ridge: Vec<Case>,
}

fn golden() -> Golden {
    let mut golden: Golden = serde_json::from_str(include_str!("../../../../testdata/probe/sklearn.json")).unwrap();
    golden.features.iter_mut().for_each(|x| *x /= 32.0);
    golden
}

/// Number of images on which two lists of predictions differ.
fn different(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

#[test]
fn logistic_regression_reaches_scikit_learns_loss_and_predictions() {
    let golden = golden();
    let workers = Workers::new(2);
    let standardizer = Standardizer::fit(&golden.features, golden.width);
    let pairs: Vec<u32> = golden.labels.iter().map(|label| label % 2).collect();
    for (cases, labels) in [(&golden.logistic, &golden.labels), (&golden.logistic_two, &pairs)] {
        let train = LabelledFeatures::new(&golden.features, golden.width, labels).unwrap();
        for case in cases {
            let mut logistic = LogisticRegression::new(&workers, &standardizer, train, case.classes).unwrap();
            let fit = logistic.fit(case.strength);
            assert!(fit.converged, "{} iterations at strength {}", fit.iterations, case.strength);
            assert!((fit.loss - case.loss).abs() < 1e-6, "{} instead of {}", fit.loss, case.loss);
            let predicted = fit.linear.predict(&workers, &golden.features);
            assert_eq!(different(&predicted, &case.predicted), 0, "strength {}", case.strength);
        }
    }
}

#[test]
fn ridge_predicts_what_scikit_learns_ridge_classifier_does() {
    let golden = golden();
    let workers = Workers::new(1);
    let standardizer = Standardizer::fit(&golden.features, golden.width);
    let train = LabelledFeatures::new(&golden.features, golden.width, &golden.labels).unwrap();
    let ridge = RidgeRegression::new(&workers, &standardizer, train, 4);
    for case in &golden.ridge {
        let predicted = ridge.solve(&workers, case.strength).unwrap().predict(&workers, &golden.features);
        assert_eq!(different(&predicted, &case.predicted), 0, "strength {}", case.strength);
    }
}
