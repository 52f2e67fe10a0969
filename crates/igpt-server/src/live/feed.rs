//! Data of the live page: everything at first, then updates by server-sent events. Nothing is read without visitors.
//!
//! Files are read on separate threads, so that a disk that does not answer blocks neither the server nor training.

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
use igpt::train::RunBaselines;
use igpt::train::RunDir;
use serde::Serialize;

use super::baselines::baselines;
use super::curves::{Curves, Rows};
use super::ending::{Ending, Visitor};
use super::palette::colors;
use super::pictures;
use super::snapshot::{Snapshot, notes};
use crate::refusal::{Refusal, log};

/// Interval between reads of the directory.
const GLANCE: Duration = Duration::from_millis(500);

/// State of the watched run, shared by all pages.
#[derive(Clone)]
pub(super) struct Watched {
    seen: Arc<Mutex<Seen>>,
    ending: Ending,
}

/// State of the run as last read.
struct Seen {
    run: RunDir,
    rows: Rows,
    looked: Option<(Instant, Looked)>,
    baselines: Option<RunBaselines>,
    /// Whether a thread computes the baselines, or has done so.
    asked: bool,
}

/// Result of reading the directory, except the rows.
#[derive(Clone)]
struct Looked {
    snapshot: Snapshot,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    snapshot: Snapshot,
    palette: Vec<String>,
    curves: Curves,
    notes: Vec<String>,
}

/// Update since a connection's last event.
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
    pub(super) fn new(run: &FilePath, ending: Ending) -> Self {
        let run = RunDir::detached(run);
        let rows = Rows::new(run.root().into(), run.metrics());
        let seen = Seen { run, rows, looked: None, baselines: None, asked: false };
        Self { seen: Arc::new(Mutex::new(seen)), ending }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the directory, unless that was done a moment ago and nothing `fresh` is required. Blocks on the disk.
    fn look(&self, fresh: bool) -> (MutexGuard<'_, Seen>, Looked) {
        let mut seen = self.lock();
        let known = seen.looked.take().filter(|(when, _)| !fresh && when.elapsed() < GLANCE);
        let (when, looked) = known.unwrap_or_else(|| (Instant::now(), seen.anew()));
        seen.looked = Some((when, looked.clone()));
        if !seen.asked && !seen.rows.rows.is_empty() {
            seen.asked = true;
            self.ask(seen.run.clone());
        }
        (seen, looked)
    }

    /// Computes the baselines on a separate thread.
    fn ask(&self, run: RunDir) {
        let own = self.clone();
        std::thread::spawn(move || match baselines(&run) {
            Ok(found) => {
                let mut seen = own.lock();
                (seen.baselines, seen.looked) = (found, None);
            }
            Err(error) => log(&format!("no baselines on the page: {error}")),
        });
    }
}

impl Seen {
    fn anew(&mut self) -> Looked {
        let generation = self.rows.generation;
        self.rows.refresh();
        if self.rows.generation != generation {
            (self.baselines, self.asked) = (None, false);
        }
        Looked { snapshot: Snapshot::of(&self.run, &self.rows.rows, self.baselines.as_ref()), notes: notes(&self.run) }
    }
}

pub(super) fn router() -> Router<Watched> {
    Router::new()
        .route("/api/run", get(run))
        .route("/api/events", get(events))
        .route("/api/picture/{name}", get(picture))
}

/// Runs a function that blocks on the disk on a thread for such work.
async fn reading<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the run can't be read");
    tokio::task::spawn_blocking(read).await.map_err(failed)
}

/// Answers with the whole state.
async fn run(State(watched): State<Watched>) -> Result<Response, Refusal> {
    let whole = reading(move || {
        let (seen, Looked { snapshot, notes }) = watched.look(false);
        Whole { snapshot, palette: colors(&seen.run), curves: Curves::of(&seen.rows.rows), notes }
    });
    Ok(([(CACHE_CONTROL, "no-store")], Json(whole.await?)).into_response())
}

/// State of a connection that listens to events.
struct Listening {
    watched: Watched,
    generation: u64,
    rows: usize,
    notes: Vec<String>,
    /// Data of the last event, so that nothing is sent while nothing changes.
    last: String,
    /// Whether the end was sent.
    ended: bool,
}

/// Answers with updates as they occur.
async fn events(State(watched): State<Watched>) -> Result<impl IntoResponse, Refusal> {
    let visitor = watched.ending.visitor();
    let begin = move || {
        let (seen, looked) = watched.look(false);
        let (generation, rows, notes) = (seen.rows.generation, seen.rows.rows.len(), looked.notes);
        drop(seen);
        Listening { watched, generation, rows, notes, last: String::new(), ended: false }
    };
    let listening = reading(begin).await?;
    let events = stream::unfold((listening, visitor), next);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Next event; `None` if the run can't be read any more.
async fn next(
    (mut listening, mut visitor): (Listening, Visitor),
) -> Option<(Result<Event, Infallible>, (Listening, Visitor))> {
    loop {
        if listening.ended {
            // The visitor leaves after loading the last pictures.
            std::future::pending::<()>().await;
        }
        let over = visitor.is_over();
        let look = reading(move || {
            let event = listening.news(over);
            (listening, event)
        });
        let event;
        (listening, event) = look.await.ok()?;
        if let Some(event) = event {
            return Some((Ok(event), (listening, visitor)));
        }
        visitor.wait(GLANCE).await;
    }
}

impl Listening {
    /// Event to send now, if any; once the run is `over`, it reports how the run ended.
    fn news(&mut self, over: bool) -> Option<Event> {
        let watched = self.watched.clone();
        let (seen, Looked { snapshot, notes }) = watched.look(over);
        if seen.rows.generation != self.generation {
            (self.generation, self.rows, self.notes) = (seen.rows.generation, seen.rows.rows.len(), notes);
            return Some(Event::default().event("reset").data("{}"));
        }
        let fresh = match self.notes.last().and_then(|last| notes.iter().rposition(|line| line == last)) {
            Some(place) => notes[place + 1..].to_vec(),
            None => notes.clone(),
        };
        let new = New { curves: Curves::of(&seen.rows.rows[self.rows..]), notes: fresh };
        let data = serde_json::to_string(&News { snapshot, new }).expect("plain values have a JSON form");
        (self.rows, self.notes, self.ended) = (seen.rows.rows.len(), notes, over);
        if over {
            return Some(Event::default().event("end").data(data));
        }
        if data == self.last {
            return None;
        }
        self.last.clone_from(&data);
        Some(Event::default().event("run").data(data))
    }
}

/// Answers with a picture drawn during training.
async fn picture(State(watched): State<Watched>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let picture = reading(move || {
        let root = watched.lock().run.root().to_owned();
        pictures::picture(&root, &name)
    });
    let bytes = picture.await?.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such picture"))?;
    Ok(([(CONTENT_TYPE, "image/png"), (CACHE_CONTROL, "no-cache")], bytes).into_response())
}
