//! `igpt bench`: how fast this machine trains, scores and samples a network of a given shape, beside what it could do
//! at most and, where Python with PyTorch is given, beside the peers.

mod data;
mod forward;
mod kernels;
mod peers;
mod probe;
mod report;
mod sample;
mod shape;
mod train;

use clap::Subcommand;
use igpt::Result;

use shape::Shape;

const EXAMPLES: &str = "\
Examples:
  igpt bench train --n-embd 256 --n-layer 8 --n-head 8 --n-ctx 1024 --batch 4 --json
  igpt bench sample --n-embd 512 --n-layer 24 --batch 8
  igpt bench kernels --n-embd 512 --threads 1
  igpt bench probe --data fashion-mnist --images 54000 --width 128
  igpt bench peers --python path/to/venv/bin/python";

/// Flags of `igpt bench`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Whole optimiser steps: forward, backward, clip, update, packing of the weights
    Train(train::Args),
    /// Drawing whole images with the KV cache
    Sample(Shape),
    /// The likelihood of images: forward only
    Forward(Shape),
    /// Each kernel on the network's own shapes, one thread
    Kernels(Shape),
    /// Images to tokens: decoding, augmentation, nearest colours, on one core
    Data(data::Args),
    /// Fitting the linear probe's classifier, beside scikit-learn where --python is given
    Probe(probe::Args),
    /// Training and sampling beside PyTorch, run by turns
    Peers(peers::Args),
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.work {
        Work::Train(args) => report::network("train", &args.shape, train::run(&args)?),
        Work::Sample(shape) => report::network("sample", &shape, sample::run(&shape)?),
        Work::Forward(shape) => report::network("forward", &shape, forward::run(&shape)?),
        Work::Kernels(shape) => kernels::run(&shape),
        Work::Data(args) => data::run(&args),
        Work::Probe(args) => probe::run(&args),
        Work::Peers(args) => peers::run(&args),
    }
}
