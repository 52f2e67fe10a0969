//! Choice between fine-tuned network and linear head, calibration, and accuracy on the test images.

use std::fmt;

use crate::Result;
use crate::data::{self, Images, TokenSet};
use crate::device::Engine;
use crate::evaluate::{Accuracy, class_logits};
use crate::palette::Quantizer;
use crate::train::config::finetune_section::Head;
use crate::train::trainer::context::Context;
use crate::train::trainer::observer::Event;

/// Choice between a fine-tuned network and a linear head, by accuracy on the validation images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::train) struct Choice {
    /// Accuracy of the fine-tuned network.
    pub(in crate::train) tuned: Option<f64>,
    /// Accuracy of the linear head.
    pub(in crate::train) linear: Option<f64>,
    /// Whether the linear head is chosen.
    pub(in crate::train) takes_linear: bool,
}

impl Choice {
    /// Chooses as `head` demands; on a tie the linear head, which leaves the network unchanged.
    pub(in crate::train) fn of(head: Head, tuned: Option<f64>, linear: Option<f64>) -> Self {
        let takes_linear = match head {
            Head::FineTuned => false,
            Head::Linear => true,
            Head::Auto => linear.is_some_and(|linear| tuned.is_none_or(|tuned| linear >= tuned)),
        };
        Self { tuned, linear, takes_linear }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |share: Option<f64>| share.map_or("not measured".into(), |share| format!("{:.2} %", 100.0 * share));
        let (taken, other) = match self.takes_linear {
            true => (("the linear head", self.linear), ("the fine-tuned network", self.tuned)),
            false => (("the fine-tuned network", self.tuned), ("the linear head", self.linear)),
        };
        write!(f, "{} is taken: {} of the validation images", taken.0, of(taken.1))?;
        if other.1.is_some() { write!(f, ", {} {}", other.0, of(other.1)) } else { Ok(()) }
    }
}

/// Images that a classifier is calibrated and tested on.
pub(in crate::train) struct Judged<'a> {
    /// Images that choose the temperature.
    pub(in crate::train) validation: Option<&'a TokenSet>,
    /// Test images; `None` skips the test.
    pub(in crate::train) test: Option<Images>,
    pub(in crate::train) quantizer: &'a Quantizer,
}

/// Temperature of a classifier, and its accuracy on the test images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::train) struct Calibrated {
    /// Temperature to divide the logits by.
    pub(in crate::train) temperature: Option<f64>,
    /// Accuracy on the test images, with the logits divided by the temperature.
    pub(in crate::train) tested: Option<Accuracy>,
    /// Calibration error on the test images, with the logits undivided.
    pub(in crate::train) uncalibrated_error: Option<f64>,
}

impl Judged<'_> {
    /// Chooses a temperature on the validation images and measures accuracy on the test images.
    pub(in crate::train) fn judge(&self, engine: &mut dyn Engine, context: &mut Context<'_>) -> Result<Calibrated> {
        let mut calibrated = Calibrated::default();
        if let Some(set) = self.validation {
            context.observer.event(Event::Finishing("calibrating the classifier"));
            calibrated.temperature = Some(class_logits(engine, set, &mut |_| {})?.temperature());
        }
        if let Some(test) = &self.test {
            context.observer.event(Event::Finishing("testing the best weights"));
            let set = data::tokenize(test, engine.config().n_px, self.quantizer)?;
            let found = class_logits(engine, &set, &mut |_| {})?;
            calibrated.tested = Some(found.accuracy(calibrated.temperature.unwrap_or(1.0)));
            calibrated.uncalibrated_error = Some(found.accuracy(1.0).calibration_error);
        }
        Ok(calibrated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_what_is_right_more_often_on_validation_and_of_equals_the_linear_head() {
        let takes = |head, tuned, linear| Choice::of(head, tuned, linear).takes_linear;
        assert!(takes(Head::Auto, Some(0.5), Some(0.75)) && takes(Head::Auto, Some(0.5), Some(0.5)));
        assert!(!takes(Head::Auto, Some(0.75), Some(0.5)) && takes(Head::Auto, None, Some(0.5)));
        assert!(!takes(Head::Auto, None, None) && !takes(Head::FineTuned, Some(0.5), Some(0.75)));
        assert!(takes(Head::Linear, None, Some(0.1)));
        let said = Choice::of(Head::Auto, Some(0.5), Some(0.75)).to_string();
        assert_eq!(said, "the linear head is taken: 75.00 % of the validation images, the fine-tuned network 50.00 %");
    }
}
