//! What a measurement came to, beside what this machine could do at most in the same minute.

use std::time::{Duration, Instant};

use igpt::Result;
use igpt::device::Precision;
use igpt::machine::{CpuTime, peak_rss_bytes};
use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;
use igpt_kernels::{Buffer, bf16, peak};
use serde_json::json;

use super::shape::Shape;
use crate::output::say;

/// The share of the machine that others may use before a figure is called noisy.
const NOISY: f64 = 0.05;
/// f32 values that are read to measure the bandwidth: far more than any cache holds.
const BANDWIDTH_LEN: usize = 96 << 20;

/// What was timed: seconds of each repetition, and the work in one.
pub(super) struct Timing {
    /// In ascending order.
    pub(super) seconds: Vec<f64>,
    tokens: usize,
    flops: f64,
    /// Bytes that have to be read, where these bound the work.
    bytes: Option<f64>,
    /// The share of the machine that others used meanwhile.
    others: Option<f64>,
}

impl Timing {
    /// Times `work`, which gives the seconds of each repetition.
    pub(super) fn of(
        tokens: usize,
        flops: f64,
        bytes: Option<f64>,
        work: impl FnOnce() -> Result<Vec<f64>>,
    ) -> Result<Self> {
        let (seconds, others) = beside_others(work);
        let mut seconds = seconds?;
        seconds.sort_by(f64::total_cmp);
        Ok(Self { seconds, tokens, flops, bytes, others })
    }

    pub(super) fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }
}

/// Multiply-adds of the format on all threads at once, in flops per second.
pub(super) fn peak_flops(format: Precision, isa: Isa, threads: usize) -> f64 {
    let each = Pool::new(threads);
    let mut flops = vec![0.0; each.threads()];
    let time = Duration::from_millis(100);
    each.for_each(igpt_kernels::pool::chunks(&mut flops, 1), |_, flops| {
        flops[0] = match format {
            Precision::Bf16 => peak::flops::<bf16>(isa, time),
            Precision::F32 => peak::flops::<f32>(isa, time),
        };
    });
    flops.iter().sum()
}

/// Bytes a second that all threads together read from memory: the best of three passes.
pub(super) fn read_bandwidth(isa: Isa, threads: usize) -> f64 {
    let pool = Pool::new(threads);
    let mut data = Buffer::<f32>::zeroed(BANDWIDTH_LEN);
    pool.for_each(igpt_kernels::pool::chunks(&mut data, 1 << 20), |_, chunk| chunk.fill(1.0));
    let pass = || {
        let start = Instant::now();
        pool.run(BANDWIDTH_LEN >> 16, |i| {
            std::hint::black_box(peak::read(isa, &data[i << 16..(i + 1) << 16]));
        });
        size_of_val(&data[..]) as f64 / start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| pass()).fold(0.0, f64::max)
}

/// Prints what a network's work came to.
pub(super) fn network(work: &str, shape: &Shape, timing: Timing) -> Result<()> {
    let (isa, threads, rss) = (Isa::detect(), shape.threads(), peak_rss_bytes());
    let (median, repeats) = (timing.median(), timing.seconds.len());
    let (least, most) = (timing.seconds[0], timing.seconds[repeats - 1]);
    let tokens_per_second = timing.tokens as f64 / median;
    let gflops = timing.flops / median / 1e9;
    let peak = peak_flops(shape.precision, isa, threads) / 1e9;
    let share = gflops / peak;
    let bandwidth = timing.bytes.map(|bytes| (bytes / median / 1e9, read_bandwidth(isa, threads) / 1e9));

    say!(
        "{work}: {tokens_per_second:.0} tokens/s, median {median:.3} s of {repeats} ({least:.3} to {most:.3}), \
         {gflops:.0} GFLOP/s ({:.0} % of {peak:.0}), peak memory {}, {}, {threads} threads",
        100.0 * share,
        rss.map_or("unknown".into(), |bytes| format!("{:.2} GB", bytes as f64 / 1e9)),
        isa.name(),
    );
    if let Some((used, most)) = bandwidth {
        say!("reads {used:.1} GB/s of the {most:.1} GB/s that memory gives ({:.0} %)", 100.0 * used / most);
    }
    warn_if_noisy(timing.others);
    if shape.json {
        crate::output::print_json(&json!({
            "tokens_per_second": tokens_per_second,
            "step_seconds": median,
            "step_seconds_least": least,
            "step_seconds_most": most,
            "repeats": repeats,
            "gflops": gflops,
            "peak_gflops": peak,
            "share_of_peak": share,
            "read_gb_per_second": bandwidth.map(|(used, _)| used),
            "peak_read_gb_per_second": bandwidth.map(|(_, most)| most),
            "peak_rss_bytes": rss,
            "others_cpu": timing.others,
            "isa": isa.name(),
            "threads": threads,
        }))?;
    }
    Ok(())
}

/// Does `work`; gives also the share of the machine that others used meanwhile, if the system tells.
pub(super) fn beside_others<T>(work: impl FnOnce() -> T) -> (T, Option<f64>) {
    let before = CpuTime::now();
    let done = work();
    (done, before.zip(CpuTime::now()).map(|(before, after)| after.others_since(&before)))
}

/// Says so when others used the machine.
pub(super) fn warn_if_noisy(others: Option<f64>) {
    if let Some(others) = others.filter(|&others| others > NOISY) {
        say!("noisy: others used {:.0} % of this machine meanwhile", 100.0 * others);
    }
}
