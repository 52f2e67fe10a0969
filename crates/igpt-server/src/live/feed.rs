//! The page's data: the whole at first, then what is new, by server-sent events. Nothing is read while nobody looks.

use std::convert::Infallible;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use igpt::train::RunDir;
use serde::Serialize;

use super::baselines::{Baseline, baselines};
use super::curves::{Curves, Rows};
use super::snapshot::{Snapshot, colors, notes};
use crate::http::Refusal;
use igpt::files;

/// Between looks at the directory.
const GLANCE: Duration = Duration::from_millis(500);

/// The run, as all pages see it.
#[derive(Clone)]
pub(super) struct Watched(Arc<Mutex<Seen>>);

/// What was seen of it.
struct Seen {
    run: RunDir,
    rows: Rows,
    looked: Option<Instant>,
    baselines: Vec<Baseline>,
    /// Whether a thread is at them, or was.
    asked: bool,
}

#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    snapshot: Snapshot,
    palette: Vec<String>,
    curves: Curves,
    notes: Vec<String>,
}

/// What is new since a connection's last event.
#[derive(Serialize)]
struct News {
    #[serde(flatten)]
    snapshot: Snapshot,
    new: New,
}

#[derive(Serialize)]
struct New {
    #[serde(flatten)]
    curves: Curves,
    notes: Vec<String>,
}

impl Watched {
    pub(super) fn new(run: &FilePath) -> Self {
        let run = RunDir::watch(run);
        let rows = Rows::new(run.metrics());
        Self(Arc::new(Mutex::new(Seen { run, rows, looked: None, baselines: Vec::new(), asked: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the directory, unless that was done a moment ago.
    fn look(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.lock();
        if seen.looked.is_none_or(|looked| looked.elapsed() >= GLANCE) {
            let generation = seen.rows.generation;
            seen.rows.refresh();
            if seen.rows.generation != generation {
                (seen.baselines, seen.asked) = (Vec::new(), false);
            }
            seen.looked = Some(Instant::now());
        }
        if !seen.asked && !seen.rows.rows.is_empty() {
            seen.asked = true;
            self.ask(seen.run.clone());
        }
        seen
    }

    /// Computes the baselines on a thread of their own.
    fn ask(&self, run: RunDir) {
        let own = self.clone();
        std::thread::spawn(move || match baselines(&run) {
            Ok(found) => own.lock().baselines = found,
            Err(error) => tracing::warn!("no baselines on the page: {error}"),
        });
    }
}

impl Seen {
    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.run, &self.rows.rows, &self.baselines)
    }
}

pub(super) fn router() -> Router<Watched> {
    Router::new()
        .route("/api/run", get(run))
        .route("/api/events", get(events))
        .route("/api/picture/{name}", get(picture))
}

/// Everything.
async fn run(State(watched): State<Watched>) -> Response {
    let seen = watched.look();
    let (snapshot, curves) = (seen.snapshot(), Curves::of(&seen.rows.rows));
    let whole = Whole { snapshot, palette: colors(&seen.run), curves, notes: notes(&seen.run) };
    ([(CACHE_CONTROL, "no-store")], Json(whole)).into_response()
}

/// Where a connection is.
struct Listening {
    watched: Watched,
    generation: u64,
    rows: usize,
    notes: Vec<String>,
    /// The last event's data, so that nothing is sent while nothing changes.
    last: String,
}

/// What is new, as it comes.
async fn events(State(watched): State<Watched>) -> impl IntoResponse {
    let seen = watched.look();
    let (generation, rows, notes) = (seen.rows.generation, seen.rows.rows.len(), notes(&seen.run));
    drop(seen);
    let listening = Listening { watched, generation, rows, notes, last: String::new() };
    let events = stream::unfold(listening, |mut listening| async move {
        loop {
            if let Some(event) = listening.news() {
                return Some((Ok::<_, Infallible>(event), listening));
            }
            tokio::time::sleep(GLANCE).await;
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

impl Listening {
    fn news(&mut self) -> Option<Event> {
        let watched = self.watched.clone();
        let seen = watched.look();
        if seen.rows.generation != self.generation {
            (self.generation, self.rows, self.notes) = (seen.rows.generation, seen.rows.rows.len(), notes(&seen.run));
            return Some(Event::default().event("reset").data("{}"));
        }
        let notes = notes(&seen.run);
        let fresh = match self.notes.last().and_then(|last| notes.iter().rposition(|line| line == last)) {
            Some(place) => notes[place + 1..].to_vec(),
            None => notes.clone(),
        };
        let new = New { curves: Curves::of(&seen.rows.rows[self.rows..]), notes: fresh };
        let data =
            serde_json::to_string(&News { snapshot: seen.snapshot(), new }).expect("plain values have a JSON form");
        (self.rows, self.notes) = (seen.rows.rows.len(), notes);
        if data == self.last {
            return None;
        }
        self.last.clone_from(&data);
        Some(Event::default().event("run").data(data))
    }
}

/// A picture that was drawn while training.
async fn picture(State(watched): State<Watched>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let nothing = || Refusal::new(StatusCode::NOT_FOUND, "there is no such picture");
    let run = watched.lock().run.clone();
    // Only what the run lists: no name leads elsewhere.
    let pictures = ["step-", "completions-"].into_iter().flat_map(|kind| run.pictures(kind));
    let mut paths = pictures.map(|(_, path)| path);
    let path = paths.find(|path| path.file_name().is_some_and(|own| own == name.as_str())).ok_or_else(nothing)?;
    let bytes = files::read(&path).map_err(|_| nothing())?;
    Ok(([(CONTENT_TYPE, "image/png"), (CACHE_CONTROL, "no-cache")], bytes).into_response())
}
