//! The picture that is completed: where it comes from, what is rubbed out of it, and what is taken back.

use std::fs;

use serde_json::{Value, json};

use super::pictures;
use super::studio::{SIDE, Studio};

/// Pixels of a picture by row and column.
fn mask(inside: impl Fn(usize, usize) -> bool) -> Value {
    (0..SIDE * SIDE).map(|at| inside(at / SIDE, at % SIDE)).collect::<Vec<_>>().into()
}

#[test]
fn a_file_that_is_chosen_dropped_or_pasted_is_shown_in_the_colours_of_the_palette() {
    let Some(mut studio) = Studio::open() else { return };
    studio.keep_all_rows();
    let base64 = |file: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, file);
    for (i, name) in ["chosen.png", "dropped.png", "pasted.png"].iter().enumerate() {
        let path = pictures::write(studio.folder.path(), name, i);
        let file = base64(&fs::read(&path).unwrap());
        match i {
            0 => studio.page.choose("#file", &path),
            1 => studio.page.drop_file("main", &path),
            _ => studio.page.paste(name, &file),
        }
        studio.page.until(&format!("document.querySelector('#status').textContent === 'Loaded {name}.'"));
        let quantized = studio.server.post("/v1/quantize", &json!({"image": file})).json();
        assert_eq!(studio.shown("#editor"), studio.colors(&quantized["tokens"]), "{name}");
    }
    let before = studio.shown("#editor");
    let words = studio.folder.path().join("words.png");
    fs::write(&words, "no image").unwrap();
    studio.page.tolerate("the server responded with a status of 400");
    studio.page.choose("#file", &words);
    studio.page.until("!document.querySelector('#error').hidden");
    assert!(studio.page.text("#error").ends_with('.'));
    assert_eq!(studio.shown("#editor"), before);
}

#[test]
fn a_hole_rubbed_out_with_the_mouse_is_drawn_by_candidates_and_all_else_is_kept() {
    let Some(mut studio) = Studio::open() else { return };
    studio.keep_all_rows();
    let whole = studio.shown("#editor");
    assert_eq!(whole, studio.colors(studio.example()));
    // The brush is 3×3.
    let way = |studio: &mut Studio| [studio.pixel(5, 3), studio.pixel(5, 11)];
    let stroke = way(&mut studio);
    studio.page.drag(&stroke);
    let hole = |row: usize, column: usize| (4..=6).contains(&row) && (2..=12).contains(&column);
    let mask = mask(hole);
    for (at, (shown, whole)) in studio.shown("#editor").iter().zip(&whole).enumerate() {
        assert_eq!(shown != whole, mask[at] == true, "pixel {at}");
    }
    assert_eq!(studio.page.text("#rows-value"), "free shape");
    studio.page.fill("#candidates", "4");
    studio.page.fill("#completions", "2");
    studio.page.click("#complete");
    let (request, answer) = studio.drawn();
    assert_eq!((&request["mask"], &request["candidates"]), (&mask, &4.into()));
    assert_eq!(answer["method"], "particles");
    assert!(studio.page.text("#method").contains("4 candidates"));
    for i in 0..2 {
        let drawn = studio.completion(i);
        assert!((0..SIDE * SIDE).all(|at| mask[at] == true || drawn[at] == whole[at]));
        let told = studio.page.text(&format!(".result:nth-child({}) .progress", i + 1));
        assert!(told.starts_with("33 pixels drawn") && told.ends_with("of 4 effective"), "{told}");
    }
    // The other button brings back what was rubbed out.
    studio.page.click("[data-tool=restore]");
    let stroke = way(&mut studio);
    studio.page.drag(&stroke);
    assert_eq!(studio.shown("#editor"), whole);
}

#[test]
fn each_stroke_drag_and_picture_is_one_step_that_is_taken_back_and_done_again() {
    let Some(mut studio) = Studio::open() else { return };
    let mut states = vec![studio.shown("#editor")];
    let value = "Number(document.querySelector('#rows').value)";
    let thumb = studio.page.place("#rows", 0.5, 0.5);
    let end = studio.page.place("#rows", 0.8, 0.5);
    studio.page.drag(&[thumb, ((thumb.0 + end.0) / 2.0, end.1), end]);
    let rows = studio.page.js(value).as_u64().unwrap() as usize;
    assert!((11..=14).contains(&rows), "{rows}");
    assert_eq!(studio.page.text("#rows-value"), format!("{rows} of 16"));
    states.push(studio.shown("#editor"));
    let example = studio.colors(studio.example());
    for (at, color) in states[1].iter().enumerate() {
        assert_eq!(*color == example[at], at < rows * SIDE, "pixel {at}");
    }
    let stroke = [studio.pixel(2, 2), studio.pixel(8, 2), studio.pixel(8, 8)];
    studio.page.drag(&stroke);
    states.push(studio.shown("#editor"));
    studio.page.click("[data-tool=paint]");
    studio.page.click("#palette [data-token='7']");
    let painted = [studio.pixel(12, 12)];
    studio.page.drag(&painted);
    states.push(studio.shown("#editor"));
    assert_eq!(states[3][12 * SIDE + 12], studio.colors(&json!([7]))[0]);
    studio.page.click("#examples button");
    states.push(studio.shown("#editor"));
    assert!(states.windows(2).all(|pair| pair[0] != pair[1]));

    for state in states.iter().rev().skip(1) {
        studio.page.click("#undo");
        assert!(studio.page.text("#status").starts_with("Undone: "));
        assert_eq!(studio.shown("#editor"), *state);
    }
    assert_eq!(studio.page.js("document.querySelector('#undo').disabled"), true);
    for state in &states[1..] {
        studio.page.click("#redo");
        assert_eq!(studio.shown("#editor"), *state);
    }
    assert_eq!(studio.page.js("document.querySelector('#redo').disabled"), true);
    studio.page.press("Control+z");
    assert_eq!(studio.shown("#editor"), states[3]);
    studio.page.press("Control+Shift+z");
    assert_eq!(studio.shown("#editor"), states[4]);
}

#[test]
fn on_a_phone_a_finger_rubs_out_without_moving_the_page_and_completing_is_at_hand() {
    let Some(mut studio) = Studio::open() else { return };
    studio.page.screen(375, 812, true);
    studio.page.js("scrollTo(0, 0)");
    let button = "document.querySelector('#complete').getBoundingClientRect()";
    let bottom = studio.page.js(&format!("{button}.bottom")).as_f64().unwrap();
    assert!(bottom <= 812.0, "Complete ends at {bottom}");
    let way = [studio.pixel(1, 5), studio.pixel(3, 5), studio.pixel(6, 5)];
    let top = studio.page.js("scrollY");
    studio.page.swipe(&way);
    assert_eq!(studio.page.js("scrollY"), top);
    studio.page.fill("#candidates", "2");
    studio.page.fill("#completions", "2");
    studio.page.click("#complete");
    let (request, _) = studio.drawn();
    let expected = mask(|row, column| row >= 8 || (row <= 7 && (4..=6).contains(&column)));
    assert_eq!(request["mask"], expected);
    // Whoever asked for them sees them.
    let place = "document.querySelector('.result').getBoundingClientRect()";
    assert_eq!(studio.page.js(&format!("{place}.top >= 0 && {place}.bottom <= innerHeight")), true);
}
