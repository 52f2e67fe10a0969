//! Page of `igpt inspect run`: the judged pictures beside their maps, the oddest first.

use super::Page;
use super::chart::{Chart, ReferenceLine, Series, SeriesStyle};
use super::page::{Block, Command, Figure, ImageWithMap, Section, Table};
use crate::image::{
    ImageSize, Pixels,
    resize::{Rect, resize},
};
use crate::inspect::InspectionFit;

/// Longest side of a picture on the page.
const SIDE: usize = 192;
/// Largest number of lines in the table.
const LINES: usize = 1000;

/// Judgement of one picture by an inspection: its score, percentile and p-value.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedPicture {
    /// Name of the picture's file.
    pub file: String,
    /// Anomaly score of the picture; higher is odder.
    pub score: f64,
    /// Share of held-out good pictures with a lower score, in percent.
    pub percentile: f64,
    /// Conformal p-value of the picture.
    pub p_value: f64,
    /// Whether the score is above the threshold.
    pub odd: bool,
}

/// Check of the false-alarm rate on good pictures that the fit has not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct FalseAlarmCheck {
    /// Data set of the pictures, as given to `--check`.
    pub data: String,
    /// Number of pictures checked.
    pub images: usize,
    /// Number of pictures judged odd.
    pub alarms: usize,
    /// 95 % confidence interval (Wilson) of the false-alarm rate.
    pub interval: [f64; 2],
}

impl FalseAlarmCheck {
    /// False-alarm rate: the share of the pictures judged odd.
    pub fn rate(&self) -> f64 {
        self.alarms as f64 / self.images as f64
    }

    /// Describes the result in words, beside the requested rate `asked`.
    pub fn words(&self, asked: f64) -> String {
        let [rate, low, high] = [self.rate(), self.interval[0], self.interval[1]].map(|share| 100.0 * share);
        let asked = percent(asked);
        format!(
            "{} of {} other good pictures of {} are called odd: {rate:.1} % false alarms (95 % interval {low:.1} to {high:.1} \
             %), {asked} % were asked for",
            self.alarms, self.images, self.data
        )
    }
}

/// Contents of an inspection page.
pub struct InspectionPage<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Inspection fit by which the pictures were judged.
    pub fit: &'a InspectionFit,
    /// Requested false-alarm rate.
    pub false_alarms: f64,
    /// Threshold: a picture with a higher score is odd.
    pub threshold: f64,
    /// All judged pictures, the oddest first.
    pub judged: &'a [JudgedPicture],
    /// The oddest pictures beside their maps.
    pub shown: Vec<ImageWithMap>,
    /// Pictures that could not be read, with the reason.
    pub damaged: Vec<(String, String)>,
    /// Check of the false-alarm rate on other good pictures, if there was one.
    pub check: Option<&'a FalseAlarmCheck>,
    /// Command that makes the page.
    pub made: String,
}

impl InspectionPage<'_> {
    /// Composes the page.
    pub fn page(self) -> Page {
        let Self { fit, judged, threshold, .. } = self;
        let odd = judged.iter().filter(|image| image.odd).count();
        let held_out = fit.held_out.scores().len();
        let rate = percent(self.false_alarms);
        let lead = format!(
            "{odd} of {} pictures are odd. A picture is odd if its score, {}, is above {threshold:.4}: of good pictures at most \
             {rate} % are, on average over draws of the {held_out} held-out good pictures that the threshold is made of.",
            judged.len(),
            fit.score
        );
        let headline = vec![
            (judged.len().to_string(), "pictures".into()),
            (odd.to_string(), "odd".into()),
            (format!("{rate} %"), "false alarms asked for".into()),
            (held_out.to_string(), "held-out good pictures".into()),
        ];
        let mut oddest = Vec::new();
        if !self.shown.is_empty() {
            let count = self.shown.len();
            oddest.push(Block::Pairs(self.shown));
            oddest.push(Block::caption(format!(
                "The {count} oddest pictures beside their maps, with score and p-value: the share of good pictures that are at \
                 least as odd. The brightest colour stands for {:.4} and more, which 95 % of the held-out good pictures nowhere \
                 exceed; what is grey the model has not seen. Maps at the pictures' own size are in maps/.",
                fit.brightest
            )));
        }
        let figure = |name: &str, value: String, meaning: String| Figure { name: name.into(), value, meaning };
        let used = &fit.used;
        let mut figures = vec![
            figure("score", fit.score.to_string(), "the higher, the odder".into()),
            figure("threshold", format!("{threshold:.4}"), "a picture with a higher score is odd".into()),
            figure(
                "reference",
                used.reference.to_string(),
                format!("good pictures of {} that it was fitted to", used.data),
            ),
            figure(
                "held out",
                used.held_out.to_string(),
                "others, which neither the network nor the reference has seen".into(),
            ),
        ];
        if let Some(check) = self.check {
            let value = format!("{:.1} %", 100.0 * check.rate());
            figures.push(figure("false alarms", value, check.words(self.false_alarms)));
        }
        let line = |image: &JudgedPicture| {
            let odd = if image.odd { "odd" } else { "" };
            let [score, percentile] = [format!("{:.4}", image.score), format!("{:.1}", image.percentile)];
            vec![image.file.clone(), odd.into(), score, percentile, format!("{:.4}", image.p_value)]
        };
        let head = ["file", "", "score", "percentile", "p-value"].map(String::from).to_vec();
        let mut all = vec![Block::Table(Table { head, rows: judged.iter().take(LINES).map(line).collect() })];
        let is_cut = judged.len() > LINES;
        if is_cut {
            let words =
                format!("The {LINES} oddest of {} pictures: the scores of all are in scores.csv.", judged.len());
            all.insert(0, Block::caption(words));
        }
        let title = if is_cut { format!("The {LINES} oddest pictures") } else { "All pictures".into() };
        let damaged = match self.damaged.is_empty() {
            true => Vec::new(),
            false => {
                let head = vec!["file".into(), "problem".into()];
                let rows = self.damaged.into_iter().map(|(file, problem)| vec![file, problem]).collect();
                vec![Block::Table(Table { head, rows })]
            }
        };
        let sections = vec![
            Section::new("The oddest first", oddest),
            Section::new("Scores", vec![chart(fit, judged, threshold), Block::Figures(figures)]),
            Section::new(title, all),
            Section::new("Pictures that could not be read", damaged),
            Section::new(
                "Going on",
                vec![Block::Commands(vec![Command { purpose: "This page".into(), line: self.made }])],
            ),
        ];
        let footer = format!("igpt {} · {}", env!("CARGO_PKG_VERSION"), self.model);
        Page { title: "Odd pictures".into(), lead, headline, icon: None, sections, footer }
    }
}

/// Chart of the judged scores beside the held-out ones, each sorted.
fn chart(fit: &InspectionFit, judged: &[JudgedPicture], threshold: f64) -> Block {
    let share = |i: usize, n: usize| 100.0 * (i as f64 + 0.5) / n as f64;
    let held = fit.held_out.scores();
    let held = held.iter().enumerate().map(|(i, score)| (share(i, held.len()), *score)).collect();
    let own = judged.iter().rev().enumerate().map(|(i, image)| (share(i, judged.len()), image.score)).collect();
    Block::Chart(Chart {
        title: "Scores of the judged pictures beside those of held-out good ones".into(),
        x: "percent of the pictures".into(),
        y: fit.score.to_string(),
        series: vec![
            Series::new("judged pictures", SeriesStyle::Cloud, own),
            Series::new("held-out good pictures", SeriesStyle::Line, held),
        ],
        levels: vec![ReferenceLine { name: "threshold".into(), value: threshold, own: true }],
        ..Chart::default()
    })
}

/// Formats a rate, given as a fraction, in percent.
pub fn percent(rate: f64) -> String {
    format!("{}", (rate * 1e6).round() / 1e4)
}

/// Scales a picture down to the largest size on an inspection page; smaller pictures stay unchanged.
pub fn thumbnail(pixels: &Pixels) -> Pixels {
    let longest = pixels.size.height.max(pixels.size.width);
    if longest <= SIDE {
        return pixels.clone();
    }
    let side = |side: usize| (side * SIDE / longest).max(1);
    let size = ImageSize { height: side(pixels.size.height), width: side(pixels.size.width) };
    resize(pixels, Rect::whole(pixels.size), size)
}
