//! `igpt classify`: the classes of pictures.

use std::path::{Path, PathBuf};

use igpt::data::{Batch, DamagedImage, images_of_files};
use igpt::device::Precision;
use igpt::formats::decode;
use igpt::model::{ModelDir, ParamLayout};
use igpt::train::TrainedOn;
use igpt::train::open_model_dir;
use igpt::{Error, Result};
use serde_json::json;

use super::pictures::{files_of, tell_damaged, tell_seen};
use crate::model_args::EngineArgs;
use crate::output::{print_json, put};
use crate::shared::JsonArgs;

/// Classes that are named for each picture, the likeliest first.
const NAMED: usize = 3;

/// Flags of `igpt classify`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt classify --model runs/fashion-classes shoe.png bag.png\n  \
                        igpt classify --model runs/fashion-classes photos\n\n\
                        Of a folder all images are classified, whatever its sub-folders. A picture that can't be read is \
                        named and skipped.")]
pub(crate) struct Args {
    /// Model directory or run directory of igpt finetune
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Pictures, or folders of them
    #[arg(value_name = "FILE|FOLDER", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let model = open_model_dir(&args.model)?;
    if model.config.class_head.is_none() {
        let model = args.model.display();
        return Err(Error::Missing(format!(
            "{model} has no classifier, only a generative head: train one with igpt finetune --model {model} --data SPEC"
        )));
    }
    expect_trained(&model, &args.model)?;
    let classes = model.classes();
    let mut model = args.engine.open(model, Precision::F32, None)?;
    let n_ctx = model.config().n_ctx();
    let files = files_of(&args.files)?;
    let seen = TrainedOn::of(Some(&args.model)).seen(None, &images_of_files(&files));
    let (mut results, mut unread, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (file, seen) in files.iter().zip(&seen.marks) {
        let pixels = decode::read(file, model.palette().channels());
        let tokens = pixels.and_then(|pixels| model.tokens_of(&pixels));
        left_out.push(tokens.is_err());
        let name = file.display().to_string();
        let tokens = match tokens {
            Ok(tokens) => tokens,
            Err(error) => {
                unread.push(DamagedImage::new(name, &error));
                continue;
            }
        };
        // One by one, each under the same masks if there are any: a picture's class depends on no other.
        let found = model.classify_batch(&Batch::new(tokens, n_ctx), 0);
        let found = found.map_err(|error| error.of_model(args.model.display()))?.remove(0);
        // What most votes are for comes first, even where another class is likelier on average.
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by(|a, b| found.probabilities[*b].total_cmp(&found.probabilities[*a]));
        order.sort_by_key(|class| *class != found.class as usize);
        if !args.json.json {
            let named =
                order.iter().take(NAMED).map(|&c| format!("{} {:.1} %", classes[c], 100.0 * found.probabilities[c]));
            put!("{name}: {}", named.collect::<Vec<_>>().join(", "))?;
        }
        let probabilities: serde_json::Map<_, _> =
            order.iter().map(|&c| (classes[c].clone(), json!(found.probabilities[c]))).collect();
        results.push(json!({
            "file": name,
            "class": classes[found.class as usize],
            "probability": found.probabilities[found.class as usize],
            "probabilities": probabilities,
            "trained_on": seen,
        }));
    }
    tell_seen(&seen, &left_out);
    if args.json.json {
        let unread: Vec<_> = unread.iter().map(|image| format!("{}: {}", image.name, image.problem)).collect();
        let (model, trained_on) = (args.model.display().to_string(), seen.count());
        print_json(&json!({ "model": model, "images": results, "unread": unread, "trained_on": trained_on }))?;
    }
    let given: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
    tell_damaged(&unread, results.len(), &given.join(", "))
}

/// Refuses a classifier of zeros, as fine-tuning starts with: every picture would be of its first class.
fn expect_trained(model: &ModelDir, path: &Path) -> Result<()> {
    let layout = ParamLayout::new(&model.config);
    let score = layout.tensor("score.weight").map(|score| model.weights[score.range()].to_vec());
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
