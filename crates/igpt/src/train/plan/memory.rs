//! Check that training fits into the free memory, and remedies if it doesn't.

use crate::device::{EngineOptions, FinetuneObjective, Optimizer, Precision, TrainOptions, backend};
use crate::machine::format_bytes;
use crate::model::{ModelConfig, Preset};
use crate::train::config::TrainSettings;
use crate::{Error, Result};

/// Options of an engine that trains a `share` of `network`, without regard to memory.
///
/// Activations and packed weights are kept unless the config says otherwise.
pub(in crate::train) fn options(
    train: &TrainSettings,
    fine_tuning: FinetuneObjective,
    share: (usize, usize),
) -> TrainOptions {
    let TrainSettings { device, precision, threads, micro_batch, .. } = *train;
    let stream_weights = train.stream_weights.unwrap_or(false);
    TrainOptions {
        engine: EngineOptions { device, precision, threads, micro_batch, stream_weights, int8: false },
        optimizer: train.optimizer.kind(),
        gradient_groups: (train.gradient_groups / share.1).max(1),
        ema: train.ema > 0.0,
        recompute: train.recompute.unwrap_or(false),
        fine_tuning,
        share,
    }
}

/// Refuses a batch whose tokens alone take half of the `left` bytes; threads prepare several batches ahead.
///
/// # Errors
/// When it does; the message says how much memory the tokens need.
pub(in crate::train) fn expect_batch_fits(left: Option<u64>, n_ctx: usize, batch: usize, ranks: usize) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    // Each thread makes one batch and keeps two ready, and one is in use.
    let need = (batch / ranks) as u64 * (n_ctx * size_of::<u16>()) as u64 * (3 * threads + 1);
    match left {
        Some(left) if need > left / 2 => Err(Error::Invalid(format!(
            "batches of {batch} images need {} of memory for their tokens, but {} are left: give a smaller --batch",
            format_bytes(need),
            format_bytes(left)
        ))),
        _ => Ok(()),
    }
}

/// Copies of the gradient or the weights that one of several ranks holds during an exchange.
const ON_THEIR_WAY: u64 = 3;

/// Bytes of an engine, and of its exchange with other ranks.
pub(in crate::train) fn needed(network: &ModelConfig, options: &TrainOptions) -> Result<u64> {
    let exchanged = if options.share.1 > 1 { ON_THEIR_WAY } else { 0 };
    let weights = (size_of::<f32>() * network.parameters()) as u64;
    Ok(backend(options.engine.device)?.train_memory(network, options).total() + exchanged * weights)
}

/// The first options that fit into the `left` bytes.
///
/// It tries those of [`options`], then activation checkpointing, then weights packed block by block too. Options that
/// the config sets stay as they are.
///
/// # Errors
/// When none fits; the message says how much memory the network needs, and a remedy.
pub(in crate::train) fn fitting(
    left: Option<u64>,
    network: &ModelConfig,
    train: &TrainSettings,
    fine_tuning: FinetuneObjective,
    share: (usize, usize),
) -> Result<TrainOptions> {
    let options = options(train, fine_tuning, share);
    match left {
        Some(left) => within(left, network, train, options),
        None => Ok(options),
    }
}

/// Like [`fitting`], if `left` bytes are free.
pub(in crate::train) fn within(
    left: u64,
    network: &ModelConfig,
    train: &TrainSettings,
    options: TrainOptions,
) -> Result<TrainOptions> {
    let recompute = TrainOptions { recompute: train.recompute.unwrap_or(true), ..options };
    let mut stream_weights = recompute;
    stream_weights.engine.stream_weights = train.stream_weights.unwrap_or(true);
    for fitting in [options, recompute, stream_weights] {
        if needed(network, &fitting)? <= left {
            return Ok(fitting);
        }
    }
    let need = needed(network, &options)?;
    Err(Error::Invalid(format!(
        "training {} parameters needs {} of memory, but {} are left: {}",
        network.parameters(),
        format_bytes(need),
        format_bytes(left),
        remedy(left, network, train, options)?
    )))
}

/// A setting, whether it can still be changed, and the change.
type Knob = (&'static str, bool, fn(&mut TrainOptions));

/// The smallest change of settings that makes the network fit, or the largest preset that fits.
fn remedy(left: u64, network: &ModelConfig, train: &TrainSettings, options: TrainOptions) -> Result<String> {
    let mut changed = options;
    let mut settings = Vec::new();
    let knobs: [Knob; 5] = [
        ("--set train.recompute=true", !options.recompute, |o| o.recompute = true),
        ("--set train.stream_weights=true", !options.engine.stream_weights, |o| o.engine.stream_weights = true),
        ("--set train.micro_batch=1", options.engine.micro_batch != 1, |o| o.engine.micro_batch = 1),
        ("--optimizer muon", options.optimizer == Optimizer::Adam, |o| o.optimizer = Optimizer::Muon),
        ("--precision bf16", options.engine.precision == Precision::F32, |o| o.engine.precision = Precision::Bf16),
    ];
    for (setting, is_open, change) in knobs {
        if !is_open {
            continue;
        }
        let mut alone = options;
        change(&mut alone);
        if needed(network, &alone)? <= left {
            return Ok(format!("train with {setting}"));
        }
        change(&mut changed);
        settings.push(setting);
        if needed(network, &changed)? <= left {
            return Ok(format!("train with {}", settings.join(" ")));
        }
    }
    Ok(match largest_preset(left, network, train, changed)? {
        Some(preset) if settings.is_empty() => format!("take --preset {} at the largest", preset.name()),
        Some(preset) => format!("take --preset {} at the largest, with {}", preset.name(), settings.join(" ")),
        None => "free some memory, or train elsewhere".into(),
    })
}

/// The largest preset that trains in `left` bytes with these settings, with activation checkpointing and weights packed
/// block by block if necessary.
pub(in crate::train) fn largest_preset(
    left: u64,
    network: &ModelConfig,
    train: &TrainSettings,
    mut options: TrainOptions,
) -> Result<Option<Preset>> {
    options.recompute |= train.recompute.is_none();
    options.engine.stream_weights |= train.stream_weights.is_none();
    for preset in Preset::ALL.into_iter().rev() {
        let network = ModelConfig::preset(preset, network.n_px, network.n_vocab);
        if needed(&network, &options)? <= left {
            return Ok(Some(preset));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    fn network(preset: Preset) -> ModelConfig {
        ModelConfig::preset(preset, ImageSize::square(32), 512)
    }

    #[test]
    fn activations_and_packed_weights_are_made_again_only_where_they_do_not_fit_otherwise() {
        let (network, mut train) = (network(Preset::S), TrainSettings::paper());
        let keeping = options(&train, FinetuneObjective::default(), (0, 1));
        let need = |recompute, stream_weights| {
            let engine = EngineOptions { stream_weights, ..keeping.engine };
            needed(&network, &TrainOptions { recompute, engine, ..keeping }).unwrap()
        };
        let (all, less, least) = (need(false, false), need(true, false), need(true, true));
        assert!(less < all * 2 / 3 && least < less, "{all} {less} {least}");
        let chosen = |left, train: &TrainSettings| {
            within(left, &network, train, options(train, FinetuneObjective::default(), (0, 1)))
                .map(|o| (o.recompute, o.engine.stream_weights))
        };
        assert_eq!(chosen(all, &train).unwrap(), (false, false));
        assert_eq!(chosen(all - 1, &train).unwrap(), (true, false));
        assert_eq!(chosen(less - 1, &train).unwrap(), (true, true));
        assert!(chosen(least - 1, &train).is_err());
        // A setting in the config is kept.
        train.recompute = Some(true);
        assert_eq!(chosen(all, &train).unwrap(), (true, false));
        (train.recompute, train.stream_weights) = (Some(false), Some(false));
        let message = chosen(all - 1, &train).unwrap_err().to_string();
        assert!(message.contains("train.recompute=true"), "{message}");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_setting_that_mends_it() {
        let (network, train) = (network(Preset::Tiny), TrainSettings::paper());
        let train = TrainSettings { precision: Precision::F32, ..train };
        let given = options(&train, FinetuneObjective::default(), (0, 1));
        let mut left = needed(&network, &given).unwrap();
        let mut said = std::collections::BTreeSet::new();
        while left > 1_000_000 {
            left = left * 97 / 100;
            if let Err(error) = within(left, &network, &train, given) {
                let message = error.to_string();
                said.insert(message.split(": ").last().unwrap().to_owned());
            }
        }
        let all = said.into_iter().collect::<Vec<_>>().join("; ");
        for words in ["micro_batch=1", "--optimizer muon", "--precision bf16", "--preset nano", "free some memory"] {
            assert!(all.contains(words), "{words}: {all}");
        }
    }

    #[test]
    fn the_groups_of_gradients_that_wait_and_the_average_of_the_weights_are_counted() {
        let network = network(Preset::Nano);
        let need = |gradient_groups, ema| {
            let train = TrainSettings { gradient_groups, ema, ..TrainSettings::paper() };
            needed(&network, &options(&train, FinetuneObjective::default(), (0, 1))).unwrap()
        };
        // In this preset only the embeddings' rows need padding.
        let arena = need(2, 0.0) - need(1, 0.0);
        assert!(arena.abs_diff(4 * network.parameters() as u64) < arena / 50);
        assert_eq!(need(8, 0.0) - need(1, 0.0), 3 * arena);
        assert_eq!(need(1, 0.9) - need(1, 0.0), arena);
    }

    #[test]
    fn the_largest_preset_that_fits_is_found() {
        let (nano, train) = (network(Preset::Nano), TrainSettings::paper());
        let options = options(&train, FinetuneObjective::default(), (0, 1));
        let find = |left| largest_preset(left, &nano, &train, options).unwrap();
        assert_eq!(find(1_000_000), None);
        assert_eq!(find(u64::MAX), Some(Preset::Xl));
        let least = TrainOptions {
            recompute: true,
            engine: EngineOptions { stream_weights: true, ..options.engine },
            ..options
        };
        let m = needed(&network(Preset::M), &least).unwrap();
        assert_eq!((find(m), find(m - 1)), (Some(Preset::M), Some(Preset::S)));
    }
}
