//! A studio that is opened in the browser: the page, its server, and what is known of the model.

use igpt_server::ServeOptions;
use serde_json::Value;
use tempfile::TempDir;

use crate::chromium::Page;
use crate::support::server::{Server, bundled};

/// Pixels of a row, and rows, of the model's images.
pub(super) const SIDE: usize = 16;

/// What the tests ask of a page.
const ASK: &str = include_str!("ask.js");

pub(super) struct Studio {
    pub(super) page: Page,
    pub(super) server: Server,
    pub(super) folder: TempDir,
    model: Value,
}

/// A page that can be asked what the tests ask; none where there is no browser.
pub(super) fn page() -> Option<Page> {
    let mut page = Page::open()?;
    // The tests read pixels, the page does not.
    page.tolerate("willReadFrequently");
    page.call("Page.addScriptToEvaluateOnNewDocument", serde_json::json!({"source": ASK}));
    Some(page)
}

impl Studio {
    /// With its first completions drawn; none where there is no browser.
    pub(super) fn open() -> Option<Self> {
        Self::of(bundled())
    }

    /// The same of a server that is said.
    pub(super) fn of(options: ServeOptions) -> Option<Self> {
        let mut page = page()?;
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(options);
        let model = server.get("/v1/models").json()["models"][0].take();
        page.visit(server.address());
        page.until("document.body.dataset.state === 'done'");
        Some(Self { page, server, folder, model })
    }

    /// The example that the page begins with.
    pub(super) fn example(&self) -> &Value {
        let examples = self.model["examples"].as_array().unwrap();
        &examples[2 * examples.len() / 3]["tokens"]
    }

    /// Tokens as the colours in which they are shown.
    pub(super) fn colors(&self, tokens: &Value) -> Vec<String> {
        let color = |token: &Value| self.model["palette"][token.as_u64().unwrap() as usize].as_str().unwrap().into();
        tokens.as_array().unwrap().iter().map(color).collect()
    }

    /// The colours that a canvas shows.
    pub(super) fn shown(&mut self, canvas: &str) -> Vec<String> {
        let shown = self.page.js(&format!("ask.shown({canvas:?}, {SIDE}, {SIDE})"));
        serde_json::from_value(shown).unwrap()
    }

    /// The colours of a completion, from 0.
    pub(super) fn completion(&mut self, i: usize) -> Vec<String> {
        self.shown(&format!("#results canvas[data-image='{i}']"))
    }

    /// Keeps all rows, so that the whole picture is seen.
    pub(super) fn keep_all_rows(&mut self) {
        self.page.js("document.querySelector('#rows').focus()");
        self.page.press("End");
        assert_eq!(self.page.text("#rows-value"), "16 of 16");
    }

    /// Where the middle of a pixel of the picture is on the screen.
    pub(super) fn pixel(&mut self, row: usize, column: usize) -> (f64, f64) {
        let share = |place: usize| (place as f64 + 0.5) / SIDE as f64;
        self.page.place("#editor", share(column), share(row))
    }

    /// Waits for the completions that were asked for last. They must be those of the API for the page's request, which
    /// is given with the API's answer.
    pub(super) fn drawn(&mut self) -> (Value, Value) {
        self.page.until("document.body.dataset.state === 'done'");
        let mut request = self.page.sent("/v1/complete").pop().unwrap();
        assert_eq!(request["stream"].take(), true);
        request["stream"] = false.into();
        let answer = self.server.post("/v1/complete", &request).json();
        let images = answer["images"].as_array().unwrap();
        assert_eq!(self.page.js("document.querySelectorAll('.result').length"), images.len());
        for (i, image) in images.iter().enumerate() {
            assert_eq!(self.completion(i), self.colors(&image["tokens"]), "completion {i}");
        }
        (request, answer)
    }
}
