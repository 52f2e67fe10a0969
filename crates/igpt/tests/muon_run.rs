//! Whole runs with Muon: what their checkpoints hold, and that they go on to the bit.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use igpt::device::{self, Optimizer, Precision, TrainOptions};
use igpt::image::ImageSize;
use igpt::model::ModelConfig;
use igpt::ranks::Collective;
use igpt::train::Checkpoint;
use igpt::train::{Context, Event, Overrides, RunConfig, Start, pretrain};
use safetensors::SafeTensors;

fn config(edit: &[&str]) -> RunConfig {
    let settings = [
        "train.recipe=modern",
        "train.steps=6",
        "train.batch=4",
        "train.checkpoint_every=3",
        "train.eval_images=4",
        "train.sample_images=0",
        "model.n_embd=24",
        "model.n_layer=2",
        "model.n_head=3",
        "model.n_px=8",
        "palette.colors=8",
    ];
    let mut layers = Overrides::default();
    settings.iter().chain(edit).for_each(|setting| layers.assign(setting).unwrap());
    layers.finish().unwrap()
}

/// Trains until `stop_after` steps.
fn train(config: &RunConfig, out: &Path, start: Start, stop_after: u64) {
    let stop = AtomicBool::new(false);
    let mut observer = |event: Event<'_>| match event {
        Event::Step(report) if report.step >= stop_after => stop.store(true, Ordering::Relaxed),
        _ => {}
    };
    let ranks = &mut Collective::solo();
    pretrain(config, out, start, &mut Context { ranks, observer: &mut observer, stop: &stop }).unwrap();
}

fn state(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("checkpoints/step-00000006/state.safetensors")).unwrap()
}

#[test]
fn a_run_with_muon_goes_on_to_the_same_bits_and_its_checkpoint_has_one_moment_of_hidden_matrices() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    train(&config(&[]), &whole, Start::New, u64::MAX);
    train(&config(&["train.threads=3", "train.micro_batch=1"]), &parts, Start::New, 2);
    train(&config(&[]), &parts, Start::Resume, u64::MAX);
    assert!(state(&whole) == state(&parts));
    let bytes = state(&whole);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let names = tensors.names();
    let has = |name: &str| names.contains(&name);
    assert!(has("moment1.transformer.h.1.mlp.c_fc.weight") && !has("moment2.transformer.h.1.mlp.c_fc.weight"));
    assert!(has("moment2.lm_head.weight") && has("moment2.transformer.h.0.ln_1.weight"));
}

#[test]
fn a_checkpoint_of_one_optimizer_is_refused_by_an_engine_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let network = ModelConfig::new(ImageSize::square(8), 8, 24, 2, 3);
    for (own, other) in [(Optimizer::Adam, Optimizer::Muon), (Optimizer::Muon, Optimizer::Adam)] {
        let out = dir.path().join(own.name());
        train(&config(&[&format!("train.optimizer.kind={}", own.name())]), &out, Start::New, u64::MAX);
        let open = |optimizer| {
            device::init_training(&network, 0, &TrainOptions::new(Precision::Bf16).optimizer(optimizer)).unwrap()
        };
        let read = || Checkpoint::read(&out.join("checkpoints/step-00000006")).unwrap();
        read().restore(&mut *open(own)).unwrap();
        let message = read().restore(&mut *open(other)).unwrap_err().to_string();
        for part in [format!("{}'s", own.name()), format!("opened for {}", other.name())] {
            assert!(message.contains(&part), "{message}");
        }
    }
}
