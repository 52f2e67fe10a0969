//! `igpt doctor` through the binary.

mod program;

use program::{igpt, json};

#[test]
fn the_doctor_tells_what_igpt_will_use_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(&igpt(folder.path(), "doctor --json"));
    for name in ["instruction_set", "precision", "cores", "memory", "huge_pages", "disk", "MPI"] {
        assert!(found[name]["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{name}: {found}");
    }
    assert!(["portable", "avx2", "avx512", "amx"].contains(&found["instruction_set"]["value"].as_str().unwrap()));
    assert!(found["cores"]["value"]["cores"].as_u64().unwrap() >= 1);
    assert!(found["disk"]["value"]["bytes_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn where_a_folder_is_not_there_yet_the_disk_above_it_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(&igpt(folder.path(), "doctor --dir runs/mine --json"));
    assert_eq!(found["disk"]["value"]["dir"], ".");
    assert!(found["disk"]["value"]["bytes_per_second"].as_f64().unwrap() > 0.0);
}
