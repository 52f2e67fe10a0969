//! `igpt classify`: the classes of pictures.

use std::path::{Path, PathBuf};

use igpt::cpu::{self, Options};
use igpt::data::Batch;
use igpt::data::decode;
use igpt::evaluate::classify;
use igpt::model::{Layout, ModelDir, Precision};
use igpt::palette::Quantizer;
use igpt::{Error, Result};
use serde_json::json;

use crate::output::{print_json, put};
use crate::shared::{JsonArgs, ThreadArgs};

/// Classes that are named for each picture, the likeliest first.
const NAMED: usize = 3;

/// Flags of `igpt classify`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt classify --model runs/fashion-classes shoe.png bag.png")]
pub(crate) struct Args {
    /// Model directory or run directory of igpt finetune
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Pictures
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = ModelDir::open(&args.model)?;
    if model.config.class_head.is_none() {
        let model = args.model.display();
        return Err(Error::Missing(format!(
            "{model} has no classifier, only a generative head: train one with igpt finetune --model {model} --data SPEC"
        )));
    }
    expect_trained(&model, &args.model)?;
    let classes = model.classes();
    let options = Options { threads: args.threads.threads, ..Options::inference(Precision::F32) };
    let mut engine = cpu::open(&model.config, &model.weights, options)?;
    let quantizer = Quantizer::new(model.palette);
    let (size, n_ctx) = (model.config.n_px, model.config.n_ctx());
    let preprocess = quantizer.palette().preprocess(size);
    let mut tokens = vec![0; n_ctx];
    let (mut results, mut unread) = (Vec::new(), Vec::new());
    for file in &args.files {
        let pixels = match decode::read(file, quantizer.palette().channels()) {
            Ok(pixels) => pixels,
            Err(error) => {
                unread.push(error);
                continue;
            }
        };
        match preprocess.evaluation(&pixels) {
            Ok(pixels) => quantizer.tokens(&pixels, &mut tokens),
            Err(error) => {
                unread.push(Error::format(file, error.to_string()));
                continue;
            }
        }
        // One by one, each under the same masks if there are any: a picture's class depends on no other.
        let found = classify(&mut *engine, &Batch::new(tokens.clone(), n_ctx), 0);
        let found = found.map_err(|error| error.of_model(args.model.display()))?.remove(0);
        // What most votes are for comes first, even where another class is likelier on average.
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by(|a, b| found.probabilities[*b].total_cmp(&found.probabilities[*a]));
        order.sort_by_key(|class| *class != found.class as usize);
        if !args.json.json {
            let named =
                order.iter().take(NAMED).map(|&c| format!("{} {:.1} %", classes[c], 100.0 * found.probabilities[c]));
            put!("{}: {}", file.display(), named.collect::<Vec<_>>().join(", "))?;
        }
        let probabilities: serde_json::Map<_, _> =
            order.iter().map(|&c| (classes[c].clone(), json!(found.probabilities[c]))).collect();
        results.push(json!({
            "file": file,
            "class": classes[found.class as usize],
            "probability": found.probabilities[found.class as usize],
            "probabilities": probabilities,
        }));
    }
    if args.json.json {
        let unread: Vec<_> = unread.iter().map(Error::to_string).collect();
        print_json(&json!({ "model": args.model, "images": results, "unread": unread }))?;
    }
    match unread.len() {
        0 => Ok(()),
        1 => Err(unread.remove(0)),
        count => {
            let problems: Vec<_> = unread.iter().map(Error::to_string).collect();
            Err(Error::Invalid(format!("{count} pictures could not be read:\n{}", problems.join("\n"))))
        }
    }
}

/// Refuses a classifier of zeros, as fine-tuning starts with: every picture would be of its first class.
fn expect_trained(model: &ModelDir, path: &Path) -> Result<()> {
    let layout = Layout::new(&model.config);
    let score = layout.tensor("score.weight").map(|score| layout.export(score, &model.weights));
    if score.is_none_or(|score| score.iter().any(|weight| *weight != 0.0)) {
        return Ok(());
    }
    let run = if path.join("config.json").is_file() { "RUN".into() } else { path.display().to_string() };
    Err(Error::Missing(format!(
        "{} has a classifier that was never trained (score.weight is all zeros): go on with its fine-tuning by igpt \
         finetune --resume --out {run}",
        path.display()
    )))
}
