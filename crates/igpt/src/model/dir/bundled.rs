//! The bundled model: a model directory embedded in the program.

use std::path::Path;

use half::bf16;
use serde_json::Value;

use super::ModelDir;
use super::model_dir::fit_settings;
use crate::model::ParamLayout;
use crate::{Error, Result};

impl ModelDir {
    /// Returns the model that comes with igpt: emoji at 16×16, trained by `configs/emoji.toml`.
    ///
    /// # Errors
    /// Only when the build itself was damaged.
    pub fn bundled() -> Result<Self> {
        from_memory(
            include_bytes!("../../../assets/emoji-model/config.json"),
            include_bytes!("../../../assets/emoji-model/preprocessor_config.json"),
            include_bytes!("../../../assets/emoji-model/model.safetensors"),
        )
    }
}

/// Reads a model from the bytes of `config.json`, `preprocessor_config.json` and a `model.safetensors` in bf16, as
/// [`ModelDir::save`] writes them.
fn from_memory(config: &[u8], processor: &[u8], weights: &[u8]) -> Result<ModelDir> {
    let name = Path::new("the bundled model");
    let damaged = |problem: String| Error::format(name, problem);
    let json = |bytes| serde_json::from_slice::<Value>(bytes).map_err(|e| damaged(e.to_string()));
    let (config, palette, extra) = fit_settings((json(config)?, name), (json(processor)?, name))?;
    let layout = ParamLayout::new(&config);
    let file = safetensors::SafeTensors::deserialize(weights).map_err(|e| damaged(e.to_string()))?;
    let mut arena = vec![0.0; layout.parameters()];
    for tensor in layout.tensors() {
        let stored = file.tensor(&tensor.name).map_err(|e| damaged(e.to_string()))?;
        if stored.dtype() != safetensors::Dtype::BF16 {
            return Err(damaged(format!("{} is not in bf16", tensor.name)));
        }
        let values: Vec<f32> =
            stored.data().chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
        layout.import(tensor, &values, &mut arena)?;
    }
    Ok(ModelDir { config, palette, weights: arena, extra })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;
    use crate::model::{ModelCard, ModelConfig, SaveType};
    use crate::palette::Palette;

    #[test]
    fn the_bundled_model_is_whole_and_small() {
        let model = ModelDir::bundled().unwrap();
        assert_eq!(model.config.n_px, ImageSize::square(16));
        assert!(model.config.parameters() * 2 < 3 << 20);
    }

    #[test]
    fn a_saved_model_reads_the_same_from_memory_as_from_disk() {
        let config = ModelConfig::new(ImageSize { height: 8, width: 9 }, 5, 24, 2, 3);
        let layout = ParamLayout::new(&config);
        let mut weights = vec![0.0; layout.parameters()];
        layout.init(3, &mut weights);
        let palette = Palette::new((0..5).map(|i| [i as f32 / 8.0; 3]).collect(), 3).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("model");
        let saved = ModelDir { config, palette, weights, extra: Default::default() };
        saved.save(&dir, &ModelCard::default(), SaveType::Bf16).unwrap();
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        let (config, processor, weights) =
            (read("config.json"), read("preprocessor_config.json"), read("model.safetensors"));
        let memory = from_memory(&config, &processor, &weights).unwrap();
        let disk = ModelDir::open(&dir).unwrap();
        assert_eq!(memory.config, disk.config);
        assert_eq!(memory.palette.hash(), disk.palette.hash());
        assert_eq!(memory.weights, disk.weights);
        let cut = from_memory(&config, &processor, &weights[..weights.len() - 1]).unwrap_err().to_string();
        assert!(cut.contains("the bundled model"), "{cut}");
    }
}
