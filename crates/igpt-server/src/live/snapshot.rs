//! Snapshot of a run for the page, from its directory.

use igpt::evaluate::{TrainingCourse, Verdict, VerdictContext};
use igpt::model::Objective;
use igpt::palette::Palette;
use igpt::report::grouped;
use igpt::text::printable;
use igpt::train::RunBaselines;
use igpt::train::{MetricsRow, RunConfig, RunDir};
use serde::Serialize;

use super::baselines::{self, Baseline};
use super::inside;
use super::palette::palette;
use super::pictures::{Sheet, sheets};

/// Number of lines of the log.
const NOTES: usize = 200;
/// Bytes read from the end of the log.
const LOG: u64 = 256 << 10;
/// Number of steps over which the speed is measured, for the remaining time.
const RECENT: usize = 20;

/// Present state of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Snapshot {
    name: String,
    state: State,
    title: String,
    facts: Vec<(&'static str, String)>,
    step: u64,
    steps: Option<u64>,
    epoch: f64,
    elapsed_s: f64,
    left_s: Option<f64>,
    loss: Option<f64>,
    validation: Option<f64>,
    best: Option<f64>,
    tokens_per_s: Option<f64>,
    lr: Option<f64>,
    objective: Objective,
    baselines: Vec<Baseline>,
    /// Comparison of the lowest validation loss with the baselines; for a run that is over also advice if it is worse.
    verdict: Option<String>,
    samples: Vec<Sheet>,
    completions: Vec<Sheet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// No process has begun the run.
    Waiting,
    /// A process is training it.
    Running,
    /// It was stopped or killed, or it failed.
    Stopped,
    /// It is over.
    Finished,
}

impl Snapshot {
    pub(super) fn of(run: &RunDir, rows: &[MetricsRow], baselines: Option<&RunBaselines>) -> Self {
        let (root, path) = (run.root(), run.config());
        let config = inside::text(root, &path).and_then(|text| RunConfig::from_toml(&text, &path).ok());
        let palette = palette(run);
        let name = run.root().file_name().map_or("run".into(), |name| name.to_string_lossy().into_owned());
        let train = || rows.iter().filter(|row| row.split == "train");
        let validated = || rows.iter().filter(|row| row.split == "validation" && row.loss.is_finite());
        let (last, newest) = (rows.last(), train().next_back());
        let step = last.map_or(0, |row| row.step);
        let state = match (run.is_training(), config.is_some()) {
            (true, _) => State::Running,
            (false, false) => State::Waiting,
            (false, true) if inside::is_small(root, &run.summary()) => State::Finished,
            (false, true) => State::Stopped,
        };
        let steps = match (config.as_ref().zip(last), state) {
            // A number of steps derived from minutes is only approximate.
            (Some((_, row)), State::Finished) => Some(row.step),
            (Some((config, row)), _) => steps(config, row),
            (None, _) => None,
        };
        let left_s = steps.filter(|_| state == State::Running).and_then(|steps| left(rows, steps));
        // A run that is over has saved the baselines of its own end.
        let kept = if state == State::Finished { baselines::kept(run) } else { None };
        let baselines = kept.as_ref().or(baselines);
        let validation = validated().next_back().map(|row| row.loss);
        let best = validated().map(|row| row.loss).min_by(f64::total_cmp);
        let verdict = baselines.zip(best).zip(palette.as_ref()).and_then(|((baselines, best), palette)| {
            let config = config.as_ref()?;
            let course = TrainingCourse {
                lowest: Some(best),
                last: validation,
                augmented: config.data.augments(),
                ..TrainingCourse::default()
            };
            let of = VerdictContext { n_px: config.model.n_px?, n_vocab: palette.n_vocab(), course };
            let verdict = Verdict::new(best, &baselines.scores, &of);
            Some(if state == State::Running { verdict.finding } else { verdict.to_string() })
        });
        Self {
            title: config
                .as_ref()
                .map_or_else(String::new, |config| format!("{name} on {}", base_name(&config.data.spec))),
            name,
            state,
            facts: config.as_ref().map_or_else(Vec::new, |config| facts(config, palette.as_ref())),
            step,
            steps,
            epoch: last.map_or(0.0, |row| row.epoch),
            elapsed_s: last.map_or(0.0, |row| row.elapsed_s),
            left_s,
            loss: newest.map(|row| row.loss).filter(|loss| loss.is_finite()),
            validation,
            best,
            verdict,
            tokens_per_s: newest.and_then(|row| row.tokens_per_s),
            lr: newest.and_then(|row| row.lr),
            objective: config.map_or(Objective::Autoregressive, |config| config.train.objective),
            baselines: baselines.map(baselines::lines).unwrap_or_default(),
            samples: sheets(root, "step-"),
            completions: sheets(root, "completions-"),
        }
    }
}

/// Steps of the whole run; for a budget in epochs or minutes, extrapolated from the steps taken.
fn steps(config: &RunConfig, row: &MetricsRow) -> Option<u64> {
    let train = &config.train;
    let (begin, seconds) = train.budget_start();
    let taken = row.step.saturating_sub(begin) as f64;
    let share = match (train.steps, train.epochs, train.minutes) {
        (Some(steps), ..) => return Some(begin + steps),
        (_, Some(epochs), _) => row.epoch * taken / row.step.max(1) as f64 / epochs,
        (.., Some(minutes)) => (row.elapsed_s - seconds) / (60.0 * minutes),
        _ => return None,
    };
    (share > 0.0).then(|| (begin + (taken / share).round() as u64).max(row.step))
}

/// Seconds to the end at the recent speed.
fn left(rows: &[MetricsRow], steps: u64) -> Option<f64> {
    let (last, first) = (rows.last()?, &rows[rows.len().saturating_sub(RECENT)]);
    let done = last.step.checked_sub(first.step).filter(|done| *done > 0)?;
    Some((last.elapsed_s - first.elapsed_s) / done as f64 * steps.saturating_sub(last.step) as f64)
}

/// Settings that characterise the run.
fn facts(config: &RunConfig, palette: Option<&Palette>) -> Vec<(&'static str, String)> {
    let (model, train) = (&config.model, &config.train);
    let mut facts = vec![("images", base_name(&config.data.spec))];
    if let (Some(n_px), Some(palette)) = (model.n_px, palette) {
        let network = config.network(n_px, palette.n_vocab());
        facts.push(("size", n_px.to_string()));
        facts.push(("colours", palette.n_vocab().to_string()));
        facts.push(("parameters", grouped(network.parameters())));
        facts.push(("blocks", network.n_layer.to_string()));
        facts.push(("width", network.n_embd.to_string()));
        facts.push(("heads", network.n_head.to_string()));
    }
    facts.push(("recipe", train.recipe.name().into()));
    facts.push(("optimiser", train.optimizer.kind().name().into()));
    facts.push(("peak rate", format!("{}", train.peak_lr())));
    facts.push(("images a step", train.batch.to_string()));
    facts.push(("seed", train.seed.to_string()));
    facts
}

/// Last lines of the log, in which the path of the run's directory is shortened to its name.
pub(super) fn notes(run: &RunDir) -> Vec<String> {
    let log = inside::read_end(run.root(), &run.log_file(), LOG).unwrap_or_default();
    let root = run.root().display().to_string();
    let name = base_name(&root);
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<String> = text.lines().map(|line| printable(&line.replace(&root, &name)).into_owned()).collect();
    lines[lines.len().saturating_sub(NOTES)..].to_vec()
}

/// Last part of a folder's path, or a name.
fn base_name(spec: &str) -> String {
    spec.trim_end_matches('/').rsplit('/').next().unwrap_or(spec).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, epoch: f64, elapsed_s: f64) -> MetricsRow {
        let text = format!(
            r#"{{"step":{step},"tokens":1,"epoch":{epoch},"split":"train","loss":1.0,"bits_per_dim":1.0,"elapsed_s":{elapsed_s}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_end_follows_from_each_kind_of_budget() {
        let config = |steps, epochs, minutes| {
            let mut config = RunConfig::default();
            (config.train.steps, config.train.epochs, config.train.minutes) = (steps, epochs, minutes);
            config
        };
        let row = row(100, 0.5, 30.0);
        assert_eq!(steps(&config(Some(900), None, None), &row), Some(900));
        assert_eq!(steps(&config(None, Some(2.0), None), &row), Some(400));
        assert_eq!(steps(&config(None, None, Some(2.0)), &row), Some(400));
    }

    #[test]
    fn the_time_left_follows_from_the_speed_of_late() {
        let mut rows: Vec<MetricsRow> = (1..=10).map(|step| row(step, 0.1, 100.0 * step as f64)).collect();
        rows.extend((11..=40).map(|step| row(step, 0.1, 1000.0 + (step - 10) as f64)));
        assert_eq!(left(&rows, 100).map(f64::round), Some(60.0));
        assert_eq!(left(&rows[..1], 100), None);
    }

    #[test]
    fn folders_are_named_without_their_way() {
        assert_eq!(["emoji", "/home/me/cats/", "a/cats"].map(base_name), ["emoji", "cats", "cats"]);
    }
}
