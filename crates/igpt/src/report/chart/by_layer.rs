//! Accuracy by layer as a standalone picture, for files outside of a page.

use std::fmt::Write;

use super::ticks::{number, tick_step};
use crate::report::html::escape;

/// Accuracy by layer as a standalone SVG picture.
///
/// `points` are (layer, accuracy, its interval); `levels` are accuracies to compare with, by name.
pub fn layer_chart(points: &[(usize, f64, [f64; 2])], levels: &[(&str, f64)]) -> String {
    const LEFT: f64 = 64.0;
    const WIDTH: f64 = 560.0;
    const TOP: f64 = 20.0;
    const HEIGHT: f64 = 300.0;
    let last = points.iter().map(|point| point.0).max().unwrap_or(0).max(1) as f64;
    let shares = points.iter().flat_map(|point| point.2).chain(levels.iter().map(|level| level.1));
    let (low, high) = shares.map(|y| 100.0 * y).fold((100.0f64, 0.0f64), |(low, high), y| (low.min(y), high.max(y)));
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
    for (layer, _, interval) in points {
        let (x, [low, high]) = (px(*layer as f64), interval.map(|share| py(100.0 * share)));
        let _ = writeln!(svg, "<path d='M{x:.1} {low:.1}V{high:.1}' stroke='#1769aa' stroke-opacity='0.5'/>");
    }
    let place = |(layer, share, _): &(usize, f64, _)| (px(*layer as f64), py(100.0 * share));
    let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline points='{}' fill='none' stroke='#1769aa' stroke-width='2'/>", line.join(" "));
    for (x, y) in points.iter().map(place) {
        let _ = writeln!(svg, "<circle cx='{x:.1}' cy='{y:.1}' r='3.5' fill='#1769aa'/>");
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_by_layer_places_all_points_within_the_picture() {
        let points = [(0, 0.5, [0.45, 0.55]), (3, 0.89, [0.88, 0.9]), (6, 0.7, [0.6, 0.8])];
        let svg = layer_chart(&points, &[("raw <pixels>", 0.4)]);
        assert!(svg.contains("raw &lt;pixels&gt; 40.0 %"), "{svg}");
        let circles: Vec<&str> = svg.split("<circle cx='").skip(1).map(|c| c.split('\'').next().unwrap()).collect();
        assert_eq!(circles, ["64.0", "344.0", "624.0"]);
        assert!(svg.contains("M344.0 32.0V20.0"), "{svg}");
        assert!(layer_chart(&[(2, 1.0, [0.9, 1.0])], &[]).ends_with("</svg>\n"));
    }
}
