//! Numbers and colours in human-readable form.

use crate::palette::Palette;

/// Colours of a palette: greys from dark to light, then the others by hue.
pub(super) fn readable_order(palette: &Palette) -> Vec<[u8; 3]> {
    let mut colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
    colors.sort_by_cached_key(|&[r, g, b]| {
        let [rf, gf, bf] = [r, g, b].map(f32::from);
        let (max, min) = (rf.max(gf).max(bf), rf.min(gf).min(bf));
        let light = (299.0 * rf + 587.0 * gf + 114.0 * bf) as u32;
        let chroma = max - min;
        if chroma < 24.0 {
            return (0, light);
        }
        let hue = if max == rf {
            ((gf - bf) / chroma).rem_euclid(6.0)
        } else if max == gf {
            (bf - rf) / chroma + 2.0
        } else {
            (rf - gf) / chroma + 4.0
        };
        // There are twelve families of hue, each from dark to light.
        (1 + ((hue * 2.0 + 0.5) as u32) % 12, light)
    });
    colors
}

/// Formats a number with separators: 1234567 as 1,234,567.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats a duration in words.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 180.0 { format!("{seconds:.0} seconds") } else { format!("{:.0} minutes", seconds / 60.0) }
}

/// Quotes a text as one argument of a shell's command line.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=,+-@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Formats a share as percent with one digit.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([1, 999, 1000, 1234567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
        assert_eq!([12.4, 110.0, 3599.0].map(duration), ["12 seconds", "110 seconds", "60 minutes"]);
    }

    #[test]
    fn names_with_spaces_and_quotes_stay_one_argument() {
        assert_eq!(quoted("runs/a-1.2"), "runs/a-1.2");
        assert_eq!(quoted("my photos/cats & dogs"), "'my photos/cats & dogs'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn swatches_begin_with_the_greys() {
        let color = |c: [u8; 3]| c.map(|v| v as f32 / 127.5 - 1.0);
        let colors = [[255, 0, 0], [255, 255, 255], [0, 0, 255], [9, 9, 9], [90, 0, 0]].map(color);
        let palette = Palette::new(colors.to_vec(), 3).unwrap();
        let order = readable_order(&palette);
        assert_eq!(order, [[9, 9, 9], [255, 255, 255], [90, 0, 0], [255, 0, 0], [0, 0, 255]]);
    }
}
