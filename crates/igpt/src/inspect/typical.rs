//! What good pictures' windows are like: the mean and standard deviation of their nats.

use super::map::{Map, SIDE};
use crate::image::ImageSize;

/// How many pictures' worth the pooled variance counts beside that of a position: a few pictures alone would now and then
/// have nearly none.
const PRIOR: f64 = 10.0;
/// The least standard deviation, in nats per pixel.
const LEAST: f64 = 1e-3;

/// Mean and standard deviation of the windows' mean nats in good pictures: at each position where all pictures' maps have
/// one size, otherwise over all positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Size of the maps; none where they have several.
    pub size: Option<ImageSize>,
    /// A mean for each position, or one.
    pub mean: Vec<f32>,
    /// As many standard deviations.
    pub deviation: Vec<f32>,
}

/// Sums over good pictures, from which [`Statistics`] follow.
#[derive(Debug, Default)]
pub(super) struct Sums {
    maps: f64,
    size: Option<ImageSize>,
    is_mixed: bool,
    /// Sum and sum of squares at each position of the first picture's size.
    positions: Vec<[f64; 2]>,
    /// Values, their sum and their sum of squares at all positions.
    all: [f64; 3],
}

impl Sums {
    /// Adds a picture's nats.
    pub(super) fn add(&mut self, surprise: &Map) {
        let windows = surprise.windows(SIDE);
        let size = *self.size.get_or_insert(windows.size);
        self.is_mixed |= size != windows.size;
        self.positions.resize(size.pixels(), [0.0; 2]);
        self.maps += 1.0;
        for (i, value) in windows.values.iter().enumerate() {
            self.all = [self.all[0] + 1.0, self.all[1] + value, self.all[2] + value * value];
            if !self.is_mixed {
                self.positions[i][0] += value;
                self.positions[i][1] += value * value;
            }
        }
    }

    /// The statistics; none of no pictures.
    pub(super) fn statistics(self) -> Option<Statistics> {
        let size = self.size?;
        let [n, sum, squares] = self.all;
        let pooled = (squares / n - (sum / n).powi(2)).max(0.0);
        if self.is_mixed {
            let deviation = vec![(pooled.sqrt().max(LEAST)) as f32];
            return Some(Statistics { size: None, mean: vec![(sum / n) as f32], deviation });
        }
        let of_position =
            |[sum, squares]: [f64; 2]| (sum / self.maps, (squares / self.maps - (sum / self.maps).powi(2)).max(0.0));
        // The variance within positions: that between them is in the means.
        let within = self.positions.iter().map(|sums| of_position(*sums).1).sum::<f64>() / self.positions.len() as f64;
        let deviation = |sums: &[f64; 2]| {
            let variance = (self.maps * of_position(*sums).1 + PRIOR * within) / (self.maps + PRIOR);
            variance.sqrt().max(LEAST) as f32
        };
        Some(Statistics {
            size: Some(size),
            mean: self.positions.iter().map(|sums| of_position(*sums).0 as f32).collect(),
            deviation: self.positions.iter().map(deviation).collect(),
        })
    }
}

impl Statistics {
    /// How many standard deviations above the mean each window of a picture is. Of a picture of another size than the
    /// fitted ones the mean over positions counts.
    pub fn deviations(&self, surprise: &Map) -> Map {
        let mut windows = surprise.windows(SIDE);
        let everywhere =
            |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        let (mean, deviation) = (everywhere(&self.mean), everywhere(&self.deviation));
        let by_position = self.size == Some(windows.size);
        for (i, value) in windows.values.iter_mut().enumerate() {
            let (mean, deviation) = match by_position {
                true => (f64::from(self.mean[i]), f64::from(self.deviation[i])),
                false => (mean, deviation),
            };
            *value = (*value - mean) / deviation;
        }
        windows
    }
}
