//! Statistics of several filters' largest responses in good pictures.
//!
//! Each response is compared with those in good pictures. Responses of different filters are then comparable, and
//! deviations in both directions count.
//!
//! The filters look at unexpected nats: the surprise at a pixel less the entropy of the model's prediction, which is
//! 0 on average whatever the texture, and the surprise of the pixel's exact value within its colour (`exact_values`).

use super::lines::Lines;
use super::map::{PixelMap, SIDE};
use super::picture::InputMode;
use super::score_maps::ScoreMaps;
use crate::image::ImageSize;

/// Factor from the median of absolute deviations to a normal distribution's standard deviation.
const NORMAL: f64 = 1.4826;
/// Smallest scale, in nats per pixel.
const LEAST: f64 = 1e-3;
/// Pixels along and across a line, and number of directions over half a turn.
const LINE: (usize, f64, usize) = (31, 1.5, 36);
/// Side of the windows that may be too smooth.
const SMOOTH: usize = 17;
/// Weight of a nat of the exact value within its colour, relative to one of the colour: chosen on the textures' seed
/// 0 of `studies/odd_images.py`.
const WITHIN: f64 = 0.5;

/// Sizes of the filters of [`Score::Typical`](crate::inspect::Score::Typical), in pixels of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSizes {
    /// Length of straight lines with more nats than expected (scratches).
    pub line: usize,
    /// Side of windows with fewer nats than expected (smears); exact values do not count there.
    pub smooth: usize,
    /// Side of windows with more nats than expected (spots).
    pub spot: usize,
}

impl FilterSizes {
    /// Returns the sizes for pictures in this view of a model of size `n_px`; at most half a side in a view of few
    /// pixels.
    pub(super) fn of(view: InputMode, n_px: ImageSize) -> Self {
        let half = match view {
            InputMode::Whole => n_px.height.min(n_px.width) / 2,
            InputMode::Tiles => usize::MAX,
        };
        // The largest odd number.
        let side = |side: usize| if half >= side { side } else { half - (half + 1) % 2 };
        Self { line: side(LINE.0), smooth: side(SMOOTH), spot: side(SIDE) }
    }

    /// Returns each filter's response at each pixel; `None` if the picture is too small for it.
    fn answers(&self, maps: &ScoreMaps) -> [Option<PixelMap>; 3] {
        let excess = maps.unexpected();
        let full = excess.plus(&maps.within.clone().map(|value| WITHIN * value));
        let least = excess.size.height.min(excess.size.width);
        [
            Lines::new(self.line, LINE.1, LINE.2).largest(&full),
            (self.smooth <= least).then(|| excess.windows(self.smooth).map(|value| -value)),
            (self.spot <= least).then(|| full.windows(self.spot)),
        ]
    }
}

/// Median and scale of each filter's largest response in good pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterStatistics {
    /// Sizes of the filters.
    pub filters: FilterSizes,
    /// Medians, in the order of [`FilterSizes`].
    pub centre: Vec<f32>,
    /// Scales: 1.4826 times the median of absolute deviations; 0 for a filter that some pictures are too small for.
    pub scale: Vec<f32>,
}

/// Largest responses in good pictures, from which [`FilterStatistics`] are computed.
#[derive(Debug)]
pub(super) struct Extremes {
    filters: FilterSizes,
    largest: Vec<[Option<f64>; 3]>,
}

impl Extremes {
    pub(super) fn new(filters: FilterSizes) -> Self {
        Self { filters, largest: Vec::new() }
    }

    /// Adds the largest responses in a good picture.
    pub(super) fn add(&mut self, maps: &ScoreMaps) {
        self.largest.push(self.filters.answers(maps).map(|map| map.as_ref().map(PixelMap::max)));
    }

    /// Returns the statistics; `None` without pictures, or if some pictures are too small for every filter.
    pub(super) fn statistics(&self) -> Option<FilterStatistics> {
        self.largest.first()?;
        let of = |filter: usize| {
            let values = self.largest.iter().map(|largest| largest[filter]).collect::<Option<Vec<f64>>>();
            let Some(values) = values else { return (0.0, 0.0) };
            let centre = median(values.clone());
            let scale = NORMAL * median(values.iter().map(|value| (value - centre).abs()).collect());
            (centre as f32, scale.max(LEAST) as f32)
        };
        let (centre, scale): (Vec<f32>, Vec<f32>) = (0..FilterStatistics::LEN).map(of).unzip();
        let says_something = scale.iter().any(|scale| *scale > 0.0);
        says_something.then_some(FilterStatistics { filters: self.filters, centre, scale })
    }
}

impl FilterStatistics {
    /// Number of filters.
    pub(super) const LEN: usize = 3;

    /// Returns at each pixel the largest response of the filters, relative to the median of good pictures' largest
    /// responses and in units of the scale. The value is 0 in a picture that is too small for every filter.
    pub(super) fn deviations(&self, maps: &ScoreMaps) -> PixelMap {
        let size = maps.surprise.size;
        let mut furthest: Option<PixelMap> = None;
        for (map, (&centre, &scale)) in self.filters.answers(maps).into_iter().zip(self.centre.iter().zip(&self.scale))
        {
            let Some(map) = map.filter(|_| scale > 0.0) else { continue };
            let map = map.map(|value| (value - f64::from(centre)) / f64::from(scale));
            furthest = Some(match furthest {
                Some(furthest) => furthest.larger(&map),
                None => map,
            });
        }
        furthest.unwrap_or_else(|| PixelMap::new(size, vec![0.0; size.pixels()]))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    /// Evidence whose pixels cost this much more than the two nats that are expected.
    fn maps(size: ImageSize, unexpected: impl Fn(usize, usize) -> f64) -> ScoreMaps {
        let flat = |value: f64| PixelMap::new(size, vec![value; size.pixels()]);
        let nats = |i: usize| 2.0 + unexpected(i / size.width, i % size.width);
        let surprise = PixelMap::new(size, (0..size.pixels()).map(nats).collect());
        let expectation = Some(flat(2.0));
        ScoreMaps { surprise, reference: flat(2.0), within: flat(0.0), expectation, distance: None }
    }

    const FULL: FilterSizes = FilterSizes { line: 21, smooth: 9, spot: 5 };

    fn noise(y: usize, x: usize, seed: usize) -> f64 {
        ((y * 31 + x * 17 + seed * 71 + y * x * 3) * 2_654_435_761 % 1009) as f64 / 504.5 - 1.0
    }

    #[test]
    fn spots_scratches_and_what_is_too_predictable_are_odd_beside_good_pictures() {
        let size = ImageSize { height: 30, width: 40 };
        let mut good = Extremes::new(FULL);
        (0..40).for_each(|seed| good.add(&maps(size, |y, x| noise(y, x, seed))));
        let statistics = good.statistics().unwrap();
        let score = |unexpected: &dyn Fn(usize, usize) -> f64| statistics.deviations(&maps(size, unexpected)).max();
        let usual = (50..70).map(|seed| score(&|y, x| noise(y, x, seed))).fold(f64::NEG_INFINITY, f64::max);
        let inside = |y: usize, x: usize| (8..20).contains(&y) && (10..22).contains(&x);
        let lit = |is_lit: bool| if is_lit { 2.0 } else { 0.0 };
        let spot = score(&|y, x| noise(y, x, 90) + lit((10..13).contains(&y) && (20..23).contains(&x)));
        let scratch = score(&|y, x| noise(y, x, 91) + lit(y == x && (3..27).contains(&y)));
        let dull = score(&|y, x| if inside(y, x) { -0.8 } else { noise(y, x, 92) });
        assert!(
            usual < 6.0 && [spot, scratch, dull].iter().all(|odd| *odd > usual + 1.0),
            "{usual} {spot} {scratch} {dull}"
        );
        // The map is highest where it is odd.
        let map = statistics.deviations(&maps(size, |y, x| if inside(y, x) { -0.8 } else { noise(y, x, 92) }));
        assert_eq!(map.max(), map.values[14 * 40 + 16]);
    }

    #[test]
    fn filters_that_are_larger_than_a_picture_say_nothing() {
        let (small, large) = (ImageSize::square(8), ImageSize::square(24));
        let mut good = Extremes::new(FULL);
        assert!(good.statistics().is_none());
        (0..5).for_each(|seed| good.add(&maps(small, |y, x| noise(y, x, seed))));
        good.add(&maps(large, |y, x| noise(y, x, 9)));
        let statistics = good.statistics().unwrap();
        assert!(statistics.scale.iter().map(|scale| *scale > 0.0).eq([false, false, true]));
        assert!(statistics.deviations(&maps(large, |y, x| noise(y, x, 1))).max().is_finite());
        let of = |view, side| FilterSizes::of(view, ImageSize::square(side));
        assert_eq!(of(InputMode::Tiles, 16), FilterSizes { line: 31, smooth: 17, spot: 5 });
        assert_eq!(of(InputMode::Whole, 64), FilterSizes { line: 31, smooth: 17, spot: 5 });
        assert_eq!(of(InputMode::Whole, 28), FilterSizes { line: 13, smooth: 13, spot: 5 });
        assert_eq!(of(InputMode::Whole, 8), FilterSizes { line: 3, smooth: 3, spot: 3 });
    }
}
