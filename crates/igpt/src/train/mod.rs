//! Pretraining: schedule, checkpoints, metrics, and the loop itself.
