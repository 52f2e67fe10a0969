//! Registry of the program's backends, and functions that open models on their devices.

use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::device::backend::Backend;
use crate::device::engine::Engine;
use crate::device::name::Device;
use crate::device::options::{EngineOptions, TrainOptions};
use crate::device::train_engine::TrainEngine;
use crate::model::{Initialization, ModelConfig, initial_weights};
use crate::{Error, Result};

static BACKENDS: LazyLock<RwLock<Vec<Arc<dyn Backend>>>> =
    LazyLock::new(|| RwLock::new(vec![Arc::new(crate::device::cpu::CpuBackend::default())]));

/// Adds a backend; [`Device::Auto`] prefers it to the backends added before.
pub fn register(backend: impl Backend + 'static) {
    BACKENDS.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(backend));
}

/// Returns all backends, those added later first.
pub fn backends() -> Vec<Arc<dyn Backend>> {
    BACKENDS.read().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

/// Returns the backend of a device.
///
/// # Errors
/// When this machine has no such device; the message lists those that it has.
pub fn backend(device: Device) -> Result<Arc<dyn Backend>> {
    let all = backends();
    let has = |backend: &&Arc<dyn Backend>| {
        let devices = backend.devices();
        if device == Device::Auto { !devices.is_empty() } else { devices.contains(&device) }
    };
    match all.iter().find(has) {
        Some(backend) => Ok(backend.clone()),
        None => {
            let devices = all.iter().flat_map(|backend| backend.devices());
            let devices: Vec<String> = devices.map(|device| device.to_string()).collect();
            Err(Error::Missing(format!("no device {device} here: there is {}", devices.join(", "))))
        }
    }
}

/// Returns the device that `device` means on this machine: itself, or the one chosen for [`Device::Auto`].
///
/// # Errors
/// As [`backend`].
pub fn resolve(device: Device) -> Result<Device> {
    let devices = backend(device)?.devices();
    Ok(if device == Device::Auto { devices[0] } else { device })
}

/// Opens a network for inference on the device of `options`; see [`Backend::open`].
///
/// # Errors
/// As [`backend`] and [`Backend::open`].
pub fn open(network: &ModelConfig, weights: &[f32], options: &EngineOptions) -> Result<Box<dyn Engine>> {
    backend(options.device)?.open(network, weights, options)
}

/// Opens a network for training on the device of `options`; see [`Backend::open_training`].
///
/// # Errors
/// As [`backend`] and [`Backend::open_training`].
pub fn open_training(network: &ModelConfig, weights: &[f32], options: &TrainOptions) -> Result<Box<dyn TrainEngine>> {
    backend(options.engine.device)?.open_training(network, weights, options)
}

/// Opens an untrained network for inference, with the official code's initial values drawn from `seed`.
///
/// # Errors
/// As [`open`].
pub fn init(network: &ModelConfig, seed: u64, options: &EngineOptions) -> Result<Box<dyn Engine>> {
    network.validate()?;
    open(network, &initial_weights(network, Initialization::Paper, seed), options)
}

/// Opens an untrained network for training, with the official code's initial values drawn from `seed`.
///
/// # Errors
/// As [`open_training`].
pub fn init_training(network: &ModelConfig, seed: u64, options: &TrainOptions) -> Result<Box<dyn TrainEngine>> {
    network.validate()?;
    open_training(network, &initial_weights(network, Initialization::Paper, seed), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_there_and_a_device_that_is_not_is_refused_with_those_that_are() {
        assert_eq!(resolve(Device::Cpu).unwrap(), Device::Cpu);
        assert_ne!(resolve(Device::Auto).unwrap(), Device::Auto);
        let message = backend(Device::Cuda(7)).err().unwrap().to_string();
        assert!(message.contains("cuda:7") && message.contains("there is") && message.contains("cpu"), "{message}");
    }
}
