//! Charts of curves and point clouds as HTML: lines in an SVG that stretches with the page, text and dots as elements
//! that don't.

mod by_layer;
mod ticks;

use std::fmt::Write;

pub use by_layer::layer_chart;

use self::ticks::{number, tick_step};
use crate::report::html::escape;

/// Largest number of points of a line; longer lines are averaged down.
const POINTS: usize = 500;
/// Number of colours of series; the style sheet names them `c0` to `c9`.
const COLORS: usize = 10;

/// Drawing style of a series: line, smoothed line, dots or point cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeriesStyle {
    /// Plain line.
    Line,
    /// Thin line of the values beneath a thick smoothed one.
    Noisy,
    /// Dots joined by a line.
    Dots,
    /// Dots without a line.
    Cloud,
}

/// Series of a chart: points with a common name, colour and style.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name of the series, for the legend.
    pub name: String,
    /// Points (x, y); those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Drawing style.
    pub look: SeriesStyle,
    /// Interval of each point, as lowest and highest value; empty if unknown.
    pub intervals: Vec<[f64; 2]>,
}

impl Series {
    /// Series of `points` under a name, without intervals.
    pub fn new(name: impl Into<String>, look: SeriesStyle, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, look, intervals: Vec::new() }
    }

    /// Adds a bar to each point, from the lowest to the highest value of its interval.
    pub fn with_intervals(self, intervals: Vec<[f64; 2]>) -> Self {
        Self { intervals, ..self }
    }
}

/// Reference line of a chart: a horizontal line to compare with.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceLine {
    /// Name of the line.
    pub name: String,
    /// Value at which the line lies.
    pub value: f64,
    /// Whether the line is the model's own result rather than a baseline.
    pub own: bool,
}

/// Chart of several series over a common axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Description of the chart for screen readers.
    pub title: String,
    /// Label of the x axis; may be empty.
    pub x: String,
    /// Label of the y axis; may be empty.
    pub y: String,
    /// Series, in drawing order; each has the next colour.
    pub series: Vec<Series>,
    /// Reference lines.
    pub levels: Vec<ReferenceLine>,
    /// Whether the numbers along the axes are left out, since they have no meaning.
    pub bare: bool,
}

/// Part of the plane that a chart shows, mapped to percent of the plot.
struct Frame {
    left: f64,
    right: f64,
    bottom: f64,
    top: f64,
}

impl Frame {
    fn x(&self, x: f64) -> f64 {
        100.0 * (x - self.left) / (self.right - self.left)
    }

    fn y(&self, y: f64) -> f64 {
        100.0 * (y - self.bottom) / (self.top - self.bottom)
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut d = String::new();
        for (i, &(x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{:.2} {:.2}", if i == 0 { 'M' } else { 'L' }, self.x(x), 100.0 - self.y(y));
        }
        d
    }
}

impl Chart {
    /// Returns the chart as an HTML element of class `chart`, with its legend; empty without at least two finite
    /// points.
    ///
    /// The page's style sheet determines their looks.
    pub fn html(&self) -> String {
        let finite = |series: &Series| -> Vec<(f64, f64)> {
            series.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
        };
        let series: Vec<(&Series, Vec<(f64, f64)>)> = self.series.iter().map(|s| (s, finite(s))).collect();
        if series.iter().map(|(_, points)| points.len()).sum::<usize>() < 2 {
            return String::new();
        }
        let (mut lines, mut words) = (String::new(), String::new());
        let frame = self.axes(&series, &mut lines, &mut words);
        self.draw_levels(&frame, &mut lines, &mut words);
        for (i, (series, points)) in series.iter().enumerate() {
            for (&(x, _), &[low, high]) in series.points.iter().zip(&series.intervals) {
                let d = frame.path(&[(x, low), (x, high)]);
                let _ = write!(lines, "<path class='interval c{}' d='{d}'/>", i % COLORS);
            }
            draw(series.look, points, i % COLORS, &frame, &mut lines, &mut words);
        }
        let bare = if self.bare { " bare" } else { "" };
        let label = |text: &str, class: &str| match text {
            "" => String::new(),
            text => format!("<p class='axis {class}'>{}</p>", escape(text)),
        };
        format!(
            "{y}<div class='chart{bare}' role='img' aria-label='{title}'><div class='plot'><svg viewBox='0 0 100 100' \
             preserveAspectRatio='none' aria-hidden='true'>{lines}</svg>{words}</div></div>{x}{legend}",
            title = escape(&self.title),
            x = label(&self.x, "x"),
            y = label(&self.y, "y"),
            legend = self.legend(),
        )
    }

    /// Determines the visible part; draws its ticks and rules.
    fn axes(&self, series: &[(&Series, Vec<(f64, f64)>)], lines: &mut String, words: &mut String) -> Frame {
        let all = || series.iter().flat_map(|(_, points)| points).copied();
        let span = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
        };
        let (left, right) = span(&mut all().map(|(x, _)| x));
        let (low, high) = span(
            &mut all()
                .map(|(_, y)| y)
                .chain(self.series.iter().flat_map(|series| series.intervals.iter().flatten().copied()))
                .chain(self.levels.iter().map(|level| level.value).filter(|value| value.is_finite())),
        );
        let wide = if high > low { high - low } else { 0.1 * high.abs().max(1e-3) };
        if self.bare {
            let (x, y) = (0.04 * (right - left).max(1e-9), 0.04 * wide);
            return Frame { left: left - x, right: right + x, bottom: low - y, top: high + y };
        }
        // The axis of counts begins at zero, unlike that of losses.
        let left = if left >= 0.0 && left < 0.2 * right { 0.0 } else { left };
        let right = if right > left { right } else { left + 1.0 };
        let step = tick_step(wide, 7.0);
        let (bottom, top) = ((low / step - 0.4).floor().max(0.0) * step, high + 0.06 * wide);
        let frame = Frame { left, right, bottom, top };
        for tick in (0..).map(|i| bottom + f64::from(i) * step).take_while(|y| *y <= top) {
            let y = frame.y(tick);
            let _ = write!(lines, "<path class='rule' d='M0 {0:.2}H100'/>", 100.0 - y);
            let _ = write!(words, "<span class='tick y' style='bottom:{y:.2}%'>{}</span>", number(tick, step));
        }
        let step = tick_step(right - left, 6.0);
        // There are no labels between two layers or steps.
        let step = if all().all(|(x, _)| x.fract() == 0.0) { step.max(1.0) } else { step };
        let first = (left / step - 1e-9).ceil();
        for tick in (0..).map(|i| (first + f64::from(i)) * step).take_while(|x| *x <= right + 1e-9 * step) {
            let x = frame.x(tick);
            let _ = write!(words, "<span class='tick x' style='left:{x:.2}%'>{}</span>", number(tick, step));
        }
        frame
    }

    fn draw_levels(&self, frame: &Frame, lines: &mut String, words: &mut String) {
        let mut levels: Vec<&ReferenceLine> = self.levels.iter().filter(|level| level.value.is_finite()).collect();
        levels.sort_by(|a, b| a.value.total_cmp(&b.value));
        for (i, level) in levels.iter().enumerate() {
            let (y, own) = (frame.y(level.value), if level.own { " own" } else { "" });
            // The name is above its line unless the next line is too near or the curve comes from there.
            let crowded = level.own || levels.get(i + 1).is_some_and(|next| frame.y(next.value) - y < 8.0);
            let side = if crowded { " below" } else { "" };
            let _ = write!(lines, "<path class='level{own}' d='M0 {0:.2}H100'/>", 100.0 - y);
            let value = number(level.value, 1e-2 * tick_step(frame.top - frame.bottom, 7.0).max(0.1));
            let name = escape(&level.name);
            let _ = write!(words, "<span class='level{own}{side}' style='bottom:{y:.2}%'>{name} <b>{value}</b></span>");
        }
    }

    fn legend(&self) -> String {
        let shown = |(i, series): (usize, &Series)| {
            let round = if series.look == SeriesStyle::Cloud { " round" } else { "" };
            format!("<span class='c{}{round}'>{}</span>", i % COLORS, escape(&series.name))
        };
        let names: String = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, s)| s.points.iter().any(|(x, y)| x.is_finite() && y.is_finite()))
            .map(shown)
            .collect();
        format!("<p class='legend'>{names}</p>")
    }
}

fn draw(look: SeriesStyle, points: &[(f64, f64)], color: usize, frame: &Frame, lines: &mut String, words: &mut String) {
    let mut line = |class: &str, points: &[(f64, f64)]| {
        let _ = write!(lines, "<path class='{class} c{color}' d='{}'/>", frame.path(points));
    };
    match look {
        _ if points.is_empty() => (),
        SeriesStyle::Line => line("line", &thinned(points)),
        SeriesStyle::Noisy => {
            let points = thinned(points);
            line("raw", &points);
            line("line", &smoothed(&points));
        }
        SeriesStyle::Dots => line("line", points),
        SeriesStyle::Cloud => (),
    }
    if matches!(look, SeriesStyle::Dots | SeriesStyle::Cloud) {
        for &(x, y) in points {
            let (x, y) = (frame.x(x), frame.y(y));
            let _ = write!(words, "<i class='c{color}' style='left:{x:.1}%;bottom:{y:.1}%'></i>");
        }
    }
}

/// At most [`POINTS`] points, each the mean of its neighbourhood.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |points: &[(f64, f64)]| {
        let n = points.len() as f64;
        (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

/// Means over a centred window of a twentieth of the curve, which is narrower at its ends.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = points.len() / 40;
    let window = |i: usize| {
        let half = half.min(i).min(points.len() - 1 - i);
        let part = &points[i - half..=i + half];
        (points[i].0, part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64)
    };
    (0..points.len()).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_ticks_between_them() {
        let ticks = |points: Vec<(f64, f64)>| {
            let html = Chart { series: vec![Series::new("s", SeriesStyle::Dots, points)], ..Chart::default() }.html();
            html.matches("tick x").count()
        };
        assert_eq!(ticks(vec![(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]), 3);
        assert!(ticks(vec![(0.0, 1.0), (1.5, 3.0), (2.0, 2.0)]) > 3);
    }

    #[test]
    fn intervals_are_drawn_and_never_cut_off() {
        let series = Series::new("s", SeriesStyle::Dots, vec![(0.0, 50.0), (1.0, 60.0)]);
        let html =
            Chart { series: vec![series.with_intervals(vec![[40.0, 55.0], [58.0, 62.0]])], ..Chart::default() }.html();
        assert_eq!(html.matches("class='interval c0'").count(), 2);
        // The axis begins at 40 % here.
        assert!(html.contains("<span class='tick y' style='bottom:0.00%'>35</span>"), "{html}");
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_mean() {
        let points: Vec<(f64, f64)> = (0..5000).map(|i| (i as f64, (i % 7) as f64)).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS && thin.len() > POINTS / 2);
        let mean = thin.iter().map(|p| p.1).sum::<f64>() / thin.len() as f64;
        assert!((mean - 3.0).abs() < 0.01);
        assert_eq!(smoothed(&thin).len(), thin.len());
    }

    #[test]
    fn a_chart_names_its_levels_and_survives_odd_curves() {
        let level = |name: &str, value| ReferenceLine { name: name.into(), value, own: false };
        let chart = Chart {
            series: vec![Series::new("x<y", SeriesStyle::Noisy, vec![(1.0, 4.0), (2.0, f64::NAN), (3.0, 2.0)])],
            levels: vec![level("a<b", 4.1), level("c", 4.0)],
            ..Chart::default()
        };
        let html = chart.html();
        assert!(html.contains("a&lt;b <b>4.100</b>") && html.contains("x&lt;y") && !html.contains("NaN"));
        assert!(html.contains("class='level below'"));
        assert_eq!(Chart::default().html(), "");
    }

    #[test]
    fn dots_lie_where_their_values_are_and_an_axis_far_from_zero_does_not_begin_there() {
        let cloud = |points| Chart { series: vec![Series::new("a", SeriesStyle::Cloud, points)], ..Chart::default() };
        let html = cloud(vec![(0.0, 0.0), (10.0, 1.0)]).html();
        assert!(html.contains("<i class='c0' style='left:0.0%;bottom:0.0%'>"), "{html}");
        assert!(html.contains("<i class='c0' style='left:100.0%;bottom:94.3%'>"), "{html}");
        let html = cloud(vec![(0.8, 50.0), (0.9, 60.0)]).html();
        assert!(html.contains("left:0.00%'>0.80<") && html.contains(">0.90<") && !html.contains(">0.00<"), "{html}");
        let bare = Chart { bare: true, ..cloud(vec![(-1.0, -1.0), (1.0, 1.0)]) }.html();
        assert!(bare.contains("chart bare") && !bare.contains("tick"), "{bare}");
    }
}
