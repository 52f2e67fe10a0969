//! Fitting: the reference, the statistics of good pictures, and the scores of those that are held out.

use std::collections::HashSet;
use std::sync::Arc;

use igpt_kernels::pool::Pool;

use super::bank::{FeatureBank, Gathered};
use super::conformal::{ConformalScores, needed};
use super::exact_values::{Counts, ExactValueSurprise};
use super::fit::{FitRecord, InspectionFit, identity};
use super::good_split::GoodSplit;
use super::picture::{InputMode, NamedPicture, each_run};
use super::score::Score;
use super::score_maps::{GoodReference, ScoreInputs, ScoreMaps, score_maps};
use super::typical::{Extremes, FilterSizes};
use crate::data::{DamagedImage, Images, TokenSet};
use crate::device::Engine;
use crate::evaluate::NgramBaselines;
use crate::image::ImageSize;
use crate::model::ModelDir;
use crate::palette::Quantizer;
use crate::rng::{Purpose, Rng};
use crate::stats::{auroc, auroc_interval, quantile};
use crate::{Error, Result};

/// Largest number of pictures that the reference is fitted to, spread evenly, and of tiles of all of them together.
const REFERENCE: usize = 20_000;
/// Largest number of pictures in the statistics, spread evenly; each costs a forward pass.
const STATISTICS: usize = 1000;
/// Number of held-out pictures from which a third can be spared for statistics.
const ENOUGH: usize = 57;
/// Share of the held-out pictures whose maps stay below the brightest colour everywhere.
const BELOW_BRIGHTEST: f64 = 0.95;

/// Choice of the score that a fit keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoreChoice {
    /// The given score.
    Named(Score),
    /// The score that separates odd pictures best from half of the held-out good ones.
    ///
    /// The other half is left for the threshold. Otherwise the threshold would be made of scores that were chosen for
    /// being low.
    Auto,
}

/// Request for a fit: input mode, score, data and odd pictures.
#[derive(Clone, Copy, Debug)]
pub struct FitRequest<'a> {
    /// Input mode: how pictures are fed to the model.
    pub view: InputMode,
    /// Choice of the score that is kept.
    pub choice: ScoreChoice,
    /// Data set as given to `--data`, for messages and the record.
    pub data: &'a str,
    /// Lowest rate of false alarms that the held-out pictures must suffice for, such as 0.05.
    pub false_alarms: f64,
    /// Pictures known to be odd, which compare the scores.
    pub odd: Option<&'a Images>,
    /// Number of threads that compare features; 0 uses all available cores.
    pub threads: usize,
}

/// Separation of odd pictures from held-out good ones by a score.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoreSeparation {
    /// Score whose separation this is.
    pub score: Score,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// 95 % confidence interval of the area.
    pub interval: [f64; 2],
}

/// Outcome of fitting: the fit, and the comparison of scores.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FitOutcome {
    /// Fit to keep with the model.
    pub fit: InspectionFit,
    /// Separation of the odd pictures by each score; empty without odd pictures.
    pub table: Vec<ScoreSeparation>,
    /// Number of odd pictures that could be read.
    pub odd: usize,
    /// Pictures of any kind that could not be read.
    pub damaged: Vec<DamagedImage>,
}

/// Fits a model's inspection to the good pictures of `divided`, with `engine` opened on `model`.
///
/// `progress` receives the name of the phase, and the pictures done and in total.
///
/// # Errors
/// When too few pictures are held out, no odd picture can be read, the engine fails, or the surprise at a pixel is
/// not finite. Also when a score is to be chosen without odd pictures.
pub fn fit(
    engine: &mut dyn Engine,
    model: &ModelDir,
    divided: &GoodSplit,
    request: FitRequest<'_>,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<FitOutcome> {
    let scores: Vec<Score> = match (request.odd, request.choice) {
        (Some(_), _) => Score::ALL.to_vec(),
        (None, ScoreChoice::Named(score)) => vec![score],
        (None, ScoreChoice::Auto) => {
            return Err(Error::Invalid(
                "no score can be chosen without odd pictures: give some, or name a score".into(),
            ));
        }
    };
    let is_auto = request.choice == ScoreChoice::Auto;
    // Before anything that takes long.
    expect_enough(divided.held_out.len() / if is_auto { 2 } else { 1 }, is_auto, &request)?;
    let needs_bank = scores.iter().any(|score| score.needs_bank());
    let needs = ScoreInputs {
        expectation: scores.iter().any(|score| score.needs_expectation()),
        bank: None,
        pool: Arc::new(Pool::new(if needs_bank { Pool::thread_count(request.threads) } else { 1 })),
    };
    let quantizer = Quantizer::new(model.palette.clone());
    let mut looked = Looked {
        engine,
        quantizer,
        shape: (request.view, model.config.n_px),
        needs,
        progress,
        used: Vec::new(),
        damaged: Vec::new(),
    };
    let (reference, within, reference_count) = looked.reference(&divided.reference.spread(REFERENCE), model)?;
    let good = GoodReference { reference: &reference, within: &within };

    if needs_bank {
        let bank = looked.bank(&divided.reference.spread(STATISTICS))?;
        looked.needs.bank = Some(Arc::new(bank.ok_or_else(|| none_readable(request.data))?));
    }

    // Statistics come from pictures that the network has not seen, if enough others are left.
    let needs_statistics = scores.iter().any(|score| score.needs_statistics());
    let spares = needs_statistics && divided.held_out.len() >= ENOUGH;
    let part = |spared: bool| {
        let images = &divided.held_out;
        images.pick((0..images.len()).filter(|i| (spares && i % 3 == 2) == spared))
    };
    let (spared, rest) = (part(true), part(false));
    let mut extremes = Extremes::new(FilterSizes::of(request.view, model.config.n_px));
    let mut statistics_count = 0;
    if needs_statistics {
        let images = if spares { &spared } else { &divided.reference };
        looked.each("statistics", &images.spread(STATISTICS), good, &mut |score_maps| {
            extremes.add(score_maps);
            statistics_count += 1;
        })?;
    }
    let statistics = extremes.statistics();
    if statistics.is_none() && needs_statistics {
        return Err(none_readable(request.data));
    }

    let judge = |scores: &[Score], score_maps: &ScoreMaps| -> Row {
        let of = |score: &Score| {
            let (value, map) = score.judge(score_maps, statistics.as_ref());
            [value, map.max()]
        };
        scores.iter().map(of).collect()
    };
    // Neighbours are often alike, so every other picture is taken.
    let turn = |wanted: usize| rest.pick((0..rest.len()).filter(|i| !is_auto || i % 2 == wanted));
    let (mut for_choice, mut odd) = (Vec::new(), Vec::new());
    if let Some(images) = request.odd {
        looked.each("held out", &turn(0), good, &mut |score_maps| for_choice.push(judge(&scores, score_maps)))?;
        let own = std::mem::take(&mut looked.used);
        looked.each("odd", images, good, &mut |score_maps| odd.push(judge(&scores, score_maps)))?;
        looked.used = own;
        if odd.is_empty() {
            return Err(Error::Invalid("no odd picture could be read: give others, or mend these".into()));
        }
    }
    let table = separations(&scores, &for_choice, &odd);
    let score = match request.choice {
        ScoreChoice::Named(score) => score,
        // On a tie, the first, which is the simplest.
        ScoreChoice::Auto => {
            let best = table.iter().rev().max_by(|a, b| a.auroc.total_cmp(&b.auroc));
            best.map_or(Score::DEFAULT, |best| best.score)
        }
    };

    // Exactly as a picture is judged later: inputs that only other scores need are omitted.
    looked.needs.expectation = score.needs_expectation();
    looked.needs.bank = looked.needs.bank.filter(|_| score.needs_bank());
    let mut for_threshold = Vec::new();
    let mut take = |score_maps: &ScoreMaps| for_threshold.push(judge(&[score], score_maps)[0]);
    looked.each("held out", &turn(1), good, &mut take)?;
    if !score.needs_statistics() {
        // Nothing was fitted to these for this score.
        looked.each("held out", &spared, good, &mut take)?;
        statistics_count = 0;
    }
    expect_enough(for_threshold.len(), is_auto, &request)?;
    let column = |which: usize| for_threshold.iter().map(|values| values[which]).collect::<Vec<f64>>();
    let mut pictures = looked.used;
    pictures.sort_unstable();
    pictures.dedup();
    let used = FitRecord {
        data: request.data.into(),
        how: divided.how.clone(),
        reference: reference_count,
        statistics: statistics_count,
        choice: if is_auto { for_choice.len() } else { 0 },
        held_out: for_threshold.len(),
    };
    let fit = InspectionFit {
        model: identity(model),
        view: request.view,
        score,
        held_out: ConformalScores::new(column(0))?,
        brightest: quantile(&column(1), BELOW_BRIGHTEST).unwrap_or(1.0).max(1e-6),
        used,
        reference,
        within,
        statistics: statistics.filter(|_| score.needs_statistics()),
        bank: looked.needs.bank,
        pictures,
    };
    Ok(FitOutcome { fit, table, odd: odd.len(), damaged: looked.damaged })
}

/// Score and highest value of the map of each score, for one picture.
type Row = Vec<[f64; 2]>;

/// State of a fit: the engine, and the pictures read so far.
struct Looked<'a> {
    engine: &'a mut dyn Engine,
    quantizer: Quantizer,
    shape: (InputMode, ImageSize),
    needs: ScoreInputs,
    progress: &'a mut dyn FnMut(&'static str, usize, usize),
    /// Keys of all pictures that were read.
    used: Vec<u64>,
    damaged: Vec<DamagedImage>,
}

impl Looked<'_> {
    /// Passes the maps of each of `images` to `take`.
    fn each(
        &mut self,
        what: &'static str,
        images: &Images,
        good: GoodReference<'_>,
        take: &mut dyn FnMut(&ScoreMaps),
    ) -> Result<()> {
        let mut done = 0;
        let unread = each_run(images, self.shape, &self.quantizer, &mut |run| {
            self.used.extend(run.iter().map(|named| named.picture.key()));
            score_maps(self.engine, &run, good, &self.needs)?.iter().for_each(&mut *take);
            done += run.len();
            (self.progress)(what, done, images.len());
            Ok(())
        })?;
        self.note(unread);
        Ok(())
    }

    /// Returns the context model of some pictures, their exact values, and the number of pictures.
    fn reference(&mut self, images: &Images, model: &ModelDir) -> Result<(NgramBaselines, ExactValueSurprise, usize)> {
        let (mut tokens, mut count, mut values) = (Vec::new(), 0, Counts::new(&self.quantizer));
        let (n_ctx, share) = (model.config.n_ctx(), REFERENCE / images.len().max(1));
        let unread = each_run(images, self.shape, &self.quantizer, &mut |run| {
            for NamedPicture { index, picture, .. } in &run {
                self.used.push(picture.key());
                values.add(picture.details());
                for tile in spread(picture.tiles(), share, *index) {
                    tokens.extend_from_slice(&picture.tokens()[tile * n_ctx..][..n_ctx]);
                }
            }
            count += run.len();
            (self.progress)("reference", count, images.len());
            Ok(())
        })?;
        self.note(unread);
        let images = tokens.len() / n_ctx;
        let set = TokenSet {
            tokens,
            n_px: model.config.n_px,
            labels: vec![None; images],
            names: vec![String::new(); images],
            damaged: Vec::new(),
        };
        Ok((NgramBaselines::fit(&set, model.config.n_vocab), values.within(&self.quantizer), count))
    }

    /// Returns the bank of some pictures' features; `None` if none can be read.
    fn bank(&mut self, images: &Images) -> Result<Option<FeatureBank>> {
        let (mut gathered, mut done) = (Gathered::of(images.len()), 0);
        each_run(images, self.shape, &self.quantizer, &mut |run| {
            gathered.add(self.engine, &run)?;
            done += run.len();
            (self.progress)("bank", done, images.len());
            Ok(())
        })?;
        Ok(gathered.bank())
    }

    /// Notes pictures that could not be read, each once.
    fn note(&mut self, unread: Vec<DamagedImage>) {
        self.damaged.extend(unread);
        let mut seen = HashSet::new();
        self.damaged.retain(|damaged| seen.insert(damaged.name.clone()));
    }
}

/// Chooses at most `share` of a picture's tiles, spread evenly: one tile of each run of neighbours, drawn by the
/// picture's number. (The first of each run could all lie in one column.)
fn spread(tiles: usize, share: usize, picture: usize) -> impl Iterator<Item = usize> {
    let count = share.min(tiles);
    (0..count).map(move |run| {
        let [start, end] = [run, run + 1].map(|run| run * tiles / count);
        start + Rng::new(1, Purpose::Inspect, picture as u64, run as u64).below((end - start) as u64) as usize
    })
}

fn none_readable(data: &str) -> Error {
    Error::Invalid(format!("no picture of {data} could be read: give others, or mend these"))
}

/// Returns how well each score separates `odd` pictures from `usual` ones; empty without pictures.
fn separations(scores: &[Score], usual: &[Row], odd: &[Row]) -> Vec<ScoreSeparation> {
    let of = |(i, score): (usize, &Score)| {
        let column = |rows: &[Row]| rows.iter().map(|row| row[i][0]).collect::<Vec<f64>>();
        let auroc = auroc(&column(usual), &column(odd))?;
        Some(ScoreSeparation { score: *score, auroc, interval: auroc_interval(auroc, usual.len(), odd.len()) })
    };
    scores.iter().enumerate().filter_map(of).collect()
}

fn expect_enough(count: usize, is_auto: bool, request: &FitRequest<'_>) -> Result<()> {
    let FitRequest { data, false_alarms, .. } = request;
    let least = needed(*false_alarms);
    if count >= least {
        return Ok(());
    }
    let left = if is_auto { "are left for the threshold after a score is chosen by as many" } else { "are held out" };
    Err(Error::Invalid(format!(
        "{count} good pictures of {data} {left}, but a false-alarm rate of {false_alarms} needs at least {least}: give more \
         good pictures{}",
        if is_auto { ", or name a score" } else { "" }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_gives_the_reference_an_even_share_of_tiles_from_all_over_it() {
        assert_eq!(spread(7, 83, 3).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(spread(1, 1, 0).collect::<Vec<_>>(), [0]);
        // 40 rows and columns of tiles.
        let tiles: Vec<usize> = spread(1600, 40, 5).collect();
        assert_eq!(tiles.len(), 40);
        assert!(tiles.iter().enumerate().all(|(run, tile)| (40 * run..40 * run + 40).contains(tile)), "{tiles:?}");
        let columns: HashSet<usize> = tiles.iter().map(|tile| tile % 40).collect();
        assert!(columns.len() > 15, "{tiles:?}");
    }
}
