//! `preprocessor_config.json`: the palette and the image size, as transformers' image processor keeps them.

use std::path::Path;

use serde_json::{Value, json};

use crate::model::ImageSize;
use crate::palette::Palette;
use crate::{Error, Result};

/// Keys of ours beside transformers': the palette's content hash and channels.
const HASH: &str = "igpt_palette";
const CHANNELS: &str = "igpt_channels";

/// The palette and size in a processor's settings. `path` is for the messages.
pub(super) fn parse(processor: &Value, path: &Path) -> Result<(Palette, ImageSize)> {
    let bad = |problem: String| Error::format(path, problem);
    for key in ["do_color_quantize", "do_normalize"] {
        if processor.get(key) == Some(&Value::Bool(false)) {
            return Err(bad(format!("{key} is false, but igpt implements true only")));
        }
    }
    let clusters = processor.get("clusters").cloned().unwrap_or(Value::Null);
    let colors: Vec<[f32; 3]> = serde_json::from_value(clusters)
        .map_err(|e| bad(format!("clusters must be a list of [red, green, blue] in [-1, 1]: {e}")))?;
    let channels = match processor.get(CHANNELS).map(Value::as_u64) {
        None => 3,
        Some(Some(1)) => 1,
        Some(Some(3)) => 3,
        Some(_) => return Err(bad(format!("{CHANNELS} must be 1 or 3"))),
    };
    let palette = Palette::new(colors, channels).map_err(|e| bad(e.to_string()))?;
    match processor.get(HASH).map(Value::as_str) {
        Some(recorded) if recorded != Some(&palette.hash()) => {
            return Err(Error::Mismatch(format!(
                "{}: the colours are not those whose hash {HASH} records: copy the file from the model's source again",
                path.display()
            )));
        }
        _ => {}
    }
    let size = image_size(processor)
        .ok_or_else(|| bad("no size with height and width: the model's image size is not known".into()))?;
    Ok((palette, size))
}

/// The settings of transformers' image processor for a model.
pub(super) fn to_json(palette: &Palette, size: ImageSize) -> Value {
    json!({
        "image_processor_type": "ImageGPTImageProcessor",
        "do_color_quantize": true,
        "do_normalize": true,
        "do_rescale": true,
        "do_resize": true,
        "resample": 2,
        "size": { "height": size.height, "width": size.width },
        HASH: palette.hash(),
        CHANNELS: palette.channels(),
        "clusters": palette.colors(),
    })
}

/// `size` as transformers writes it now ({height, width}) or did once (a side).
fn image_size(processor: &Value) -> Option<ImageSize> {
    let side = |v: &Value| v.as_u64().and_then(|v| usize::try_from(v).ok());
    let size = processor.get("size")?;
    match side(size) {
        Some(n_px) => Some(ImageSize::square(n_px)),
        None => Some(ImageSize { height: side(size.get("height")?)?, width: side(size.get("width")?)? }),
    }
}
