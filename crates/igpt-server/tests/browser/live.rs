//! The live page: it follows a run through all that happens to it, and is never loaded anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use igpt::ranks::Collective;
use igpt::train::{Context, Event, RunConfig, Start, pretrain};
use igpt_server::LivePage;

use super::looks::suit_everybody;
use super::studio::page;
use crate::chromium::Page;
use crate::support::server::{Server, access};

/// A network that takes hundreds of steps a second, and is looked at all the time.
const MODEL: &str = "model = { preset = \"nano\", n_px = 8, n_embd = 32, n_layer = 1, n_head = 1 }\n\
                     palette.colors = 8\ndata.spec = \"emoji\"\n";
const TRAIN: &str = "batch = 8, threads = 1, eval_every = 40, eval_images = 8, sample_every = 40, sample_images = 4";

const STEP: &str = "Number(document.querySelector('#step').textContent.match(/[\\d,]+/)[0].replaceAll(',', ''))";

/// A training into `folder`/run, maybe with a page of its own; told to stop with the value.
struct Training {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where its page is.
    address: String,
}

impl Training {
    fn start(folder: &Path, budget: &str, start: Start, with_page: bool) -> Self {
        let config = format!("{MODEL}train = {{ {TRAIN}, {budget} }}\n");
        let config = RunConfig::from_toml(&config, Path::new("training.toml")).unwrap();
        let (stop, out) = (Arc::new(AtomicBool::new(false)), folder.join("run"));
        let page = with_page.then(|| LivePage::start(&out, access(None, &[])).unwrap());
        let address = page.as_ref().map_or(String::new(), |page| page.address().to_string());
        let own = stop.clone();
        let thread = std::thread::spawn(move || {
            let (ranks, observer) = (&mut Collective::solo(), &mut |_: Event<'_>| ());
            pretrain(&config, &out, start, &mut Context { ranks, observer, stop: &own }).unwrap();
            drop(page);
        });
        Self { stop, thread: Some(thread), address }
    }

    /// Waits until it has ended.
    fn end(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    /// Ends as by Ctrl-C.
    fn interrupt(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.end();
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

/// Opens a live page, with a sign that is gone if it is loaded anew.
fn visit(page: &mut Page, address: &str) {
    page.visit(address);
    page.until("!document.querySelector('#run').hidden");
    page.js("globalThis.first = true");
}

/// Waits for a state, which is shown in words too.
fn comes(page: &mut Page, state: &str, words: &str) {
    page.until(&format!("document.body.dataset.state === '{state}'"));
    page.until(&format!("document.querySelector('#state').textContent === '{words}'"));
    assert_eq!(page.js("globalThis.first"), true);
}

/// Waits until at least so many samples can be seen.
fn samples(page: &mut Page, count: usize) {
    page.until(&format!("document.querySelector('#samples-slider').max >= {}", count - 1));
    page.until("document.querySelector('#samples img').naturalWidth > 0");
}

#[test]
fn a_page_opened_with_a_training_shows_steps_curves_and_samples_as_they_come() {
    let Some(mut page) = page() else { return };
    // The events end with the server.
    page.tolerate("Failed to load resource: net::ERR_");
    let folder = tempfile::tempdir().unwrap();
    let training = Training::start(folder.path(), "steps = 1_000_000", Start::New, true);
    visit(&mut page, &training.address);
    comes(&mut page, "running", "Running");
    page.until(&format!("{STEP} > 0"));
    let step = page.js(STEP).as_u64().unwrap();
    page.until(&format!("{STEP} > {}", step + 80));
    assert!(page.text("#step").ends_with("of 1,000,000"));
    assert!(page.text("#left").ends_with(" left"));
    for id in ["#loss", "#validation", "#speed"] {
        page.until(&format!("/^\\d/.test(document.querySelector('{id}').textContent)"));
    }
    for curve in ["train", "validation"] {
        page.until(&format!("document.querySelector('#loss-chart path.line.{curve}').getTotalLength() > 100"));
    }

    samples(&mut page, 3);
    page.js("document.querySelector('#samples-slider').focus()");
    page.press("Home");
    page.until("document.querySelector('#samples img').alt === 'Samples at step 40'");
    assert_eq!(page.text("#samples output"), "step 40");
    page.press("ArrowRight");
    page.until("document.querySelector('#samples img').alt === 'Samples at step 80'");
    // Newer ones don't take away what is looked at.
    let count = page.js("Number(document.querySelector('#samples-slider').max)").as_u64().unwrap();
    samples(&mut page, count as usize + 3);
    assert_eq!(page.text("#samples output"), "step 80");
    page.click("#samples .newest");
    page.until("document.querySelector('#samples-slider').value === document.querySelector('#samples-slider').max");
    assert_eq!(page.js("globalThis.first"), true);

    training.interrupt();
    comes(&mut page, "stopped", "Stopped");
    page.until("document.querySelector('#connection').textContent.includes('igpt watch')");
    assert!(page.js(STEP).as_u64().unwrap() > step);
}

#[test]
fn a_page_shows_how_its_training_ended_with_the_last_pictures_and_step() {
    let Some(mut page) = page() else { return };
    // The server goes with the training.
    page.tolerate("Failed to load resource: net::ERR_");
    let folder = tempfile::tempdir().unwrap();
    let training = Training::start(folder.path(), "minutes = 0.2", Start::New, true);
    visit(&mut page, &training.address);
    comes(&mut page, "running", "Running");
    training.end();
    comes(&mut page, "finished", "Finished");
    page.until("document.querySelector('#progress').value === 1");
    let names: Vec<_> = std::fs::read_dir(folder.path().join("run/samples")).unwrap().collect();
    let last = names.iter().filter_map(|name| {
        let name = name.as_ref().unwrap().file_name().into_string().unwrap();
        name.strip_prefix("step-")?.strip_suffix(".png")?.parse::<u64>().ok()
    });
    let last = last.max().unwrap();
    page.until(&format!("document.querySelector('#samples img').alt.replaceAll(',', '') === 'Samples at step {last}'"));
    page.until("document.querySelector('#samples img').naturalWidth > 0");
    page.until("document.querySelector('#connection').textContent.includes('igpt watch')");
}

#[test]
fn a_watched_run_is_waited_for_stops_goes_on_and_finishes_without_a_reload() {
    let Some(mut page) = page() else { return };
    // The events end with the server.
    page.tolerate("Failed to load resource: net::ERR_");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("run")).unwrap();
    let server = Server::watch(&folder.path().join("run"), access(None, &[]));
    visit(&mut page, server.address());
    comes(&mut page, "waiting", "Waiting for the trainer");
    // Six seconds of training, in two parts.
    let training = Training::start(folder.path(), "minutes = 0.1", Start::New, false);
    comes(&mut page, "running", "Running");
    page.until(&format!("{STEP} > 0"));
    training.interrupt();
    comes(&mut page, "stopped", "Stopped");
    let step = page.js(STEP).as_u64().unwrap();
    let training = Training::start(folder.path(), "minutes = 0.1", Start::Resume, false);
    comes(&mut page, "running", "Running");
    comes(&mut page, "finished", "Finished");
    drop(training);
    page.until(&format!("{STEP} > {step}"));
    assert_eq!(page.js("document.querySelector('#progress').value"), 1);
    assert_eq!(page.text("#connection"), "");

    // Who comes later sees it all.
    page.visit(server.address());
    page.until("document.body.dataset.state === 'finished'");
    samples(&mut page, 2);
    page.until("document.querySelectorAll('#palette [role=option]').length === 8");
    assert_eq!(page.text("#palette-size"), "8 colours");
    let notes = page.text("#notes");
    assert!(notes.contains("validation loss") && notes.contains("run"), "{notes}");
    assert!(!notes.contains(folder.path().to_str().unwrap()), "{notes}");
    for fact in ["colours8", "size8", "width32"] {
        assert!(page.text("#facts").contains(fact), "{fact}");
    }
    page.until("document.querySelectorAll('#loss-chart .levels text').length > 0");
    page.click("#numbers summary");
    page.js("document.querySelector('#palette').focus()");
    page.press("ArrowRight");
    assert!(page.text("#swatch").starts_with("Token 0 · #"), "{}", page.text("#swatch"));
    suit_everybody(&mut page);
}

#[test]
fn the_live_page_asks_for_a_token_until_it_has_the_right_one() {
    let Some(mut page) = page() else { return };
    // The events end with the server.
    page.tolerate("Failed to load resource: net::ERR_");
    page.tolerate("the server responded with a status of 401");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("run")).unwrap();
    let server = Server::watch(&folder.path().join("run"), access(Some("swordfish"), &[]));
    page.visit(server.address());
    page.until("!document.querySelector('#token-form').hidden && document.activeElement.id === 'token'");
    suit_everybody(&mut page);
    page.fill("#token", "sardine");
    page.press("Enter");
    page.until("document.querySelector('#state').textContent === 'The server does not accept this token'");
    page.fill("#token", "swordfish");
    page.press("Enter");
    page.until("document.body.dataset.state === 'waiting'");
    page.until("document.querySelector('#token-form').hidden && !document.querySelector('#run').hidden");
}
