//! `igpt serve` and other verbs that listen, as processes of their own.

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;

/// The longest that a server may take to end before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is killed with the value.
pub(crate) struct Server {
    child: Child,
    client: Client,
    words: Option<JoinHandle<String>>,
}

/// `igpt serve` in `folder` at a free port, with arguments that contain no spaces themselves.
pub(crate) fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    // Several servers run beside each other in these tests.
    command.current_dir(folder).env("IGPT_LISTEN", "127.0.0.1:0").env("IGPT_THREADS", "1");
    command.arg("serve").args(arguments.split_whitespace());
    command
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Server {
    /// Waits until `igpt serve` in `folder` takes requests.
    pub(crate) fn start(folder: &Path, arguments: &str) -> Self {
        Self::run(&mut command(folder, arguments))
    }

    /// The same of a command made by [`command`] and changed.
    pub(crate) fn run(command: &mut Command) -> Self {
        Self::try_run(command).unwrap_or_else(|words| panic!("the server ended: {words}"))
    }

    /// The same, or what a server said that did not start.
    pub(crate) fn try_run(command: &mut Command) -> Result<Self, String> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let Some(line) = lines.next() else {
                assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
                return Err(said);
            };
            let line = line.unwrap();
            said = format!("{said}{line}\n");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split(';').next().unwrap().trim().to_string();
            }
        };
        let words = std::thread::spawn(move || said + &lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
        Ok(Self { child, client: Client::new(address), words: Some(words) })
    }

    /// Tells the server to stop as the system would.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// The exit code, and all that went to standard error.
    pub(crate) fn ended(self) -> (Option<i32>, String) {
        self.ended_while(|_| ())
    }

    /// As [`Server::ended`], doing something again and again meanwhile.
    pub(crate) fn ended_while(mut self, meanwhile: impl Fn(&Self)) -> (Option<i32>, String) {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            meanwhile(&self);
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.words.take().unwrap().join().unwrap());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the server does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
