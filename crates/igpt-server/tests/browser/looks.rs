//! What every page must keep for everybody: contrast in light and dark, names for all controls, and room on a phone.

use igpt_server::ServeOptions;
use serde_json::json;

use super::studio::{Studio, page};
use crate::chromium::Page;
use crate::support::server::{Server, access, bundled};

/// Contrast of text that is read without effort (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

/// Roles whose elements say nothing without a name.
const NAMED: [&str; 14] = [
    "application",
    "button",
    "Canvas",
    "checkbox",
    "combobox",
    "image",
    "link",
    "listbox",
    "option",
    "progressbar",
    "radio",
    "slider",
    "spinbutton",
    "textbox",
];

/// Holds a page, as it is now, to all of that.
pub(super) fn suit_everybody(page: &mut Page) {
    for (scheme, brightness) in [("light", 0.8..1.0), ("dark", 0.0..0.05)] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        page.call("Emulation.setEmulatedMedia", media);
        let paper = page.js("ask.brightness('body')").as_f64().unwrap();
        assert!(brightness.contains(&paper), "{scheme}: {paper}");
        assert_eq!(page.js(&format!("ask.faint({CONTRAST})")), json!([]), "{scheme}");
    }
    assert_eq!(nameless(page), Vec::<String>::new());
    for width in [320, 375, 768, 1280] {
        page.screen(width, 812, width < 768);
        let needed = page.js("document.scrollingElement.scrollWidth").as_u64().unwrap();
        assert!(needed <= width as u64, "{needed} of {width}");
    }
}

/// Elements without a name to those who can't see them.
fn nameless(page: &mut Page) -> Vec<String> {
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    assert!(nodes.len() > 50);
    let silent = nodes.iter().filter(|node| {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        node["ignored"] == false && NAMED.contains(&role) && node["name"]["value"].as_str().is_none_or(str::is_empty)
    });
    let ids: Vec<_> = silent.map(|node| node["backendDOMNodeId"].clone()).collect();
    let mut describe = |id| {
        let node = page.call("DOM.describeNode", json!({"backendNodeId": id}))["node"].take();
        format!("{} {}", node["localName"], node["attributes"])
    };
    ids.into_iter().map(&mut describe).collect()
}

#[test]
fn the_studio_with_all_that_it_can_show_suits_everybody() {
    let Some(mut studio) = Studio::open() else { return };
    let page = &mut studio.page;
    assert_eq!(page.js("document.querySelector('#status').ariaLive"), "polite");
    page.click("#surprise");
    page.until("document.querySelector('#nats').textContent !== ''");
    let point = studio.pixel(2, 2);
    let page = &mut studio.page;
    page.drag(&[point]);
    page.until("document.querySelector('#probabilities .bars')");
    page.click("[data-tool=paint]");
    page.js("document.querySelectorAll('details').forEach((more) => { more.open = true; })");
    page.click(".result .use");
    page.click("#complete");
    page.until("!document.querySelector('#error').hidden");
    suit_everybody(page);
}

#[test]
fn the_studio_that_asks_for_a_token_suits_everybody() {
    let Some(mut page) = page() else { return };
    page.tolerate("the server responded with a status of 401");
    let server = Server::start(ServeOptions { access: access(Some("swordfish"), &[]), ..bundled() });
    page.visit(server.address());
    page.until("!document.querySelector('#token-form').hidden");
    page.fill("#token", "sardine");
    page.press("Enter");
    page.until("!document.querySelector('#error').hidden");
    suit_everybody(&mut page);
}
