//! Palette of the watched run.

use igpt::palette::Palette;
use igpt::train::RunDir;

use super::inside;

/// Palette of the run, if it exists yet.
pub(super) fn palette(run: &RunDir) -> Option<Palette> {
    let path = run.palette();
    // The size limit applies to this file, too.
    inside::is_small(run.root(), &path).then(|| Palette::open(path).ok())?
}

/// Colours of the palette as `#rrggbb`.
pub(super) fn colors(run: &RunDir) -> Vec<String> {
    let Some(palette) = palette(run) else { return Vec::new() };
    let color = |token: usize| {
        let [r, g, b] = palette.bytes(token as u16);
        format!("#{r:02x}{g:02x}{b:02x}")
    };
    (0..palette.n_vocab()).map(color).collect()
}
