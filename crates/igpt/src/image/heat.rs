//! Heat maps: a number per pixel as a colour, dark for small and bright for large values.

use crate::image::{ImageSize, Pixels};

/// Colours at equal steps from 0 to the top, with rising lightness, so that they remain readable in grey (the stops of
/// matplotlib's "inferno").
const STOPS: [[u8; 3]; 8] = [
    [0, 0, 4],
    [40, 11, 84],
    [101, 21, 110],
    [159, 42, 99],
    [212, 72, 66],
    [245, 125, 21],
    [250, 193, 39],
    [252, 255, 164],
];

/// Draws `values`, (T) in raster order, as a heat map of `size`: an RGB image.
///
/// Values up to 0 are black, values from `top` on have the brightest colour. Panics unless there is one value per pixel.
pub fn heat(values: &[f32], size: ImageSize, top: f32) -> Pixels {
    assert_eq!(values.len(), size.pixels(), "a value for each pixel");
    Pixels::new(size, 3, values.iter().flat_map(|&value| color(value / top)).collect())
}

fn color(share: f32) -> [u8; 3] {
    let last = STOPS.len() - 1;
    // NaN counts as 0.
    let share = if share > 0.0 { share.min(1.0) } else { 0.0 };
    let place = share * last as f32;
    let stop = (place as usize).min(last - 1);
    let rest = place - stop as f32;
    std::array::from_fn(|c| {
        let [low, high] = [STOPS[stop][c], STOPS[stop + 1][c]].map(f32::from);
        (low + rest * (high - low)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_brighter_and_the_ends_hold() {
        let size = ImageSize { height: 1, width: 65 };
        let values: Vec<f32> = (0..65).map(|i| i as f32 / 32.0).collect();
        let map = heat(&values, size, 2.0);
        let lightness = |i: usize| {
            let [r, g, b] = [0, 1, 2].map(|c| f32::from(map.data[3 * i + c]));
            0.299 * r + 0.587 * g + 0.114 * b
        };
        assert!((1..65).all(|i| lightness(i) > lightness(i - 1)));
        assert_eq!((&map.data[..3], &map.data[64 * 3..]), (&STOPS[0][..], &STOPS[7][..]));
        let beyond = heat(&[-1.0, f32::NAN, 9.0, f32::INFINITY], ImageSize { height: 2, width: 2 }, 1.0);
        assert_eq!(beyond.data, [STOPS[0], STOPS[0], STOPS[7], STOPS[7]].concat());
    }
}
