//! Static files of the pages, embedded in the program: nothing is loaded from elsewhere.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

/// Static file: its path, content type and contents.
pub(crate) type Asset = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        ($path, $kind, include_str!(concat!("../assets/", $file)))
    };
}

/// Static files of `igpt serve`.
pub(crate) const STUDIO: &[Asset] = &[
    asset!("/", HTML, "studio.html"),
    asset!("/base.css", CSS, "base.css"),
    asset!("/studio.css", CSS, "studio.css"),
    asset!("/studio.js", JS, "studio.js"),
    asset!("/studio-api.js", JS, "studio-api.js"),
    asset!("/studio-controls.js", JS, "studio-controls.js"),
    asset!("/studio-editor.js", JS, "studio-editor.js"),
    asset!("/studio-inspect.js", JS, "studio-inspect.js"),
    asset!("/studio-method.js", JS, "studio-method.js"),
    asset!("/studio-picture.js", JS, "studio-picture.js"),
    asset!("/studio-pixels.js", JS, "studio-pixels.js"),
    asset!("/studio-results.js", JS, "studio-results.js"),
    asset!("/studio-source.js", JS, "studio-source.js"),
];

/// Static files of `igpt watch`.
pub(crate) const LIVE: &[Asset] = &[
    asset!("/", HTML, "live.html"),
    asset!("/base.css", CSS, "base.css"),
    asset!("/live.css", CSS, "live.css"),
    asset!("/live.js", JS, "live.js"),
    asset!("/live-chart.js", JS, "live-chart.js"),
    asset!("/live-charts.js", JS, "live-charts.js"),
    asset!("/live-feed.js", JS, "live-feed.js"),
    asset!("/live-format.js", JS, "live-format.js"),
    asset!("/live-palette.js", JS, "live-palette.js"),
    asset!("/live-pictures.js", JS, "live-pictures.js"),
    asset!("/live-run.js", JS, "live-run.js"),
    asset!("/live-scale.js", JS, "live-scale.js"),
];

/// Routes to the static files `assets`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(assets: &'static [Asset]) -> Router<S> {
    assets.iter().fold(Router::new(), |router, (path, kind, body)| {
        // Browsers then use a new version of the program at once.
        let headers = [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || async move { (headers, *body).into_response() }))
    })
}
