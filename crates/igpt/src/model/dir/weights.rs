//! Weight files of a model directory: finding them, reading their tensors, and writing `model.safetensors`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use half::bf16;
use serde_json::Value;

use super::json::read_json;
use crate::formats::{safetensors as header, stored::Stored, torch_bin};
use crate::model::{ModelConfig, ParamLayout, ParamTensor};
use crate::{Error, Result};

/// Key of the palette's content hash in the safetensors metadata.
pub(super) const PALETTE_KEY: &str = "igpt_palette";
/// Output matrix of the generative model; transformers saves classifiers without it.
pub(super) const GENERATIVE_HEAD: &str = "lm_head.weight";

/// Number format of saved weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SaveType {
    /// float32: exact.
    F32,
    /// bfloat16: half the size, rounded to nearest.
    Bf16,
}

impl SaveType {
    /// torch's name of the format in `config.json`.
    pub(super) fn torch(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// Catalogue of all tensors in a directory's weight files.
pub(super) struct Catalogue {
    /// File that lists the tensors: the weights or an index of shards.
    path: PathBuf,
    tensors: HashMap<String, Stored>,
    /// Hash of the palette, if igpt wrote the file.
    pub(super) palette_hash: Option<String>,
}

impl Catalogue {
    /// Reads the headers of the weight files in `dir`. safetensors files come before torch's, and whole files before
    /// shards.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let names =
            ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
        let Some(name) = names.iter().find(|name| dir.join(name).exists()) else {
            return Err(Error::NotFound(format!(
                "no weights in {}: expected model.safetensors or pytorch_model.bin, whole or with an index of shards",
                dir.display()
            )));
        };
        let path = dir.join(name);
        let mut catalogue = Self { path: path.clone(), tensors: HashMap::new(), palette_hash: None };
        if name.ends_with(".index.json") {
            let index = read_json(&path)?;
            let Some(Value::Object(map)) = index.get("weight_map") else {
                return Err(Error::format(&path, "no weight_map: not an index of shards"));
            };
            let mut shards = BTreeSet::new();
            for (tensor, shard) in map {
                let plain = |s: &&str| !s.is_empty() && !s.contains(['/', '\\', ':']) && *s != "." && *s != "..";
                let shard = shard.as_str().filter(plain).ok_or_else(|| {
                    Error::format(&path, format!("tensor {tensor}: {shard} is not the name of a file beside the index"))
                })?;
                shards.insert(shard);
            }
            for shard in shards {
                catalogue.add(&dir.join(shard))?;
            }
            if let Some(tensor) = map.keys().find(|t| !catalogue.tensors.contains_key(*t)) {
                return Err(Error::format(&path, format!("tensor {tensor} is not in the shard that the index names")));
            }
        } else {
            catalogue.add(&path)?;
        }
        // Older transformers saved the causal mask with the weights.
        let mask = |name: &str| name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
        catalogue.tensors.retain(|name, _| !mask(name));
        Ok(catalogue)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let tensors = if path.extension().is_some_and(|e| e == "safetensors") {
            let mut file = header::read_header(path)?;
            self.palette_hash = file.metadata.remove(PALETTE_KEY).or(self.palette_hash.take());
            file.tensors
        } else {
            torch_bin::read_index(path)?
        };
        for tensor in tensors {
            let name = tensor.name.clone();
            if self.tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::format(path, format!("tensor {name} is there twice")));
            }
        }
        Ok(())
    }

    /// Checks names and shapes against `config`'s network, reads all weights, and sets `config.biases`. Only biases
    /// that are all zero can be left out. Returns the weights.
    pub(super) fn load(&self, config: &mut ModelConfig) -> Result<Vec<f32>> {
        // The number of tensors in the file bounds the layout, so that a damaged config can't exhaust memory.
        if config.n_layer > self.tensors.len() {
            return Err(self.mismatch(format!(
                "n_layer is {}, but there are {} tensors",
                config.n_layer,
                self.tensors.len()
            )));
        }
        config.biases = true;
        let full = ParamLayout::new(config);
        let is_bias = |tensor: &ParamTensor| tensor.name.ends_with(".bias");
        let without = !full.tensors().iter().any(|t| is_bias(t) && self.tensors.contains_key(&t.name));
        let headless = config.class_head.is_some() && !self.tensors.contains_key(GENERATIVE_HEAD);
        let left_out =
            |tensor: &ParamTensor| (without && is_bias(tensor)) || (headless && tensor.name == GENERATIVE_HEAD);
        let expected: Vec<&ParamTensor> = full.tensors().iter().filter(|tensor| !left_out(tensor)).collect();
        for tensor in &expected {
            let Some(stored) = self.tensors.get(&tensor.name) else {
                return Err(self.mismatch(format!("tensor {} is missing", tensor.name)));
            };
            if stored.shape != tensor.shape {
                let (name, have, want) = (&tensor.name, &stored.shape, &tensor.shape);
                return Err(
                    self.mismatch(format!("tensor {name} has shape {have:?}, but config.json asks for {want:?}"))
                );
            }
        }
        if self.tensors.len() > expected.len() {
            let known: BTreeSet<&str> = expected.iter().map(|t| t.name.as_str()).collect();
            let extra: BTreeSet<&str> =
                self.tensors.keys().map(String::as_str).filter(|n| !known.contains(n)).collect();
            let first = extra.first().copied().unwrap_or_default();
            let count = extra.len();
            return Err(
                self.mismatch(format!("tensor {first} ({count} such) is not a part of the model in config.json"))
            );
        }
        config.biases = false;
        if !without {
            for tensor in full.tensors().iter().filter(|t| is_bias(t)) {
                if self.read(tensor)?.iter().any(|v| *v != 0.0) {
                    config.biases = true;
                    break;
                }
            }
        }
        let layout = ParamLayout::new(config);
        let mut arena = vec![0.0; layout.parameters()];
        for tensor in layout.tensors().iter().filter(|tensor| !left_out(tensor)) {
            layout.import(tensor, &self.read(tensor)?, &mut arena)?;
        }
        Ok(arena)
    }

    fn read(&self, tensor: &ParamTensor) -> Result<Vec<f32>> {
        match self.tensors.get(&tensor.name) {
            Some(stored) => stored.read(),
            None => Err(self.mismatch(format!("tensor {} is missing", tensor.name))),
        }
    }

    fn mismatch(&self, problem: String) -> Error {
        Error::format(&self.path, problem)
    }
}

/// One tensor on its way into a file. It is converted when it is written, so that only one is held at a time.
struct Outgoing<'a> {
    tensor: &'a ParamTensor,
    /// Weights of the whole model; `None` for zeros.
    arena: Option<&'a [f32]>,
    dtype: SaveType,
}

impl safetensors::View for Outgoing<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        match self.dtype {
            SaveType::F32 => safetensors::Dtype::F32,
            SaveType::Bf16 => safetensors::Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = match self.arena {
            Some(arena) => arena[self.tensor.range()].to_vec(),
            None => vec![0.0; self.tensor.len()],
        };
        Cow::Owned(match self.dtype {
            SaveType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            SaveType::Bf16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.tensor.len() * if self.dtype == SaveType::F32 { 4 } else { 2 }
    }
}

/// Writes `arena` as safetensors. A model without biases gets zero ones, because transformers' layers always have
/// biases.
pub(super) fn write(
    path: &Path,
    config: &ModelConfig,
    arena: &[f32],
    palette_hash: &str,
    dtype: SaveType,
) -> Result<()> {
    let layout = ParamLayout::new(config);
    let full = ParamLayout::new(&ModelConfig { biases: true, ..config.clone() });
    let tensors = full.tensors().iter().map(|with_bias| {
        let outgoing = match layout.tensor(&with_bias.name) {
            Some(tensor) => Outgoing { tensor, arena: Some(arena), dtype },
            None => Outgoing { tensor: with_bias, arena: None, dtype },
        };
        (with_bias.name.clone(), outgoing)
    });
    // transformers refuses a file without "format".
    header::write(path, &[("format", "pt"), (PALETTE_KEY, palette_hash)], &tensors.collect::<Vec<_>>())
}
