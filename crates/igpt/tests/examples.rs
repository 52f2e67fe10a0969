//! The programs of `examples/` run to their end and say what they promise.

use std::path::PathBuf;
use std::process::Command;

/// What an example prints. `cargo test` has built it beside the tests.
fn run(name: &str) -> String {
    let tests = std::env::current_exe().unwrap();
    let path: PathBuf = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: run cargo test without --test", path.display());
    let output = Command::new(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn images_in_memory_become_samples() {
    let said = run("own_images");
    assert!(said.contains("train 195") && said.contains("nine samples are in"), "{said}");
}

#[test]
fn features_go_into_a_linear_probe() {
    let said = run("linear_probe");
    assert!(said.contains("layer 0:") && said.contains("pixels:"), "{said}");
}

#[test]
fn a_hole_is_filled() {
    assert!(run("fill_a_hole").contains("the picture is"));
}

#[test]
fn odd_images_are_told_from_good_ones() {
    let said = run("odd_images");
    let of = |word: &str| said.lines().filter(|line| line.starts_with("image") && line.ends_with(word)).count();
    assert_eq!((of("odd"), of("good")), (2, 6), "{said}");
}

#[test]
fn a_source_of_ones_own_is_learned_and_classified() {
    let said = run("own_source");
    assert_eq!(said.lines().filter(|line| line.starts_with("bar")).count(), 6, "{said}");
    assert!(said.contains("bar 0: lying") && said.contains("bar 1: standing"), "{said}");
}
