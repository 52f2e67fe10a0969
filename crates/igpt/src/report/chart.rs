//! The loss curve as HTML: lines in an SVG that stretches with the page, words as text that does not.

use std::fmt::Write;

use crate::report::page::escape;

/// Points drawn at most; longer curves are averaged down.
const POINTS: usize = 500;

/// A horizontal line to compare the curve with.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// What it is.
    pub name: String,
    /// Nats per token.
    pub value: f64,
    /// Whether it is the model's own result rather than something to beat.
    pub own: bool,
}

/// Loss over steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// (step, nats per token) of training batches.
    pub train: Vec<(f64, f64)>,
    /// (step, nats per token) of the validation split.
    pub validation: Vec<(f64, f64)>,
    /// Lines to compare with.
    pub levels: Vec<Level>,
}

impl Chart {
    /// An element of class `chart`; its looks come from the page's style. Empty without at least two finite points.
    pub fn html(&self) -> String {
        let finite = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
        };
        let (train, validation) = (finite(&self.train), finite(&self.validation));
        if train.len() + validation.len() < 2 {
            return String::new();
        }
        let all = || train.iter().chain(&validation).copied();
        let right = all().map(|(x, _)| x).fold(1.0, f64::max);
        let values = || all().map(|(_, y)| y).chain(self.levels.iter().map(|level| level.value));
        let (low, high) = values().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let step = tick_step((high - low).max(0.1), 7.0);
        let (bottom, top) = ((low / step - 0.4).floor().max(0.0) * step, high + 0.06 * (high - low).max(0.1));
        // Percent of the plot, from its left and its lower edge.
        let px = |x: f64| 100.0 * x / right;
        let py = |y: f64| 100.0 * (y - bottom) / (top - bottom);

        let mut lines = String::new();
        let mut words = String::new();
        for tick in (0..).map(|i| bottom + i as f64 * step).take_while(|y| *y <= top) {
            let y = py(tick);
            let _ = write!(lines, "<path class='rule' d='M0 {0:.2}H100'/>", 100.0 - y);
            let _ = write!(words, "<span class='tick y' style='bottom:{y:.2}%'>{}</span>", number(tick, step));
        }
        let step = tick_step(right, 6.0);
        for tick in (0..).map(|i| i as f64 * step).take_while(|x| *x <= right) {
            let _ = write!(words, "<span class='tick x' style='left:{:.2}%'>{}</span>", px(tick), number(tick, step));
        }
        let path = |points: &[(f64, f64)]| {
            let mut d = String::new();
            for (i, (x, y)) in points.iter().enumerate() {
                let _ = write!(d, "{}{:.2} {:.2}", if i == 0 { 'M' } else { 'L' }, px(*x), 100.0 - py(*y));
            }
            d
        };
        let mut levels: Vec<&Level> = self.levels.iter().collect();
        levels.sort_by(|a, b| a.value.total_cmp(&b.value));
        for (i, level) in levels.iter().enumerate() {
            let (y, own) = (py(level.value), if level.own { " own" } else { "" });
            // The name stands above its line unless the next line is too near or the curve comes from there.
            let crowded = level.own || levels.get(i + 1).is_some_and(|next| py(next.value) - y < 8.0);
            let side = if crowded { " below" } else { "" };
            let _ = write!(lines, "<path class='level{own}' d='M0 {0:.2}H100'/>", 100.0 - y);
            let _ = write!(
                words,
                "<span class='level{own}{side}' style='bottom:{y:.2}%'>{} <b>{:.3}</b></span>",
                escape(&level.name),
                level.value
            );
        }
        let train = thinned(&train);
        let _ = write!(lines, "<path class='raw' d='{}'/>", path(&train));
        let _ = write!(lines, "<path class='train' d='{}'/>", path(&smoothed(&train)));
        if !validation.is_empty() {
            let _ = write!(lines, "<path class='validation' d='{}'/>", path(&validation));
        }
        format!(
            "<div class='chart' role='img' aria-label='Loss in nats per token over steps'><div class='plot'>\
             <svg viewBox='0 0 100 100' preserveAspectRatio='none' aria-hidden='true'>{lines}</svg>{words}</div></div>"
        )
    }
}

/// Accuracy by layer as an SVG picture of its own: `points` are (layer, share of right), `levels` shares to compare
/// with.
pub fn by_layer(points: &[(usize, f64)], levels: &[(&str, f64)]) -> String {
    const LEFT: f64 = 64.0;
    const WIDTH: f64 = 560.0;
    const TOP: f64 = 20.0;
    const HEIGHT: f64 = 300.0;
    let last = points.iter().map(|point| point.0).max().unwrap_or(0).max(1) as f64;
    let percents = || points.iter().map(|point| point.1).chain(levels.iter().map(|level| level.1)).map(|y| 100.0 * y);
    let (low, high) = percents().fold((100.0f64, 0.0f64), |(low, high), y| (low.min(y), high.max(y)));
    let step = tick_step((high - low).max(1.0), 6.0);
    let bottom = ((low / step).floor() * step).max(0.0);
    let top = (high / step).ceil().max(bottom / step + 1.0) * step;
    let px = |layer: f64| LEFT + WIDTH * layer / last;
    let py = |percent: f64| TOP + HEIGHT * (top - percent) / (top - bottom);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {}' font-family='sans-serif' font-size='13'>\n\
         <title>Validation accuracy by layer</title>\n<rect width='100%' height='100%' fill='white'/>\n",
        LEFT + WIDTH + 24.0,
        TOP + HEIGHT + 52.0
    );
    for y in (0..).map(|i| bottom + f64::from(i) * step).take_while(|y| *y <= top + step / 100.0) {
        let _ = writeln!(
            svg,
            "<path d='M{LEFT} {0:.1}h{WIDTH}' stroke='#ddd'/><text x='{1}' y='{2:.1}' text-anchor='end'>{3} %</text>",
            py(y),
            LEFT - 8.0,
            py(y) + 4.0,
            number(y, step)
        );
    }
    let step = tick_step(last, 12.0).max(1.0);
    for x in (0..).map(|i| f64::from(i) * step).take_while(|x| *x <= last) {
        let y = TOP + HEIGHT + 18.0;
        let _ = writeln!(svg, "<text x='{:.1}' y='{y}' text-anchor='middle'>{x}</text>", px(x));
    }
    let (middle, y) = (LEFT + WIDTH / 2.0, TOP + HEIGHT + 40.0);
    let _ = writeln!(svg, "<text x='{middle}' y='{y}' text-anchor='middle'>layer (validation accuracy)</text>");
    for (name, share) in levels {
        let y = py(100.0 * share);
        let _ = writeln!(
            svg,
            "<path d='M{LEFT} {y:.1}h{WIDTH}' stroke='#888' stroke-dasharray='5 4'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='end' fill='#555'>{} {:.1} %</text>",
            LEFT + WIDTH,
            y - 5.0,
            escape(name),
            100.0 * share
        );
    }
    let place = |(layer, share): &(usize, f64)| (px(*layer as f64), py(100.0 * share));
    let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline points='{}' fill='none' stroke='#1769aa' stroke-width='2'/>", line.join(" "));
    for (x, y) in points.iter().map(place) {
        let _ = writeln!(svg, "<circle cx='{x:.1}' cy='{y:.1}' r='3.5' fill='#1769aa'/>");
    }
    svg + "</svg>\n"
}

/// A round distance between ticks that gives about `ticks` of them over `span`.
fn tick_step(span: f64, ticks: f64) -> f64 {
    let raw = span / ticks;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= raw).unwrap_or(10.0);
    factor * power
}

/// A tick's label with as many digits as its step needs.
fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

/// At most [`POINTS`] points, each the mean of its neighbourhood.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |points: &[(f64, f64)]| {
        let n = points.len() as f64;
        (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

/// Means over a centred window of a twentieth of the curve, narrower at its ends.
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
    fn ticks_are_round_and_about_as_many_as_asked() {
        for (span, step, label) in [(0.9, 0.2, "0.2"), (4.2, 1.0, "1"), (3000.0, 1000.0, "1000"), (37.0, 10.0, "10")] {
            assert!((tick_step(span, 5.0) - step).abs() < 1e-9 * step, "{span}");
            assert_eq!(number(step, step), label);
        }
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
    fn a_chart_by_layer_places_all_points_within_the_picture() {
        let svg = by_layer(&[(0, 0.5), (3, 0.9), (6, 0.7)], &[("raw <pixels>", 0.4)]);
        assert!(svg.contains("raw &lt;pixels&gt; 40.0 %"), "{svg}");
        let circles: Vec<&str> = svg.split("<circle cx='").skip(1).map(|c| c.split('\'').next().unwrap()).collect();
        assert_eq!(circles, ["64.0", "344.0", "624.0"]);
        assert!(svg.contains("cy='80.0'") || svg.contains("cy='20.0'"), "{svg}");
        assert!(by_layer(&[(2, 1.0)], &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn a_chart_names_its_levels_and_survives_odd_curves() {
        let level = |name: &str, value| Level { name: name.into(), value, own: false };
        let chart = Chart {
            train: vec![(1.0, 4.0), (2.0, f64::NAN), (3.0, 2.0)],
            validation: vec![],
            levels: vec![level("a<b", 4.1), level("c", 4.0)],
        };
        let html = chart.html();
        assert!(html.contains("a&lt;b <b>4.100</b>") && !html.contains("NaN"));
        assert!(html.contains("class='level below'"));
        assert_eq!(Chart::default().html(), "");
    }
}
