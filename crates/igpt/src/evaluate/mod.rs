//! What a trained model is worth: likelihood and the baselines beside it.

pub mod parity;
