//! How the weights of a new network start.

use serde::{Deserialize, Serialize};

/// How the weights of a new network are drawn. The network itself is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Initialization {
    /// As in the official code.
    #[default]
    Paper,
    /// The same, but position embeddings start as waves along rows and columns; see [`ParamLayout::init_grid`](crate::model::ParamLayout::init_grid).
    Grid,
}

/// How a tensor starts (official code, src/model.py).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TensorInit {
    /// All ones (norm gains).
    Ones,
    /// All zeros (biases, output matrix).
    Zeros,
    /// Normal with this standard deviation.
    Normal(f64),
}
