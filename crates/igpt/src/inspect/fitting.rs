//! The fit itself: the reference, what good pictures are like, and the scores of those that are held out.

use super::conformal::{Conformal, needed};
use super::divide::Divided;
use super::evidence::{Evidence, Needs, evidence};
use super::fit::{Fit, Used, identity};
use super::picture::{Named, Picture, View, each_run};
use super::score::Score;
use super::typical::{Statistics, Sums};
use crate::data::{Damaged, Images, TokenSet};
use crate::device::Engine;
use crate::evaluate::Baselines;
use crate::model::ModelDir;
use crate::palette::Quantizer;
use crate::stats::{auroc, auroc_interval, quantile};
use crate::{Error, Result};

/// Pictures that the reference is fitted to at most, spread evenly, and tiles of these.
const REFERENCE: usize = 20_000;
/// Pictures that statistics are of at most, spread evenly: each costs a forward pass.
const STATISTICS: usize = 1000;
/// The least that are held out: what a false-alarm rate of 5 % needs.
const USUAL_RATE: f64 = 0.05;
/// What share of the held-out pictures' maps stays below the brightest colour everywhere.
const BELOW_BRIGHTEST: f64 = 0.95;

/// Which score is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Named(Score),
    /// The one that tells odd pictures best, measured on half of the held-out good ones; the other half is left for the
    /// threshold, which would otherwise be made of scores that were chosen for being low.
    Auto,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How pictures are brought to the model.
    pub view: View,
    /// Which score is kept.
    pub choice: Choice,
    /// What `--data` says, for messages and the record.
    pub data: &'a str,
    /// Pictures known to be odd, by which scores are compared.
    pub odd: Option<&'a Images>,
}

/// How well a score tells the odd pictures from held-out good ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Separation {
    /// The score.
    pub score: Score,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// A fit, and what was found on the way.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The fit.
    pub fit: Fit,
    /// Each score beside the odd pictures, where there are some.
    pub table: Vec<Separation>,
    /// Odd pictures that could be read.
    pub odd: usize,
    /// Pictures of any kind that could not be read.
    pub damaged: Vec<Damaged>,
}

/// Fits everything to the good pictures of `divided` for `model`, whose `engine` computes. `progress` is told what is done.
///
/// # Errors
/// When too few pictures are held out or none is odd, the engine fails, or the surprise at a pixel is not finite.
pub fn fit(
    engine: &mut dyn Engine,
    model: &ModelDir,
    divided: &Divided,
    request: Request<'_>,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Fitted> {
    let scores: Vec<Score> = match (request.odd, request.choice) {
        (Some(_), _) => Score::ALL.to_vec(),
        (None, Choice::Named(score)) => vec![score],
        (None, Choice::Auto) => {
            return Err(Error::Invalid(
                "no score can be chosen without odd pictures: give some, or name a score".into(),
            ));
        }
    };
    let needs = scores.iter().fold(Needs::default(), |needs, score| needs.and(score.needs()));
    let quantizer = Quantizer::new(model.palette.clone());
    let shape = (request.view, model.config.n_px);
    let (mut damaged, mut pictures) = (Vec::new(), Vec::new());
    let mut told = |what: &'static str, images: &Images, done: usize| progress(what, done, images.len());

    let (mut tokens, mut count) = (Vec::new(), 0);
    let images = divided.reference.spread(REFERENCE);
    let n_ctx = model.config.n_ctx();
    damaged.extend(each_run(&images, shape, &quantizer, &mut |run| {
        for Named { picture, .. } in &run {
            pictures.push(Fit::key(picture));
            if tokens.len() < REFERENCE * n_ctx {
                tokens.extend_from_slice(picture.tokens());
            }
        }
        count += run.len();
        told("reference", &images, count);
        Ok(())
    })?);
    let reference_count = count;
    let reference = Baselines::fit(&token_set(tokens, model), model.config.n_vocab);

    let mut sums = Sums::default();
    let mut statistics_count = 0;
    if scores.iter().any(|score| score.needs_statistics()) {
        let images = divided.reference.spread(STATISTICS);
        each_run(&images, shape, &quantizer, &mut |run| {
            let found = evidence(engine, &run, &reference, needs)?;
            found.iter().for_each(|evidence| sums.add(&evidence.surprise));
            statistics_count += run.len();
            told("statistics", &images, statistics_count);
            Ok(())
        })?;
    }
    let statistics = sums.statistics();
    if statistics.is_none() && scores.iter().any(|score| score.needs_statistics()) {
        return Err(none_readable(request.data));
    }

    let judge = |evidence: &Evidence| -> Vec<[f64; 2]> {
        let of = |score: &Score| {
            let (value, map) = score.judge(evidence, statistics.as_ref());
            [value, map.max()]
        };
        scores.iter().map(of).collect()
    };
    let mut judged =
        |what: &'static str, images: &Images, take: &mut dyn FnMut(&Picture, Vec<[f64; 2]>)| -> Result<Vec<Damaged>> {
            let mut done = 0;
            each_run(images, shape, &quantizer, &mut |run| {
                let found = evidence(engine, &run, &reference, needs)?;
                run.iter().zip(&found).for_each(|(named, evidence)| take(&named.picture, judge(evidence)));
                done += run.len();
                told(what, images, done);
                Ok(())
            })
        };
    let mut held: Vec<Vec<[f64; 2]>> = Vec::new();
    damaged.extend(judged("held out", &divided.held_out, &mut |picture, values| {
        pictures.push(Fit::key(picture));
        held.push(values);
    })?);
    let mut odd: Vec<Vec<[f64; 2]>> = Vec::new();
    if let Some(images) = request.odd {
        damaged.extend(judged("odd", images, &mut |_, values| odd.push(values))?);
        if odd.is_empty() {
            return Err(Error::Missing("no odd picture could be read: give others, or mend these".into()));
        }
    }

    // Neighbours are often alike: every other one.
    let is_auto = request.choice == Choice::Auto;
    let for_choice: Vec<&Vec<[f64; 2]>> = held.iter().step_by(if is_auto { 2 } else { 1 }).collect();
    let for_threshold: Vec<&Vec<[f64; 2]>> =
        if is_auto { held.iter().skip(1).step_by(2).collect() } else { held.iter().collect() };
    expect_enough(for_threshold.len(), is_auto, request.data)?;
    let separation = |(i, score): (usize, &Score)| {
        let column = |rows: &[&Vec<[f64; 2]>]| rows.iter().map(|row| row[i][0]).collect::<Vec<f64>>();
        let (usual, odd) = (column(&for_choice), column(&odd.iter().collect::<Vec<_>>()));
        let auroc = auroc(&usual, &odd)?;
        Some(Separation { score: *score, auroc, interval: auroc_interval(auroc, usual.len(), odd.len()) })
    };
    let table: Vec<Separation> = scores.iter().enumerate().filter_map(separation).collect();
    let score = match request.choice {
        Choice::Named(score) => score,
        // Of equal ones the first, which is the simplest.
        Choice::Auto => {
            let best = table.iter().rev().max_by(|a, b| a.auroc.total_cmp(&b.auroc));
            best.map_or(Score::DEFAULT, |best| best.score)
        }
    };
    let place = scores.iter().position(|other| *other == score).unwrap_or(0);
    let held_out = Conformal::new(for_threshold.iter().map(|row| row[place][0]).collect())?;
    let highest: Vec<f64> = for_threshold.iter().map(|row| row[place][1]).collect();
    let brightest = quantile(&highest, BELOW_BRIGHTEST).unwrap_or(1.0).max(1e-6);
    pictures.sort_unstable();
    pictures.dedup();
    let used = Used {
        data: request.data.into(),
        how: divided.how.clone(),
        reference: reference_count,
        statistics: if score.needs_statistics() { statistics_count } else { 0 },
        choice: if is_auto { for_choice.len() } else { 0 },
        held_out: for_threshold.len(),
    };
    let statistics: Option<Statistics> = statistics.filter(|_| score.needs_statistics());
    let fit = Fit {
        model: identity(model),
        view: request.view,
        score,
        held_out,
        brightest,
        used,
        reference,
        statistics,
        pictures,
    };
    Ok(Fitted { fit, table, odd: odd.len(), damaged })
}

fn none_readable(data: &str) -> Error {
    Error::Missing(format!("no picture of {data} could be read: give others, or mend these"))
}

fn expect_enough(count: usize, is_auto: bool, data: &str) -> Result<()> {
    let least = needed(USUAL_RATE);
    if count >= least {
        return Ok(());
    }
    let left = if is_auto { "are left for the threshold after a score is chosen by as many" } else { "are held out" };
    Err(Error::Missing(format!(
        "{count} good pictures of {data} {left}, but a false-alarm rate of {USUAL_RATE} needs at least {least}: give more \
         good pictures{}",
        if is_auto { ", or name a score" } else { "" }
    )))
}

/// Tokens of images that follow each other.
fn token_set(tokens: Vec<u16>, model: &ModelDir) -> TokenSet {
    let images = tokens.len() / model.config.n_ctx();
    TokenSet {
        tokens,
        n_px: model.config.n_px,
        labels: vec![None; images],
        names: vec![String::new(); images],
        damaged: Vec::new(),
    }
}
