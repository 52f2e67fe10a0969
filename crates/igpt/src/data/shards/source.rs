//! Token directories as data sets.

use std::path::Path;
use std::sync::Arc;

use super::dir::TokenDir;
use crate::data::{Dataset, Source};
use crate::image::Pixels;
use crate::{Error, Result};

/// Opens a token directory as a data set.
///
/// # Errors
/// Same as [`TokenDir::open`].
pub(in crate::data) fn open(root: &Path) -> Result<Dataset> {
    let tokens = TokenDir::open(root)?;
    let (classes, parts) = (tokens.manifest().classes.clone(), tokens.manifest().images.lengths());
    Ok(Dataset::in_order(root.display().to_string(), classes, Arc::new(tokens), parts))
}

impl Source for TokenDir {
    fn len(&self) -> usize {
        self.manifest.images.lengths().iter().sum()
    }

    fn channels(&self) -> usize {
        self.palette().channels()
    }

    fn pixels(&self, i: usize) -> Result<Pixels> {
        let size = self.manifest.n_px();
        let mut tokens = vec![0; size.pixels()];
        if let Some(damaged) = self.evaluation(i, &mut tokens)? {
            return Err(Error::format(damaged.name, damaged.problem));
        }
        let channels = self.channels();
        let color = |&token: &u16| self.colors[usize::from(token)].into_iter().take(channels);
        Ok(Pixels::new(size, channels, tokens.iter().flat_map(color).collect()))
    }

    fn label(&self, i: usize) -> Option<u32> {
        let (shard, row) = self.at(i);
        shard.label(row)
    }

    fn name(&self, i: usize) -> String {
        let (shard, row) = self.at(i);
        shard.name(row)
    }

    fn in_memory(&self) -> bool {
        false
    }

    fn tokens(&self) -> Option<&TokenDir> {
        Some(self)
    }
}
