//! Tolerances of the conformance suite.

/// Tolerances of the claims that have one; the default is what the CPU backend needs.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Tolerances against PyTorch in f32.
    pub parity_f32: ParityBudget,
    /// Tolerances against PyTorch in bf16.
    pub parity_bf16: ParityBudget,
    /// Tolerances of three steps of Muon against PyTorch's in f32.
    ///
    /// They are relative errors of a tensor, of the update of a hidden matrix, of the update of another tensor, and
    /// of the loss.
    pub muon_f32: [f64; 4],
    /// Tolerances of three steps of Muon against PyTorch's in bf16.
    pub muon_bf16: [f64; 4],
    /// Relative error of the slope of the loss in f32 against its central difference.
    pub slope: f64,
    /// Relative error of a decoder's logits against those of the whole forward pass, in f32, in bf16 and with 8 bits.
    pub decoding: [f64; 3],
    /// Relative error of sums and means in f32, against those of the engine's single values.
    pub sums: f64,
    /// Relative error of a step of the EMA towards the weights.
    pub ema: f64,
}

/// Tolerances against PyTorch, as relative errors.
#[derive(Clone, Copy, Debug)]
pub struct ParityBudget {
    /// Relative error of a loss.
    pub loss: f64,
    /// Relative error of any other result, whatever the network's depth.
    pub result: f64,
    /// Additional relative error of such a result, per root of the number of blocks + 1.
    pub result_of_depth: f64,
    /// Relative error of a tensor's update in three steps of Adam.
    ///
    /// Adam divides by the gradient's own size, so entries with a gradient near rounding noise may move anywhere.
    pub way: f64,
}

impl ParityBudget {
    /// Returns the tolerance of a result other than a loss or an update, in a network of `n_layer` blocks.
    pub fn result(&self, n_layer: usize) -> f64 {
        self.result + self.result_of_depth * ((n_layer + 1) as f64).sqrt()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            parity_f32: ParityBudget { loss: 1e-4, result: 1e-4, result_of_depth: 0.0, way: 1e-3 },
            // A bf16 has 8 significant bits: rounding to nearest is off by 2^-9 at most, 2^-9/√3 in the mean square.
            // A block rounds a value about eight times (weights, norm, qkv, attention, its product; norm, middle,
            // product), forward and again backward. Independent errors add as the root of their number. Adam's
            // sign-like first steps turn a small error of a small gradient into a step in the other direction.
            parity_bf16: ParityBudget { loss: 1e-2, result: 0.0, result_of_depth: 4.0 / 512.0, way: 0.5 },
            // Newton–Schulz raises tiny singular values, and with them the gradient's rounding, up to 485 times.
            // Adam's part is the worst, as in the goldens of Adam alone.
            muon_f32: [1e-5, 1e-4, 1e-3, 1e-5],
            muon_bf16: [1e-2, 0.1, 0.5, 5e-3],
            slope: 2e-2,
            decoding: [1e-5, 2e-2, 5e-2],
            sums: 0.0,
            ema: 1e-6,
        }
    }
}
