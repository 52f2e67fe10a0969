//! Initial weights of a new network.

use serde::{Deserialize, Serialize};

/// Method that draws the weights of a new network; the network itself is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Initialization {
    /// Initial weights of the official code.
    #[default]
    Paper,
    /// Initial weights of the official code, but with position embeddings that are sinusoids of row and column.
    ///
    /// See [`ParamLayout::init_grid`](crate::model::ParamLayout::init_grid).
    Grid,
}

/// Initial values of one tensor (official code, src/model.py).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TensorInit {
    /// All ones (norm gains).
    Ones,
    /// All zeros (biases, output matrix).
    Zeros,
    /// Normally distributed values with this standard deviation.
    Normal(f64),
}
