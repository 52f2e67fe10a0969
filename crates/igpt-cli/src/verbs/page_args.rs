//! Flags of whatever listens: who may come in, and the live page of a training.

use std::path::Path;

use crate::output::say;
use igpt::Result;
use igpt_server::{Access, LivePage};

/// Where a live page is if nothing else is said.
pub(crate) const LIVE: &str = "127.0.0.1:8001";

/// Who may come in.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AccessArgs {
    /// Let in only who sends this as a bearer token; every address but this machine's own wants one
    #[arg(long, value_name = "T", env = "IGPT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Let anyone in who can reach the address
    #[arg(long, env = "IGPT_ALLOW_ANYONE")]
    allow_anyone: bool,
}

impl AccessArgs {
    /// Access at `listen`.
    pub(crate) fn at(&self, listen: &str) -> Result<Access> {
        Access::new(listen, self.token.clone(), self.allow_anyone)
    }
}

/// A page that shows the training as it happens.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PageArgs {
    /// Show the training on a live page, at 127.0.0.1:8001 or another address
    #[arg(long, value_name = "ADDR", env = "IGPT_PAGE", num_args = 0..=1, default_missing_value = LIVE)]
    page: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
}

impl PageArgs {
    /// Opens the page of the run in `run`, if one is asked for; it closes when it is dropped.
    pub(crate) fn open(&self, run: &Path) -> Result<Option<LivePage>> {
        let Some(listen) = &self.page else { return Ok(None) };
        let page = LivePage::start(run, self.access.at(listen)?)?;
        say!("live page: http://{}", page.address());
        Ok(Some(page))
    }
}
