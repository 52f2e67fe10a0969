//! How many crates come along with the library.

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that `igpt` is built of with these flags of cargo, itself among them.
fn crates(flags: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = ["tree", "-p", "igpt", "-e", "normal", "--prefix", "none", "--offline", "--target"];
    let output = Command::new(cargo).args(tree).arg("x86_64-unknown-linux-gnu").args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_library_is_light_without_its_features() {
    let light = crates(&["--no-default-features"]);
    assert!(light.len() <= 70, "{}: {light:?}", light.len());
    let all = crates(&[]);
    assert!(light.is_subset(&all) && all.len() <= 115, "{}: {all:?}", all.len());
}
