//! `igpt data check`: what is wrong with a data set before a model learns it.

use std::path::{Path, PathBuf};

use igpt::data::{
    Dataset, FileProblem, TokenDir,
    check::{CheckReport, CheckSettings, DuplicatePair, DuplicatePairs, check},
};
use igpt::report::data_check_page;
use igpt::{Error, Result, files};
use serde_json::json;

use crate::output::{own_command, print_json, say};
use crate::shared::{DataArgs, JsonArgs, ThreadArgs};
use crate::verbs::drawing::with_phases;

/// Flags of `igpt data check`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt data check --data emoji --out emoji.html\n  \
                        igpt data check --data photos --strict --json\n\n\
                        Exact copies have the same pixels. Near duplicates have hashes of their look that differ in few \
                        bits (--distance), and thumbnails that hardly differ: the same picture compressed again, or \
                        scaled. Of a token directory every shard is held against its checksum too. The exit code is 0 \
                        whatever is found, unless --strict.")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Look at only so many images of each split, spread evenly; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    images: usize,
    /// Bits of 64 in which the hashes of near duplicates may differ, at most 7
    #[arg(long, value_name = "BITS", default_value_t = CheckSettings::default().distance)]
    distance: u32,
    /// Pairs to name and to show
    #[arg(long, value_name = "N", default_value_t = CheckSettings::default().named)]
    pairs: usize,
    /// Page that shows the pairs side by side
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Fail (exit code 1) when there are damaged files or images, duplicates, or images in two splits
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let root = Path::new(&args.data.data);
    let files = match TokenDir::is_at(root) {
        true => Some(with_phases(|progress| TokenDir::verify(root, &mut |n, all| progress("reading", n, all)))?.0),
        false => None,
    };
    let broken = files.as_ref().is_some_and(|files| !files.is_empty());
    let dataset = match args.data.open_quietly() {
        // That the directory does not open has a reason, which is a finding.
        Err(_) if broken => None,
        opened => Some(opened?),
    };
    let settings = CheckSettings::default().images(args.images).distance(args.distance).named(args.pairs);
    let settings = settings.threads(args.threads.threads);
    let looked = dataset.map(|dataset| -> Result<_> {
        let (found, time) = with_phases(|progress| check(&dataset, &settings, progress))?;
        Ok((dataset, found, time.as_secs_f64()))
    });
    let looked = looked.transpose()?;

    if let Some(files) = &files {
        tell_files(&args.data.data, files);
    }
    if let Some((dataset, found, seconds)) = &looked {
        tell(args, dataset, found, *seconds);
        if let Some(out) = &args.out {
            let html = data_check_page(dataset, found, args.images, files.as_deref(), &own_command()).html();
            files::write(out, html.as_bytes())?;
            say!("page: {}", out.display());
        }
    }
    let clean = !broken && looked.as_ref().is_none_or(|(_, found, _)| found.is_clean());
    if args.json.json {
        let found = looked.as_ref().map(|(_, found, _)| found);
        print_json(&json!({
            "data": args.data.data,
            "clean": clean,
            "files": files,
            "notes": looked.as_ref().map(|(dataset, _, _)| &dataset.notes),
            "classes": looked.as_ref().map(|(dataset, _, _)| &dataset.classes),
            "found": found,
            "page": args.out.as_ref().filter(|_| found.is_some()),
            "seconds": looked.as_ref().map(|(_, _, seconds)| seconds),
        }))?;
    }
    match args.strict && !clean {
        true => Err(Error::Invalid(format!("{} is not clean: see above, or leave --strict out", args.data.data))),
        false => Ok(()),
    }
}

fn tell_files(data: &str, files: &[FileProblem]) {
    if files.is_empty() {
        say!("{data}: every file is what its checksum says");
    }
    for file in files {
        say!("{data}/{}: {}", file.file, file.problem);
    }
    if !files.is_empty() {
        say!("make them again with the igpt data tokenize command that made {data}");
    }
}

fn tell(args: &Args, dataset: &Dataset, found: &CheckReport, seconds: f64) {
    let total: usize = found.splits.iter().map(|part| part.images).sum();
    say!("{total} images of {} in {seconds:.1} s", args.data.data);
    for part in &found.splits {
        let counts = part.classes.iter().copied();
        let spread = match (counts.clone().min(), counts.max()) {
            (Some(fewest), Some(most)) => format!("{} classes of {fewest} to {most} images", dataset.classes.len()),
            _ => "no classes".into(),
        };
        say!("  {:<10} {:>8} images, {} without a label, {spread}", part.split, part.images, part.unlabelled);
    }
    if !dataset.classes.is_empty() {
        say!("  {}", dataset.class_names());
    }
    if !dataset.has_parts {
        say!("  the parts are drawn by seed: the folder has none of its own");
    }
    for note in &dataset.notes {
        say!("  note: {note}");
    }
    let sizes: Vec<String> = found.sizes.iter().take(3).map(|(size, count)| format!("{size} ({count})")).collect();
    let more = if found.sizes.len() > 3 { format!(" and {} others", found.sizes.len() - 3) } else { String::new() };
    say!("  sizes: {}{more}", sizes.join(", "));
    say!("  damaged: {}", found.damaged);
    if found.not_supported > 0 {
        say!("  not supported: {}", found.not_supported);
    }
    for image in found.first_damaged.iter().take(5) {
        say!("    {}: {}", image.name, image.problem);
    }
    tell_matches("exact copies", &found.exact);
    tell_matches("near duplicates", &found.near);
    if found.near_incomplete {
        say!("  there were too many pairs to compare all: lower --distance");
    }
}

fn tell_matches(name: &str, matches: &DuplicatePairs) {
    let DuplicatePairs { images, other_label, train_in_validation, train_in_test, validation_in_test, pairs } = matches;
    say!(
        "  {name}: {images}, {other_label} of another class; train in validation {train_in_validation}, train in test \
         {train_in_test}, validation in test {validation_in_test}"
    );
    for DuplicatePair { images: [a, b], difference } in pairs.iter().take(5) {
        say!("    {} ({}) and {} ({}), {difference:.1} levels", a.name, a.split, b.name, b.split);
    }
}
