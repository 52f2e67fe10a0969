//! `igpt probe`: a linear probe of every layer, the test of the best, and the baselines beside it.

use std::path::{Path, PathBuf};

use igpt::data::Split;
use igpt::evaluate::Layers;
use igpt::probe::{self, ProbeReport, ProbeSettings, Solver};
use igpt::ranks::{Collective, expect_same_model};
use igpt::report::layer_chart;
use igpt::{Error, Result, files};
use serde_json::json;

use super::drawing::with_phases_if;
use crate::model_args::{EngineArgs, ModelArgs, PrecisionArgs};
use crate::named::described;
use crate::output::{own_command, print_json, say};
use crate::ranks;
use crate::shared::{DataArgs, JsonArgs, SeedArgs};

/// Classes beyond which no confusion matrix is printed.
const CLASSES: usize = 16;

/// The classifiers.
const SOLVERS: [(Solver, &str); 4] = [
    (Solver::Lbfgs, "Logistic regression by L-BFGS, the paper's"),
    (Solver::Sgd, "Logistic regression by stochastic gradient descent, for large sets"),
    (Solver::Ridge, "Ridge regression in closed form"),
    (Solver::Knn, "20 nearest neighbours by cosine"),
];

/// Flags of `igpt probe`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt probe --model runs/a --data fashion-mnist --json\n\n\
                        Features are means over positions, standardised on the training images. The layer and the \
                        strength are chosen on the validation split; then train and validation are fitted together \
                        and the test split is seen once. With few labels the choices are the validation split's too, \
                        and only the subset is fitted.\n\n\
                        The random network of the baseline is drawn as the paper's code does, whatever the model's \
                        own training began with. Features are those of the shifted input, sos and the tokens but the \
                        last; a masked model sees its images whole. Features of all images are held in memory: \
                        where they would not fit, take fewer --layers or --images.")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Layers to choose from: all, or numbers from 0 with commas between
    #[arg(long, value_name = "all|L,L", default_value_t = Layers::All)]
    layers: Layers,
    /// Classifier
    #[arg(long, value_parser = described(&SOLVERS, Solver::name), default_value = Solver::Lbfgs.name())]
    solver: Solver,
    /// Only so many training images: the first of a seeded shuffle, and at least one of each class
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    images: Option<u32>,
    /// Only so many images of validation and of test, each spread evenly: for a quick look
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    held_out: Option<u32>,
    /// Also so many layers around the best one side by side
    #[arg(long, value_name = "K")]
    concat: Option<usize>,
    /// Also with so few labels a class
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    labels_per_class: Vec<u32>,
    /// Random subsets for each number of labels, those of the seeds 0 to K - 1 whatever --seed says
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    #[command(flatten)]
    precision: PrecisionArgs,
    /// Also write results.json and layers.svg, accuracy by layer, into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    ranks::among(|ranks| run_among(&args, ranks)).map_err(|error| error.of_model(args.model.name()))
}

fn run_among(args: &Args, ranks: &mut Collective) -> Result<()> {
    let precision = args.precision.precision;
    let flags = json!({
        "layers": args.layers.to_string(),
        "solver": args.solver,
        "images": args.images,
        "held-out": args.held_out,
        "concat": args.concat,
        "labels-per-class": args.labels_per_class,
        "seeds": args.seeds,
        "seed": args.seed.seed,
        "precision": precision,
    });
    ranks::expect_same_command(ranks, args.engine.device(), "probe", &flags)?;
    let model = args.model.open()?;
    let dataset = args.data.open_among(ranks)?;
    let splits: Vec<_> = [Split::Train, Split::Validation, Split::Test].map(|split| dataset.split(split).ok()).into();
    expect_same_model(ranks, &model, &splits.iter().flatten().collect::<Vec<_>>())?;
    let settings = ProbeSettings::default()
        .layers(args.layers.clone())
        .images(args.images.map(|n| n as usize))
        .held_out(args.held_out.map(|n| n as usize))
        .solver(args.solver)
        .concat(args.concat)
        .labels_per_class(args.labels_per_class.iter().map(|&n| n as usize).collect())
        .seeds(args.seeds)
        .seed(args.seed.seed)
        .options(args.engine.options(precision));
    let leads = ranks.is_leader();
    let (report, time) = with_phases_if(leads, |progress| probe::probe(ranks, &model, &dataset, &settings, progress))?;
    if !leads {
        return Ok(());
    }

    say!("{} on {}\n{}", args.model.name(), args.data.data, table(&report));
    for image in &report.damaged {
        say!("skipped {}: {}", image.name, image.problem);
    }
    let mut value = serde_json::to_value(&report).map_err(|e| Error::Invalid(e.to_string()))?;
    value["validation_interval"] = json!(report.validation_intervals());
    value["command"] = json!(own_command());
    value["model"] = json!(args.model.path());
    value["data"] = json!(args.data.data);
    value["precision"] = json!(precision);
    value["seed"] = json!(args.seed.seed);
    value["damaged"] = json!(report.damaged.len());
    value["seconds"] = json!(time.as_secs_f64());
    if let Some(folder) = &args.out {
        save(folder, &report, &value)?;
    }
    if args.json.json {
        print_json(&value)?;
    }
    Ok(())
}

/// Writes the results and their chart.
fn save(folder: &Path, report: &ProbeReport, value: &serde_json::Value) -> Result<()> {
    let shares = report.validation_accuracy.iter().copied().zip(report.validation_intervals());
    let points: Vec<_> =
        report.layers.iter().zip(shares).map(|(&layer, (share, within))| (layer, share, within)).collect();
    let levels = [
        ("raw pixels", report.baselines.raw_pixels_verdict.validation_accuracy),
        ("random network", report.baselines.random_init_verdict.validation_accuracy),
    ];
    for (name, text) in [("results.json", format!("{value:#}\n")), ("layers.svg", layer_chart(&points, &levels))] {
        let path = folder.join(name);
        files::write(&path, text.as_bytes())?;
        say!("wrote {}", path.display());
    }
    Ok(())
}

fn table(report: &ProbeReport) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let within = |interval: [f64; 2]| interval.map(percent).join(" to ");
    let mut text = String::from("layer  validation  95 % interval\n");
    let shares = report.validation_accuracy.iter().zip(report.validation_intervals());
    for (layer, (accuracy, interval)) in report.layers.iter().zip(shares) {
        let best = if *layer == report.best_layer { "  best" } else { "" };
        text += &format!("{layer:>5}  {:>9.2} %  {}{best}\n", 100.0 * accuracy, within(interval));
    }
    let [train, validation, test] = report.images;
    text += &format!("test accuracy of layer {}: {}, ", report.best_layer, percent(report.test_accuracy));
    let interval = within(report.interval);
    text += &format!("95 % interval {interval} ({train} + {validation} images fitted, {test} tested)\n");
    if let Some(concat) = &report.concat {
        let layers: Vec<String> = concat.layers.iter().map(usize::to_string).collect();
        let (share, interval) = (percent(concat.verdict.test_accuracy), within(concat.verdict.interval));
        text += &format!("layers {} together: {share}, {interval}\n", layers.join(", "));
    }
    let b = &report.baselines;
    text += &format!(
        "baselines: raw pixels {}, the same network with random weights {} (layer {}), majority class {}",
        percent(b.raw_pixels),
        percent(b.random_init),
        b.random_init_layer,
        percent(b.majority)
    );
    for few in &report.few_labels {
        let spread = |deviation: Option<f64>| deviation.map_or(String::new(), |d| format!(" ± {:.2}", 100.0 * d));
        let (features, pixels) = (&few.features, &few.raw_pixels);
        text += &format!(
            "\n{} labels a class: {:.2}{} %, raw pixels {:.2}{} %",
            features.labels_per_class,
            100.0 * features.mean,
            spread(features.deviation),
            100.0 * pixels.mean,
            spread(pixels.deviation)
        );
    }
    let fits = [
        ("the best layer", report.converged),
        ("raw pixels", b.raw_pixels_verdict.converged),
        ("the random network", b.random_init_verdict.converged),
    ];
    for (name, _) in fits.iter().filter(|(_, converged)| !converged) {
        text += &format!(
            "\nthe fit of {name} was broken off after 500 steps: its accuracy may be a little higher; \
             --solver ridge always reaches its end"
        );
    }
    if report.unlabelled > 0 {
        text += &format!("\n{} images without a label were left out", report.unlabelled);
    }
    if report.classes.len() <= CLASSES {
        text += &confusion(report);
    }
    text
}

/// The confusion matrix with the classes' names at its right.
fn confusion(report: &ProbeReport) -> String {
    let most = report.confusion.iter().flatten().max().copied().unwrap_or(0);
    let width = most.to_string().len().max(2) + 1;
    let header: String = (0..report.classes.len()).map(|class| format!("{class:>width$}")).collect();
    let mut text = format!("\nconfusion (rows: true class, columns: predicted)\n    {header}");
    for (class, (row, name)) in report.confusion.iter().zip(&report.classes).enumerate() {
        let row: String = row.iter().map(|count| format!("{count:>width$}")).collect();
        text += &format!("\n{class:>3} {row}  {name}");
    }
    text
}
