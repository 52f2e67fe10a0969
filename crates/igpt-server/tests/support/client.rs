//! What clients of a server see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use ureq::{Agent, Body, BodyReader};

/// The longest that anything may take here before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one server. Every answer that it gets is held to what all answers must keep.
pub(crate) struct Client {
    address: String,
    agent: Agent,
    /// Paths of the host, which no answer may tell.
    paths: Vec<String>,
}

impl Client {
    /// Of the server at `address`, host and port.
    pub(crate) fn new(address: String) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).proxy(None);
        // Folders of tests, too: their names begin like this.
        let folders = std::env::temp_dir().join(".tmp");
        let paths = [folders, env!("CARGO_MANIFEST_DIR").into(), std::env::current_exe().unwrap()];
        let paths = paths.map(|path| path.to_str().unwrap().to_string()).to_vec();
        Self { address, agent: config.build().into(), paths }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut response = self.ask(method, path, headers, body);
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        self.checked(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }

    /// The events of a request with `"stream": true`; the client goes away when they are dropped.
    pub(crate) fn events(&self, path: &str, body: &Value) -> Events {
        let mut body = body.clone();
        body["stream"] = true.into();
        let json = [("Content-Type", "application/json")];
        let response = self.ask("POST", path, &json, body.to_string().as_bytes());
        let head = Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: vec![] };
        let reader = BufReader::new(response.into_body().into_reader());
        if head.header("content-type") != "text/event-stream" {
            let mut body = vec![];
            { reader }.read_to_end(&mut body).unwrap();
            panic!("no events: {}", self.checked(Answer { body, ..head }).text());
        }
        self.checked(head);
        Events(reader)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<Body> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let sent = match body {
            [] => self.agent.run(request.body(()).unwrap()),
            _ => self.agent.run(request.body(body).unwrap()),
        };
        sent.unwrap_or_else(|problem| panic!("{method} {path}: {problem}"))
    }

    /// A connection for whoever does not keep to the protocol.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes as they are, and reads until the server hangs up; nothing if it does so without a word.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        let mut received = vec![];
        // It may hang up before all is sent, and roughly.
        let _ = stream.write_all(bytes);
        let _ = stream.read_to_end(&mut received);
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let mut lines = std::str::from_utf8(&received[..end]).unwrap().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let headers = lines.map(field).collect();
        Some(Answer { status, headers, body: received[end + 4..].to_vec() })
    }

    /// What every answer must keep: strict headers, a reason in JSON if it is none, no path of the host, no failure.
    fn checked(&self, answer: Answer) -> Answer {
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
        let all = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
        for path in &self.paths {
            assert!(!all.contains(path.as_str()), "a path of the host: {all}");
        }
        assert!(answer.status < 500 || answer.status == 503, "{}: {}", answer.status, answer.text());
        if answer.status >= 400 {
            answer.refused(answer.status);
        }
        answer
    }

    /// A value of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").ok().text().to_string();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until nothing is drawn or waited for, and nobody is served but who asks.
    pub(crate) fn becomes_idle(&self) {
        let idle = [("igpt_busy_rows", 0.0), ("igpt_queue_length", 0.0), ("igpt_open_requests", 1.0)];
        until(|| idle.iter().all(|(name, value)| self.metric(name) == *value));
    }
}

/// Waits for something that must come.
pub(crate) fn until(come: impl Fn() -> bool) {
    let since = Instant::now();
    while !come() {
        assert!(since.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty if it isn't there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The answer, which must be one.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK.as_u16(), "{}", self.text());
        self
    }

    /// The JSON of an answer that must be one.
    pub(crate) fn json(self) -> Value {
        let answer = self.ok();
        assert_eq!(answer.header("content-type"), "application/json");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Why a request was refused, which must have been with this status.
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text());
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        let error = body["error"].as_str().unwrap();
        assert!(!error.is_empty() && body.as_object().unwrap().len() == 1, "{body}");
        error.to_string()
    }
}

/// Server-sent events: name and data.
pub(crate) struct Events(BufReader<BodyReader<'static>>);

impl Iterator for Events {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let (mut name, mut data) = (None, None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("event", value)) => name = Some(value.to_string()),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                _ if name.is_some() && line.trim_end().is_empty() => return name.zip(data),
                _ => {}
            }
        }
    }
}
