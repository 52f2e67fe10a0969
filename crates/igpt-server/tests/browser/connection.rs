//! Between the studio and its server: a token that is asked for, and a server that goes away.

use igpt_server::{Access, ServeOptions, ServerLimits};

use super::studio::{Studio, page};
use crate::support::server::{Server, access, bundled, limits};

const SHOWN: &str = "!document.querySelector('#error').hidden";

#[test]
fn a_token_is_asked_for_a_wrong_one_is_told_and_the_right_one_is_kept_for_the_tab() {
    let Some(mut page) = page() else { return };
    page.tolerate("the server responded with a status of 401");
    let server = Server::start(ServeOptions { access: access(Some("swordfish"), &[]), ..bundled() });
    page.visit(server.address());
    page.until("!document.querySelector('#token-form').hidden && document.activeElement.id === 'token'");
    assert_eq!(page.js("document.querySelector('#studio').hidden"), true);
    page.fill("#token", "sardine");
    page.press("Enter");
    page.until(SHOWN);
    assert!(page.text("#error").contains("does not accept this token"));
    page.fill("#token", "swordfish");
    page.press("Enter");
    page.until("document.body.dataset.state === 'done'");
    assert_eq!(
        page.js("document.querySelector('#token-form').hidden && document.querySelector('#error').hidden"),
        true
    );
    page.visit(server.address());
    page.until("document.body.dataset.state === 'done'");
}

#[test]
fn a_server_that_goes_away_is_told_and_the_page_goes_on_when_it_is_back() {
    // What is under way when it goes is cut off.
    let at_once = ServeOptions { limits: ServerLimits { grace: 0, ..limits() }, ..bundled() };
    let Some(Studio { mut page, server, .. }) = Studio::of(at_once) else { return };
    page.tolerate("Failed to load resource: net::ERR_");
    let address = server.address().to_string();
    page.fill("#completions", "16");
    page.click("#complete");
    page.until("document.querySelector('#results canvas').dataset.drawn > 0");
    drop(server);
    page.until(SHOWN);
    let told = page.text("#error");
    assert!(told.contains("onnection") && told.ends_with('.'), "{told}");
    assert_eq!(page.js("document.body.dataset.state"), "error");
    page.click("#complete");
    page.until(&format!("{SHOWN} && document.querySelector('#error').textContent.includes('lost')"));
    let _server = Server::start(ServeOptions { access: Access::new(&address, None, false, &[]).unwrap(), ..bundled() });
    page.click("#complete");
    page.until("document.body.dataset.state === 'done'");
    assert_eq!(page.js(SHOWN), false);
}
