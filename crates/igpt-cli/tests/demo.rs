//! `igpt demo` through the binary, with next to no training.

use std::process::Command;

#[test]
fn a_demo_leaves_a_model_pictures_and_a_page_that_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    let arguments = ["demo", "--minutes", "0.02", "--out", "run", "--seed", "5", "--json"];
    let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let text = String::from_utf8_lossy(&output.stdout);
    let result: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();

    let nats = result["nats_per_token"].as_f64().unwrap();
    let [uniform, unigram, context] =
        ["uniform", "unigram", "context"].map(|name| result["baselines"][name].as_f64().unwrap());
    assert!((uniform - (result["n_vocab"].as_f64().unwrap()).ln()).abs() < 1e-9);
    assert!(context < unigram && unigram < uniform);
    // Untrained it would be uniform.
    assert!(nats < uniform && nats > 0.0, "{nats}");
    assert!((result["below_best_baseline"].as_f64().unwrap() - (1.0 - nats / context)).abs() < 1e-9);

    let run = folder.path().join("run");
    let page = std::fs::read_to_string(run.join("index.html")).unwrap();
    for outside in ["http:", "https:", "url(", "<script", "src='/", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let pictures = page.matches("<img src='data:image/").count() + page.matches("<img src=\"data:image/").count();
    assert_eq!(pictures, page.matches("<img ").count());
    assert!(pictures >= 48 + 12 * 6, "{pictures}");
    assert!(page.contains(&format!("{nats:.3}")) && page.contains("class='chart'"));
    for file in ["samples.png", "completions.png", "drawing.gif", "metrics.jsonl", "model/config.json"] {
        assert!(run.join(file).is_file(), "{file}");
    }

    // The same run again is refused before anything is computed.
    let mut command = Command::new(env!("CARGO_BIN_EXE_igpt"));
    let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("run is there already"));
}
