//! Tests of whole runs, on the bigram engine.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::checkpoint::{Checkpoint, CheckpointMeta, Checkpoints};
use super::config::{RunConfig, TrainSettings};
use super::fake::Fake;
use super::{Keep, Metrics, StepPlan};
use crate::data::{Batch, TokenSet};
use crate::device::{Engine, TrainEngine};
use crate::files::full_disk;
use crate::image::ImageSize;
use crate::model::{ModelConfig, ParamLayout};
use crate::ranks::Collective;
use crate::ranks::collective::tests::on_ranks;
use crate::rng::{Purpose, Rng};
use crate::train::config::recipe::Recipe;
use crate::train::distributed::agreement::{part, share_checkpoint};
use crate::train::run::dir::{RunDir, Start};
use crate::train::trainer::context::Context;
use crate::train::trainer::ema::share;
use crate::train::trainer::observer::Event;
use crate::train::trainer::steps::{TrainOutcome, Trainer};
use crate::{Error, Result};

const N_PX: ImageSize = ImageSize { height: 8, width: 8 };
const IMAGES: usize = 40;

fn image(i: u64) -> Vec<u16> {
    let mut rng = Rng::new(7, Purpose::Augment, 0, i);
    (0..N_PX.pixels()).map(|_| (rng.below(3) + rng.below(3)) as u16).collect()
}

fn validation() -> TokenSet {
    let tokens: Vec<u16> = (100..110).flat_map(image).collect();
    let names = (0..10).map(|i| i.to_string()).collect();
    TokenSet { tokens, n_px: N_PX, labels: vec![None; 10], names, damaged: Vec::new() }
}

fn config(edit: impl FnOnce(&mut TrainSettings)) -> RunConfig {
    let mut config = RunConfig::of(Recipe::Paper);
    let train = &mut config.train;
    (train.steps, train.batch, train.lr) = (Some(20), 8, 0.05);
    (train.eval_every, train.checkpoint_every) = (Some(5), Some(5));
    train.keep_last = 9;
    edit(train);
    config
}

/// Event in a test run: it is stopped, its loss breaks, a file blocks the checkpoint of a step, or after a step the
/// disk accepts only this many more bytes until the run warns or has saved.
struct Go {
    stop_after: u64,
    breaks_at: u64,
    obstacle_at: u64,
    full_at: (u64, usize),
}

const WHOLE: Go = Go { stop_after: u64::MAX, breaks_at: u64::MAX, obstacle_at: u64::MAX, full_at: (u64::MAX, 0) };

struct Ran {
    outcome: Result<TrainOutcome>,
    weights: Vec<f32>,
    ema: Option<Vec<f32>>,
    warnings: Vec<String>,
    /// Number of copies of tensors between host and device.
    copies: usize,
}

fn train(config: &RunConfig, out: &Path, start: Start, go: Go) -> Ran {
    train_among(&mut Collective::solo(), config, out, start, go)
}

fn train_among(ranks: &mut Collective, config: &RunConfig, out: &Path, start: Start, go: Go) -> Ran {
    let leads = ranks.is_leader();
    let run = if leads { RunDir::open(out, start).unwrap() } else { RunDir::detached(out) };
    if leads {
        run.begin().unwrap();
    }
    let mut engine = Fake::new(&ModelConfig::new(N_PX, 5, 8, 1, 1), &config.train, ranks.size());
    engine.breaks_at = go.breaks_at;
    let mut warnings = Vec::new();
    let mut meta = CheckpointMeta::new(0, 0, IMAGES, "hash", config);
    if start == Start::Resume {
        let newest = leads.then(|| {
            Checkpoints::open(run.checkpoints()).unwrap().newest(&mut |text| warnings.push(text.into())).unwrap()
        });
        if let Some(checkpoint) = share_checkpoint(ranks, newest.flatten()).unwrap() {
            meta = checkpoint.meta.clone();
            checkpoint.restore(&mut engine).unwrap();
        }
    }
    let stop = AtomicBool::new(false);
    let (mut step, batch) = (meta.step, config.train.batch as u64);
    assert_eq!(meta.images, step * batch);
    let places = part(ranks, config.train.batch);
    let mut next = || {
        let positions = places.clone().map(|place| step * batch + place as u64);
        let tokens = positions.flat_map(|i| image(i % IMAGES as u64)).collect();
        step += 1;
        Ok(Batch::new(tokens, N_PX.pixels()))
    };
    let set = validation();
    let mut observer = |event: Event<'_>| match event {
        Event::Warning(text) => {
            full_disk::leave(usize::MAX);
            warnings.push(text.into());
        }
        Event::Saved(_) => full_disk::leave(usize::MAX),
        Event::Step(report) if report.step == go.full_at.0 => full_disk::leave(go.full_at.1),
        Event::Step(report) if report.step == go.obstacle_at => {
            fs::write(out.join(format!("checkpoints/.writing-{:08}", report.step)), "in the way").unwrap();
        }
        Event::Step(report) if report.step >= go.stop_after => stop.store(true, Ordering::Relaxed),
        _ => {}
    };
    let outcome = Trainer {
        config,
        run: &run,
        engine: &mut engine,
        next: &mut next,
        validation: Some(&set),
        probe: None,
        sample: None,
        images: IMAGES,
        channels: 1,
        start: meta,
        context: Context { ranks, observer: &mut observer, stop: &stop },
    }
    .run();
    Ran { outcome, copies: engine.copies.get(), weights: engine.weights, ema: engine.ema, warnings }
}

fn losses(out: &Path) -> Vec<(u64, String, u64)> {
    let rows = Metrics::read(&out.join("metrics.jsonl")).unwrap();
    rows.into_iter().map(|row| (row.step, row.split, row.loss.to_bits())).collect()
}

#[test]
fn training_lowers_the_validation_loss_and_leaves_its_traces() {
    let dir = tempfile::tempdir().unwrap();
    let ran = train(&config(|_| ()), dir.path(), Start::New, WHOLE);
    let outcome = ran.outcome.unwrap();
    assert_eq!((outcome.step, outcome.stopped), (20, false));
    let (best, _) = outcome.best.unwrap();
    assert!(best < 5f64.ln() - 0.05, "{best}");
    let rows = Metrics::read(&dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(rows.iter().filter(|row| row.split == "train").count(), 20);
    let validated: Vec<u64> = rows.iter().filter(|row| row.split == "validation").map(|row| row.step).collect();
    assert_eq!(validated, [5, 10, 15, 20]);
    assert!((rows[0].loss - 5f64.ln()).abs() < 1e-6);
    assert_eq!((rows[0].tokens, rows[0].epoch), (8 * 64, 0.2));
    assert_eq!(fs::read_to_string(dir.path().join("checkpoints/last")).unwrap(), "step-00000020\n");
}

#[test]
fn stop_and_resume_gives_the_bits_of_an_uninterrupted_run() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let config = config(|train| (train.steps, train.epochs) = (None, Some(4.0)));
    let expected = train(&config, &whole, Start::New, WHOLE);
    let first = train(&config, &parts, Start::New, Go { stop_after: 7, ..WHOLE }).outcome.unwrap();
    assert_eq!((first.step, first.stopped), (7, true));
    let second = train(&config, &parts, Start::Resume, Go { stop_after: 13, ..WHOLE });
    assert_eq!(second.outcome.unwrap().step, 13);
    let last = train(&config, &parts, Start::Resume, WHOLE);
    assert!(expected.weights == last.weights);
    assert_eq!(losses(&whole), losses(&parts));
    let meta = |out: &Path| fs::read(out.join("checkpoints/step-00000020/state.safetensors")).unwrap();
    assert!(meta(&whole) == meta(&parts));
    // A finished run has nothing left to do.
    let again = train(&config, &parts, Start::Resume, WHOLE);
    assert_eq!(again.outcome.unwrap().step, 20);
    assert!(again.weights == last.weights);
}

#[test]
fn the_average_of_the_weights_is_validated_and_saved_while_training_goes_on_without_it_and_resumes_to_its_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let averaging = config(|train| train.ema = 0.9);
    let expected = train(&averaging, &whole, Start::New, WHOLE);
    let without = train(&config(|_| ()), &dir.path().join("without"), Start::New, WHOLE);
    assert!(expected.weights == without.weights);
    // Validation losses of the weights after every step.
    let mut ema = vec![0.0; expected.weights.len()];
    let every = dir.path().join("every");
    let keeping = config(|train| (train.checkpoint_every, train.keep_last) = (Some(1), 20));
    train(&keeping, &every, Start::New, WHOLE).outcome.unwrap();
    let mut engine = Fake::new(&ModelConfig::new(N_PX, 5, 8, 1, 1), &keeping.train, 1);
    for step in 1..=20 {
        let path = Checkpoints::open_readonly(every.join("checkpoints")).unwrap().path(step);
        Checkpoint::read(&path).unwrap().restore(&mut engine).unwrap();
        let towards = ema.iter_mut().zip(&engine.weights);
        towards.for_each(|(ema, weight)| *ema += share(0.9, step - 1) * (weight - *ema));
    }
    assert!(expected.ema.unwrap() == ema);
    engine.weights = ema;
    let loss = engine.evaluate(&validation().batch(0..10)).unwrap().mean();
    assert_eq!(expected.outcome.unwrap().validation_loss, Some(loss));
    assert_ne!(without.outcome.unwrap().validation_loss, Some(loss));
    for stop_after in [7, 13, u64::MAX] {
        let start = if stop_after == 7 { Start::New } else { Start::Resume };
        train(&averaging, &parts, start, Go { stop_after, ..WHOLE }).outcome.unwrap();
    }
    assert_eq!(losses(&whole), losses(&parts));
    let state = |out: &Path| fs::read(out.join("checkpoints/step-00000020/state.safetensors")).unwrap();
    assert!(state(&whole) == state(&parts));
}

#[test]
fn patience_ends_a_resumed_run_at_the_same_step_even_without_its_metrics() {
    let dir = tempfile::tempdir().unwrap();
    // At this rate no weight changes, so that the first validation stays the best.
    let config = config(|train| (train.steps, train.lr, train.patience) = (Some(100), 1e-30, Some(3)));
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let outcome = train(&config, &whole, Start::New, WHOLE).outcome.unwrap();
    assert_eq!((outcome.step, outcome.best.unwrap().1), (20, 5));
    let first = train(&config, &parts, Start::New, Go { stop_after: 12, ..WHOLE }).outcome.unwrap();
    assert_eq!((first.step, first.stopped), (12, true));
    fs::remove_file(parts.join("metrics.jsonl")).unwrap();
    assert_eq!(train(&config, &parts, Start::Resume, WHOLE).outcome.unwrap().step, 20);
    // A run that is over stays over.
    assert_eq!(train(&config, &parts, Start::Resume, WHOLE).outcome.unwrap().session.1, 0);
}

#[test]
fn checkpoints_without_the_count_of_validations_are_read() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(|_| ()), dir.path(), Start::New, WHOLE).outcome.unwrap();
    let text = fs::read_to_string(dir.path().join("checkpoints/step-00000020/checkpoint.toml")).unwrap();
    let old: String = text.lines().filter(|line| !line.starts_with("validations")).flat_map(|l| [l, "\n"]).collect();
    assert_ne!(old, text);
    assert_eq!(toml::from_str::<CheckpointMeta>(&old).unwrap().validations_since_best, 0);
}

#[test]
fn steps_of_one_gradient_group_copy_nothing_to_the_host_but_their_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, edit: fn(&mut TrainSettings)| {
        let config = config(|train| {
            (train.checkpoint_every, train.keep) = (Some(0), Keep::Last);
            edit(train);
        });
        train(&config, &dir.path().join(name), Start::New, WHOLE).copies
    };
    let tensors = ParamLayout::new(&ModelConfig::new(N_PX, 5, 8, 1, 1)).tensors().len();
    // Weights and two moments are copied for the one checkpoint at the end.
    assert_eq!(run("plain", |_| ()), 3 * tensors);
    // Groups and the average stay on the device, too.
    assert_eq!(run("groups", |train| train.gradient_groups = 4), 3 * tensors);
    assert_eq!(run("average", |train| train.ema = 0.9), 4 * tensors);
}

#[test]
fn micro_batches_and_validations_do_not_change_a_bit() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, edit: fn(&mut TrainSettings)| {
        train(&config(edit), &dir.path().join(name), Start::New, WHOLE).weights
    };
    let expected = run("a", |train| train.gradient_groups = 4);
    assert!(expected == run("b", |train| (train.gradient_groups, train.micro_batch) = (4, 1)));
    assert!(expected == run("c", |train| (train.gradient_groups, train.eval_every) = (4, Some(3))));
    let single = run("d", |_| ());
    assert!(single == run("e", |train| train.micro_batch = 3));
    assert!(single != expected, "the tree of four groups should round differently");
    let close = single.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(close);
}

#[test]
fn the_noise_of_gradients_is_the_variance_between_images_and_only_told_of_several_groups() {
    let dir = tempfile::tempdir().unwrap();
    let first = |name: &str, edit: fn(&mut TrainSettings)| {
        let out = dir.path().join(name);
        train(&config(edit), &out, Start::New, WHOLE).outcome.unwrap();
        let row = Metrics::read(&out.join("metrics.jsonl")).unwrap().remove(0);
        row.gradient_signal.zip(row.gradient_noise)
    };
    // Gradients of the first batch's images, computed by hand.
    let mut engine = Fake::new(&ModelConfig::new(N_PX, 5, 8, 1, 1), &TrainSettings::paper(), 1);
    let gradients: Vec<Vec<f64>> = (0..8)
        .map(|i| {
            engine.gradients.fill(0.0);
            engine.accumulate(&Batch::new(image(i), N_PX.pixels()), 1.0 / N_PX.pixels() as f32).unwrap();
            engine.gradients.iter().map(|value| f64::from(*value)).collect()
        })
        .collect();
    let mean = |of: &[Vec<f64>], at: usize| of.iter().map(|gradient| gradient[at]).sum::<f64>() / of.len() as f64;
    let sum = |each: &dyn Fn(usize) -> f64| (0..gradients[0].len()).map(each).sum::<f64>();
    // Each run has `size` images: dividing by n − 1 makes the variance unbiased, and a mean of them has a share of it.
    let variance = |size: usize| {
        let count = 8 / size;
        sum(&|at| {
            let off = |run: &[Vec<f64>]| (mean(run, at) - mean(&gradients, at)).powi(2);
            gradients.chunks(size).map(off).sum::<f64>() / (count - 1) as f64 * size as f64
        })
    };
    for (size, found) in [
        (1, first("images", |train| train.gradient_groups = 8)),
        (2, first("pairs", |train| train.gradient_groups = 4)),
        (2, first("cut", |train| (train.gradient_groups, train.micro_batch) = (4, 1))),
    ] {
        let (signal, noise) = found.unwrap();
        let expected = variance(size);
        assert!((noise / expected - 1.0).abs() < 1e-3, "{noise} {expected}");
        let expected = sum(&|at| mean(&gradients, at).powi(2)) - expected / 8.0;
        assert!((signal / expected - 1.0).abs() < 1e-3, "{signal} {expected}");
    }
    assert_eq!(first("one", |_| ()), None);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let ran = train(&config(|_| ()), dir.path(), Start::New, Go { breaks_at: 12, ..WHOLE });
    assert!(matches!(ran.outcome, Err(Error::NotFinite { step: 13, .. })));
    let newest = Checkpoints::open(dir.path().join("checkpoints")).unwrap().newest(&mut |_| ()).unwrap().unwrap();
    assert_eq!(newest.meta.step, 10);
    assert!(fs::read_to_string(dir.path().join("train.log")).unwrap().contains("step 13"));
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    for file in ["state.safetensors", "checkpoint.toml", "complete"] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(|_| ());
        let whole = train(&config, dir.path(), Start::New, WHOLE);
        let path = dir.path().join("checkpoints/step-00000020").join(file);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let ran = train(&config, dir.path(), Start::Resume, WHOLE);
        assert!(ran.warnings[0].contains("damaged") && ran.warnings[0].contains("step-00000020"), "{:?}", ran.warnings);
        assert!(ran.weights == whole.weights);
        assert_eq!(ran.outcome.unwrap().session.1, 5);
        Checkpoint::read(&dir.path().join("checkpoints/step-00000020")).unwrap();
    }
}

#[test]
fn when_every_checkpoint_is_damaged_the_run_is_not_started_over() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(|train| (train.checkpoint_every, train.keep) = (Some(0), Keep::Last));
    train(&config, dir.path(), Start::New, WHOLE).outcome.unwrap();
    fs::remove_file(dir.path().join("checkpoints/step-00000020/complete")).unwrap();
    let message =
        Checkpoints::open(dir.path().join("checkpoints")).unwrap().newest(&mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn half_written_checkpoints_are_cleared_and_old_ones_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("checkpoints");
    fs::create_dir_all(root.join(".writing-00000003")).unwrap();
    let config = config(|train| {
        (train.keep_last, train.keep_every, train.checkpoint_every) = (1, 8, Some(2));
    });
    fs::write(dir.path().join("config.resolved.toml"), "").unwrap();
    let ran = train(&config, dir.path(), Start::Resume, WHOLE);
    let (_, best) = ran.outcome.unwrap().best.unwrap();
    let mut kept = vec![8, 16, 20];
    kept.extend((!kept.contains(&best) && best % 2 == 0).then_some(best));
    kept.sort_unstable();
    assert_eq!(Checkpoints::open(&root).unwrap().steps().unwrap(), kept);
    assert!(!root.join(".writing-00000003").exists());
}

#[test]
fn a_failed_checkpoint_is_a_warning_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let ran = train(&config(|_| ()), dir.path(), Start::New, Go { obstacle_at: 10, ..WHOLE });
    assert!(ran.warnings.iter().any(|text| text.contains("no checkpoint at step 10")), "{:?}", ran.warnings);
    assert_eq!(ran.outcome.unwrap().step, 20);
    assert!(!dir.path().join("checkpoints/step-00000010").exists());
    Checkpoint::read(&dir.path().join("checkpoints/step-00000005")).unwrap();
}

#[test]
fn a_disk_that_is_full_at_any_byte_of_a_checkpoint_leaves_the_run_alive_and_the_one_before_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(|train| train.eval_every = Some(0));
    let whole = train(&config, &dir.path().join("whole"), Start::New, WHOLE);
    let checkpoint = |run: &str, step: u64| dir.path().join(run).join(format!("checkpoints/step-{step:08}"));
    let size = |name: &str| fs::metadata(checkpoint("whole", 10).join(name)).unwrap().len() as usize;
    let state = size("state.safetensors");
    let total = state + size("checkpoint.toml") + size("complete");
    let near = |at: usize| at.saturating_sub(3)..at + 3;
    let rooms = (0..total)
        .step_by(401)
        .chain(near(state))
        .chain(near(total - size("complete")))
        .chain(near(total))
        .chain([total + 100])
        .collect::<std::collections::BTreeSet<usize>>();
    let (mut failed, mut saved) = (0, 0);
    for room in rooms {
        let name = room.to_string();
        let ran = train(&config, &dir.path().join(&name), Start::New, Go { full_at: (10, room), ..WHOLE });
        assert_eq!(ran.outcome.unwrap().step, 20);
        assert!(ran.weights == whole.weights);
        Checkpoint::read(&checkpoint(&name, 5)).unwrap();
        Checkpoint::read(&checkpoint(&name, 20)).unwrap();
        match checkpoint(&name, 10).exists() {
            true => saved += 1,
            false => {
                assert!(ran.warnings.iter().any(|text| text.contains("no checkpoint at step 10")), "{room}");
                failed += 1;
            }
        }
        let left = fs::read_dir(dir.path().join(&name).join("checkpoints")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(left.iter().all(|name| name == "last" || name.starts_with("step-")), "{left:?}");
    }
    assert!(failed > 20 && saved > 0, "{failed} {saved}");
}

#[test]
fn a_kill_while_an_old_checkpoint_is_removed_leaves_no_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(|_| ()), dir.path(), Start::New, WHOLE).outcome.unwrap();
    let root = dir.path().join("checkpoints");
    // Files that such a kill leaves behind.
    fs::rename(root.join("step-00000005"), root.join(".writing-step-00000005")).unwrap();
    let checkpoints = Checkpoints::open(&root).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [10, 15, 20]);
    assert!(!root.join(".writing-step-00000005").exists());
    checkpoints.prune(1, 0, Some(15)).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [15, 20]);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
}

#[test]
fn a_run_of_minutes_repeats_to_the_bit_from_its_resolved_config() {
    let dir = tempfile::tempdir().unwrap();
    let minutes = config(|train| (train.steps, train.minutes) = (None, Some(0.002)));
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let ran = train(&minutes, &first, Start::New, WHOLE);
    let text = fs::read_to_string(first.join("config.resolved.toml")).unwrap();
    let resolved = RunConfig::from_toml(&text, Path::new("config.resolved.toml")).unwrap();
    resolved.validate().unwrap();
    let plans: &[StepPlan] = &resolved.train.plan;
    let outcome = ran.outcome.unwrap();
    assert_eq!(plans.last().unwrap().steps, outcome.step);
    let again = train(&resolved, &second, Start::New, WHOLE);
    assert_eq!(again.outcome.unwrap().step, outcome.step);
    assert!(again.weights == ran.weights);
}

#[test]
fn one_two_and_four_ranks_train_to_the_same_bits_and_go_on_with_each_others_runs() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(|train| (train.gradient_groups, train.ema) = (4, 0.8));
    let on = |size: usize, out: &Path, start: Start, stop_after: u64| {
        on_ranks(size, |mut ranks| {
            // Any rank may be told to stop.
            let stop_after = if ranks.rank() + 1 == size { stop_after } else { u64::MAX };
            let ran = train_among(&mut ranks, &config, out, start, Go { stop_after, ..WHOLE });
            ranks.close().unwrap();
            assert_eq!(ran.warnings, [""; 0]);
            (ran.outcome.unwrap(), ran.weights)
        })
    };
    let alone = dir.path().join("alone");
    let expected = train(&config, &alone, Start::New, WHOLE);
    let best = expected.outcome.unwrap().best;
    let state = |out: &Path| fs::read(out.join("checkpoints/step-00000020/state.safetensors")).unwrap();
    for size in [2, 4] {
        let out = dir.path().join(size.to_string());
        for (outcome, weights) in on(size, &out, Start::New, u64::MAX) {
            assert_eq!((outcome.step, outcome.best), (20, best));
            assert!(weights == expected.weights, "{size} ranks");
        }
        assert_eq!(losses(&out), losses(&alone));
        assert!(state(&out) == state(&alone));
    }
    let out = dir.path().join("parts");
    assert!(on(4, &out, Start::New, 7).iter().all(|(outcome, _)| (outcome.step, outcome.stopped) == (7, true)));
    assert!(on(1, &out, Start::Resume, 12).iter().all(|(outcome, _)| outcome.step == 12));
    assert!(on(2, &out, Start::Resume, u64::MAX).iter().all(|(_, weights)| *weights == expected.weights));
    assert_eq!(losses(&out), losses(&alone));
}

#[test]
fn a_loss_that_is_not_finite_and_a_budget_of_minutes_end_all_ranks_at_the_same_step() {
    let dir = tempfile::tempdir().unwrap();
    let broken = config(|train| train.gradient_groups = 2);
    let outcomes = on_ranks(2, |mut ranks| {
        // Only one rank sees it.
        let breaks_at = if ranks.rank() == 1 { 12 } else { u64::MAX };
        let go = Go { breaks_at, ..WHOLE };
        let ran = train_among(&mut ranks, &broken, &dir.path().join("broken"), Start::New, go);
        ranks.close().unwrap();
        ran.outcome
    });
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::NotFinite { step: 13, .. }))), "{outcomes:?}");
    let minutes = config(|train| {
        (train.steps, train.minutes, train.gradient_groups) = (None, Some(0.002), 2);
    });
    let steps = on_ranks(2, |mut ranks| {
        let ran = train_among(&mut ranks, &minutes, &dir.path().join("minutes"), Start::New, WHOLE);
        ranks.close().unwrap();
        (ran.outcome.unwrap().step, ran.weights)
    });
    assert!(steps[0] == steps[1]);
}

#[test]
fn a_last_checkpoint_that_only_rank_0_can_not_write_is_tried_again_by_all() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(|train| train.gradient_groups = 2);
    let steps = on_ranks(2, |mut ranks| {
        let full_at = if ranks.is_leader() { (20, 0) } else { (u64::MAX, 0) };
        let ran = train_among(&mut ranks, &config, &dir.path().join("run"), Start::New, Go { full_at, ..WHOLE });
        ranks.close().unwrap();
        ran.outcome.unwrap().step
    });
    assert_eq!(steps, [20, 20]);
    Checkpoint::read(&dir.path().join("run/checkpoints/step-00000020")).unwrap();
}

#[test]
fn a_checkpoint_of_another_version_is_no_damaged_one_and_stays_as_it_is() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    train(&config(|_| ()), dir.path(), Start::New, WHOLE).outcome.unwrap();
    let path = dir.path().join("checkpoints/step-00000020");
    let text = fs::read_to_string(path.join("checkpoint.toml")).unwrap();
    let old = text.replacen("format = ", "older = true\nformat = 1", 1);
    assert_ne!(old, text);
    let hash: String = Sha256::digest(&old).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(path.join("checkpoint.toml"), &old).unwrap();
    fs::write(path.join("complete"), hash + "\n").unwrap();
    let checkpoints = Checkpoints::open(dir.path().join("checkpoints")).unwrap();
    let message = checkpoints.newest(&mut |text| panic!("{text}")).unwrap_err().to_string();
    assert!(message.contains("step-00000020") && message.contains("the version that wrote it"), "{message}");
    assert_eq!(checkpoints.steps().unwrap(), [5, 10, 15, 20]);
}

#[test]
fn ranks_that_can_not_divide_the_groups_are_told_what_to_set() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(|train| train.gradient_groups = 2);
    for message in on_ranks(4, |mut ranks| {
        let ran = train_among(&mut ranks, &config, &dir.path().join("run"), Start::New, WHOLE);
        ranks.close().unwrap();
        ran.outcome.unwrap_err().to_string()
    }) {
        assert!(message.contains("4 ranks can't divide train.gradient_groups 2"), "{message}");
        assert!(message.contains("--set train.gradient_groups=4"), "{message}");
    }
}
