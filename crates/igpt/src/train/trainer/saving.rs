//! Files that a run writes during training: samples, its config, checkpoints.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::train::checkpoint::CheckpointMeta;
use crate::train::distributed::agreement::write_shards;
use crate::train::distributed::outcome::agreed;
use crate::train::trainer::observer::Event;
use crate::train::trainer::steps::Loop;
use crate::train::trainer::time_spent::Part;
use crate::{Result, files};

impl Loop<'_> {
    pub(super) fn sample(&mut self, step: u64) -> Result<()> {
        let path = self.t.run.sample(step);
        let Some(hook) = &mut self.t.sample else { return Ok(()) };
        let start = Instant::now();
        match hook(self.t.engine, step, self.planner.drawn_images(), &path) {
            Ok(()) => self.t.context.observer.event(Event::Sampled(&path)),
            Err(error) => self.warn(&format!("no samples at step {step}: {error}")),
        }
        self.outcome.spent.count(Part::Samples, start);
        Ok(())
    }

    /// Writes the resolved config, with the plans made so far.
    pub(super) fn write_config(&mut self) {
        if !self.t.context.ranks.is_leader() {
            return;
        }
        let mut config = self.t.config.clone();
        config.train.plan = self.planner.plans(&config.train).to_vec();
        if let Err(error) = files::write(&self.t.run.config(), config.to_toml().as_bytes()) {
            self.warn(&format!("the plan is not written: {error}"));
        }
    }

    /// Saves a checkpoint during training; a failure is a warning. Returns the step if it is saved.
    pub(super) fn save_or_warn(&mut self) -> Option<u64> {
        match self.save() {
            Ok(()) => Some(self.outcome.step),
            Err(error) => {
                self.warn(&format!("no checkpoint at step {}, training goes on: {error}", self.outcome.step));
                None
            }
        }
    }

    /// Saves a checkpoint; success or failure is the same on every rank.
    pub(super) fn save(&mut self) -> Result<()> {
        let start = Instant::now();
        let checkpoints = self.files.as_ref().map(|(checkpoints, _)| checkpoints);
        let root = self.t.run.checkpoints();
        let shards = write_shards(self.t.context.ranks, self.t.engine, checkpoints, &root, self.outcome.step)?;
        let saved = self.save_rest(shards);
        self.outcome.spent.count(Part::Checkpoints, start);
        if self.t.context.ranks.size() == 1 {
            return saved;
        }
        agreed(self.t.context.ranks, saved.map(|()| String::new())).map(|_| ())
    }

    /// Saves rank 0's part of a checkpoint, after the optimizer `shards` of the other ranks.
    fn save_rest(&mut self, shards: BTreeMap<String, String>) -> Result<()> {
        let Some((checkpoints, _)) = &self.files else { return Ok(()) };
        let step = self.outcome.step;
        let train = &self.t.config.train;
        let images = self.images(step);
        let mut meta = CheckpointMeta::new(step, images, self.t.images, &self.t.start.palette_hash, self.t.config);
        (meta.elapsed_s, meta.spent) = (self.elapsed(), self.outcome.spent);
        meta.data.clone_from(&self.t.start.data);
        (meta.best_loss, meta.best_step) = self.outcome.best.unzip();
        (meta.best_loss_of_phase, meta.validations_since_best) = (self.best_of_phase, self.waited);
        meta.validated_images = self.planner.planned_validations().map(|_| self.planner.validated_images());
        meta.plans = self.planner.plans(train).to_vec();
        meta.files = shards;
        let path = checkpoints.save(self.t.engine, &meta)?;
        checkpoints.prune(train.keep_last, train.keep_every, meta.best_step)?;
        self.t.run.log(&format!("step {step}: saved {}", path.display()));
        self.t.context.observer.event(Event::Saved(&path));
        self.outcome.checkpoint = Some(path);
        Ok(())
    }
}
