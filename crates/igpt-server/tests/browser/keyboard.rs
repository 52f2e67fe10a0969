//! The studio without a mouse.

use super::studio::{SIDE, Studio};
use crate::chromium::Page;

/// Presses a key until an element has the focus; gives all elements that had it on the way.
fn walk(page: &mut Page, key: &str, to: &str) -> Vec<String> {
    let mut passed: Vec<String> = vec![];
    let here = "((one) => one.id || one.dataset.tool || one.className || one.localName)(document.activeElement)";
    while passed.last().is_none_or(|last| last != to) {
        assert!(passed.len() < 60, "{key} does not lead to {to}: {passed:?}");
        page.press(key);
        passed.push(page.js(here).as_str().unwrap().to_string());
    }
    passed
}

#[test]
fn a_picture_is_rubbed_out_and_completed_with_the_keyboard_alone() {
    let Some(mut studio) = Studio::open() else { return };
    let page = &mut studio.page;
    let mut order = walk(page, "Tab", "complete");
    order.retain(|name| !["button", "summary", "surprise"].contains(&name.as_str()));
    let expected = ["skip", "blank", "file", "editor", "erase", "restore", "paint", "rows", "brush", "complete"];
    assert_eq!(order, expected);

    page.js("document.activeElement.blur()");
    walk(page, "Shift+Tab", "rows");
    page.press("End");
    assert_eq!(page.text("#rows-value"), "16 of 16");
    walk(page, "Shift+Tab", "editor");
    let place = page.js("scrollY");
    for key in ["Home", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight"] {
        page.press(key);
    }
    assert!(page.text("#spoken").starts_with("Row 5, column 3, #"), "{}", page.text("#spoken"));
    page.press("1");
    page.press(" ");
    assert!(page.text("#spoken").ends_with("erased"));
    page.press("ArrowDown");
    for key in ["Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"] {
        page.press(key);
    }
    assert!(page.text("#spoken").ends_with("rectangle of 6 pixels"));
    page.press(" ");
    // Keys that move the page elsewhere move the cursor here.
    assert_eq!(page.js("scrollY"), place);
    walk(page, "Tab", "candidates");
    for key in ["Backspace", "Backspace", "3"] {
        page.press(key);
    }
    walk(page, "Shift+Tab", "complete");
    page.press("Enter");
    let (request, _) = studio.drawn();
    let erased =
        |row: usize, column: usize| (row, column) == (4, 2) || ((5..=6).contains(&row) && (2..=4).contains(&column));
    let mask: Vec<bool> = (0..SIDE * SIDE).map(|at| erased(at / SIDE, at % SIDE)).collect();
    assert_eq!((&request["mask"], &request["candidates"]), (&mask.into(), &3.into()));
    let page = &mut studio.page;
    page.press("Control+z");
    assert_eq!(page.text("#status"), "Undone: rub out.");

    // Past everything that comes before it.
    page.js("document.activeElement.blur(), scrollTo(0, 0)");
    page.js("document.querySelector('.skip').focus()");
    page.press("Enter");
    page.until("document.activeElement.id === 'editor'");
}
