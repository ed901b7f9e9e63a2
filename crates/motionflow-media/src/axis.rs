//! What drawn plots share: round values on an axis, and lines of text.

use std::fmt::Write;

/// Round values on an axis.
pub(crate) struct Ticks {
    /// Two or more, ascending, the first at or below the lowest value, the last at or above the highest.
    pub(crate) values: Vec<f64>,
    step: f64,
}

impl Ticks {
    /// A value with as many decimals as the step needs.
    pub(crate) fn label(&self, value: f64) -> String {
        let decimals = -self.step.log10().floor();
        if (0.0..=5.0).contains(&decimals) {
            format!("{value:.*}", decimals as usize)
        } else if (-5.0..0.0).contains(&decimals) {
            format!("{value:.0}")
        } else {
            format!("{value:.1e}")
        }
    }
}

/// About `count` round values from `low` to `high`; for no range at all, some around it.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Ticks {
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    let largest = low.abs().max(high.abs());
    let half = if largest > 0.0 { largest / 10.0 } else { 0.5 };
    let (low, high) =
        if high - low < largest * 1e-3 || low >= high { (low - half, high + half) } else { (low, high) };
    let rough = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    Ticks { values: (first..=last.max(first + 1)).map(|index| index as f64 * step).collect(), step }
}

/// Adds a line; writing to a string cannot fail.
pub(crate) fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).ok();
    text.push('\n');
}
