//! `igpt verify-resume`: trains a run straight and again with kills in between, and compares every byte.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use igpt::rng::{Purpose, Rng};
use igpt::train::{Checkpoints, RunComparison};
use igpt::{Error, Result, files};
use serde_json::json;

use super::drawing::with_bar;
use crate::output::{print_json, say};
use crate::shared::{JsonArgs, SeedArgs};
use crate::signals::Signals;

/// How often a run is asked whether it has ended.
const POLL: Duration = Duration::from_millis(2);
/// How often it is looked whether a run is writing a checkpoint, and the longest that a kill waits then: half as long
/// after each writing that was over before.
const AIM: Duration = Duration::from_micros(200);
const WRITE: Duration = Duration::from_millis(8);
/// Threads and micro-batches of the sessions of the killed run, in turn, every other one of which computes activations
/// again: nothing of it may change a bit.
const SESSIONS: [(usize, usize); 4] = [(1, 0), (2, 1), (0, 2), (3, 0)];

/// Flags of `igpt verify-resume`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt verify-resume --kills 20\n  \
                        igpt verify-resume --config configs/fashion-mnist.toml --steps 10 --set train.batch=2\n\n\
                        Trains 2N steps straight, then again with kills (SIGKILL), after each of which \
                        the run resumes with other threads, another micro-batch, activations kept or computed again. \
                        Every other kill comes at a random moment, the rest while a checkpoint is being written. Then every byte of \
                        weights, moments, position, samples and model is compared, and every metric but tokens_per_s, \
                        step_ms, data_wait_ms, peak_rss_mb, elapsed_s and device.")]
pub(crate) struct Args {
    /// Settings in TOML; without it a small network on the embedded emoji
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as train.batch=2; may be given several times
    #[arg(long, value_name = "A.B=V")]
    set: Vec<String>,
    /// N: the runs take 2N steps, with a checkpoint at least every N
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    steps: u64,
    /// How often the second run is killed
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    kills: u64,
    /// Where both runs are left; without it they go when they are equal
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    let folder = match &args.out {
        Some(out) => out.clone(),
        None => std::env::temp_dir().join(format!("igpt-verify-resume-{}", std::process::id())),
    };
    if folder.exists() {
        return Err(Error::Invalid(format!("{} is there already: name another --out", folder.display())));
    }
    let (straight, killed) = (folder.join("straight"), folder.join("killed"));
    let trials = Trials { args: &args, folder: folder.clone(), straight, killed, stop: signals.left_to_verb() };
    let done = with_bar("comparing", |progress| trials.run(progress));
    if trials.stop.load(Ordering::Relaxed) && args.out.is_none() {
        std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    let ((comparison, kills, in_writes), time) = done?;
    for file in comparison.files.iter().filter(|file| file.differing > 0) {
        say!("{}: {} of {} bytes differ", file.name, file.differing, file.bytes);
    }
    let (bytes, differing) = (comparison.bytes(), comparison.differing());
    say!(
        "{} steps straight, and again through {kills} kills, {in_writes} of them inside a checkpoint's writing: {differing} of {bytes} bytes differ ({:.0} s)",
        2 * args.steps,
        time.as_secs_f64()
    );
    if args.json.json {
        print_json(&json!({
            "bytes_differing": differing,
            "compared": bytes,
            "kills": kills,
            "kills_in_writes": in_writes,
            "steps": 2 * args.steps,
            "files": comparison.files,
            "seconds": time.as_secs_f64(),
        }))?;
    }
    if differing > 0 {
        return Err(Error::Mismatch(format!(
            "the runs differ: compare {} and its neighbour",
            trials.straight.display()
        )));
    }
    if args.out.is_none() {
        std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    Ok(())
}

/// Both runs.
struct Trials<'a> {
    args: &'a Args,
    folder: PathBuf,
    straight: PathBuf,
    killed: PathBuf,
    /// Raised from outside: the run under way is killed then, and nothing stays.
    stop: Arc<AtomicBool>,
}

impl Trials<'_> {
    /// What both runs have in common, the kills, and those of them inside a checkpoint's writing.
    fn run(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<(RunComparison, u64, u64)> {
        let total = self.args.kills as usize + 2;
        let start = Instant::now();
        std::fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        self.ended(self.start(&self.straight, 0, false)?, &self.straight)?;
        let straight = start.elapsed();
        progress(1, total);
        let (mut kills, mut in_writes, mut session) = (0, 0, 0);
        // A run that was through before any of its writings was caught is followed by a random moment.
        let mut escaped = false;
        loop {
            loop {
                let start = SystemTime::now();
                let mut child = self.start(&self.killed, session, true)?;
                // What a run needs before its first step is part of the time: some kills fall there too.
                let moment = Rng::new(self.args.seed.seed, Purpose::Probe, 0, session).next_u32();
                let share = f64::from(moment) / f64::from(u32::MAX);
                session += 1;
                // What an earlier session left half written doesn't count.
                let writes = || is_writing_since(start, &self.killed.join("checkpoints"));
                let moment = if kills % 2 == 0 || escaped {
                    Moment::After(straight.mul_f64(share))
                } else {
                    Moment::Writing(&writes, WRITE.mul_f64(share))
                };
                if kills == self.args.kills || !self.killed(&mut child, moment)? {
                    self.ended(child, &self.killed)?;
                    escaped = true;
                    break;
                }
                escaped = false;
                kills += 1;
                in_writes += u64::from(writes());
                progress(1 + kills as usize, total);
            }
            let comparison = RunComparison::of(&self.straight, &self.killed)?;
            if kills == self.args.kills || comparison.differing() > 0 {
                return Ok((comparison, kills, in_writes));
            }
            // It got through before all kills were spent: another one.
            std::fs::remove_dir_all(&self.killed).map_err(Error::io(&self.killed))?;
        }
    }

    /// Starts a run, or goes on with it if there is one.
    fn start(&self, out: &Path, session: u64, resumes: bool) -> Result<Child> {
        let steps = self.args.steps;
        let mut command = Command::new(std::env::current_exe().map_err(Error::io("the program itself"))?);
        // Not one of the processes that this one may have been started with.
        command.env(crate::ranks::ALONE, "1");
        command.arg("pretrain").args(["--out".as_ref(), out.as_os_str()]);
        if resumes && out.join("config.resolved.toml").is_file() {
            let (threads, micro_batch) = SESSIONS[session as usize % SESSIONS.len()];
            command.arg("--resume").args(["--threads", &threads.to_string()]);
            command.arg("--set").arg(format!("train.micro_batch={micro_batch}"));
            command.arg("--set").arg(format!("train.recompute={}", session.is_multiple_of(2)));
        } else {
            if out.exists() {
                // Killed before it knew what it was.
                std::fs::remove_dir_all(out).map_err(Error::io(out))?;
            }
            match &self.args.config {
                Some(config) => _ = command.arg("--config").arg(config),
                None => _ = command.args(SMALL.split(' ')),
            }
            let often = (steps / 4).max(1);
            let own = [
                format!("train.steps={}", 2 * steps),
                format!("train.eval_every={often}"),
                format!("train.checkpoint_every={often}"),
                format!("train.sample_every={steps}"),
            ];
            own.iter().chain(&self.args.set).for_each(|setting| _ = command.args(["--set", setting]));
        }
        let words = self.words();
        let words = File::create(&words).map_err(Error::io(&words))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
        command.spawn().map_err(Error::io("the program itself"))
    }

    /// What the latest session said.
    fn words(&self) -> PathBuf {
        self.folder.join("session.log")
    }

    /// Waits for the end of a run that must be a good one.
    fn ended(&self, mut child: Child, out: &Path) -> Result<()> {
        let status = loop {
            if let Some(status) = self.looked_at(&mut child)? {
                break status;
            }
            sleep(POLL);
        };
        if status.success() {
            return Ok(());
        }
        let words = files::read_to_string(&self.words()).unwrap_or_default();
        let last = words.trim().lines().last().unwrap_or_default();
        Err(Error::Invalid(format!("the run in {} failed: {last}", out.display())))
    }

    /// How a run ended, if it has; an error, after which it has ended, when this is to end.
    fn looked_at(&self, child: &mut Child) -> Result<Option<ExitStatus>> {
        if self.stop.load(Ordering::Relaxed) {
            child.kill().and_then(|()| child.wait()).map_err(Error::io("a run"))?;
            return Err(Error::Invalid("stopped before the runs were compared".into()));
        }
        child.try_wait().map_err(Error::io("a run"))
    }

    /// Kills the run at `moment`; false if it ended before.
    fn killed(&self, child: &mut Child, mut moment: Moment<'_>) -> Result<bool> {
        let start = Instant::now();
        loop {
            match &mut moment {
                Moment::After(life) if start.elapsed() >= *life => break,
                Moment::Writing(writes, wait) if writes() => {
                    sleep(*wait);
                    if writes() {
                        break;
                    }
                    *wait /= 2;
                }
                _ => {}
            }
            if self.looked_at(child)?.is_some() {
                return Ok(false);
            }
            sleep(if matches!(moment, Moment::After(_)) { POLL } else { AIM });
        }
        child.kill().map_err(Error::io("a run"))?;
        child.wait().map_err(Error::io("a run"))?;
        Ok(true)
    }
}

/// A network of a few thousand parameters, seconds to train.
const SMALL: &str = "--data emoji --n-px 8 --colors 16 --batch 4 --set model.n_embd=32 --set model.n_layer=2 \
                     --set model.n_head=2 --set train.eval_images=16 --set train.sample_images=4";

/// When a run is killed.
enum Moment<'a> {
    /// So long after its start.
    After(Duration),
    /// So long after it was first seen to write a checkpoint, if it still writes then.
    Writing(&'a dyn Fn() -> bool, Duration),
}

/// Whether a checkpoint that was begun after `start` is half written in `folder`.
fn is_writing_since(start: SystemTime, folder: &Path) -> bool {
    let began = Checkpoints::open_readonly(folder).ok().and_then(|checkpoints| checkpoints.writing_since());
    began.is_some_and(|began| began >= start)
}
