//! One file a verb: its flags (`Args`) and `run`.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod checkpoints;
pub(crate) mod classify;
pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
mod drawing;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod finetune;
mod page_args;
pub(crate) mod palette;
pub(crate) mod parity;
pub(crate) mod plan;
pub(crate) mod pretrain;
pub(crate) mod probe;
mod rates;
pub(crate) mod report;
mod run_args;
pub(crate) mod sample;
pub(crate) mod score;
pub(crate) mod serve;
pub(crate) mod verify_resume;
pub(crate) mod watch;
