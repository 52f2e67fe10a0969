//! `preprocessor_config.json`: the palette and the image size, as transformers' image processor keeps them.

use std::path::Path;

use serde_json::Value;

use crate::model::ImageSize;
use crate::palette::Palette;
use crate::{Error, Result};

/// The palette and size in a processor's settings. `path` is for the messages.
pub(super) fn parse(processor: &Value, path: &Path) -> Result<(Palette, ImageSize)> {
    let bad = |problem: String| Error::format(path, problem);
    let palette = Palette::from_preprocessor(processor).map_err(|problem| match problem {
        Error::Mismatch(problem) => Error::Mismatch(format!("{}: {problem}", path.display())),
        problem => bad(problem.to_string()),
    })?;
    let size = image_size(processor)
        .ok_or_else(|| bad("no size with height and width: the model's image size is not known".into()))?;
    Ok((palette, size))
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
