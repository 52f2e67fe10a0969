//! Check of requests that a browser sends on behalf of a page: only this server's own pages may do so.
//!
//! Any page can have its visitor's browser send requests to any address, including this machine. Two checks keep it
//! from reading or changing something. `Host` must be a name that is known to lead here: for the browser, a page whose
//! own name is pointed at this address (DNS rebinding) has the same origin. And the headers that name the requesting
//! page (`Origin`, `Sec-Fetch-Site`) must name this server. Programs other than browsers send neither of these headers.

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode, Version};

use crate::access::Access;
use crate::authority::authority;
use crate::refusal::Refusal;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Path prefixes of requests by programs and by the pages themselves; no link leads to them.
const API: [&str; 3] = ["/v1/", "/api/", "/metrics"];

/// Refuses requests under a foreign name, and those of other sites' pages, except links to a page.
pub(crate) fn check(access: &Access, request: &Request) -> Result<(), Refusal> {
    let own = host(access, request)?;
    let headers = request.headers();
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let elsewhere = |from: &str| {
        let error = format!(
            "this was asked by {from}, but only this server's own pages may: where that is a proxy's name for this \
             server, start it with --allow-host NAME"
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, error))
    };
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or("");
        // An anonymous page may only send requests that read, since it can't see the answer.
        let allowed = if origin == "null" { reads } else { is_own(access, origin, own.as_ref()) };
        if !allowed {
            return elsewhere(&format!("a page of {}", igpt::text::printable(origin)));
        }
    }
    let path = request.uri().path();
    let follows_link = request.method() == Method::GET
        && text(headers, &MODE) == Some("navigate")
        && !API.iter().any(|api| path.starts_with(api));
    match text(headers, &SITE) {
        Some("cross-site" | "same-site") if !follows_link => elsewhere("a page of another site"),
        _ => Ok(()),
    }
}

/// Host and port that the request is addressed to.
fn host(access: &Access, request: &Request) -> Result<Option<(String, Option<u16>)>, Refusal> {
    let mut given: Vec<Option<(String, Option<u16>)>> = Vec::new();
    // A host in the request line takes precedence.
    given.extend(request.uri().authority().map(|host| authority(host.as_str())));
    given.extend(request.headers().get_all(HOST).iter().map(|host| authority(host.to_str().unwrap_or(""))));
    if request.headers().get_all(HOST).iter().count() > 1 || given.iter().any(Option::is_none) {
        return Err(Refusal::bad("the request has no valid Host header"));
    }
    let given: Vec<_> = given.into_iter().flatten().collect();
    if given.is_empty() && request.version() > Version::HTTP_10 {
        return Err(Refusal::bad("the request has no Host header"));
    }
    if let Some((host, _)) = given.iter().find(|(host, _)| !access.answers_to(host)) {
        let error = format!(
            "this server does not answer to the name {host}: use its address in numbers, or start it with --allow-host {host}"
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, error));
    }
    Ok(given.into_iter().next())
}

/// Whether `origin` (`http://host:port`) is this server, directly or behind a proxy with a configured name.
fn is_own(access: &Access, origin: &str, own: Option<&(String, Option<u16>)>) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Some((host, port)) = authority(rest) else { return false };
    let or_usual = |port: Option<u16>| port.unwrap_or(usual);
    match own {
        Some((own, own_port)) if *own == host => or_usual(*own_port) == or_usual(port),
        // A proxy may pass on requests under another name than its own.
        _ => access.is_named(&host),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// Status with which a request line and headers are refused; 200 if they are not.
    fn status(access: &Access, line: &str, headers: &[(&str, &str)]) -> u16 {
        let (method, uri) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        check(access, &request.body(Body::empty()).unwrap()).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    fn access(names: &[&str]) -> Access {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        Access::new("127.0.0.1:8000", None, false, &names).unwrap()
    }

    #[test]
    fn a_name_that_may_be_anybody_s_is_refused_and_one_that_is_none_too() {
        let own = access(&["igpt.example.com"]);
        for host in ["127.0.0.1:8000", "192.168.1.5", "[::1]:8000", "LOCALHOST:1", "a.localhost", "igpt.example.com:99"]
        {
            assert_eq!(status(&own, "GET /v1/models", &[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "evil.example:8000", "igpt.example.com.evil.example"] {
            for path in ["GET /", "GET /v1/models", "GET /nothing", "POST /v1/sample", "GET /healthz"] {
                assert_eq!(status(&own, path, &[("host", host)]), 403, "{path} {host}");
            }
        }
        for host in ["", "a b", "a:b", "a:99999", "u@localhost", "[::1", "localhost/", "::1"] {
            assert_eq!(status(&own, "GET /", &[("host", host)]), 400, "{host}");
        }
        assert_eq!(status(&own, "GET /", &[]), 400);
        assert_eq!(status(&own, "GET /", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status(&own, "GET http://evil.example/", &[("host", "localhost")]), 403);
    }

    #[test]
    fn what_other_pages_ask_is_refused_and_what_programs_and_own_pages_ask_is_not() {
        let own = access(&[]);
        let ask =
            |line: &str, more: &[(&str, &str)]| status(&own, line, &[&[("host", "127.0.0.1:8000")], more].concat());
        let post = "POST /v1/sample";
        assert_eq!(ask(post, &[]), 200);
        assert_eq!(ask(post, &[("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(ask("GET /v1/models", &[("sec-fetch-site", "none")]), 200);
        let foreign = [
            "http://evil.example",
            "http://127.0.0.1:3000",
            "http://localhost:8000",
            "https://127.0.0.1",
            "null",
            "x",
            "",
        ];
        for origin in foreign {
            assert_eq!(ask(post, &[("origin", origin)]), 403, "{origin}");
            assert_eq!(ask(post, &[("origin", origin), ("sec-fetch-mode", "navigate")]), 403, "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            for line in [post, "GET /v1/models", "GET /api/run", "GET /metrics", "GET /studio.js", "GET /"] {
                assert_eq!(ask(line, &[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), 403, "{line}");
            }
        }
    }

    #[test]
    fn a_link_to_a_page_can_be_followed_from_anywhere_but_leads_to_no_api() {
        let own = access(&[]);
        let link = [("host", "localhost:8000"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        for (line, expected) in [("GET /", 200), ("GET /studio.css", 200), ("GET /v1/models", 403), ("POST /", 403)] {
            assert_eq!(status(&own, line, &link), expected, "{line}");
        }
    }

    #[test]
    fn behind_a_proxy_its_name_is_an_own_origin_if_it_was_given() {
        for (names, expected) in [(&["igpt.example.com"][..], 200), (&[], 403)] {
            let own = access(names);
            // Proxies pass on the name, or use the address that they were given.
            for host in ["igpt.example.com", "127.0.0.1:8000"] {
                let headers =
                    [("host", host), ("origin", "https://igpt.example.com"), ("sec-fetch-site", "same-origin")];
                assert_eq!(status(&own, "POST /v1/sample", &headers), expected, "{host}");
            }
        }
    }
}
