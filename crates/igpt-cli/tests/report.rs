//! `igpt report` through the binary.

mod program;

use std::path::Path;

use program::{igpt, json, with};

/// A run of a few steps on emoji of 8×8, with a probe at each validation.
fn train(folder: &Path, run: &str, more: &str) {
    let network = "--n-px 8 --colors 8 --set model.n_embd=16 --set model.n_layer=2 --set model.n_head=2";
    let budget = "--steps 4 --batch 2 --set train.eval_every=2 --set train.eval_images=8 --set train.sample_images=4";
    let probe = "--set train.probe_images=60 --precision f32 --threads 1";
    let output = igpt(folder, &format!("pretrain {network} {budget} {probe} {more} --out {run}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn headings(page: &str) -> Vec<&str> {
    page.split("<h2>").skip(1).filter_map(|rest| rest.split("</h2>").next()).collect()
}

#[test]
fn runs_are_shown_alone_and_side_by_side_on_pages_that_need_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, "runs/a", "");
    train(folder, "runs/masked", "--objective masked --set train.mask_prob=0.4");

    let few = "--images 30 --probe-images 60 --threads 1 --json";
    let found = json(&igpt(folder, &format!("report runs/a --out pages/a.html {few}")));
    let [run] = &found["runs"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&run["images"], &run["probe_is_quick"]), (&30.into(), &true.into()));
    let page = std::fs::read_to_string(folder.join("pages/a.html")).unwrap();
    let all = [
        "Drawn from nothing",
        "Completed",
        "Learning",
        "Samples over time",
        "Figures",
        "What the layers know",
        "Likelihood and features",
        "A map of the features",
        "Where it is surprised",
        "Palette",
        "Going on",
    ];
    assert_eq!(headings(&page), all);
    for outside in ["http:", "https:", "url(", "<script", "src='/", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for command in ["sample", "complete", "probe", "score", "eval", "pretrain", "palette", "report"] {
        assert!(page.contains(&format!("<code>igpt {command} ")), "{command}");
    }

    // A saved probe is shown instead of a quick one.
    let probe = "probe --model runs/a --data emoji --images 100 --held-out 50 --solver ridge --out runs/a/probe --json";
    let saved = json(&igpt(folder, probe));
    assert_eq!(saved["images"], serde_json::json!([100, 50, 50]));
    let page = json(&igpt(folder, &format!("report runs/masked --out pages/masked.html {few}")))["page"].clone();
    let page = std::fs::read_to_string(folder.join(page.as_str().unwrap())).unwrap();
    assert!(page.contains("per masked pixel of 30 of 379 test images, spread evenly, masks of 40 %"));
    let both = json(&igpt(folder, &format!("report runs/a runs/masked --out both.html {few}")));
    let runs = both["runs"].as_array().unwrap();
    assert_eq!((&runs[0]["probe_is_quick"], &runs[0]["probe_test_accuracy"]), (&false.into(), &saved["test_accuracy"]));
    let page = std::fs::read_to_string(folder.join("both.html")).unwrap();
    assert_eq!(headings(&page)[0], "At a glance");
    // Its own command, not one for another probe.
    assert!(page.contains(&format!("<code>igpt {probe}</code>")));
    assert!(page.contains("<span class='c1'>masked (masked)</span>"));
    assert!(page.contains("<th scope='row'>a</th>") && page.contains("<th scope='row'>masked</th>"));
    // Masked pixels have no order to be drawn in.
    assert!(page.contains("trained on masked pixels") && !page.contains("<code>igpt sample --model runs/masked"));
}

#[test]
fn a_classifiers_page_has_commands_that_work_and_no_probe_of_a_run_that_was_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let network = "--n-px 8 --colors 8 --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2";
    let budget = "--steps 2 --batch 2 --set train.eval_images=16 --precision f32 --json";
    let settings = format!("finetune --from-scratch --labels-per-class 1 {network} {budget}");
    let mut arguments: Vec<&str> = settings.split_whitespace().collect();
    arguments.extend(["--out", "my classes"]);
    json(&with(folder, &arguments));
    let few = ["--images", "20", "--probe-images", "0", "--json"];
    let report = |run: &str| {
        json(&with(folder, &[&["report", run, "--out", "page.html"], &few[..]].concat()));
        std::fs::read_to_string(folder.join("page.html")).unwrap()
    };
    let page = report("my classes/");
    let again = "igpt finetune --from-scratch --config &#39;my classes/config.resolved.toml&#39; --out &#39;my classes-again&#39;";
    assert!(page.contains(again) && page.contains("of the test images classified rightly"), "{page}");
    // One image of each of ten classes.
    assert!(page.contains("looked at 10 images"), "{page}");
    json(&with(
        folder,
        &["finetune", "--from-scratch", "--config", "my classes/config.resolved.toml", "--out", "b", "--json"],
    ));

    json(&with(
        folder,
        &["probe", "--model", "b", "--images", "60", "--solver", "ridge", "--out", "b/probe", "--json"],
    ));
    assert!(report("b").contains("What the layers know"));
    let overwrite =
        ["finetune", "--from-scratch", "--config", "my classes/config.resolved.toml", "--out", "b", "--overwrite"];
    assert!(with(folder, &overwrite).status.success());
    assert!(!report("b").contains("What the layers know"));
}

#[test]
fn what_is_no_run_or_has_no_images_to_look_with_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |arguments: &str| {
        let output = igpt(folder.path(), &format!("report {arguments} --out page.html"));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refusal("nowhere").contains("nowhere does not exist"));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../igpt/assets/emoji-model");
    let message = refusal(model);
    assert!(message.contains("emoji-model is a model without a run") && message.contains("--data"), "{message}");
    assert!(!folder.path().join("page.html").exists());
}

#[test]
fn a_classifier_that_never_learned_to_generate_is_shown_without_what_it_might_draw() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, "pixels", "");
    let network = "--n-px 8 --colors 8 --set model.n_embd=16 --set model.n_layer=1 --set model.n_head=2";
    let budget = "--steps 2 --batch 2 --set train.eval_images=16 --precision f32";
    let finetune = "finetune --data emoji --from-scratch --labels-per-class 1 --generative-weight 0";
    json(&igpt(folder, &format!("{finetune} {network} {budget} --out classes --json")));
    let found = json(&igpt(folder, "report classes --images 20 --probe-images 60 --out page.html --json"));
    let run = &found["runs"][0];
    assert!(run["nats_per_token"].is_null() && run["class_accuracy"].is_f64(), "{run}");
    assert!(run["not_shown"][0].as_str().unwrap().contains("learned classes alone"), "{run}");
    let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
    for heading in ["Drawn from nothing", "Completed", "Where it is surprised"] {
        assert!(!headings(&page).contains(&heading), "{heading}");
    }
    assert!(headings(&page).contains(&"What the layers know"));
    for command in ["igpt eval", "igpt sample", "igpt complete", "nats per pixel"] {
        assert!(!page.contains(command), "{command}");
    }
    let both = json(&igpt(folder, "report pixels classes --images 20 --probe-images 0 --out both.html --json"));
    assert!(both["runs"][0]["nats_per_token"].is_f64() && both["runs"][1]["nats_per_token"].is_null(), "{both}");
    assert!(std::fs::read_to_string(folder.join("both.html")).unwrap().contains("<td>classes alone</td>"));
}
