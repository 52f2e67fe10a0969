//! Checks of what ranks must have in common before they work as one: the program, its settings, images and weights.

use sha2::{Digest, Sha256};

use crate::Result;
use crate::checksum::{hex, sha256};
use crate::data::{Dataset, Fingerprint, Images, TokenSet};
use crate::device::{self, Device};
use crate::model::ModelDir;
use crate::palette::Palette;
use crate::ranks::Collective;

/// Number of images whose pixels are compared between ranks.
const COMPARED_IMAGES: usize = 8;

/// Refuses ranks with another program, instruction set or `settings`, (name, value).
///
/// # Errors
/// When ranks differ, or one is gone; the message names the difference.
pub fn expect_same_program(ranks: &mut Collective, device: Device, settings: Vec<(String, String)>) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let program = std::env::current_exe().and_then(std::fs::read);
    let program = program.map_or_else(|_| "unknown".into(), |bytes| sha256(&bytes));
    let arithmetic = device::backend(device)?.arithmetic_name();
    let mut facts = vec![
        ("version of igpt".to_string(), env!("CARGO_PKG_VERSION").to_string()),
        ("program (its SHA-256)".into(), program),
        ("instruction set (see IGPT_ISA)".into(), arithmetic),
    ];
    facts.extend(settings);
    ranks.expect_same(&facts)
}

/// Refuses ranks with another model or other images than rank 0.
///
/// # Errors
/// When ranks differ, or one is gone.
pub fn expect_same_model(ranks: &mut Collective, model: &ModelDir, images: &[&Images]) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let images: Vec<String> = images.iter().map(|images| described(images)).collect();
    ranks.expect_same(&[
        ("network".into(), format!("{:?}", model.config)),
        ("palette".into(), model.palette.hash()),
        ("model (the SHA-256 of its weights)".into(), sha256(bytemuck::cast_slice(&model.weights))),
        ("set of images".into(), images.join(", ")),
    ])
}

/// Refuses ranks with other tokens of the same images, for example because a file could not be read.
pub(crate) fn expect_same_tokens(ranks: &mut Collective, set: &TokenSet) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let mut hash = Sha256::new();
    set.names.iter().for_each(|name| hash.update(name));
    hash.update(bytemuck::cast_slice(&set.tokens));
    let facts = format!("{} images, {}", set.images(), hex(&hash.finalize()));
    ranks.expect_same(&[("set of images that could be decoded".into(), facts)])
}

/// Refuses ranks with other images or another palette.
pub(crate) fn expect_same_data(
    ranks: &mut Collective,
    dataset: &Dataset,
    fingerprint: &Fingerprint,
    train: &Images,
    palette: &Palette,
) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let name = &dataset.name;
    let Fingerprint { classes, train: trained, validation, test, tokens } = fingerprint;
    ranks.expect_same(&[
        ("palette".into(), palette.hash()),
        (format!("classes of {name}"), classes.join(", ")),
        (format!("token directory {name}"), tokens.clone().unwrap_or_default()),
        (format!("train split of {name}"), described(train)),
        (format!("validation split of {name}"), described(&dataset.validation)),
        (format!("list of names, labels and file lengths of {name}"), format!("{trained}, {validation}, {test}")),
    ])
}

/// Refuses ranks that start from other weights: drawn otherwise, or of another model of the same name.
pub(crate) fn expect_same_weights(ranks: &mut Collective, weights: &[f32]) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let hash = sha256(bytemuck::cast_slice(weights));
    ranks.expect_same(&[("start (the SHA-256 of its weights)".into(), hash)])
}

/// Describes images: their number, and a hash of all names and labels and of the pixels of some.
fn described(images: &Images) -> String {
    let mut hash = Sha256::new();
    for i in 0..images.len() {
        hash.update(images.name(i));
        hash.update(images.label(i).unwrap_or(u32::MAX).to_le_bytes());
    }
    let looked_at = images.spread(COMPARED_IMAGES);
    for pixels in (0..looked_at.len()).filter_map(|i| looked_at.pixels(i).ok()) {
        hash.update(&pixels.data);
    }
    format!("{} images, {}", images.len(), hex(&hash.finalize()))
}

/// Runs `each` on rank 0 first and then on the other ranks, for example for a download that these then find done.
///
/// # Errors
/// As `each`, and when a rank is gone.
pub fn leader_first<T>(ranks: &mut Collective, each: impl FnOnce() -> Result<T>) -> Result<T> {
    if !ranks.is_leader() {
        ranks.barrier()?;
    }
    let done = each()?;
    if ranks.is_leader() {
        ranks.barrier()?;
    }
    Ok(done)
}
