//! Settings, data and observers that both builders pass to training.

use std::sync::atomic::AtomicBool;

use crate::data::Dataset;
use crate::device::{EngineOptions, Precision};
use crate::ranks::Collective;
use crate::train::{Context, Event, Observer, Overrides, RunConfig, Value};
use crate::{Error, Result};

/// Settings, data set, observer, stop flag and ranks of a training.
pub(super) struct Training<'a> {
    settings: Overrides,
    /// The configuration below the settings; none is that of an empty file.
    base: Option<RunConfig>,
    pub(super) dataset: Option<Dataset>,
    observer: Listener<'a>,
    stop: Option<&'a AtomicBool>,
    ranks: Option<&'a mut Collective>,
}

/// Who hears of a training.
enum Listener<'a> {
    Nobody,
    Borrowed(&'a mut dyn Observer),
    Owned(Box<dyn Observer + 'a>),
}

impl<'a> Training<'a> {
    /// Creates a training without overrides: the settings of an empty config file.
    pub(super) fn new() -> Self {
        let observer = Listener::Nobody;
        Self { settings: Overrides::default(), base: None, dataset: None, observer, stop: None, ranks: None }
    }

    /// With the settings of `config`.
    pub(super) fn of(config: RunConfig) -> Self {
        Self { base: Some(config), ..Self::new() }
    }

    /// Sets the config key `key`.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.settings.set(key, value);
    }

    /// Applies a `KEY=VALUE` setting, like the program's `--set`.
    ///
    /// # Errors
    /// When `setting` is not `KEY=VALUE`.
    pub(super) fn parse(&mut self, setting: &str) -> Result<()> {
        self.settings.assign(setting)
    }

    /// Trains on an opened data set.
    pub(super) fn dataset(&mut self, dataset: Dataset) {
        self.set("data.spec", dataset.name.clone());
        self.dataset = Some(dataset);
    }

    pub(super) fn observer(&mut self, observer: &'a mut dyn Observer) {
        self.observer = Listener::Borrowed(observer);
    }

    pub(super) fn own_observer(&mut self, observer: Box<dyn Observer + 'a>) {
        self.observer = Listener::Owned(observer);
    }

    pub(super) fn stop(&mut self, stop: &'a AtomicBool) {
        self.stop = Some(stop);
    }

    pub(super) fn context(&mut self, context: Context<'a>) {
        (self.ranks, self.stop) = (Some(context.ranks), Some(context.stop));
        self.observer = Listener::Borrowed(context.observer);
    }

    pub(super) fn ranks(&mut self, ranks: &'a mut Collective) {
        self.ranks = Some(ranks);
    }

    /// Returns the config.
    ///
    /// # Errors
    /// When a key is unknown or a value is not allowed.
    pub(super) fn config(&self) -> Result<RunConfig> {
        let Some(base) = &self.base else {
            let mut config = self.settings.clone().with_quickest_precision()?.finish()?;
            config.explicit.all = self.settings.clone();
            return Ok(config);
        };
        if self.settings == Overrides::default() {
            return Ok(base.clone());
        }
        let mut config = Overrides::from_config(base).merge_under(self.settings.clone()).finish()?;
        config.explicit = base.explicit.clone();
        config.explicit.all = config.explicit.all.merge_under(self.settings.clone());
        config.data.accept_other = base.data.accept_other;
        Ok(config)
    }

    /// Options of the engine that uses the trained model: on the device and the threads that trained it.
    ///
    /// # Errors
    /// Same as [`Training::config`].
    pub(super) fn engine(&self) -> Result<EngineOptions> {
        let train = self.config()?.train;
        Ok(EngineOptions::new(Precision::F32).device(train.device).threads(train.threads))
    }

    /// Calls `train` with the context of this training: ranks, observer and stop flag.
    pub(super) fn with_context<T>(self, train: impl FnOnce(&mut Context<'_>) -> Result<T>) -> Result<T> {
        let (mut alone, mut quiet, never) = (Collective::solo(), |_: Event<'_>| (), AtomicBool::new(false));
        let ranks = self.ranks.unwrap_or(&mut alone);
        let mut observer = self.observer;
        let observer: &mut dyn Observer = match &mut observer {
            Listener::Borrowed(observer) => *observer,
            Listener::Owned(observer) => &mut **observer,
            Listener::Nobody => &mut quiet,
        };
        train(&mut Context { ranks, observer, stop: self.stop.unwrap_or(&never) })
    }
}

/// Returns the error for a run that was stopped before it had a model.
pub(super) fn stopped() -> Error {
    Error::Invalid("training was stopped: run it in a directory (run_in) to be able to resume it".into())
}

/// Settings that both builders share; each builder keeps them in a field `training`.
macro_rules! shared_settings {
    () => {
        /// Trains on the data set that `spec` names, like the program's `--data`.
        pub fn data(self, spec: &str) -> Self {
            self.with("data.spec", spec)
        }

        /// Chooses the recipe that sets the hyperparameters; the modern one by default.
        pub fn recipe(self, recipe: $crate::train::Recipe) -> Self {
            self.with("train.recipe", recipe.name())
        }

        /// Trains for `epochs` passes over the training images.
        pub fn epochs(self, epochs: f64) -> Self {
            self.with("train.epochs", epochs)
        }

        /// Chooses the device to compute on; the fastest by default.
        pub fn device(self, device: $crate::device::Device) -> Self {
            self.with("train.device", device.to_string())
        }

        /// Sets the number of threads; all cores by default.
        pub fn threads(self, threads: usize) -> Self {
            self.with("train.threads", threads as i64)
        }

        /// Sets the seed of all random numbers; 0 by default.
        pub fn seed(self, seed: u64) -> Self {
            self.with("train.seed", seed as i64)
        }

        /// Sets any key of a config file, such as `train.batch=64`.
        ///
        /// # Errors
        /// When the key is unknown, or the value is not allowed.
        pub fn set(mut self, setting: &str) -> $crate::Result<Self> {
            self.training.parse(setting)?;
            Ok(self)
        }

        /// Sets the number of images per step (batch size).
        #[doc(alias = "batch_size")]
        pub fn batch(self, images: usize) -> Self {
            self.with("train.batch", images as i64)
        }

        /// Sets the peak learning rate of Adam.
        #[doc(alias = "learning_rate")]
        pub fn lr(self, lr: f64) -> Self {
            self.with("train.lr", lr)
        }

        /// Calls `listen` with every step, validation, checkpoint and warning; without a listener training is silent.
        #[doc(alias = "callback")]
        pub fn on_event(mut self, listen: impl FnMut($crate::train::Event<'_>) + 'a) -> Self {
            self.training.own_observer(Box::new(listen));
            self
        }

        /// Reports every step, validation, checkpoint and warning to `observer`; see also `on_event`.
        #[doc(alias = "callback")]
        pub fn observer(mut self, observer: &'a mut dyn $crate::train::Observer) -> Self {
            self.training.observer(observer);
            self
        }

        /// Saves a checkpoint and stops once another thread or a signal sets `stop`.
        pub fn stop(mut self, stop: &'a std::sync::atomic::AtomicBool) -> Self {
            self.training.stop(stop);
            self
        }

        /// Trains with data parallelism across several processes.
        pub fn ranks(mut self, ranks: &'a mut $crate::ranks::Collective) -> Self {
            self.training.ranks(ranks);
            self
        }

        /// Trains in a context: with its ranks, its observer and its stop flag.
        pub fn context(mut self, context: $crate::train::Context<'a>) -> Self {
            self.training.context(context);
            self
        }

        fn with(mut self, key: &str, value: impl Into<$crate::train::Value>) -> Self {
            self.training.set(key, value);
            self
        }
    };
}
pub(super) use shared_settings;
