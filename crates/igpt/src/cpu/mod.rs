//! The hand-written CPU engine: forward, backward, decoding and the optimiser.
