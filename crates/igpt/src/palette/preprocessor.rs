//! The palette in transformers' `preprocessor_config.json` (`clusters`), and the settings that determine pixels.
//!
//! A setting that igpt doesn't implement is refused by name: it would change tokens silently.

use serde_json::{Map, Value, json};

use super::Palette;
use crate::image::{ImageSize, Resampling};
use crate::{Error, Result};

/// Switches of transformers with one implemented value each.
const SWITCHES: [(&str, bool); 4] =
    [("do_color_quantize", true), ("do_normalize", true), ("do_rescale", true), ("do_pad", false)];
/// Numbers with one implemented value each, which take bytes to [-1, 1].
const NUMBERS: [(&str, f64); 3] = [("rescale_factor", 1.0 / 255.0), ("image_mean", 0.5), ("image_std", 0.5)];

/// Switch that cuts the middle out of a larger picture.
const CROP: &str = "do_center_crop";

/// Keys of igpt next to those of transformers: the palette's content hash and channels.
const HASH: &str = "igpt_palette";
const CHANNELS: &str = "igpt_channels";

impl Palette {
    /// Reads a palette from the settings of transformers' image processor.
    ///
    /// Its `clusters` are n colours of three numbers in the signed scale.
    ///
    /// If all colours are grey, the palette is grey unless `igpt_channels` is 3.
    ///
    /// # Errors
    /// When there are no such colours, a setting has a value that igpt does not implement, or the colours don't match
    /// the hash that is recorded with them.
    pub fn from_preprocessor(processor: &Value) -> Result<Self> {
        let bad = |problem: String| Err(Error::Invalid(problem));
        let setting = |key: &str| processor.get(key).filter(|value| !value.is_null());
        for (key, only) in SWITCHES {
            if let Some(value) = setting(key).filter(|value| **value != Value::Bool(only)) {
                return bad(format!("{key} is {}, but igpt implements {only} only", brief(value)));
            }
        }
        for (key, only) in NUMBERS {
            let same = |value: &Value| value.as_f64().is_some_and(|value| (value - only).abs() < 1e-6);
            let all = |value: &Value| value.as_array().map_or(same(value), |values| values.iter().all(same));
            if let Some(value) = setting(key).filter(|value| !all(value)) {
                return bad(format!("{key} is {}, but igpt implements {only} only", brief(value)));
            }
        }
        let crops = match setting(CROP) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) if setting("do_resize") == Some(&Value::Bool(false)) => true,
            Some(value) => {
                return bad(format!(
                    "{CROP} is {}, but igpt crops only where nothing is scaled (do_resize is false)",
                    brief(value)
                ));
            }
        };
        let resampling = match (setting("do_resize"), setting("resample")) {
            (Some(Value::Bool(false)), _) if crops => Resampling::Crop,
            (Some(Value::Bool(false)), _) => Resampling::Off,
            (Some(value), _) if *value != Value::Bool(true) => {
                return bad(format!("do_resize is {}, but must be true or false", brief(value)));
            }
            (_, None) => Resampling::Bilinear,
            (_, Some(value)) => match value.as_u64() {
                Some(0) => Resampling::Nearest,
                Some(2) => Resampling::Bilinear,
                Some(3) => Resampling::Bicubic,
                _ => {
                    return bad(format!(
                        "resample is {}{}, but igpt scales by 0 (nearest), 2 (bilinear) and 3 (bicubic)",
                        brief(value),
                        match value.as_u64() {
                            Some(1) => " (Lanczos)",
                            Some(4) => " (box)",
                            Some(5) => " (Hamming)",
                            _ => "",
                        }
                    ));
                }
            },
        };
        let clusters = processor.get("clusters").cloned().unwrap_or(Value::Null);
        let colors: Vec<[f32; 3]> = match serde_json::from_value(clusters) {
            Ok(colors) => colors,
            Err(e) => return bad(format!("clusters must be a list of [red, green, blue] in [-1, 1]: {e}")),
        };
        let all_grey = colors.iter().all(|c| c[0] == c[1] && c[1] == c[2]);
        let channels = match processor.get(CHANNELS).map(Value::as_u64) {
            None if all_grey => 1,
            None | Some(Some(3)) => 3,
            Some(Some(1)) => 1,
            Some(_) => return bad(format!("{CHANNELS} must be 1 or 3")),
        };
        let palette = Palette::new(colors, channels)?.with_resampling(resampling);
        match processor.get(HASH).map(Value::as_str) {
            Some(recorded) if recorded != Some(&palette.hash()) => Err(Error::Mismatch(format!(
                "the colours are not those whose hash {HASH} records: copy the file from the model's source again"
            ))),
            _ => Ok(palette),
        }
    }

    /// Returns the palette as settings of transformers' image processor.
    ///
    /// Without a `size` transformers assumes 256×256.
    pub fn to_preprocessor(&self, size: Option<ImageSize>) -> Value {
        let mut settings = Map::new();
        let mut set = |key: &str, value: Value| settings.insert(key.into(), value);
        set("image_processor_type", json!("ImageGPTImageProcessor"));
        for key in ["do_color_quantize", "do_normalize", "do_rescale"] {
            set(key, json!(true));
        }
        let scales = !matches!(self.resampling(), Resampling::Off | Resampling::Crop);
        set("do_resize", json!(scales));
        if self.resampling() == Resampling::Crop {
            set(CROP, json!(true));
        }
        let resample = match self.resampling() {
            Resampling::Nearest => 0,
            Resampling::Bilinear | Resampling::Off | Resampling::Crop => 2,
            Resampling::Bicubic => 3,
        };
        set("resample", json!(resample));
        if let Some(size) = size {
            set("size", json!({ "height": size.height, "width": size.width }));
        }
        set(HASH, json!(self.hash()));
        set(CHANNELS, json!(self.channels()));
        set("clusters", json!(self.colors()));
        settings.into()
    }
}

/// Shortens a value for a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 60 { "something long".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn palettes_come_back_from_a_preprocessor_to_the_bit() {
        let rgb = Palette::new(vec![[-1.0, 0.1, 1.0], [0.2, 0.3, 1.0 / 3.0]], 3).unwrap();
        let greys = vec![[-0.7; 3], [0.3; 3]];
        for palette in [rgb, Palette::new(greys.clone(), 1).unwrap(), Palette::new(greys, 3).unwrap()] {
            let text = palette.to_preprocessor(Some(ImageSize::square(8))).to_string();
            assert_eq!(Palette::from_preprocessor(&serde_json::from_str(&text).unwrap()).unwrap(), palette);
        }
    }

    #[test]
    fn how_pictures_are_scaled_comes_back_too() {
        let palette = Palette::new(vec![[-1.0, 0.1, 1.0], [0.2, 0.3, 1.0 / 3.0]], 3).unwrap();
        for resampling in [Resampling::Nearest, Resampling::Bilinear, Resampling::Bicubic, Resampling::Off] {
            let palette = palette.clone().with_resampling(resampling);
            let back = Palette::from_preprocessor(&palette.to_preprocessor(None)).unwrap();
            assert_eq!((back.resampling(), back), (resampling, palette));
        }
    }

    #[test]
    fn settings_that_change_pixels_otherwise_are_refused_by_name() {
        let with = |key: &str, value: Value| {
            let mut processor = json!({ "clusters": [[0, 0, 0], [0.5, 0.5, 0.4]] });
            processor[key] = value;
            Palette::from_preprocessor(&processor)
        };
        for (key, value) in [
            ("do_color_quantize", json!(false)),
            ("do_normalize", json!(false)),
            ("do_rescale", json!(false)),
            ("do_center_crop", json!(true)),
            ("do_pad", json!(true)),
            ("do_resize", json!("no")),
            ("resample", json!(1)),
            ("resample", json!(4)),
            ("resample", json!(5)),
            ("resample", json!(-1)),
            ("resample", json!("bicubic")),
            ("rescale_factor", json!(1)),
            ("image_mean", json!([0.485, 0.456, 0.406])),
            ("image_std", json!(0.25)),
        ] {
            let problem = with(key, value.clone()).unwrap_err().to_string();
            assert!(problem.contains(&format!("{key} is {value}")), "{problem}");
        }
        for (key, value) in [
            ("image_mean", json!([0.5, 0.5, 0.5])),
            ("image_std", json!(0.5)),
            ("rescale_factor", json!(0.00392156862745098)),
            ("do_center_crop", Value::Null),
            ("resample", Value::Null),
            ("do_resize", json!(true)),
        ] {
            assert_eq!(with(key, value).unwrap().resampling(), Resampling::Bilinear, "{key}");
        }
    }

    #[test]
    fn equal_channels_mean_grey_where_the_file_does_not_say() {
        let open = |clusters: Value| Palette::from_preprocessor(&json!({ "clusters": clusters })).unwrap().channels();
        assert_eq!(open(json!([[0, 0, 0], [0.5, 0.5, 0.5]])), 1);
        assert_eq!(open(json!([[0, 0, 0], [0.5, 0.5, 0.4]])), 3);
    }

    #[test]
    fn clusters_that_are_no_palette_are_refused() {
        let problem =
            |clusters: Value| Palette::from_preprocessor(&json!({ "clusters": clusters })).unwrap_err().to_string();
        assert!(problem(Value::Null).contains("clusters must be a list"));
        assert!(problem(json!([])).contains("no colours"));
        assert!(problem(json!([[0, 0]])).contains("clusters must be a list"));
        assert!(problem(json!([[0, 0, 0], [1e39, 0, 0]])).contains("colour 1"));
        assert!(problem(json!([[0, 0, 0], [0, 0, 0]])).contains("duplicate"));
    }
}
