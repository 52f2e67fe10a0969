//! Nothing names the backend of the processor but itself, the line that registers it, and its own conformance test.

use std::path::{Path, PathBuf};

/// Files outside `device/cpu/` that may, and how often.
const ALLOWED: [(&str, usize); 4] = [
    ("igpt/src/device/mod.rs", 2),
    ("igpt/src/device/registry.rs", 1),
    ("igpt/src/testing/mod.rs", 2),
    ("igpt/tests/conformance.rs", 2),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => sources(&entry, found),
            false if entry.extension().is_some_and(|extension| extension == "rs") => found.push(entry),
            false => {}
        }
    }
}

#[test]
fn no_path_into_the_processors_backend_stands_outside_it_but_its_registration() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    sources(&crates, &mut files);
    assert!(files.len() > 200);
    let names = [["cpu", "::"].concat(), ["Cpu", "Backend"].concat()];
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&crates).unwrap().to_string_lossy().replace('\\', "/");
        if name.starts_with("igpt/src/device/cpu/") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| names.iter().any(|name| line.contains(name)));
        let lines: Vec<String> = lines.map(|(i, line)| format!("{name}:{}: {}", i + 1, line.trim())).collect();
        let allowed = ALLOWED.iter().find(|(allowed, _)| *allowed == name).map_or(0, |(_, count)| *count);
        if lines.len() > allowed {
            found.extend(lines);
        }
    }
    assert!(found.is_empty(), "open models by igpt::device instead:\n{}", found.join("\n"));
}
