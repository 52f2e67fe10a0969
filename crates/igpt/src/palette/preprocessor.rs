//! The palette inside transformers' `preprocessor_config.json`, under `clusters`.

use serde_json::{Map, Value, json};

use super::Palette;
use crate::model::ImageSize;
use crate::{Error, Result};

/// Keys of ours beside transformers': the palette's content hash and channels.
const HASH: &str = "igpt_palette";
const CHANNELS: &str = "igpt_channels";

impl Palette {
    /// The palette in the settings of transformers' image processor: n colours of three numbers in the signed scale.
    /// Colours that are all grey make a grey palette unless `igpt_channels` says 3.
    ///
    /// # Errors
    /// When there are no such colours, the processor is told not to use them, or they are not those whose hash is
    /// recorded beside them.
    pub fn from_preprocessor(processor: &Value) -> Result<Self> {
        let bad = |problem: String| Err(Error::Invalid(problem));
        for key in ["do_color_quantize", "do_normalize"] {
            if processor.get(key) == Some(&Value::Bool(false)) {
                return bad(format!("{key} is false, but igpt implements true only"));
            }
        }
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
        let palette = Palette::new(colors, channels)?;
        match processor.get(HASH).map(Value::as_str) {
            Some(recorded) if recorded != Some(&palette.hash()) => Err(Error::Mismatch(format!(
                "the colours are not those whose hash {HASH} records: copy the file from the model's source again"
            ))),
            _ => Ok(palette),
        }
    }

    /// The settings of transformers' image processor with this palette. Without a `size` transformers takes 256×256.
    pub fn to_preprocessor(&self, size: Option<ImageSize>) -> Value {
        let mut settings = Map::new();
        let mut set = |key: &str, value: Value| settings.insert(key.into(), value);
        set("image_processor_type", json!("ImageGPTImageProcessor"));
        for key in ["do_color_quantize", "do_normalize", "do_rescale", "do_resize"] {
            set(key, json!(true));
        }
        set("resample", json!(2));
        if let Some(size) = size {
            set("size", json!({ "height": size.height, "width": size.width }));
        }
        set(HASH, json!(self.hash()));
        set(CHANNELS, json!(self.channels()));
        set("clusters", json!(self.colors()));
        settings.into()
    }
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
