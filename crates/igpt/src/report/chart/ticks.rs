//! Ticks of an axis: their distance and labels.

/// Round distance between ticks that makes about `ticks` of them over `span`.
pub(super) fn tick_step(span: f64, ticks: f64) -> f64 {
    let raw = span / ticks;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= raw).unwrap_or(10.0);
    factor * power
}

/// Label of a tick, with as many digits as its step needs.
pub(super) fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
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
}
