//! Settings that a token directory decides: palette, image size, and the augmentation of its stored views.

use crate::data::{Augment, Images};
use crate::palette::Palette;
use crate::train::config::run_config::RunConfig;
use crate::{Error, Result};

/// Returns the config with the settings that stored tokens decide; unchanged if `images` are not tokens.
///
/// # Errors
/// When the config asks for something else; the message names both values.
pub(in crate::train) fn apply_token_dir(config: &RunConfig, images: &Images) -> Result<RunConfig> {
    let mut config = config.clone();
    let Some(tokens) = images.tokens() else { return Ok(config) };
    let (root, n_px) = (tokens.root().display(), tokens.manifest().n_px());
    let (hash, n_vocab) = (&tokens.manifest().palette_hash, tokens.palette().n_vocab());
    let otherwise = |own: String, asked: String, key: &str| {
        Err(Error::Mismatch(format!(
            "{root} holds tokens of {own}, but the run asks for {asked}: leave {key} out, or give the images themselves"
        )))
    };
    if let Some(asked) = config.model.n_px.filter(|asked| *asked != n_px) {
        return otherwise(format!("{n_px} images"), asked.to_string(), "model.n_px (--n-px)");
    }
    if let Some(asked) = config.palette.colors.filter(|asked| *asked != n_vocab) {
        return otherwise(format!("{n_vocab} colours"), asked.to_string(), "palette.colors (--colors)");
    }
    if let Some(file) = &config.palette.file {
        let asked = Palette::open(file)?;
        if asked != *tokens.palette() {
            let asked = format!("{} ({})", asked.hash(), file.display());
            return otherwise(format!("palette {hash}"), asked, "palette.file (--palette)");
        }
    } else {
        config.palette.file = Some(tokens.palette_file());
    }
    config.palette.colors = None;
    config.model.n_px = Some(n_px);
    apply_token_dir_augment(&mut config, images)?;
    Ok(config)
}

/// Applies the augmentation of a token directory, but not its palette and size, which a model to fine-tune decides.
pub(in crate::train) fn apply_token_dir_augment(config: &mut RunConfig, images: &Images) -> Result<()> {
    let Some(tokens) = images.tokens() else { return Ok(()) };
    if tokens.manifest().views > 0 && config.data.augment.is_none() {
        config.data.augment = Some(tokens.manifest().augment);
    }
    tokens.check_augment(config.data.augment.unwrap_or(Augment::None))
}
