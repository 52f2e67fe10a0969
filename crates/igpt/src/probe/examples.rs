//! Features with their classes, and the scale that classifiers see them in.

use crate::{Error, Result};

/// Features of some images, (n, d) row after row, and the class of each.
#[derive(Clone, Copy, Debug)]
pub struct LabelledFeatures<'a> {
    features: &'a [f32],
    width: usize,
    labels: &'a [u32],
}

impl<'a> LabelledFeatures<'a> {
    /// Features of `width` values an image and the images' classes.
    ///
    /// # Errors
    /// When there are no images, the two differ in number, or a feature is not finite.
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

    /// Values of an image, d.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All features, (n, d).
    pub fn features(&self) -> &'a [f32] {
        self.features
    }

    /// Class of each image.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// One more than the largest class.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |&label| label as usize + 1)
    }

    /// The first `n` images and the others.
    ///
    /// # Errors
    /// When one of the two would have none.
    pub fn split_at(&self, n: usize) -> Result<(Self, Self)> {
        if n == 0 || n >= self.images() {
            return Err(Error::Invalid(format!("{n} of {} images cannot be set apart", self.images())));
        }
        let (features, rest) = self.features.split_at(n * self.width);
        let (labels, rest_labels) = self.labels.split_at(n);
        Ok((Self { features, labels, ..*self }, Self { features: rest, labels: rest_labels, ..*self }))
    }
}

/// Share of the predicted classes that are right.
pub fn accuracy(predicted: &[u32], labels: &[u32]) -> f64 {
    let right = predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
    right as f64 / labels.len() as f64
}

/// Mean and deviation of every feature, measured on training images (scikit-learn's `StandardScaler`).
#[derive(Clone, Debug, PartialEq)]
pub struct Standardizer {
    mean: Vec<f32>,
    /// One over the deviation; 1 where a feature never changes.
    scale: Vec<f32>,
    /// Whether the means are taken away and classifiers have an intercept.
    centred: bool,
}

impl Standardizer {
    /// Measures (n, d) features of `width` values.
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
            // What rounding leaves of a constant counts as nothing.
            if deviation > 1e-7 * mean.abs() { (1.0 / deviation) as f32 } else { 1.0 }
        });
        Self { scale: scale.collect(), mean: mean.iter().map(|&mean| mean as f32).collect(), centred: true }
    }

    /// As [`fit`](Self::fit), but features are only scaled, and classifiers on them have no intercept: as that on top of a
    /// network has none.
    pub fn without_intercept(features: &[f32], width: usize) -> Self {
        let Self { scale, .. } = Self::fit(features, width);
        Self { mean: vec![0.0; width], scale, centred: false }
    }

    /// Leaves features of `width` values as they are; without an intercept, too.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], scale: vec![1.0; width], centred: false }
    }

    /// The value of the column that the intercepts are the weights of.
    pub(super) fn constant(&self) -> f32 {
        if self.centred { 1.0 } else { 0.0 }
    }

    /// One over each feature's deviation.
    pub(super) fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Values of an image, d.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// One image's features on the scale of the training images.
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
