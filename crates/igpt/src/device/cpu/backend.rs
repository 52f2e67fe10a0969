//! The CPU as a backend.

use igpt_kernels::{Isa, UnknownIsa, bf16};

use super::engine::CpuEngine;
use super::memory;
use super::setup::{Setup, tokens_at_once};
use super::training::TrainingEngine;
use crate::device::{
    Backend, Device, Diagnostic, Engine, EngineMemory, EngineOptions, Precision, TrainEngine, TrainOptions,
};
use crate::machine::{MachineLimits, expect_memory};
use crate::model::{ModelConfig, expect_weights};
use crate::{Error, Result};

/// Backend of the CPU, with one of its instruction sets.
#[derive(Clone, Debug)]
pub struct CpuBackend {
    isa: Isa,
    /// Error, if the instruction set that was asked for is not available.
    refused: Option<UnknownIsa>,
}

impl Default for CpuBackend {
    /// Returns the backend with the best instruction set, or the one that `IGPT_ISA` allows.
    fn default() -> Self {
        Self { isa: Isa::detect(), refused: Isa::requested().err() }
    }
}

impl CpuBackend {
    /// Returns the backend with the instruction set `isa`.
    pub fn with(isa: Isa) -> Self {
        Self { isa, refused: None }
    }
}

impl Backend for CpuBackend {
    fn devices(&self) -> Vec<Device> {
        vec![Device::Cpu]
    }

    fn open(&self, network: &ModelConfig, weights: &[f32], options: &EngineOptions) -> Result<Box<dyn Engine>> {
        self.expect_known()?;
        network.validate()?;
        expect_weights(network, weights)?;
        let setup = Setup::forward(self.isa, options);
        // Memory for training is checked when the batch size is known.
        expect_memory(memory::memory(network, &setup).total(), || "the network with its activations".into())?;
        Ok(match options.precision {
            Precision::F32 => Box::new(CpuEngine::<f32>::new(network, weights, &setup)),
            Precision::Bf16 => Box::new(CpuEngine::<bf16>::new(network, weights, &setup)),
        })
    }

    fn open_training(
        &self,
        network: &ModelConfig,
        weights: &[f32],
        options: &TrainOptions,
    ) -> Result<Box<dyn TrainEngine>> {
        self.expect_known()?;
        network.validate()?;
        options.validate(network)?;
        expect_weights(network, weights)?;
        let setup = Setup::training(self.isa, options);
        Ok(match options.engine.precision {
            Precision::F32 => Box::new(TrainingEngine::<f32>::new(network, weights, &setup, options)),
            Precision::Bf16 => Box::new(TrainingEngine::<bf16>::new(network, weights, &setup, options)),
        })
    }

    fn precisions(&self) -> &'static [Precision] {
        // bf16 is faster only on processors with instructions for it.
        if self.isa.multiplies_bf16() { &[Precision::Bf16, Precision::F32] } else { &[Precision::F32, Precision::Bf16] }
    }

    fn tokens_at_once(&self, threads: usize) -> usize {
        tokens_at_once(threads)
    }

    fn memory(&self, network: &ModelConfig, options: &EngineOptions) -> EngineMemory {
        memory::memory(network, &Setup::forward(self.isa, options))
    }

    fn train_memory(&self, network: &ModelConfig, options: &TrainOptions) -> EngineMemory {
        memory::memory(network, &Setup::training(self.isa, options))
    }

    fn decoder_memory(&self, network: &ModelConfig, options: &EngineOptions, rows: usize) -> u64 {
        memory::decoder_memory(network, &Setup::forward(self.isa, options), rows)
    }

    fn memory_left(&self) -> Option<u64> {
        MachineLimits::now().usable()
    }

    fn arithmetic_name(&self) -> String {
        self.isa.name().into()
    }

    fn diagnostics(&self) -> Vec<Diagnostic> {
        vec![self.instruction_set(), self.format()]
    }
}

impl CpuBackend {
    fn expect_known(&self) -> Result<()> {
        self.refused.as_ref().map_or(Ok(()), |refused| Err(Error::Invalid(refused.to_string())))
    }

    fn instruction_set(&self) -> Diagnostic {
        let isa = self.isa.name();
        let advice = match (isa, std::env::var("IGPT_ISA")) {
            (isa, Ok(asked)) if asked == isa => {
                format!("IGPT_ISA={asked} holds igpt to this: unset it for the best there is")
            }
            (_, Ok(asked)) => format!("IGPT_ISA={asked} asks for what this machine hasn't"),
            ("amx", _) => "the quickest that igpt has".into(),
            ("avx512", _) => "the quickest that igpt has without matrix instructions (AMX)".into(),
            ("avx2", _) => {
                "a processor with AVX-512 and bf16 (Zen 4 or newer) or AMX (Sapphire Rapids or newer) trains several \
                 times as fast"
                    .into()
            }
            _ => "a processor with AVX2 or AVX-512 trains many times as fast".into(),
        };
        Diagnostic { name: "instruction set", found: isa.into(), advice }
    }

    fn format(&self) -> Diagnostic {
        let (found, advice) = match self.precisions()[0] {
            Precision::Bf16 => (
                "bf16",
                "what pretrain, finetune and demo compute in; --precision f32 is slower and a little more exact",
            ),
            Precision::F32 => {
                ("f32", "what pretrain, finetune and demo compute in: this processor has no instructions for bf16")
            }
        };
        Diagnostic { name: "precision", found: found.into(), advice: advice.into() }
    }
}
