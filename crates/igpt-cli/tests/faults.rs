//! What goes wrong around a run, on the real binary: files that are damaged, disks that are full, writes that fail,
//! images that vanish, a second trainer. After each the run goes on to the bytes of an undisturbed one.

// What a test leaves out or measures is for whoever runs it.
#![allow(clippy::disallowed_macros)]

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use program::{igpt, json};

/// So many coloured pictures of 16×16 in a folder.
fn pictures(folder: &Path, count: u32) {
    fs::create_dir(folder).unwrap();
    for i in 0..count {
        let pixels: Vec<u8> = (0..3 * 16 * 16).map(|p| ((p * 7 + i * 31) % 251) as u8).collect();
        let mut encoder = png::Encoder::new(fs::File::create(folder.join(format!("{i:02}.png"))).unwrap(), 16, 16);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }
}

/// Eight steps with a checkpoint after every second one, all kept.
const RUN: &str = "pretrain --n-px 8 --colors 8 --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2 --batch 2 \
                   --steps 8 --set train.checkpoint_every=2 --set train.eval_every=4 --set train.eval_images=4 \
                   --set train.sample_images=0 --set train.keep_last=9 --threads 1";

/// A run as it should be, and its last state.
fn undisturbed(folder: &Path) -> Vec<u8> {
    json(&igpt(folder, &format!("{RUN} --out whole --json")));
    state(folder, "whole")
}

fn state(folder: &Path, run: &str) -> Vec<u8> {
    fs::read(checkpoint(folder, run, 8).join("state.safetensors")).unwrap()
}

fn checkpoint(folder: &Path, run: &str, step: u64) -> PathBuf {
    folder.join(run).join(format!("checkpoints/step-{step:08}"))
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run under way, killed with the value; what it says goes to the file `words`.
struct Running(Child);

impl Running {
    fn start(folder: &Path, arguments: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
        command.current_dir(folder).args(arguments.split_whitespace());
        let words = fs::File::create(folder.join("words")).unwrap();
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Waits until a run has saved a checkpoint.
fn saved(folder: &Path, run: &str) {
    let (last, since) = (folder.join(run).join("checkpoints/last"), Instant::now());
    while !last.exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        std::thread::yield_now();
    }
}

#[test]
fn whatever_file_of_a_checkpoint_is_damaged_or_cut_or_gone_the_one_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = undisturbed(folder);
    let newest = checkpoint(folder, "whole", 8);
    let flip = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 3;
        bytes[middle] ^= 4;
        bytes
    };
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 1].to_vec();
    for file in ["state.safetensors", "checkpoint.toml", "complete"] {
        let bytes = fs::read(newest.join(file)).unwrap();
        for damaged in [flip(bytes.clone()), cut(bytes), Vec::new()] {
            fs::write(newest.join(file), damaged).unwrap();
            let resumed = igpt(folder, "pretrain --resume --out whole --json");
            let said = words(&resumed);
            assert!(resumed.status.success() && said.contains("damaged") && said.contains(file), "{file}: {said}");
            assert!(state(folder, "whole") == expected, "{file}");
        }
        fs::remove_file(newest.join(file)).unwrap();
        assert!(igpt(folder, "pretrain --resume --out whole --json").status.success());
        assert!(state(folder, "whole") == expected, "{file}");
    }
}

#[test]
fn a_second_trainer_is_kept_out_until_the_first_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = undisturbed(folder);
    // Slow enough to be met, and stopped by a kill.
    let slow = RUN.replace("--steps 8", "--steps 100000").replace("keep_last=9", "keep_last=2");
    let first = Running::start(folder, &format!("{slow} --out run"));
    saved(folder, "run");
    for how in ["--resume", "--overwrite --steps 9"] {
        let second = igpt(folder, &format!("pretrain --out run {how}"));
        let said = words(&second);
        assert_eq!(second.status.code(), Some(1));
        assert!(said.contains(&format!("process {}", first.0.id())), "{said}");
    }
    drop(first);
    json(&igpt(folder, &format!("{RUN} --overwrite --out run --json")));
    assert!(state(folder, "run") == expected);
}

/// A file system of so many KiB, gone with the value.
#[cfg(target_os = "linux")]
struct SmallDisk(PathBuf);

#[cfg(target_os = "linux")]
impl SmallDisk {
    /// None where mounting is not allowed.
    fn mount(at: &Path, kib: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_path_buf()))
    }

    fn grow(&self, kib: u64) {
        let size = format!("remount,size={kib}k");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap().success());
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_on_a_disk_that_fills_goes_on_and_is_resumed_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = undisturbed(folder);
    let bytes: u64 = fs::read_dir(checkpoint(folder, "whole", 8))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    // Room for the run's own files and about three checkpoints, of four that are to be kept.
    let Some(disk) = SmallDisk::mount(&folder.join("small"), 40 + bytes * 3 / 1024) else {
        eprintln!("mounting is not allowed here: not tried");
        return;
    };
    let filled = igpt(folder, &format!("{RUN} --out small/run --json"));
    let said = words(&filled);
    // It trained to the end, and what could not be saved is said and not there.
    assert!(said.contains("no checkpoint at step") && said.contains("training goes on"), "{said}");
    assert_eq!(filled.status.code(), Some(1), "{said}");
    assert!(said.contains("small/run"), "{said}");
    let found: serde_json::Value = json(&igpt(folder, "checkpoints small/run --json"));
    assert_eq!(found["damaged"], serde_json::json!([]));
    disk.grow(100_000);
    let resumed = igpt(folder, "pretrain --resume --out small/run --json");
    assert!(resumed.status.success(), "{}", words(&resumed));
    assert!(state(folder, "small/run") == expected);
}

#[cfg(target_os = "linux")]
#[test]
fn writes_that_fail_past_any_size_lose_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = undisturbed(folder);
    let kib = fs::metadata(checkpoint(folder, "whole", 8).join("state.safetensors")).unwrap().len() / 1024;
    let sizes = [1, 2, 5, kib / 2, kib];
    let more: Vec<u64> = if std::env::var_os("IGPT_SOAK").is_some() { (1..=kib).collect() } else { Vec::new() };
    for (i, size) in sizes.into_iter().chain(more).enumerate() {
        let run = format!("run-{i}");
        // bash counts KiB; a write past them fails instead of killing.
        let limited =
            format!("trap '' XFSZ; ulimit -f {size}; exec {} {RUN} --out {run} --json", env!("CARGO_BIN_EXE_igpt"));
        let output = Command::new("bash").current_dir(folder).args(["-c", &limited]).output().unwrap();
        let said = words(&output);
        assert_eq!(output.status.code(), Some(1), "{size}: {said}");
        assert!(said.contains(&run), "{size}: {said}");
        // What there is of a run goes on; where not even its config could be written it starts again.
        let again = match folder.join(&run).join("config.resolved.toml").exists() {
            true => igpt(folder, &format!("pretrain --resume --out {run} --json")),
            false => igpt(folder, &format!("{RUN} --out {run} --json")),
        };
        assert!(again.status.success(), "{size}: {}", words(&again));
        assert!(state(folder, &run) == expected, "{size}");
    }
}

#[test]
fn images_that_vanish_end_the_run_with_their_name_and_it_goes_on_when_they_are_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("images"), 40);
    // This augmentation reads every image again in every epoch.
    let long = RUN.replace("--steps 8", "--steps 600").replace("every=2", "every=50").replace("every=4", "every=50");
    let run = format!("{long} --data images --augment imagenet --json");
    json(&igpt(folder, &format!("{run} --out whole")));
    let mut running = Running::start(folder, &format!("{run} --out run"));
    saved(folder, "run");
    fs::rename(folder.join("images"), folder.join("elsewhere")).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(1), "the run was over before its images were gone");
    let said = fs::read_to_string(folder.join("words")).unwrap();
    let last = said.trim().lines().last().unwrap();
    assert!(last.contains("damaged") && last.contains(".png"), "{last}");
    fs::rename(folder.join("elsewhere"), folder.join("images")).unwrap();
    json(&igpt(folder, "pretrain --resume --out run --json"));
    let weights = |run: &str| fs::read(folder.join(run).join("model/model.safetensors")).unwrap();
    assert!(weights("run") == weights("whole"));
}

#[test]
fn images_that_come_slowly_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pictures(&folder.join("quick"), 60);
    fs::create_dir(folder.join("slow")).unwrap();
    // Every third is followed by megabytes of nothing, which are read with it.
    for (i, image) in fs::read_dir(folder.join("quick")).unwrap().enumerate() {
        let image = image.unwrap();
        let slow = folder.join("slow").join(image.file_name());
        fs::copy(image.path(), &slow).unwrap();
        if i % 3 == 0 {
            fs::OpenOptions::new().write(true).open(&slow).unwrap().set_len(32 << 20).unwrap();
        }
    }
    for data in ["quick", "slow"] {
        // This augmentation reads every image again in every epoch.
        json(&igpt(folder, &format!("{RUN} --data {data} --augment imagenet --out {data}-run --json")));
    }
    assert!(state(folder, "slow-run") == state(folder, "quick-run"));
}
