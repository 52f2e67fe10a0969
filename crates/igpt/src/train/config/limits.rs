//! Upper limits of settings: beyond them products of sizes would overflow the address space, and no run needs them.

use crate::train::config::allowed::Allowed;
use crate::train::config::run_config::RunConfig;

/// Largest width of a network.
const N_EMBD: u64 = 1 << 15;
/// Largest number of blocks of a network.
const N_LAYER: u64 = 1 << 9;
/// Largest number of images in a batch.
const BATCH: u64 = 1 << 16;
/// Largest number of gradient groups, and hence of ranks.
const GROUPS: u64 = 1 << 12;
/// Largest number of images in a sample grid.
const SAMPLES: u64 = 1 << 12;
/// Largest number of threads.
const THREADS: u64 = 1 << 12;
/// Largest number of checkpoints that are kept.
const CHECKPOINTS: u64 = 1 << 20;
/// Largest number of steps: times the largest batch, the images can still be counted.
const STEPS: u64 = 1 << 40;
/// Largest number of passes over the images.
const EPOCHS: f64 = 1e9;
/// Largest budget in minutes: 19 years.
const MINUTES: f64 = 1e7;
/// Numbers of `[train]` that the engine does not read.
const WIDE: [&str; 5] = ["epochs", "minutes", "warmup_epochs", "mask_prob", "ema"];

impl RunConfig {
    /// Adds to `problems` every setting that exceeds its limit, or that would lose its value as an f32.
    pub(in crate::train) fn check_limits(&self, problems: &mut Vec<String>) {
        let (model, train) = (&self.model, &self.train);
        if self.data.train_images == Some(0) {
            problems.push("data.train_images must be at least 1".into());
        }
        let counts = [
            ("model.n_embd", model.n_embd.unwrap_or(0) as u64, N_EMBD),
            ("model.n_layer", model.n_layer.unwrap_or(0) as u64, N_LAYER),
            ("model.n_head", model.n_head.unwrap_or(0) as u64, N_EMBD),
            ("train.batch", train.batch as u64, BATCH),
            ("train.micro_batch", train.micro_batch as u64, BATCH),
            ("train.gradient_groups", train.gradient_groups as u64, GROUPS),
            ("train.sample_images", train.drawn_images() as u64, SAMPLES),
            ("train.threads", train.threads as u64, THREADS),
            ("train.keep_last", train.keep_last as u64, CHECKPOINTS),
            ("train.steps", train.steps.unwrap_or(0), STEPS),
        ];
        for (name, value, most) in counts.into_iter().filter(|(_, value, most)| value > most) {
            problems.push(format!("{name} is {value}, but can be at most {most}"));
        }
        for (name, value, most) in [
            ("train.epochs", train.epochs.unwrap_or(0.0), EPOCHS),
            ("train.minutes", train.minutes.unwrap_or(0.0), MINUTES),
        ] {
            if value.is_finite() && value > most {
                problems.push(format!("{name} is {value}, but can be at most {most}"));
            }
        }
        self.check_f32(problems);
    }

    /// Checks numbers that the engine reads as f32: none may become 0, 1 or infinite by rounding.
    fn check_f32(&self, problems: &mut Vec<String>) {
        let mut check = |name: &str, value: f64, allowed: Allowed| {
            let narrow = value as f32;
            if allowed == Allowed::BelowOne {
                if value < 1.0 && narrow == 1.0 {
                    problems.push(format!("{name} is {value}, which is 1 as a 32-bit number"));
                }
            } else if value.is_finite() && value > 0.0 && !narrow.is_normal() {
                let wrong = if narrow.is_infinite() { "large" } else { "small" };
                problems.push(format!("{name} is {value:e}, too {wrong} for a 32-bit number"));
            }
        };
        self.train.each_number(|name, value, allowed| {
            if !WIDE.contains(&name) {
                check(&format!("train.{name}"), value, allowed);
            }
        });
        if let Some(finetune) = &self.finetune {
            finetune.each_number(|name, value, allowed| check(&format!("finetune.{name}"), value, allowed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;
    use crate::train::config::recipe::Recipe;

    fn config() -> RunConfig {
        let mut config = RunConfig::of(Recipe::Paper);
        config.train.steps = Some(1);
        config
    }

    #[test]
    fn every_size_that_would_leave_memory_or_the_address_space_is_refused_by_name() {
        type Edit = fn(&mut RunConfig, usize);
        let sizes: [(&str, Edit); 9] = [
            ("model.n_embd", |c, n| c.model.n_embd = Some(n)),
            ("model.n_layer", |c, n| c.model.n_layer = Some(n)),
            ("model.n_head", |c, n| c.model.n_head = Some(n)),
            ("train.batch", |c, n| c.train.batch = n),
            ("train.micro_batch", |c, n| c.train.micro_batch = n),
            ("train.gradient_groups", |c, n| (c.train.batch, c.train.gradient_groups) = (0, n)),
            ("train.sample_images", |c, n| c.train.sample_images = Some(n)),
            ("train.threads", |c, n| c.train.threads = n),
            ("train.keep_last", |c, n| c.train.keep_last = n),
        ];
        for (name, edit) in sizes {
            for n in [1 << 21, 1 << 32, 1 << 62, i64::MAX as usize, usize::MAX] {
                let mut config = config();
                edit(&mut config, n);
                let message = config.validate().unwrap_err().to_string();
                assert!(message.contains(name) && message.contains(&n.to_string()), "{name}: {message}");
            }
        }
        let mut long = config();
        long.train.steps = Some(u64::MAX);
        assert!(long.validate().unwrap_err().to_string().contains("train.steps"));
    }

    #[test]
    fn numbers_that_are_lost_as_f32_and_those_that_are_none_are_refused_by_name() {
        type Edit = fn(&mut RunConfig, f64);
        let numbers: [(&str, Edit); 6] = [
            ("train.lr", |c, x| c.train.lr = x),
            ("train.eps", |c, x| c.train.eps = x),
            ("train.layer_decay", |c, x| c.train.layer_decay = x),
            ("train.minutes", |c, x| (c.train.steps, c.train.minutes) = (None, Some(x))),
            ("train.epochs", |c, x| (c.train.steps, c.train.epochs) = (None, Some(x))),
            ("train.beta2", |c, x| c.train.beta2 = x),
        ];
        for (name, edit) in numbers {
            for x in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
                let mut config = config();
                edit(&mut config, x);
                assert!(config.validate().unwrap_err().to_string().contains(name), "{name} {x}");
            }
        }
        let mut config = config();
        (config.train.lr, config.train.beta2) = (1e-60, 1.0 - 1e-12);
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("train.lr") && message.contains("train.beta2"), "{message}");
    }

    #[test]
    fn the_papers_largest_network_and_batches_are_within_the_limits() {
        let mut config = config();
        (config.model.preset, config.train.batch, config.train.threads) = (Some(Preset::Xl), 4096, 256);
        config.validate().unwrap();
    }
}
