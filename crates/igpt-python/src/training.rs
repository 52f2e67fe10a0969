//! `igpt.pretrain` and `igpt.finetune`: the library's builders with an observer that calls Python.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use igpt::train::{Event, Observer, Overrides, RunConfig, RunDir, Start};
use igpt::{Finetune, Pretrain};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::dataset::Dataset;
use crate::model::{Model, options};
use crate::running::detached;

/// Calls Python with what happens, and stops the training when Python raises or is interrupted.
struct Listener<'a> {
    callback: Option<Py<PyAny>>,
    stop: &'a AtomicBool,
    raised: Option<PyErr>,
}

impl Listener<'_> {
    fn hear(&mut self, py: Python<'_>, event: &Event<'_>) -> PyResult<()> {
        py.check_signals()?;
        match (&self.callback, told(py, event)?) {
            (Some(callback), Some(event)) => callback.call1(py, (event,)).map(drop),
            _ => Ok(()),
        }
    }
}

impl Observer for Listener<'_> {
    fn event(&mut self, event: Event<'_>) {
        // The first error stops the training; it is raised when the checkpoint is written.
        if self.raised.is_none()
            && let Err(error) = Python::attach(|py| self.hear(py, &event))
        {
            self.raised = Some(error);
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// The event as a dictionary; none for what callbacks do not hear.
fn told<'py>(py: Python<'py>, event: &Event<'_>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let dict = PyDict::new(py);
    match event {
        Event::Step(report) => {
            dict.set_item("event", "step")?;
            dict.set_item("step", report.step)?;
            dict.set_item("steps", report.steps)?;
            dict.set_item("loss", report.loss)?;
            dict.set_item("class_loss", report.class_loss)?;
            dict.set_item("lr", report.lr)?;
            dict.set_item("tokens_per_second", report.tokens_per_s)?;
            dict.set_item("seconds", report.elapsed_s)?;
            dict.set_item("seconds_left", report.left_s)?;
        }
        Event::Validated { step, loss, bits_per_dim, accuracy, best } => {
            dict.set_item("event", "validation")?;
            dict.set_item("step", step)?;
            dict.set_item("loss", loss)?;
            dict.set_item("bits_per_dim", bits_per_dim)?;
            dict.set_item("accuracy", accuracy)?;
            dict.set_item("best", best)?;
        }
        Event::Phase(text) | Event::Finishing(text) => {
            dict.set_item("event", "phase")?;
            dict.set_item("text", text)?;
        }
        Event::Note(text) | Event::Warning(text) => {
            dict.set_item("event", if matches!(event, Event::Note(_)) { "note" } else { "warning" })?;
            dict.set_item("text", text)?;
        }
        Event::Saved(path) => {
            dict.set_item("event", "checkpoint")?;
            dict.set_item("path", path)?;
        }
        _ => return Ok(None),
    }
    Ok(Some(dict))
}

/// Where a run is kept, and whether there is one to go on with.
type Place = Option<(PathBuf, bool)>;

/// Trains by `train`, with a listener, and opens the model.
fn trained(
    py: Python<'_>,
    callback: Option<Py<PyAny>>,
    (device, precision, threads): (&str, Option<&str>, usize),
    train: impl FnOnce(&mut Listener<'_>, &AtomicBool) -> igpt::Result<Option<igpt::Model>> + Send,
    place: Option<PathBuf>,
) -> PyResult<Model> {
    let options = options(device, precision, threads)?;
    let stop = AtomicBool::new(false);
    let mut listener = Listener { callback, stop: &stop, raised: None };
    let result = detached(py, || train(&mut listener, &stop));
    if let Some(error) = listener.raised {
        return Err(error);
    }
    match (result?, place) {
        (Some(model), _) => Ok(Model::new(model)),
        (None, Some(path)) => detached(py, || igpt::Model::open_with(path, &options).map(Model::new)),
        (None, None) => unreachable!("a run without a place returns its model"),
    }
}

fn start(goes_on: bool) -> Start {
    if goes_on { Start::Resume } else { Start::New }
}

/// The configuration of the run in `out` with these settings on top, as `igpt pretrain --resume` has it: a budget extends
/// a run that is over.
fn resumed(out: &Path, settings: &[String]) -> igpt::Result<RunConfig> {
    let mut given = Overrides::default();
    settings.iter().try_for_each(|setting| given.assign(setting))?;
    let mut config = RunDir::open_readonly(out)?.settings()?.merge_under(given.clone()).finish()?;
    (config.explicit.all, config.explicit.from_flags) = (given.clone(), given);
    Ok(config)
}

/// Pretrains on a data set; `settings` are `key=value` as `--set` takes them. Without a place only the model is kept.
#[pyfunction]
#[pyo3(signature = (dataset, settings, place, callback, engine))]
pub(crate) fn pretrain(
    py: Python<'_>,
    dataset: &Dataset,
    settings: Vec<String>,
    place: Place,
    callback: Option<Py<PyAny>>,
    engine: (String, Option<String>, usize),
) -> PyResult<Model> {
    let out = place.as_ref().map(|(path, _)| path.clone());
    let train = |listener: &mut Listener<'_>, stop: &AtomicBool| {
        let builder = match &place {
            Some((out, true)) => Pretrain::from_config(resumed(out, &settings)?),
            _ => settings.iter().try_fold(Pretrain::new(), |builder, setting| builder.set(setting))?,
        };
        let builder = builder.dataset(dataset.0.clone()).observer(listener).stop(stop);
        match place {
            None => builder.run().map(Some),
            Some((out, goes_on)) => builder.run_as(start(goes_on), out).map(|_| None),
        }
    };
    trained(py, callback, (&engine.0, engine.1.as_deref(), engine.2), train, out)
}

/// Fine-tunes a model on a data set with classes; otherwise as [`pretrain`].
#[pyfunction]
#[pyo3(signature = (model, dataset, settings, place, callback, engine))]
pub(crate) fn finetune(
    py: Python<'_>,
    model: &Model,
    dataset: &Dataset,
    settings: Vec<String>,
    place: Place,
    callback: Option<Py<PyAny>>,
    engine: (String, Option<String>, usize),
) -> PyResult<Model> {
    let out = place.as_ref().map(|(path, _)| path.clone());
    let train = |listener: &mut Listener<'_>, stop: &AtomicBool| {
        let builder = match &place {
            Some((out, true)) => Finetune::from_config(resumed(out, &settings)?).model(&model.lock())?,
            _ => {
                let builder = Finetune::from_model(&model.lock())?;
                settings.iter().try_fold(builder, |builder, setting| builder.set(setting))?
            }
        };
        let builder = builder.dataset(dataset.0.clone()).observer(listener).stop(stop);
        match place {
            None => builder.run().map(Some),
            Some((out, goes_on)) => builder.run_as(start(goes_on), out).map(|_| None),
        }
    };
    trained(py, callback, (&engine.0, engine.1.as_deref(), engine.2), train, out)
}
