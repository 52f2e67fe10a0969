//! Palettes in files and directories.

use std::path::Path;

use super::{ColorScale, Palette};
use crate::files::write;
use crate::image::ImageSize;
use crate::{Error, Result};

/// Largest palette file: 65536 colours take about 10 MB of JSON, which takes up to 30 times that in memory.
const LARGEST: u64 = 32 << 20;
/// Name of the file in which transformers keeps the palette.
const PREPROCESSOR: &str = "preprocessor_config.json";

impl Palette {
    /// Opens the palette in a `.npy` file, a `preprocessor_config.json`, a model directory or a run directory.
    ///
    /// A `.npy` file must be in the signed scale; [`Palette::from_npy`] reads others.
    ///
    /// # Errors
    /// When there is no palette, or the file is not a palette; the message names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            let places = [path.join(PREPROCESSOR), path.join("model").join(PREPROCESSOR)];
            let Some(file) = places.iter().find(|file| file.is_file()) else {
                return Err(Error::NotFound(format!(
                    "no palette in {}: neither it nor its folder model has a {PREPROCESSOR}; make one with igpt palette \
                     fit",
                    path.display()
                )));
            };
            return Self::open_json(file);
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            return Self::open_json(path);
        }
        Self::from_npy(path, ColorScale::Signed)
    }

    /// Writes the palette as a `preprocessor_config.json`; see [`Palette::to_preprocessor`].
    pub fn to_json(&self, path: impl AsRef<Path>, size: Option<ImageSize>) -> Result<()> {
        write(path.as_ref(), format!("{:#}\n", self.to_preprocessor(size)).as_bytes())
    }

    fn open_json(path: &Path) -> Result<Self> {
        let length = crate::files::open(path)?.metadata().map_err(Error::io(path))?.len();
        if length > LARGEST {
            return Err(Error::format(path, format!("{length} bytes, but a palette has at most {LARGEST}")));
        }
        let text = crate::files::read(path)?;
        if crate::formats::lfs::is_lfs_pointer(&text) {
            return Err(Error::format(
                path,
                "this is a Git LFS pointer, not the palette: run git lfs pull in its clone",
            ));
        }
        let processor = serde_json::from_slice(&text).map_err(|e| Error::format(path, format!("not JSON: {e}")))?;
        Self::from_preprocessor(&processor).map_err(|problem| Error::format(path, problem.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_finds_a_palette_in_files_model_directories_and_runs() {
        let folder = tempfile::tempdir().unwrap();
        let palette = Palette::new(vec![[-1.0, 0.1, 1.0], [0.2, 0.3, 0.4]], 3).unwrap();
        let (npy, run) = (folder.path().join("p.npy"), folder.path().join("run"));
        let model = run.join("model");
        palette.to_npy(&npy, ColorScale::Signed).unwrap();
        std::fs::create_dir_all(&model).unwrap();
        let missing = Palette::open(&run).unwrap_err().to_string();
        assert!(missing.contains("no palette in"), "{missing}");
        palette.to_json(model.join(PREPROCESSOR), None).unwrap();
        for path in [npy, model.join(PREPROCESSOR), model, run] {
            assert_eq!(Palette::open(&path).unwrap(), palette, "{}", path.display());
        }
    }

    #[test]
    fn open_names_the_file_at_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("palette.json");
        assert!(Palette::open(&path).unwrap_err().to_string().contains("palette.json"));
        std::fs::write(&path, "{").unwrap();
        let problem = Palette::open(&path).unwrap_err().to_string();
        assert!(problem.contains("palette.json") && problem.contains("not JSON"), "{problem}");
    }
}
