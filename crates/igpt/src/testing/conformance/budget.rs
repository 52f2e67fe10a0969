//! How far a backend may be off.

/// Tolerances of the claims that have one. The default is what the processor needs.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Against PyTorch in f32.
    pub parity_f32: ParityBudget,
    /// Against PyTorch in bf16.
    pub parity_bf16: ParityBudget,
    /// Three steps of Muon against PyTorch's in f32: relative errors of a tensor, of the way that a hidden matrix went, of
    /// that of another tensor, of the loss.
    pub muon_f32: [f64; 4],
    /// The same in bf16.
    pub muon_bf16: [f64; 4],
    /// Relative error of the slope of the loss in f32 against its central difference.
    pub slope: f64,
    /// Relative error of a decoder's logits against those of the whole forward pass, in f32, in bf16 and with 8 bits.
    pub decoding: [f64; 3],
    /// Relative error of sums and means, in f32, of values that the engine gives singly.
    pub sums: f64,
    /// Relative error of a step of the average towards the weights.
    pub ema: f64,
}

/// Largest relative errors against PyTorch.
#[derive(Clone, Copy, Debug)]
pub struct ParityBudget {
    /// Of a loss.
    pub loss: f64,
    /// Of any other result, whatever the network's depth.
    pub result: f64,
    /// What is added to that, times the root of the number of blocks + 1.
    pub result_of_depth: f64,
    /// Of the way that a tensor goes in three steps of Adam. Adam divides by the gradient's own size, so entries whose
    /// gradient is near rounding noise may move anywhere.
    pub way: f64,
}

impl ParityBudget {
    /// Of a result other than loss or way, of a network of `n_layer` blocks.
    pub fn result(&self, n_layer: usize) -> f64 {
        self.result + self.result_of_depth * ((n_layer + 1) as f64).sqrt()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            parity_f32: ParityBudget { loss: 1e-4, result: 1e-4, result_of_depth: 0.0, way: 1e-3 },
            // A bf16 has 8 significant bits: rounding to nearest is off by 2^-9 at most, 2^-9/√3 in the mean square. A
            // block rounds about eight times on the way of a value (weights, norm, qkv, attention, its product; norm,
            // middle, product), forward and again backward; independent errors add as the root of their number. The
            // sign-like first steps of Adam turn a small error of a small gradient into a step the other way.
            parity_bf16: ParityBudget { loss: 1e-2, result: 0.0, result_of_depth: 4.0 / 512.0, way: 0.5 },
            // Newton–Schulz raises tiny singular values, and with them the gradient's rounding, up to 485 times; Adam's
            // part is the worst, as in the goldens of Adam alone.
            muon_f32: [1e-5, 1e-4, 1e-3, 1e-5],
            muon_bf16: [1e-2, 0.1, 0.5, 5e-3],
            slope: 2e-2,
            decoding: [1e-5, 2e-2, 5e-2],
            sums: 0.0,
            ema: 1e-6,
        }
    }
}
