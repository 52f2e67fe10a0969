//! `igpt doctor`: what this machine offers, what igpt will use of it, and a line of advice on each.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use igpt::device;
use igpt::files::NewFile;
use igpt::machine::MachineLimits;
use igpt::{Error, Result};
use serde_json::{Value, json};

use crate::output::{print_json, say};
use crate::shared::JsonArgs;

/// Bytes written to learn how quick the disk is.
const WRITTEN: usize = 64 << 20;
/// Bytes a second below which checkpoints of the larger presets are felt.
const SLOW: f64 = 50e6;

/// Flags of `igpt doctor`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt doctor --dir runs --json\n\n\
                        IGPT_ISA=portable|avx2|avx512|amx keeps igpt from a better instruction set.")]
pub(crate) struct Args {
    /// Where runs are to lie: the disk is measured there, with a file of 64 MiB that goes again
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// One thing looked at.
struct Finding {
    name: &'static str,
    /// What is there, for people.
    found: String,
    /// What to do about it, or why nothing needs to be done.
    advice: String,
    /// The same for programs.
    value: Value,
}

impl Finding {
    fn new(name: &'static str, found: impl Into<String>, advice: impl Into<String>, value: Value) -> Self {
        Self { name, found: found.into(), advice: advice.into(), value }
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let limits = MachineLimits::now();
    let own = [cores(&limits), memory(&limits), pages(), disk(&args.dir), mpi()];
    let findings: Vec<Finding> = devices().into_iter().chain(own).collect();
    for Finding { name, found, advice, .. } in &findings {
        say!("{name:<16} {found}\n{:<16} {advice}", "");
    }
    if args.json.json {
        let value: serde_json::Map<String, Value> = findings
            .iter()
            .map(|f| (f.name.replace(' ', "_"), json!({"found": f.found, "advice": f.advice, "value": f.value})))
            .collect();
        print_json(&Value::Object(value))?;
    }
    Ok(())
}

/// What each device of this machine has to say.
fn devices() -> Vec<Finding> {
    let backends = device::backends();
    let findings =
        backends.iter().filter(|backend| !backend.devices().is_empty()).flat_map(|backend| backend.diagnostics());
    findings.map(|f| Finding::new(f.name, f.found.clone(), f.advice, json!(f.found))).collect()
}

fn cores(limits: &MachineLimits) -> Finding {
    let MachineLimits { cores, cpu_quota, .. } = *limits;
    let quota = cpu_quota.map_or(String::new(), |quota| format!(", a quota of {quota:.1}"));
    let advice = match cpu_quota {
        Some(_) => format!("igpt uses {cores} threads, what affinity and quota allow"),
        None => format!("igpt uses {cores} threads; results are the same bits for any --threads"),
    };
    Finding::new("cores", format!("{cores}{quota}"), advice, json!({"cores": cores, "quota": cpu_quota}))
}

fn memory(limits: &MachineLimits) -> Finding {
    let gib = |bytes: Option<u64>| {
        bytes.map_or("unknown".into(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
    };
    let limit = limits.memory_limit.map_or(String::new(), |_| format!(", limited to {}", gib(limits.memory_limit)));
    let found = format!("{}, {} available{limit}", gib(limits.memory), gib(limits.available));
    let advice = match limits.usable() {
        None => "not told by this system: watch it while training",
        Some(usable) if usable < 1 << 29 => "less than the demo wants: free some, or train with a small --batch",
        Some(usable) if usable < 4 << 30 => "enough for the presets nano to xs",
        Some(usable) if usable < 16 << 30 => "enough for the presets nano to s",
        Some(_) => "enough for the presets nano to m",
    };
    let value = json!({
        "bytes": limits.memory,
        "available": limits.available,
        "limit": limits.memory_limit,
        "usable": limits.usable(),
    });
    Finding::new("memory", found, advice, value)
}

fn pages() -> Finding {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let chosen = text.split('[').nth(1).and_then(|rest| rest.split(']').next());
    let advice = match chosen {
        Some("always" | "madvise") => "igpt's buffers lie in huge pages",
        Some(_) => "slower by some percent: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (as root)",
        None => "not told by this system",
    };
    Finding::new("huge pages", chosen.unwrap_or("unknown"), advice, json!(chosen))
}

/// Writes a file, waits until it is on the disk, and removes it; where `dir` is not there yet, in what is above it.
fn disk(dir: &Path) -> Finding {
    let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let dir = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let path = dir.join(format!("igpt-doctor-{}", std::process::id()));
    let block = vec![0x5a_u8; 1 << 20];
    let start = Instant::now();
    let written = NewFile::create(&path).and_then(|mut file| {
        (0..WRITTEN / block.len()).try_for_each(|_| file.write_all(&block)).map_err(Error::io(&path))?;
        file.finish()
    });
    let speed = WRITTEN as f64 / start.elapsed().as_secs_f64();
    let _ = std::fs::remove_file(&path);
    if let Err(error) = written {
        let advice = format!("nothing can be written there: {error}");
        return Finding::new("disk", dir.display().to_string(), advice, json!({"dir": dir}));
    }
    let advice = match speed {
        s if s < SLOW => "checkpoints of large models will be felt: put --out on a quicker disk, or save more rarely",
        _ => "quick enough for checkpoints: twelve bytes a parameter",
    };
    let found = format!("{:.0} MB/s written and synced in {}", speed / 1e6, dir.display());
    Finding::new("disk", found, advice, json!({"dir": dir, "bytes_per_second": speed}))
}

fn mpi() -> Finding {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mpirun = std::env::split_paths(&paths).map(|folder| folder.join("mpirun")).find(|path| path.is_file());
    let (found, advice) = match &mpirun {
        Some(path) => {
            (path.display().to_string(), "igpt trains in one process, on all cores of one machine: it isn't used")
        }
        None => ("not found".into(), "not needed: igpt trains in one process, on all cores of one machine"),
    };
    Finding::new("MPI", found, advice, json!(mpirun))
}
