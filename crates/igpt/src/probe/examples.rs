//! Labelled features, and their standardisation for classifiers.

use crate::{Error, Result};

/// Features of images, (n, d) in row-major order, with the class of each image.
#[derive(Clone, Copy, Debug)]
pub struct LabelledFeatures<'a> {
    features: &'a [f32],
    width: usize,
    labels: &'a [u32],
}

impl<'a> LabelledFeatures<'a> {
    /// Combines features, `width` values per image, with the images' classes.
    ///
    /// # Errors
    /// When there are no images, when the numbers of features and labels differ, or when a feature is not finite.
    pub fn new(features: &'a [f32], width: usize, labels: &'a [u32]) -> Result<Self> {
        if labels.is_empty() || width == 0 {
            return Err(Error::Missing("there are no features to classify: name a split with labelled images".into()));
        }
        if features.len() != labels.len() * width {
            return Err(Error::Mismatch(format!(
                "{} features of {width} values were given for {} labels",
                features.len() / width,
                labels.len()
            )));
        }
        if let Some(at) = features.iter().position(|x| !x.is_finite()) {
            return Err(Error::Invalid(format!(
                "feature {} of image {} is {}: were the model's weights trained to the end?",
                at % width,
                at / width,
                features[at]
            )));
        }
        Ok(Self { features, width, labels })
    }

    /// Number of images, n.
    pub fn images(&self) -> usize {
        self.labels.len()
    }

    /// Number of features per image, d.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Features of all images, (n, d).
    pub fn features(&self) -> &'a [f32] {
        self.features
    }

    /// Class of each image.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// Number of classes, as one more than the largest class.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |&label| label as usize + 1)
    }

    /// Splits into the first `n` images and the others.
    ///
    /// # Errors
    /// When one of the two parts would be empty.
    pub fn split_at(&self, n: usize) -> Result<(Self, Self)> {
        if n == 0 || n >= self.images() {
            return Err(Error::Invalid(format!("{n} of {} images cannot be set apart", self.images())));
        }
        let (features, rest) = self.features.split_at(n * self.width);
        let (labels, rest_labels) = self.labels.split_at(n);
        Ok((Self { features, labels, ..*self }, Self { features: rest, labels: rest_labels, ..*self }))
    }
}

/// Accuracy: the share of the predicted classes that are right.
pub fn accuracy(predicted: &[u32], labels: &[u32]) -> f64 {
    let right = predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
    right as f64 / labels.len() as f64
}

/// Mean and standard deviation of every feature on training images (as scikit-learn's `StandardScaler`).
#[derive(Clone, Debug, PartialEq)]
pub struct Standardizer {
    mean: Vec<f32>,
    /// Reciprocal of the standard deviation; 1 for a constant feature.
    scale: Vec<f32>,
    /// Whether means are subtracted and classifiers have an intercept.
    centred: bool,
}

impl Standardizer {
    /// Fits means and deviations to (n, d) features of `width` values.
    pub fn fit(features: &[f32], width: usize) -> Self {
        let n = (features.len() / width) as f64;
        let mut mean = vec![0.0f64; width];
        for row in features.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x));
        }
        mean.iter_mut().for_each(|mean| *mean /= n);
        let mut variance = vec![0.0f64; width];
        for row in features.chunks_exact(width) {
            for ((variance, mean), &x) in variance.iter_mut().zip(&mean).zip(row) {
                *variance += (f64::from(x) - mean).powi(2);
            }
        }
        let scale = variance.iter().zip(&mean).map(|(variance, mean)| {
            let deviation = (variance / n).sqrt();
            // A deviation within rounding error of a constant counts as zero.
            if deviation > 1e-7 * mean.abs() { (1.0 / deviation) as f32 } else { 1.0 }
        });
        Self { scale: scale.collect(), mean: mean.iter().map(|&mean| mean as f32).collect(), centred: true }
    }

    /// Fits deviations only: features are scaled but not centred, and classifiers on them have no intercept.
    ///
    /// This is for classifiers on top of a network, which have none either.
    pub fn without_intercept(features: &[f32], width: usize) -> Self {
        let Self { scale, .. } = Self::fit(features, width);
        Self { mean: vec![0.0; width], scale, centred: false }
    }

    /// Standardizer that leaves features of `width` values unchanged; classifiers have no intercept.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], scale: vec![1.0; width], centred: false }
    }

    /// Value of the column whose weights are the intercepts.
    pub(super) fn constant(&self) -> f32 {
        if self.centred { 1.0 } else { 0.0 }
    }

    /// Reciprocal of each feature's standard deviation.
    pub(super) fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Number of features per image, d.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Standardises one image's features into `out`.
    pub fn apply(&self, features: &[f32], out: &mut [f32]) {
        for ((out, &x), (mean, scale)) in out.iter_mut().zip(features).zip(self.mean.iter().zip(&self.scale)) {
            *out = (x - mean) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardised_features_have_mean_zero_and_deviation_one() {
        let features = [1.0, 5.0, 2.0, 5.0, 6.0, 5.0];
        let standardizer = Standardizer::fit(&features, 2);
        let mut out = [0.0; 6];
        features.chunks(2).zip(out.chunks_mut(2)).for_each(|(x, y)| standardizer.apply(x, y));
        let column: Vec<f32> = out.iter().step_by(2).copied().collect();
        assert!(column.iter().sum::<f32>().abs() < 1e-6, "{column:?}");
        assert!((column.iter().map(|x| x * x).sum::<f32>() / 3.0 - 1.0).abs() < 1e-6, "{column:?}");
        assert_eq!([out[1], out[3], out[5]], [0.0; 3], "a constant feature says nothing");
    }

    #[test]
    fn features_that_do_not_fit_their_labels_are_refused() {
        assert!(LabelledFeatures::new(&[], 2, &[]).is_err());
        assert!(LabelledFeatures::new(&[0.0; 5], 2, &[0, 1]).unwrap_err().to_string().contains("2 labels"));
        let error = LabelledFeatures::new(&[0.0, 1.0, f32::NAN, 2.0], 2, &[0, 1]).unwrap_err().to_string();
        assert!(error.contains("feature 0 of image 1"), "{error}");
    }
}
