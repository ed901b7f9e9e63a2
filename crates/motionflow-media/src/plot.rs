//! Losses over a run as a picture: an SVG that names no font file and needs no other file.

use std::path::Path;

use crate::atomic;
use crate::axis::{put, ticks};
use crate::error::Result;

/// What one guided update measured. Values that are not finite leave a gap.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Update {
    /// The weighted sum that the update descends.
    pub total: f64,
    /// The cross-attention loss before weighting.
    pub cross: f64,
    /// The self-attention loss before weighting.
    pub self_attention: f64,
    /// The temporal-attention loss before weighting.
    pub temporal: f64,
    /// The loss on the subject's normalised attention before weighting; not finite where it is off.
    pub outside: f64,
    /// The loss on attention in other subjects' masks before weighting; not finite where it is off.
    pub other: f64,
    /// The norm of the gradient with respect to the latents.
    pub gradient_norm: Option<f64>,
}

/// Writes [`loss_svg`] to a file, whole or not at all.
///
/// # Errors
/// [`crate::Error::Unwritable`].
pub fn write_loss_svg(path: &Path, updates: &[Update]) -> Result<()> {
    atomic::write_atomically(path, loss_svg(updates).as_bytes())
}

/// The losses over the updates as lines, and below them the gradient's norm where one is known.
///
/// A history of no updates gives axes with a note, one of a single update gives dots.
pub fn loss_svg(updates: &[Update]) -> String {
    let series = |name, color, value: fn(&Update) -> f64| Series {
        name,
        color,
        values: updates.iter().map(value).collect(),
    };
    let losses = [
        series("total", "#18181b", |update| update.total),
        series("cross", "#2563eb", |update| update.cross),
        series("self", "#d97706", |update| update.self_attention),
        series("temporal", "#059669", |update| update.temporal),
        series("outside", "#dc2626", |update| update.outside),
        series("other", "#0891b2", |update| update.other),
    ];
    let norms = [series("gradient norm", "#7c3aed", |update| update.gradient_norm.unwrap_or(f64::NAN))];
    let second = norms[0].finite().next().is_some();
    let height = if second { TOP + FIRST + BETWEEN + SECOND + BOTTOM } else { TOP + FIRST + BOTTOM };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"Inter, 'Helvetica Neue', Arial, sans-serif\" font-size=\"13\" \
         fill=\"#52525b\">\n<title>Losses over {count} guided updates</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
        count = updates.len()
    );
    panel(&mut svg, "Loss", &losses, updates.len(), TOP, FIRST, !second);
    if second {
        panel(&mut svg, "Gradient norm", &norms, updates.len(), TOP + FIRST + BETWEEN, SECOND, true);
    }
    svg.push_str("</svg>\n");
    svg
}

const WIDTH: f64 = 880.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 56.0;
/// Heights of the two panels, and what lies between them.
const FIRST: f64 = 300.0;
const SECOND: f64 = 130.0;
const BETWEEN: f64 = 62.0;
/// With so many updates or fewer, each gets a dot.
const DOTS: usize = 60;

struct Series {
    name: &'static str,
    color: &'static str,
    values: Vec<f64>,
}

impl Series {
    fn finite(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().copied().filter(|value| value.is_finite())
    }
}

/// One pair of axes with its lines. `below`: whether the updates' numbers stand under it.
fn panel(svg: &mut String, title: &str, series: &[Series], count: usize, top: f64, height: f64, below: bool) {
    let finite = || series.iter().flat_map(Series::finite);
    let ticks = ticks(
        finite().fold(f64::INFINITY, f64::min),
        finite().fold(f64::NEG_INFINITY, f64::max),
        (height / 48.0) as usize,
    );
    let (low, high) = (ticks.values[0], ticks.values[ticks.values.len() - 1]);
    let bottom = top + height;
    let right = WIDTH - RIGHT;
    let y = |value: f64| bottom - (value - low) / (high - low) * height;
    let x = |index: usize| match count {
        0 | 1 => f64::midpoint(LEFT, right),
        _ => LEFT + 10.0 + index as f64 / (count - 1) as f64 * (right - LEFT - 20.0),
    };
    let heading = top - 20.0;
    put(
        svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{heading}\" font-size=\"15\" font-weight=\"600\" fill=\"#18181b\">{title}</text>"
        ),
    );
    for value in &ticks.values {
        let (at, text) = (y(*value), y(*value) + 4.5);
        put(svg, format_args!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e4e4e7\"/>"));
        put(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 10.0,
                ticks.label(*value)
            ),
        );
    }
    put(svg, format_args!("<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"#71717a\"/>"));
    for index in numbered(count) {
        let at = x(index);
        put(svg, format_args!("<path d=\"M{at:.1} {bottom}v5\" stroke=\"#71717a\"/>"));
        if below {
            let text = bottom + 21.0;
            put(
                svg,
                format_args!("<text x=\"{at:.1}\" y=\"{text}\" text-anchor=\"middle\">{}</text>", index + 1),
            );
        }
    }
    if below {
        let (middle, text) = (f64::midpoint(LEFT, right), bottom + 43.0);
        put(
            svg,
            format_args!("<text x=\"{middle}\" y=\"{text}\" text-anchor=\"middle\">guided update</text>"),
        );
    }
    if finite().next().is_none() {
        let (middle, text) = (f64::midpoint(LEFT, right), f64::midpoint(top, bottom));
        let note = if count == 0 { "no guided updates" } else { "no finite values" };
        put(
            svg,
            format_args!(
                "<text x=\"{middle}\" y=\"{text}\" text-anchor=\"middle\" font-size=\"15\">{note}</text>"
            ),
        );
    }
    legend(svg, series, right, heading);
    // The first series is drawn last, so that it lies on top.
    for line in series.iter().rev() {
        draw_line(svg, line, count, x, y);
    }
}

/// The names of the lines with their colours, flush right.
fn legend(svg: &mut String, series: &[Series], right: f64, y: f64) {
    /// Room for one name and its mark: no font is measured.
    const ROOM: f64 = 92.0;
    let shown: Vec<&Series> = series.iter().filter(|line| line.finite().next().is_some()).collect();
    if shown.len() < 2 {
        return;
    }
    for (index, line) in shown.iter().enumerate() {
        let x = right - (shown.len() - index) as f64 * ROOM + 8.0;
        let (mark, color) = (y - 4.5, line.color);
        put(
            svg,
            format_args!(
                "<path d=\"M{x} {mark}h18\" stroke=\"{color}\" stroke-width=\"3\" stroke-linecap=\"round\"/>"
            ),
        );
        put(svg, format_args!("<text x=\"{}\" y=\"{y}\">{}</text>", x + 26.0, line.name));
    }
}

/// A line through the finite values, broken where there are none, with dots where they are few or stand alone.
fn draw_line(
    svg: &mut String,
    line: &Series,
    count: usize,
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
) {
    let known = |index: usize| line.values.get(index).copied().filter(|value| value.is_finite());
    let (mut path, mut dots) = (String::new(), String::new());
    for index in 0..line.values.len() {
        let Some(value) = known(index) else { continue };
        let begins = index == 0 || known(index - 1).is_none();
        let alone = begins && known(index + 1).is_none();
        let command = if begins { 'M' } else { 'L' };
        put(&mut path, format_args!("{command}{:.1} {:.1}", x(index), y(value)));
        if alone || count <= DOTS {
            put(
                &mut dots,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{}\"/>",
                    x(index),
                    y(value),
                    if alone { 4.0 } else { 2.5 }
                ),
            );
        }
    }
    if path.is_empty() {
        return;
    }
    let color = line.color;
    put(
        svg,
        format_args!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
            path.trim_end()
        ),
    );
    put(svg, format_args!("<g fill=\"{color}\">{}</g>", dots.trim_end()));
}

/// Which updates get their number written: the first and every so many, at most about ten.
fn numbered(count: usize) -> Vec<usize> {
    let step =
        [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].into_iter().find(|step| count / step <= 12);
    let step = step.unwrap_or(count / 10);
    (0..count).filter(|index| step == 1 || *index == 0 || (index + 1) % step == 0).collect()
}
