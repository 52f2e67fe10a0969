//! Drawing in the studio: what comes when, how it is stopped, used and kept.

use serde_json::{Value, json};

use super::pictures;
use super::studio::{SIDE, Studio};
use crate::support::client::until;

#[test]
fn on_opening_pixels_come_one_after_another_and_become_the_completions_of_the_api() {
    let Some(mut studio) = Studio::open() else { return };
    let drawn = studio.page.js("ask.seen['data-drawn'].map(Number)");
    let drawn: Vec<u64> = serde_json::from_value(drawn).unwrap();
    let between = drawn.iter().filter(|count| (1..128).contains(*count)).count();
    assert!(between >= 16 && drawn.iter().filter(|count| **count == 128).count() >= 4, "{drawn:?}");
    let (request, answer) = studio.drawn();
    let tokens = studio.example().clone();
    let own = json!({"tokens": tokens, "rows": 8, "completions": 4, "seed": 0});
    assert_eq!(answer, studio.server.post("/v1/complete", &own).json());
    assert_eq!((&request["tokens"], &request["rows"]), (&tokens, &8.into()));
    assert_eq!(studio.page.text("#status"), "All 4 done, seed 0.");
    assert!(studio.page.text("#method").starts_with("Exact"));
    let half = 8 * SIDE;
    assert_eq!(studio.shown("#editor")[..half], studio.colors(&tokens)[..half]);

    // The next ones are others, and told by their seed.
    studio.page.click("#complete");
    let (again, other) = studio.drawn();
    assert_ne!(again["seed"], request["seed"]);
    assert_ne!(other["images"], answer["images"]);
    assert_eq!(studio.page.text("#status"), format!("All 4 done, seed {}.", again["seed"]));
    studio.page.click("#sample");
    studio.page.until("document.body.dataset.state === 'done'");
    let mut sample = studio.page.sent("/v1/sample").pop().unwrap();
    sample["stream"] = false.into();
    let samples = studio.server.post("/v1/sample", &sample).json();
    for (i, image) in samples["images"].as_array().unwrap().iter().enumerate() {
        assert_eq!(studio.completion(i), studio.colors(&image["tokens"]));
    }
}

#[test]
fn stopping_leaves_what_is_drawn_and_frees_the_server() {
    let Some(mut studio) = Studio::open() else { return };
    studio.page.fill("#completions", "16");
    studio.page.click("#complete");
    studio.page.until("[...document.querySelectorAll('#results canvas')].some((canvas) => canvas.dataset.drawn > 0)");
    studio.page.click("#stop");
    studio.page.until("document.querySelector('#status').textContent === 'Stopped.'");
    assert_eq!(studio.page.js("document.body.dataset.state"), "ready");
    assert_eq!(studio.page.js("document.querySelector('#stop').disabled"), true);
    assert!(studio.page.text(".result:last-child .progress").starts_with("stopped at "));
    studio.server.becomes_idle();
    studio.page.fill("#completions", "1");
    studio.page.click("#complete");
    studio.drawn();
}

#[test]
fn a_completion_is_used_as_the_picture_and_kept_as_a_sharp_png() {
    let Some(mut studio) = Studio::open() else { return };
    let folder = studio.folder.path().join("downloads");
    studio.page.keep_downloads(&folder);
    let images: Vec<Vec<String>> = (0..4).map(|i| studio.completion(i)).collect();

    studio.page.click(".result:nth-child(1) .download");
    let path = folder.join("emoji-seed-0-1.png");
    until(|| pictures::kept(&path));
    let factor = 32;
    let (width, height, pixels) = pictures::read(&path);
    assert_eq!((width, height), (SIDE * factor, SIDE * factor));
    let at = |x: usize, y: usize| &images[0][y / factor * SIDE + x / factor];
    assert!((0..height).all(|y| (0..width).all(|x| pixels[y * width + x] == *at(x, y))));

    // All of them on one sheet, a pixel apart.
    studio.page.click("#download-all");
    let path = folder.join("emoji-seed-0-all.png");
    until(|| pictures::kept(&path));
    let (width, height, pixels) = pictures::read(&path);
    let step = (SIDE + 1) * factor;
    assert_eq!((width, height), (2 * step - factor, 2 * step - factor));
    for (i, image) in images.iter().enumerate() {
        let middle = |at: usize| {
            let (x, y) = (i % 2 * step + at % SIDE * factor, i / 2 * step + at / SIDE * factor);
            &pixels[(y + factor / 2) * width + x + factor / 2]
        };
        assert!((0..SIDE * SIDE).all(|at| *middle(at) == image[at]), "{i}");
    }

    studio.page.click(".result:nth-child(3) .use");
    assert_eq!(studio.page.text("#rows-value"), "16 of 16");
    assert_eq!(studio.shown("#editor"), images[2]);
    // There is nothing to draw in a whole picture, which is told.
    studio.page.click("#complete");
    assert!(studio.page.text("#error").contains("rub out"));
    let (row, column) = (studio.pixel(3, 3), studio.pixel(3, 12));
    studio.page.drag(&[row, column]);
    assert_eq!(studio.page.js("document.querySelector('#error').hidden"), true);
}

#[test]
fn without_temperature_all_completions_are_the_likeliest_one() {
    let Some(mut studio) = Studio::open() else { return };
    studio.page.fill("#temperature", "0");
    studio.page.click("#complete");
    let (request, answer) = studio.drawn();
    assert_eq!(request["temperature"].as_f64(), Some(0.0));
    let tokens: Vec<&Value> = answer["images"].as_array().unwrap().iter().map(|image| &image["tokens"]).collect();
    assert!(tokens.len() == 4 && tokens.iter().all(|one| *one == tokens[0]));
}
