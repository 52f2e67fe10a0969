//! Server-sent events of images being drawn: at most some tens per second for each request, for any number of pixels.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::generation::GenerationStream;
use super::state::Slot;
use super::worker::Drawn;
use crate::refusal::Refusal;

/// Interval between two messages of a request.
const FRAME: Duration = Duration::from_millis(25);

/// A server-sent event, as the API's document has it.
#[derive(Serialize, ToSchema)]
pub(super) struct SentEvent {
    /// `start`, `pixels`, `done` or `error`.
    event: String,
    /// JSON: of `start` the method and the number of images; of `pixels` an image, the pixel `from` which on `tokens` are
    /// its pixels now, or the pixels `at` which they are; of `done` the whole answer.
    data: String,
}

/// Pixels of one image since the last message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Pixels {
    Run {
        image: usize,
        from: usize,
        tokens: Vec<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        effective: Option<f64>,
    },
    Filled {
        image: usize,
        at: Vec<usize>,
        tokens: Vec<u16>,
    },
}

/// State of a stream.
struct Sending {
    drawing: GenerationStream,
    /// Held while the client listens.
    _slot: Arc<Slot>,
    started: bool,
    ended: bool,
    sent: Instant,
}

/// Stream of events: `start`, `pixels` as they are drawn, and `done` with the whole answer or `error`.
pub(super) fn events(drawing: GenerationStream, slot: Arc<Slot>) -> impl IntoResponse {
    let sending = Sending { drawing, _slot: slot, started: false, ended: false, sent: Instant::now() - FRAME };
    let events = stream::unfold(sending, |mut sending| async move {
        if sending.ended {
            return None;
        }
        let events = sending.events().await.unwrap_or_else(|refusal| {
            sending.ended = true;
            vec![event("error", &json!({ "error": refusal.error }))]
        });
        Some((stream::iter(events), sending))
    });
    Sse::new(infallible(events.flatten())).keep_alive(KeepAlive::default())
}

fn infallible(events: impl Stream<Item = Event>) -> impl Stream<Item = Result<Event, Infallible>> {
    events.map(Ok)
}

impl Sending {
    /// Next messages to send.
    async fn events(&mut self) -> Result<Vec<Event>, Refusal> {
        let drawing = &mut self.drawing;
        if !std::mem::replace(&mut self.started, true) {
            let (method, candidates) = (drawing.method, drawing.candidates);
            let start = json!({
                "method": method, "images": drawing.images.len(), "candidates": candidates, "known": drawing.known,
            });
            return Ok(vec![event("start", &start)]);
        }
        let Some(first) = drawing.next().await? else {
            self.ended = true;
            return Ok(vec![event("done", &drawing.answer())]);
        };
        // The first pixel is sent at once.
        tokio::time::sleep_until((self.sent + FRAME).into()).await;
        let mut fresh = BTreeMap::new();
        merge(&mut fresh, first);
        while let Some(drawn) = drawing.at_hand()? {
            merge(&mut fresh, drawn);
        }
        self.sent = Instant::now();
        Ok(fresh.values().map(|pixels| event("pixels", pixels)).collect())
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("plain values have a JSON form")
}

/// Adds newly drawn pixels to those to be sent of the same image. A run always ends at its image's newest pixel.
fn merge(fresh: &mut BTreeMap<usize, Pixels>, drawn: Drawn) {
    match drawn {
        Drawn::Run { image, from, tokens, effective, .. } => match fresh.get_mut(&image) {
            Some(Pixels::Run { from: first, tokens: before, effective: last, .. }) if *first <= from => {
                before.truncate(from - *first);
                before.extend(tokens);
                *last = effective;
            }
            _ => drop(fresh.insert(image, Pixels::Run { image, from, tokens, effective })),
        },
        Drawn::Filled { image, pixels, tokens, .. } => match fresh.get_mut(&image) {
            Some(Pixels::Filled { at, tokens: before, .. }) => {
                at.extend(pixels);
                before.extend(tokens);
            }
            _ => drop(fresh.insert(image, Pixels::Filled { image, at: pixels, tokens })),
        },
        Drawn::Failed(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(from: usize, tokens: &[u16]) -> Drawn {
        Drawn::Run { image: 3, from, tokens: tokens.to_vec(), effective: Some(from as f64), done: false }
    }

    #[test]
    fn runs_are_joined_and_a_new_leader_overwrites() {
        let mut fresh = BTreeMap::new();
        [run(4, &[1]), run(5, &[2]), run(6, &[3])].into_iter().for_each(|drawn| merge(&mut fresh, drawn));
        assert_eq!(fresh[&3], Pixels::Run { image: 3, from: 4, tokens: vec![1, 2, 3], effective: Some(6.0) });
        merge(&mut fresh, run(5, &[7, 8, 9]));
        assert_eq!(fresh[&3], Pixels::Run { image: 3, from: 4, tokens: vec![1, 7, 8, 9], effective: Some(5.0) });
        merge(&mut fresh, run(2, &[0; 6]));
        assert_eq!(fresh[&3], Pixels::Run { image: 3, from: 2, tokens: vec![0; 6], effective: Some(2.0) });
    }

    #[test]
    fn rounds_of_a_hole_are_joined() {
        let mut fresh = BTreeMap::new();
        let filled = |pixels: &[usize], tokens: &[u16]| Drawn::Filled {
            image: 0,
            pixels: pixels.to_vec(),
            tokens: tokens.to_vec(),
            done: false,
        };
        [filled(&[9, 2], &[1, 2]), filled(&[5], &[3])].into_iter().for_each(|drawn| merge(&mut fresh, drawn));
        assert_eq!(fresh[&0], Pixels::Filled { image: 0, at: vec![9, 2, 5], tokens: vec![1, 2, 3] });
    }
}
