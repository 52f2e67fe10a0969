//! Flags of whatever listens: who may come in, and the live page of a training.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use igpt::{Error, Result, files};
use igpt_server::{Access, LivePage};

use crate::output::say;

/// Where a live page is if nothing else is said.
pub(crate) const LIVE: &str = "127.0.0.1:8001";
/// Bytes of a token's file: more is no token.
const TOKEN: u64 = 4096;
/// Between looks at whether a page is still to stay.
const GLANCE: Duration = Duration::from_millis(50);

/// Who may come in.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AccessArgs {
    /// Let in only who sends this as a bearer token; every address but this machine's own wants one. All users of this
    /// machine can read a flag: better set IGPT_TOKEN, or give a --token-file
    #[arg(long, value_name = "T", env = "IGPT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The same with the token from a file
    #[arg(long, value_name = "FILE", env = "IGPT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Let anyone in who can reach the address
    #[arg(long, env = "IGPT_ALLOW_ANYONE")]
    allow_anyone: bool,
    /// Answer under this name of the host too, such as a proxy's; once for each. Without it only addresses in numbers
    /// and localhost are answered, so that no web page can lead a browser here
    #[arg(long, value_name = "NAME", env = "IGPT_ALLOW_HOST", value_delimiter = ',')]
    allow_host: Vec<String>,
}

impl AccessArgs {
    /// Access at `listen`.
    pub(crate) fn at(&self, listen: &str) -> Result<Access> {
        let token = match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => {
                return Err(Error::Invalid(
                    "there are two tokens, --token (or IGPT_TOKEN) and --token-file: give one".into(),
                ));
            }
            (token, None) => token.clone(),
            (None, Some(path)) => Some(token_of(path)?),
        };
        Access::new(listen, token, self.allow_anyone, &self.allow_host)
    }
}

/// The token in a file, without the line's end.
fn token_of(path: &Path) -> Result<String> {
    let mut text = Vec::new();
    files::open(path)?.take(TOKEN + 1).read_to_end(&mut text).map_err(Error::io(path))?;
    if text.len() as u64 > TOKEN {
        return Err(Error::format(path, format!("this is no token: it has more than {TOKEN} bytes")));
    }
    let text = String::from_utf8(text).map_err(|_| Error::format(path, "this is no token: it is not text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).into())
}

/// A page that shows the training as it happens.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PageArgs {
    /// Show the training on a live page, at 127.0.0.1:8001 or another address
    #[arg(long, value_name = "ADDR", env = "IGPT_PAGE", num_args = 0..=1, default_missing_value = LIVE)]
    page: Option<String>,
    /// Leave the page open when the training is over, until Ctrl-C
    #[arg(long, env = "IGPT_PAGE_STAY", requires = "page")]
    page_stay: bool,
    #[command(flatten)]
    access: AccessArgs,
}

/// The page of a training, if it has one here. It closes when it is dropped.
pub(crate) struct Page {
    live: Option<LivePage>,
    stays: bool,
    stop: Arc<AtomicBool>,
}

impl PageArgs {
    /// Opens the page of the run in `run`, if one is asked for and this process `leads` the ranks. `stop` is raised by
    /// Ctrl-C.
    pub(crate) fn open(&self, leads: bool, run: &Path, stop: &Arc<AtomicBool>) -> Result<Page> {
        let listen = self.page.as_ref().filter(|_| leads);
        let live = listen.map(|listen| LivePage::start(run, self.access.at(listen)?)).transpose()?;
        if let Some(live) = &live {
            say!("live page: http://{}", live.address());
        }
        Ok(Page { live, stays: self.page_stay, stop: stop.clone() })
    }
}

impl Page {
    /// The training is over: waits until Ctrl-C where the page is to stay, and closes it.
    pub(crate) fn stay(self) {
        let over = || self.stop.load(Ordering::Relaxed);
        let Some(live) = self.live.as_ref().filter(|_| self.stays && !over()) else { return };
        say!("the page stays at http://{}; Ctrl-C closes it", live.address());
        while !over() {
            std::thread::sleep(GLANCE);
        }
    }
}
