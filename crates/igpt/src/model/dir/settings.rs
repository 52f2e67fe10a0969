//! `config.json`: converts Hugging Face's settings of an ImageGPT model to a [`ModelConfig`] and back.
//!
//! A setting that changes the mathematics in a way igpt doesn't implement is refused by name. Ignoring it would
//! silently give wrong likelihoods. An unknown key is kept and written again.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::image::ImageSize;
use crate::model::{ClassHead, MASK_PROB as DEFAULT_MASK_PROB, ModelConfig, Objective};
use crate::{Error, Result};

/// Settings for which igpt implements a single value.
const FIXED: [(&str, &str); 9] = [
    ("model_type", "\"imagegpt\""),
    ("activation_function", "\"quick_gelu\""),
    ("scale_attn_weights", "true"),
    ("scale_attn_by_inverse_layer_idx", "false"),
    ("reorder_and_upcast_attn", "false"),
    ("tie_word_embeddings", "false"),
    ("add_cross_attention", "false"),
    ("is_encoder_decoder", "false"),
    ("quantization_config", "null"),
];

/// Sizes: key, alias, and transformers' default.
const SIZES: [(&str, &str, usize); 5] = [
    ("vocab_size", "vocab_size", 513),
    ("n_positions", "max_position_embeddings", 1024),
    ("n_embd", "hidden_size", 512),
    ("n_layer", "num_hidden_layers", 24),
    ("n_head", "num_attention_heads", 8),
];

/// Keys that igpt writes itself, so the values in the file are dropped.
const OWN: [&str; 8] = [
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
    "n_inner",
];

/// transformers' architecture name of a model with a classifier.
const CLASSIFIER: &str = "ImageGPTForImageClassification";
/// igpt's own keys: the objective, the mask probability of a masked model, and the layer of a classifier that does
/// not read the last one.
const OBJECTIVE: &str = "igpt_objective";
const MASK_PROB: &str = "igpt_mask_prob";
const CLASS_LAYER: &str = "igpt_class_layer";

/// Keys of transformers that have no effect here; kept without a warning.
const NEUTRAL: [&str; 20] = [
    "initializer_range",
    "use_cache",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "is_decoder",
    "id2label",
    "label2id",
    "problem_type",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "chunk_size_feed_forward",
    "_name_or_path",
    "_commit_hash",
    "gradient_checkpointing",
    "n_ctx",
    "task_specific_params",
    "pruned_heads",
    "_attn_implementation_autoset",
];

/// Largest accepted size. No existing model comes near, and products of two of these fit in 64 bits.
const LARGEST: usize = 1 << 24;

/// Settings of `config.json`, before the image's sides and the biases are known.
pub(super) struct Settings {
    /// Configuration in which `n_px` is a placeholder of 1 × `n_positions` and `biases` is false.
    pub(super) config: ModelConfig,
    /// Keys that igpt neither uses nor writes itself.
    pub(super) extra: Map<String, Value>,
}

/// Reads the object in `config.json`. `path` is for error messages.
pub(super) fn parse(mut map: Map<String, Value>, path: &Path) -> Result<Settings> {
    let mut problems = Vec::new();
    for (key, only) in FIXED {
        if let Some(value) = map.shift_remove(key) {
            let value = value.to_string();
            if value != only {
                problems.push(format!("{key} is {value}, but igpt implements {only} only"));
            }
        }
    }
    let mut size = |map: &mut Map<String, Value>, key: &str, alias: &str, default: usize| {
        let value = map.shift_remove(key).or_else(|| map.shift_remove(alias)).unwrap_or_else(|| json!(default));
        match value.as_u64().and_then(|v| usize::try_from(v).ok()) {
            Some(v) if (1..=LARGEST).contains(&v) => v,
            _ => {
                problems.push(format!("{key} is {value}, expected a whole number from 1 to {LARGEST}"));
                1
            }
        }
    };
    let [vocab_size, n_positions, n_embd, n_layer, n_head] =
        SIZES.map(|(key, alias, default)| size(&mut map, key, alias, default));
    let n_inner = match map.shift_remove("n_inner") {
        None | Some(Value::Null) => 4 * n_embd,
        Some(value) => {
            map.insert("n_inner".into(), value);
            size(&mut map, "n_inner", "n_inner", 1)
        }
    };
    let epsilon = map.shift_remove("layer_norm_epsilon").unwrap_or_else(|| json!(1e-5));
    let layer_norm_epsilon = match epsilon.as_f64() {
        Some(v) if v > 0.0 && v < 1.0 => v as f32,
        _ => {
            problems.push(format!("layer_norm_epsilon is {epsilon}, expected a small positive number"));
            1e-5
        }
    };
    if vocab_size < 3 {
        problems.push(format!("vocab_size is {vocab_size}, expected at least 2 colours and sos"));
    }
    let objective = match map.shift_remove(OBJECTIVE) {
        None => Objective::default(),
        Some(value) => serde_json::from_value(value.clone()).unwrap_or_else(|_| {
            problems.push(format!("{OBJECTIVE} is {value}, but igpt knows \"autoregressive\" and \"masked\""));
            Objective::default()
        }),
    };
    let mask_prob = map.shift_remove(MASK_PROB).unwrap_or_else(|| json!(DEFAULT_MASK_PROB));
    let mask_prob = mask_prob.as_f64().filter(|share| *share > 0.0 && *share < 1.0).unwrap_or_else(|| {
        problems.push(format!("{MASK_PROB} is {mask_prob}, expected a number above 0 and below 1"));
        DEFAULT_MASK_PROB
    });
    let class_layer = map.shift_remove(CLASS_LAYER).unwrap_or_else(|| json!(n_layer));
    let layer = class_layer.as_u64().and_then(|layer| usize::try_from(layer).ok()).unwrap_or_else(|| {
        problems.push(format!("{CLASS_LAYER} is {class_layer}, expected a whole number"));
        n_layer
    });
    let architectures = map.get("architectures").and_then(Value::as_array);
    let classifies = architectures.is_some_and(|names| names.iter().any(|name| name == CLASSIFIER));
    // transformers omits its default of two labels.
    let num_labels = map.get("id2label").and_then(Value::as_object).map_or(2, Map::len);
    let class_head = classifies.then_some(ClassHead { num_labels, layer });
    if !problems.is_empty() {
        return Err(Error::format(path, problems.join("; ")));
    }
    for key in OWN {
        map.shift_remove(key);
    }
    for key in map.keys().filter(|k| !NEUTRAL.contains(&k.as_str())) {
        tracing::warn!("{}: unknown setting {key} is kept, but has no effect", path.display());
    }
    let n_px = ImageSize { height: 1, width: n_positions };
    let config = ModelConfig {
        n_inner,
        layer_norm_epsilon,
        objective,
        mask_prob,
        class_head,
        ..ModelConfig::new(n_px, vocab_size - 1, n_embd, n_layer, n_head)
    };
    Ok(Settings { config, extra: map })
}

/// Returns the object in `config.json` for a model; `dtype` is torch's name of the weights' type.
pub(super) fn to_json(config: &ModelConfig, extra: &Map<String, Value>, dtype: &str) -> Value {
    let n_inner = (config.n_inner != 4 * config.n_embd).then_some(config.n_inner);
    // The decimal digits of the f32, not of its f64 neighbour: 1e-5, as the official code writes it.
    let epsilon: f64 = config.layer_norm_epsilon.to_string().parse().unwrap_or(1e-5);
    let mut map = json!({
        "architectures": [if config.class_head.is_some() { CLASSIFIER } else { "ImageGPTForCausalImageModeling" }],
        "model_type": "imagegpt",
        "vocab_size": config.n_vocab + 1,
        "n_positions": config.n_ctx(),
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": n_inner,
        "activation_function": "quick_gelu",
        "layer_norm_epsilon": epsilon,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "scale_attn_weights": true,
        "scale_attn_by_inverse_layer_idx": false,
        "reorder_and_upcast_attn": false,
        "add_cross_attention": false,
        "tie_word_embeddings": false,
        "initializer_range": 0.02,
        "use_cache": true,
        "dtype": dtype,
    });
    if config.objective != Objective::default() {
        map[OBJECTIVE] = json!(config.objective);
    }
    if config.objective == Objective::Masked {
        map[MASK_PROB] = json!(config.mask_prob);
    }
    if let Some(head) = config.class_head.filter(|head| head.layer != config.n_layer) {
        map[CLASS_LAYER] = json!(head.layer);
    }
    if let Some(head) = config.class_head {
        // Default names of the classes; names in `extra` replace them.
        let name = |id: usize| (id.to_string(), json!(format!("LABEL_{id}")));
        map["id2label"] = Value::Object((0..head.num_labels).map(name).collect());
    }
    for (key, value) in extra {
        map[key.as_str()] = value.clone();
    }
    map
}
