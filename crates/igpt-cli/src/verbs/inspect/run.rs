//! `igpt inspect run`: which pictures are odd, and where.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use igpt::data::{DamagedImage, Split, images_of_files};
use igpt::device::{Engine, Precision};
use igpt::formats::decode;
use igpt::formats::png::{self, TextChunks};
use igpt::inspect::{FALSE_ALARMS, InspectionFit, InspectionResult, Inspector, NamedPicture, expect_rate};
use igpt::report::ImageWithMap;
use igpt::report::csv_field;
use igpt::report::quoted;
use igpt::report::{FalseAlarmCheck, InspectionPage, JudgedPicture, percent, thumbnail};
use igpt::stats::wilson;
use igpt::train::TrainedOn;
use igpt::{Error, Result, files};
use serde_json::{Value, json};

use super::open;
use crate::model_args::EngineArgs;
use crate::output::{print_json, put, say};
use crate::shared::{DataArgs, JsonArgs};
use crate::verbs::drawing::with_bar;
use crate::verbs::maps;
use crate::verbs::pictures::{files_of, tell_damaged};

/// Flags of `igpt inspect run`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt inspect run --model runs/parts photos/new --out judged\n  \
                        igpt inspect run --model runs/parts a.png b.jpg --false-alarms 0.01 --out judged --json\n  \
                        igpt inspect run --model runs/parts photos/new --check photos/more-good --out judged\n\n\
                        A picture is odd if its score is above the conformal threshold: the ⌈(n+1)(1−α)⌉-th smallest of the n \
                        scores of held-out good pictures, where α is --false-alarms. The folder gets scores.csv, the oddest \
                        first, a heat map of every picture at the picture's own size in maps/, and a page, index.html. A picture \
                        has the same score alone, among others and over HTTP (POST /v1/inspect of igpt serve). One that can't be \
                        read is named and skipped.")]
pub(super) struct Args {
    /// Model directory, or the directory of a finished run, with a fit (igpt inspect fit)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Pictures, or folders of them
    #[arg(value_name = "FILE|FOLDER", required = true)]
    files: Vec<PathBuf>,
    /// Share of good pictures that may be called odd
    #[arg(long, value_name = "RATE", default_value_t = FALSE_ALARMS)]
    false_alarms: f64,
    /// Other good pictures, a folder or a data set by name: how many of them are called odd?
    #[arg(long, value_name = "SPEC")]
    check: Option<String>,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many of the oddest pictures the page shows beside their maps
    #[arg(long, value_name = "N", default_value_t = 60)]
    top: usize,
    /// Folder for the scores, the maps and the page
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// A judged picture, and where its map lies.
struct Row {
    judged: JudgedPicture,
    path: PathBuf,
    map: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    expect_rate(args.false_alarms)?;
    let (model, dir) = open(&args.model)?;
    let name = args.model.display().to_string();
    let inspector = Inspector::new(expect_fit(&dir, &model, &name)?, &model, args.engine.threads());
    let threshold = inspector.fit.threshold(args.false_alarms)?;
    let files = files_of(&args.files)?;
    let mut opened = args.engine.open(model, Precision::F32, None)?;
    let (_, _, engine) = opened.parts();
    maps::remove_earlier(&args.out)?;

    let mut rows: Vec<Row> = Vec::with_capacity(files.len());
    let mut take = |named: &NamedPicture, verdict: InspectionResult| {
        let path = files[named.index].clone();
        let map = maps::path(&args.out, named.index + 1, &named.name);
        let InspectionResult { score, percentile, p_value, .. } = verdict;
        let text = TextChunks::new("Where it is odd")
            .with("Image", &named.name)
            .with("Score", format!("{} {score}", inspector.fit.score))
            .with("Brightest", format!("{:.4} and more", inspector.fit.brightest));
        png::save(&map, &inspector.heat(&named.picture, &verdict), &text)?;
        let judged =
            JudgedPicture { file: path.display().to_string(), score, percentile, p_value, odd: score > threshold };
        rows.push(Row { judged, path, map });
        Ok(())
    };
    let images = images_of_files(&files);
    let (damaged, _) =
        with_bar("judging", |progress| inspector.inspect_images(&mut *engine, &images, &mut take, progress))
            .map_err(|error| error.of_model(&name))?;
    let given: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
    tell_damaged(&damaged, rows.len(), &given.join(", "))?;
    let mut ranking: Vec<&Row> = rows.iter().collect();
    ranking.sort_by(|a, b| b.judged.score.total_cmp(&a.judged.score));
    files::write(&args.out.join("scores.csv"), csv(&ranking).as_bytes())?;
    let shown = ranking.iter().take(args.top).map(|row| pair(row)).collect::<Result<Vec<_>>>()?;
    let write_page = |check: Option<&FalseAlarmCheck>| {
        let page = page(args, &name, &inspector.fit, threshold, (&ranking, &shown), &damaged, check);
        files::write(&args.out.join("index.html"), page.as_bytes())
    };
    // Before the check, which may fail.
    write_page(None)?;

    let odd = rows.iter().filter(|row| row.judged.odd).count();
    tell(args, &name, &inspector.fit, threshold, &ranking, odd)?;
    let check = args.check.as_deref().map(|spec| check(args, spec, &inspector, &mut *engine, threshold)).transpose()?;
    if let Some(check) = &check {
        say!("{}", check.words(args.false_alarms));
        write_page(Some(check))?;
    }
    if args.json.json {
        let image = |Row { judged, map, .. }: &Row| {
            let JudgedPicture { file, score, percentile, p_value, odd } = judged;
            let map = map.display().to_string();
            json!({"file": file, "score": score, "percentile": percentile, "odd": odd, "p_value": p_value, "map": map})
        };
        let unread: Vec<Value> =
            damaged.iter().map(|image| json!({"file": image.name, "problem": image.problem})).collect();
        let check = check.map(|check| {
            json!({
                "data": check.data,
                "images": check.images,
                "odd": check.alarms,
                "rate": check.rate(),
                "interval95": check.interval,
            })
        });
        print_json(&json!({
            "images": rows.iter().map(image).collect::<Vec<_>>(),
            "odd": odd,
            "threshold": threshold,
            "false_alarms": args.false_alarms,
            "score": inspector.fit.score,
            "held_out": inspector.fit.used.held_out,
            "check": check,
            "unread": unread,
            "model": name,
            "out": args.out.display().to_string(),
        }))?;
    }
    Ok(())
}

/// The fit, or what makes one, in the words of this call.
fn expect_fit(dir: &Path, model: &igpt::model::ModelDir, name: &str) -> Result<InspectionFit> {
    InspectionFit::open(dir, model)?.ok_or_else(|| {
        Error::Missing(format!("{name} has no fit: run igpt inspect fit --model {} --data GOOD first", quoted(name)))
    })
}

/// Counts false alarms among good pictures of `spec` that the fit and the network have not seen.
fn check(
    args: &Args,
    spec: &str,
    inspector: &Inspector,
    engine: &mut dyn Engine,
    threshold: f64,
) -> Result<FalseAlarmCheck> {
    let dataset = DataArgs { data: spec.into(), data_dir: args.data_dir.clone() }.open()?;
    let all = dataset.split(Split::All)?;
    let seen = TrainedOn::of(Some(&args.model)).seen(Some((spec, &dataset)), &all);
    seen.notes.iter().for_each(|note| say!("note: {note}"));
    let images = all.pick((0..all.len()).filter(|&i| seen.marks[i] != Some(true)));
    let (mut count, mut alarms, mut used) = (0, 0, all.len() - images.len());
    let mut take = |named: &NamedPicture, verdict: InspectionResult| {
        match inspector.fit.has_used(&named.picture) {
            true => used += 1,
            false => {
                count += 1;
                alarms += usize::from(verdict.score > threshold);
            }
        }
        Ok(())
    };
    let (damaged, _) = with_bar("checking", |progress| inspector.inspect_images(engine, &images, &mut take, progress))
        .map_err(|error| error.of_model(args.model.display()))?;
    if used > 0 && count > 0 {
        say!(
            "{used} pictures of {spec} are left out of the check: the network was trained on them, or the fit has used them"
        );
    }
    if count == 0 && used > 0 {
        return Err(Error::Missing(format!(
            "all {used} pictures of {spec} were used by the network or the fit: give others to --check"
        )));
    }
    tell_damaged(&damaged, count, spec)?;
    let interval = wilson(alarms as f64 / count as f64, count);
    Ok(FalseAlarmCheck { data: spec.into(), images: count, alarms, interval })
}

/// All scores, the oddest picture first.
fn csv(ranking: &[&Row]) -> String {
    let mut text = String::from("rank,file,score,percentile,p_value,odd\n");
    for (rank, Row { judged, .. }) in ranking.iter().enumerate() {
        let JudgedPicture { file, score, percentile, p_value, odd } = judged;
        let (file, odd) = (csv_field(file), if *odd { "yes" } else { "no" });
        let _ = writeln!(text, "{},{file},{score},{percentile:.2},{p_value:.5},{odd}", rank + 1);
    }
    text
}

/// A picture beside its map, for the page.
fn pair(row: &Row) -> Result<ImageWithMap> {
    let JudgedPicture { file, score, p_value, odd, .. } = &row.judged;
    let odd = if *odd { "odd, " } else { "" };
    let image = thumbnail(&decode::read(&row.path, 3)?);
    let map = thumbnail(&decode::read(&row.map, 3)?);
    Ok(ImageWithMap { name: format!("{file}: {odd}{score:.4}, p {p_value:.4}"), image, map })
}

fn page(
    args: &Args,
    model: &str,
    fit: &InspectionFit,
    threshold: f64,
    (ranking, shown): (&[&Row], &[ImageWithMap]),
    damaged: &[DamagedImage],
    check: Option<&FalseAlarmCheck>,
) -> String {
    let judged: Vec<JudgedPicture> = ranking.iter().map(|row| row.judged.clone()).collect();
    let inspection = InspectionPage {
        model,
        fit,
        false_alarms: args.false_alarms,
        threshold,
        judged: &judged,
        shown: shown.to_vec(),
        damaged: damaged.iter().map(|image| (image.name.clone(), image.problem.clone())).collect(),
        check,
        made: made(args),
    };
    inspection.page().html()
}

/// The command that does this again.
fn made(args: &Args) -> String {
    let mut line = format!("igpt inspect run --model {}", quoted(&args.model.display().to_string()));
    args.files.iter().for_each(|file| _ = write!(line, " {}", quoted(&file.display().to_string())));
    let _ = write!(line, " --false-alarms {}", args.false_alarms);
    if let Some(check) = &args.check {
        let _ = write!(line, " --check {}", quoted(check));
    }
    let _ = write!(line, " --out {}", quoted(&args.out.display().to_string()));
    line
}

fn tell(args: &Args, model: &str, fit: &InspectionFit, threshold: f64, ranking: &[&Row], odd: usize) -> Result<()> {
    say!(
        "{model}: {odd} of {} pictures are odd: their score {} is above {threshold:.4}, which {} % of good pictures may exceed",
        ranking.len(),
        fit.score,
        percent(args.false_alarms)
    );
    if !args.json.json {
        put!("     score  percentile       p  picture")?;
        for Row { judged: JudgedPicture { file, score, percentile, p_value, odd }, .. } in ranking.iter().take(20) {
            let mark = if *odd { "odd" } else { "" };
            put!("{score:>10.4}  {percentile:>10.1}  {p_value:.4}  {file}  {mark}")?;
        }
        if ranking.len() > 20 {
            put!("… {} more in scores.csv", ranking.len() - 20)?;
        }
    }
    let page = args.out.join("index.html");
    say!("all scores, {} maps and a page of the oddest: {}", ranking.len(), page.display());
    Ok(())
}
