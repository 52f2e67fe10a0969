//! The live page: it follows a run through all that happens to it, and is never loaded anew.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::looks::suit_everybody;
use super::studio::page;
use crate::chromium::Page;
use crate::server::Server;

/// A network that takes hundreds of steps a second, and is looked at all the time.
const RUN: &str = "pretrain --data emoji --preset nano --n-px 8 --colors 8 --batch 8 --threads 1 \
                   --set model.n_embd=32 --set model.n_layer=1 --set model.n_head=1 --set train.eval_every=40 \
                   --set train.eval_images=8 --set train.sample_every=40 --set train.sample_images=4 --out run";

const STEP: &str = "Number(document.querySelector('#step').textContent.match(/[\\d,]+/)[0].replaceAll(',', ''))";

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    command.current_dir(folder).args(arguments.split_whitespace());
    command
}

fn watch(folder: &Path, arguments: &str) -> Server {
    Server::run(folder, &mut command(folder, &format!("watch run --listen 127.0.0.1:0 {arguments}")))
}

/// A training beside the page; killed with the value.
struct Training(Child);

impl Training {
    fn start(folder: &Path, arguments: &str) -> Self {
        let mut command = command(folder, &format!("{RUN} {arguments}"));
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Ends as by Ctrl-C.
    fn interrupt(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Opens a live page, with a sign that is gone if it is loaded anew.
fn visit(page: &mut Page, server: &Server) {
    page.visit(server.address());
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
    let training =
        Server::run(folder.path(), &mut command(folder.path(), &format!("{RUN} --steps 1000000 --page 127.0.0.1:0")));
    visit(&mut page, &training);
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

    training.terminate();
    training.ended();
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
    let training =
        Server::run(folder.path(), &mut command(folder.path(), &format!("{RUN} --minutes 0.2 --page 127.0.0.1:0")));
    visit(&mut page, &training);
    comes(&mut page, "running", "Running");
    assert_eq!(training.ended().0, Some(0));
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
    let server = watch(folder.path(), "");
    visit(&mut page, &server);
    comes(&mut page, "waiting", "Waiting for the trainer");
    // Six seconds of training, in two parts.
    let training = Training::start(folder.path(), "--minutes 0.1");
    comes(&mut page, "running", "Running");
    page.until(&format!("{STEP} > 0"));
    training.interrupt();
    comes(&mut page, "stopped", "Stopped");
    let step = page.js(STEP).as_u64().unwrap();
    let training = Training::start(folder.path(), "--resume");
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
    let server = watch(folder.path(), "--token swordfish");
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
