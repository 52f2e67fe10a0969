//! Resampling of images (nearest, bilinear, bicubic), equal to PIL's `Image.resize(size, resample, box)` to the last
//! bit.
//!
//! Bilinear and bicubic are antialiased.
//!
//! Equality matters because models trained elsewhere saw PIL's pixels, and a token can flip on one grey level. PIL's
//! method (Pillow, `Resample.c`) is a triangle or cubic filter as wide as the reduction. Its weights are in 22-bit fixed
//! point. It runs first along rows, then along columns, with bytes in between. The nearest pixel is the one under the
//! centre (`Geometry.c`). (Pillow 13 takes columns first where the height shrinks much more than the width, which moves
//! some bytes by one; crops of the model's aspect never do.)

use super::Pixels;
use crate::image::ImageSize;

/// Method of scaling pictures to a model's size: `resample` and `do_resize` of transformers' image processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resampling {
    /// Nearest pixel: the one under each new pixel's centre.
    Nearest,
    /// Bilinear, antialiased by a triangle filter: the method of the paper's models.
    #[default]
    Bilinear,
    /// Bicubic, with a cubic filter (a = -1/2).
    Bicubic,
    /// No scaling: a picture of another size is refused.
    Off,
    /// No scaling: the middle of a larger picture is cut out at its own resolution; a smaller one is refused.
    Crop,
}

impl std::fmt::Display for Resampling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nearest => "by the nearest pixel",
            Self::Bilinear => "bilinearly",
            Self::Bicubic => "bicubically",
            Self::Off => "not at all",
            Self::Crop => "not at all, but cropped",
        })
    }
}

/// Bits of a weight after the binary point.
const BITS: u32 = 32 - 8 - 2;

/// A rectangle in an image's coordinates, in pixels; it may cut through pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rect {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Columns.
    pub width: f64,
    /// Rows.
    pub height: f64,
}

impl Rect {
    /// Returns the rectangle of a whole image.
    pub(crate) fn whole(size: ImageSize) -> Self {
        Self { left: 0.0, top: 0.0, width: size.width as f64, height: size.height as f64 }
    }
}

/// Resamples the part `area` of `image` to `size`, bilinearly; the area must lie inside the image and not be empty.
pub(crate) fn resize(image: &Pixels, area: Rect, size: ImageSize) -> Pixels {
    resample(image, area, size, Resampling::Bilinear)
}

/// Resamples like [`resize`] with a given method; [`Resampling::Off`] and [`Resampling::Crop`] act as bilinear.
pub(crate) fn resample(image: &Pixels, area: Rect, size: ImageSize, resampling: Resampling) -> Pixels {
    let from = image.size;
    if size == from && area == Rect::whole(from) {
        return image.clone();
    }
    let c = image.channels;
    let filter: &Filter = match resampling {
        Resampling::Nearest => return nearest(image, area, size),
        Resampling::Bilinear | Resampling::Off | Resampling::Crop => &TRIANGLE,
        Resampling::Bicubic => &CUBIC,
    };
    let across = Weights::new(filter, from.width, area.left, area.width, size.width);
    let down = Weights::new(filter, from.height, area.top, area.height, size.height);
    // Only the rows that the second pass reads.
    let first = down.spans[0].start;
    let last = down.spans.iter().map(|s| s.end).max().unwrap_or(first);

    let mut rows = Vec::with_capacity((last - first) * size.width * c);
    for y in first..last {
        let row = &image.data[y * from.width * c..][..from.width * c];
        for x in 0..size.width {
            let (span, weights) = across.of(x);
            let taps = &row[span.start * c..span.end * c];
            if c == 1 {
                rows.push(weighted(taps.iter().copied(), weights));
            } else {
                let mut sum = [1i32 << (BITS - 1); 3];
                for (pixel, &w) in taps.chunks_exact(3).zip(weights) {
                    for k in 0..3 {
                        sum[k] += pixel[k] as i32 * w;
                    }
                }
                rows.extend(sum.map(clip));
            }
        }
    }

    let stride = size.width * c;
    let mut data = Vec::with_capacity(size.height * stride);
    let mut sums = vec![0i32; stride];
    for y in 0..size.height {
        let (span, weights) = down.of(y);
        sums.fill(1 << (BITS - 1));
        for (row, &w) in rows[(span.start - first) * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &v) in sums.iter_mut().zip(row) {
                *sum += v as i32 * w;
            }
        }
        data.extend(sums.iter().map(|&s| clip(s)));
    }
    Pixels::new(size, c, data)
}

/// Takes the pixel under each new pixel's centre. Positions are summed step by step, as in PIL.
fn nearest(image: &Pixels, area: Rect, size: ImageSize) -> Pixels {
    let c = image.channels;
    let places = |start: f64, extent: f64, out: usize, length: usize| -> Vec<usize> {
        let step = extent / out as f64;
        let mut at = start + step * 0.5;
        let place = |_| {
            let place = (at as usize).min(length - 1);
            at += step;
            place
        };
        (0..out).map(place).collect()
    };
    let columns = places(area.left, area.width, size.width, image.size.width);
    let mut data = Vec::with_capacity(size.pixels() * c);
    for row in places(area.top, area.height, size.height, image.size.height) {
        let row = &image.data[row * image.size.width * c..][..image.size.width * c];
        columns.iter().for_each(|column| data.extend_from_slice(&row[column * c..][..c]));
    }
    Pixels::new(size, c, data)
}

/// A filter: its support, and its weight at a distance.
struct Filter {
    support: f64,
    at: fn(f64) -> f64,
}

const TRIANGLE: Filter = Filter { support: 1.0, at: |x| (1.0 - x.abs()).max(0.0) };
const CUBIC: Filter = Filter {
    support: 2.0,
    at: |x| {
        const A: f64 = -0.5;
        match x.abs() {
            x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    },
};

fn weighted(taps: impl Iterator<Item = u8>, weights: &[i32]) -> u8 {
    clip(taps.zip(weights).fold(1 << (BITS - 1), |sum, (v, &w)| sum + v as i32 * w))
}

fn clip(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// Input positions and weights of each output position.
struct Weights {
    spans: Vec<std::ops::Range<usize>>,
    values: Vec<i32>,
    /// Values reserved per output position.
    taps: usize,
}

impl Weights {
    /// Computes one axis: `extent` of `length` input positions, from `start` on, become `out` output positions.
    fn new(filter: &Filter, length: usize, start: f64, extent: f64, out: usize) -> Self {
        let scale = extent / out as f64;
        // When enlarging, the filter is as wide as at the input's own size.
        let stretch = scale.max(1.0);
        let support = filter.support * stretch;
        let taps = support.ceil() as usize * 2 + 1;
        let mut weights = Self { spans: Vec::with_capacity(out), values: vec![0; out * taps], taps };
        let mut exact = vec![0.0f64; taps];
        for (i, values) in weights.values.chunks_exact_mut(taps).enumerate() {
            let center = start + (i as f64 + 0.5) * scale;
            // Both edges are truncated, not rounded down, after the half is added: as in PIL.
            let low = ((center - support + 0.5) as i64).max(0) as usize;
            let high = ((center + support + 0.5) as usize).min(length);
            let n = high - low;
            let mut total = 0.0;
            for (k, w) in exact[..n].iter_mut().enumerate() {
                *w = (filter.at)(((k + low) as f64 - center + 0.5) * (1.0 / stretch));
                total += *w;
            }
            for (value, w) in values.iter_mut().zip(&exact[..n]) {
                let w = if total != 0.0 { w / total } else { *w };
                // Rounded half away from zero: the cast truncates.
                *value = (w * (1u32 << BITS) as f64 + 0.5f64.copysign(w)) as i32;
            }
            weights.spans.push(low..high);
        }
        weights
    }

    fn of(&self, i: usize) -> (std::ops::Range<usize>, &[i32]) {
        let span = self.spans[i].clone();
        let n = span.len();
        (span, &self.values[i * self.taps..][..n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of `testdata/pil_resize/make.py`.
    fn picture(width: usize, height: usize, channels: usize) -> Pixels {
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    let noise = ((x * 73856093) ^ (y * 19349663) ^ (c * 83492791)) % 97;
                    data.push((x * 5 + y * 3 + c * 50 + noise) as u8);
                }
            }
        }
        Pixels::new(ImageSize { height, width }, channels, data)
    }

    #[test]
    fn pixels_equal_pils() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../../testdata/pil_resize/golden.json")).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let n = |key: &str| case[key].as_u64().unwrap() as usize;
            let image = picture(n("width"), n("height"), n("channels"));
            let area = case["box"].as_array().map_or(Rect::whole(image.size), |b| {
                let b: Vec<f64> = b.iter().map(|v| v.as_f64().unwrap()).collect();
                Rect { left: b[0], top: b[1], width: b[2] - b[0], height: b[3] - b[1] }
            });
            let resampling = match n("resample") {
                0 => Resampling::Nearest,
                2 => Resampling::Bilinear,
                _ => Resampling::Bicubic,
            };
            let size = ImageSize { height: n("out_height"), width: n("out_width") };
            let out = resample(&image, area, size, resampling);
            let hex: String = out.data.iter().map(|v| format!("{v:02x}")).collect();
            assert_eq!(hex, case["data"].as_str().unwrap(), "{} to {size} of {area:?}, {resampling:?}", image.size);
        }
    }
}
