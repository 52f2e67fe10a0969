//! Pages in a headless Chromium, driven through the DevTools protocol.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// The longest that anything may take here before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a page.
const GLANCE: Duration = Duration::from_millis(20);

const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
    "about:blank",
];

/// The program; killed with its last page.
struct Chromium {
    child: Child,
    port: u16,
    path: String,
    _profile: TempDir,
}

/// The one that all tests open their pages in, while there are any.
static SHARED: Mutex<Weak<Chromium>> = Mutex::new(Weak::new());

impl Chromium {
    fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let running = shared.upgrade().or_else(|| Self::start().map(Arc::new))?;
        *shared = Arc::downgrade(&running);
        Some(running)
    }

    /// None where no such program is found.
    fn start() -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let found = |name: &String| {
            let mut command = Command::new(name);
            command.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display()));
            match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
                Err(problem) if problem.kind() == ErrorKind::NotFound => None,
                started => Some(started.unwrap()),
            }
        };
        let usual = || ["chromium", "chromium-browser", "google-chrome"].map(String::from).to_vec();
        let names = std::env::var("CHROMIUM").map_or_else(|_| usual(), |name| vec![name]);
        let child = names.iter().find_map(found)?;
        let mut chromium = Self { child, port: 0, path: String::new(), _profile: profile };
        let since = Instant::now();
        while chromium.path.is_empty() {
            assert!(since.elapsed() < PATIENCE, "Chromium does not open its port");
            std::thread::sleep(GLANCE);
            let written = std::fs::read_to_string(chromium._profile.path().join("DevToolsActivePort"));
            if let Some((port, path)) = written.unwrap_or_default().split_once('\n') {
                (chromium.port, chromium.path) = (port.parse().unwrap(), path.trim().to_string());
            }
        }
        Some(chromium)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A page in a window of its own that remembers nothing of others. Dropped, it must have left nothing in the console,
/// broken no policy, and asked nobody but the server it was opened from.
pub(crate) struct Page {
    socket: WebSocket<TcpStream>,
    /// Whose cookies and downloads no other page shares.
    context: Value,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
    home: String,
    tolerated: Vec<&'static str>,
    _browser: Arc<Chromium>,
}

impl Page {
    /// None where there is no Chromium, unless `IGPT_BROWSER=1` says that there must be one.
    pub(crate) fn open() -> Option<Self> {
        let Some(browser) = Chromium::shared() else {
            let must = std::env::var("IGPT_BROWSER").is_ok_and(|value| value == "1");
            assert!(!must, "no Chromium is found: install one, or name it in CHROMIUM");
            eprintln!("no Chromium is found: left out");
            return None;
        };
        let stream = TcpStream::connect(("127.0.0.1", browser.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = format!("ws://127.0.0.1:{}{}", browser.port, browser.path);
        let socket = tungstenite::client(address, stream).unwrap().0;
        let (home, tolerated) = (String::new(), vec![]);
        let (context, events) = (Value::Null, vec![]);
        let mut page = Self { socket, context, session: None, calls: 0, events, home, tolerated, _browser: browser };
        let made = page.call("Target.createBrowserContext", json!({"disposeOnDetach": true}));
        page.context = made["browserContextId"].clone();
        let window = json!({"url": "about:blank", "browserContextId": page.context, "newWindow": true});
        let target = page.call("Target.createTarget", window)["targetId"].take();
        let session = page.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        page.session = Some(session["sessionId"].as_str().unwrap().to_string());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        page.screen(1280, 900, false);
        Some(page)
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let mut message: Value = serde_json::from_str(self.socket.read().unwrap().to_text().unwrap()).unwrap();
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    pub(crate) fn visit(&mut self, address: &str) {
        self.home = format!("http://{address}/");
        self.call("Page.navigate", json!({"url": self.home}));
    }

    /// Lets downloads be saved in a folder, without asking.
    pub(crate) fn keep_downloads(&mut self, folder: &Path) {
        let context = self.context.clone();
        let behavior = json!({"behavior": "allow", "downloadPath": folder, "browserContextId": context});
        self.call("Browser.setDownloadBehavior", behavior);
    }

    /// The size of the window, or of the phone.
    pub(crate) fn screen(&mut self, width: usize, height: usize, phone: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": phone}));
    }

    /// The value of an expression in the page.
    pub(crate) fn js(&mut self, expression: &str) -> Value {
        let evaluate = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut found = self.call("Runtime.evaluate", evaluate);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {}", found["exceptionDetails"]["exception"]);
        found["result"]["value"].take()
    }

    /// The text of the first element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        self.js(&format!("document.querySelector({selector:?}).textContent")).as_str().unwrap().to_string()
    }

    /// Waits for an expression to become true.
    pub(crate) fn until(&mut self, expression: &str) {
        let since = Instant::now();
        while self.js(&format!("(() => {{ try {{ return !!({expression}); }} catch {{ return false; }} }})()")) != true
        {
            if since.elapsed() > PATIENCE {
                panic!("waited in vain for {expression} in:\n{}", self.js("document.body.innerText").as_str().unwrap());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The bodies of all requests to a path so far.
    pub(crate) fn sent(&self, path: &str) -> Vec<Value> {
        let url = format!("{}{}", self.home, path.trim_start_matches('/'));
        let requests = self.events.iter().map(|event| &event["params"]["request"]);
        let bodies = requests.filter(|request| request["url"] == url.as_str());
        bodies.map(|request| serde_json::from_str(request["postData"].as_str().unwrap()).unwrap()).collect()
    }

    /// Lets the console have messages with this text.
    pub(crate) fn tolerate(&mut self, text: &'static str) {
        self.tolerated.push(text);
    }

    /// Messages in the console, violated policies, and requests to elsewhere.
    fn complaints(&self) -> Vec<String> {
        let complaint = |event: &Value| {
            let found = &event["params"];
            let url = found["request"]["url"].as_str().unwrap_or_default();
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => Some(found.to_string()),
                "Network.requestWillBeSent" if url.starts_with(&self.home) => None,
                "Network.requestWillBeSent" if url.starts_with("data:") || url.starts_with("blob:") => None,
                "Network.requestWillBeSent" => Some(format!("a request to {url}")),
                _ => None,
            }
        };
        let complaints = self.events.iter().filter_map(complaint);
        complaints.filter(|text| !self.tolerated.iter().any(|one| text.contains(one))).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What was said up to now is heard before the answer.
            self.js("null");
            assert_eq!(self.complaints(), Vec::<String>::new());
        }
    }
}
