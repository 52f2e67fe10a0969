//! Validation of a run: the loss on validation images, and the quick probe.

use std::time::Instant;

use crate::data::Masking;
use crate::device::LossSum;
use crate::model::Objective;
use crate::ranks::losses;
use crate::train::trainer::accumulation::even_runs;
use crate::train::trainer::metrics::MetricsRow;
use crate::train::trainer::observer::Event;
use crate::train::trainer::quick_probe::LayerProbeResult;
use crate::train::trainer::steps::{Loop, class_loss, right_ones};
use crate::train::trainer::time_spent::Part;
use crate::{Error, Result};

impl Loop<'_> {
    /// Validates: computes the loss over the validation images, each rank over its part. It does not change the
    /// training state.
    pub(super) fn validate(&mut self, most: usize) -> Result<()> {
        let Some(set) = self.t.validation else { return Ok(()) };
        let network = self.t.engine.config();
        let masked = network.objective == Objective::Masked;
        let masking = masked.then(|| Masking::evaluation(network.mask_prob, 0));
        let (mut own, mut right) = (LossSum::default(), None);
        let start = Instant::now();
        let images = self.planner.validated_images();
        for run in even_runs(self.t.context.ranks.shard(images), most) {
            let batch = set.batch(run.clone());
            let batch = match masking {
                Some(masking) => masking.mask(batch, run.start as u64),
                None => batch,
            };
            let found = self.t.engine.evaluate(&batch)?;
            right = right_ones(&found, &batch).map(|more| more + right.unwrap_or(0)).or(right);
            own.extend(found);
        }
        let (sum, right) = losses::gather(self.t.context.ranks, own, right)?;
        let (step, loss, class_loss) = (self.outcome.step, sum.mean(), class_loss(&sum));
        if let Some(loss) = [Some(loss), class_loss].into_iter().flatten().find(|loss| !loss.is_finite()) {
            return self.refuse(Error::NotFinite { step, loss });
        }
        let accuracy = class_loss.map(|_| right.unwrap_or(0) as f64 / images as f64);
        let measure = accuracy.map_or(loss, |accuracy| 1.0 - accuracy);
        let best = self.outcome.best.is_none_or(|(lowest, _)| measure < lowest);
        if best {
            self.outcome.best = Some((measure, step));
        }
        self.weigh(measure);
        let outcome = &mut self.outcome;
        (outcome.validation_loss, outcome.class_loss, outcome.accuracy) = (Some(loss), class_loss, accuracy);
        let mut row = MetricsRow { class_loss, accuracy, ..self.blank_row("validation", Some(loss)) };
        let share = accuracy.map_or(String::new(), |accuracy| format!(", accuracy {:.2} %", 100.0 * accuracy));
        self.t.run.log(&format!("step {step}: validation loss {loss:.4}{share}"));
        self.outcome.spent.count(Part::Validation, start);
        if self.planner.probes(step) {
            let start = Instant::now();
            match self.t.probe.map(|probe| probe.run(self.t.engine)).transpose() {
                Ok(Some(LayerProbeResult { accuracy, layer })) => {
                    (row.probe_accuracy, row.probe_layer) = (Some(accuracy), Some(layer));
                    self.t.run.log(&format!("step {step}: probe accuracy {accuracy:.4} at layer {layer}"));
                }
                Ok(None) => {}
                Err(error) => self.warn(&format!("no probe at step {step}: {error}")),
            }
            self.outcome.spent.count(Part::Probe, start);
        }
        row.elapsed_s = self.elapsed();
        self.write_row(&row);
        let bits_per_dim = row.bits_per_dim;
        self.t.context.observer.event(Event::Validated { step, loss, bits_per_dim, accuracy, best });
        Ok(())
    }
}
