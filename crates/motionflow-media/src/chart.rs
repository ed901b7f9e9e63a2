//! Means with their intervals as plots: SVG to stand in a page, in the page's own colour of text.

use crate::axis::{put, ticks};

/// A mean on a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where it stands.
    pub x: f64,
    /// The mean.
    pub y: f64,
    /// Half of its interval.
    pub margin: Option<f64>,
}

/// Means that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What they have in common; shown where there are several lines.
    pub name: String,
    /// In the order of `x`.
    pub points: Vec<Point>,
}

/// A mean under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// The mean.
    pub value: f64,
    /// Half of its interval.
    pub margin: Option<f64>,
}

const COLORS: [&str; 6] = ["#3b82f6", "#f59e0b", "#10b981", "#a855f7", "#ef4444", "#14b8a6"];
const WIDTH: f64 = 460.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 40.0;
const PLOT: f64 = 190.0;
/// Letters of the plots are about so wide; no font is measured.
const LETTER: f64 = 6.6;

/// Lines over a numeric setting, with a band of each mean's interval.
pub fn lines(title: &str, x_name: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let y = Scale::over(points().map(|point| (point.y, point.margin)), 5);
    let xs = |start: f64, pick: fn(f64, f64) -> f64| points().map(|point| point.x).fold(start, pick);
    let (first, last) = (xs(f64::INFINITY, f64::min), xs(f64::NEG_INFINITY, f64::max));
    let right = WIDTH - RIGHT;
    let bottom = TOP + PLOT;
    let across = |x: f64| {
        if last > first {
            LEFT + 14.0 + (x - first) / (last - first) * (right - LEFT - 28.0)
        } else {
            f64::midpoint(LEFT, right)
        }
    };
    let up = |value: f64| bottom - y.share(value) * PLOT;
    let legend = if lines.len() > 1 { 20.0 * lines.len() as f64 } else { 0.0 };
    let mut svg = begin(title, bottom + 48.0 + legend);
    for (value, label) in y.ticks() {
        let at = up(value);
        put(
            &mut svg,
            format_args!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"currentColor\" opacity=\".15\"/>"),
        );
        let (x, at) = (LEFT - 8.0, at + 4.0);
        put(&mut svg, format_args!("<text x=\"{x}\" y=\"{at:.1}\" text-anchor=\"end\">{label}</text>"));
    }
    let mut all: Vec<f64> = points().map(|point| point.x).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let mut free = f64::NEG_INFINITY;
    for x in all {
        let (at, label, below) = (across(x), x.to_string(), bottom + 18.0);
        put(
            &mut svg,
            format_args!("<path d=\"M{at:.1} {bottom}v4\" stroke=\"currentColor\" opacity=\".6\"/>"),
        );
        let half = label.len() as f64 * LETTER / 2.0 + 2.0;
        if at - half >= free {
            free = at + half;
            put(
                &mut svg,
                format_args!("<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>"),
            );
        }
    }
    put(
        &mut svg,
        format_args!("<path d=\"M{LEFT} {bottom}H{right}\" stroke=\"currentColor\" opacity=\".6\"/>"),
    );
    let (middle, below) = (f64::midpoint(LEFT, right), bottom + 38.0);
    let x_name = escape(x_name);
    put(&mut svg, format_args!("<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{x_name}</text>"));
    for (index, line) in lines.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let place = |value: fn(&Point) -> f64| {
            move |point: &Point| format!("{:.1} {:.1}", across(point.x), up(value(point)))
        };
        let high = line.points.iter().map(place(|point| point.y + point.margin.unwrap_or(0.0)));
        let low = line.points.iter().rev().map(place(|point| point.y - point.margin.unwrap_or(0.0)));
        let band: Vec<String> = high.chain(low).collect();
        let path: Vec<String> = line.points.iter().map(place(|point| point.y)).collect();
        let (band, path) = (band.join(" L"), path.join(" L"));
        put(&mut svg, format_args!("<path d=\"M{band}Z\" fill=\"{color}\" opacity=\".18\"/>"));
        put(
            &mut svg,
            format_args!("<path d=\"M{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"),
        );
        for point in &line.points {
            let (x, y) = (across(point.x), up(point.y));
            let told = told(point.y, point.margin);
            put(
                &mut svg,
                format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"><title>{}: {told}</title></circle>",
                    point.x
                ),
            );
        }
        if lines.len() > 1 {
            let y = bottom + 60.0 + 20.0 * index as f64;
            let (mark, text, name) = (y - 4.0, LEFT + 26.0, escape(&line.name));
            put(
                &mut svg,
                format_args!("<path d=\"M{LEFT} {mark}h18\" stroke=\"{color}\" stroke-width=\"3\"/>"),
            );
            put(&mut svg, format_args!("<text x=\"{text}\" y=\"{y}\">{name}</text>"));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A bar for each name, its interval as a line over its end. Where zero is far off, the axis begins elsewhere and dots
/// stand for the bars.
pub fn bars(title: &str, bars: &[Bar]) -> String {
    const ROW: f64 = 26.0;
    const LONGEST: f64 = 0.55;
    let right = WIDTH - RIGHT - 30.0;
    let longest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0) as f64 * LETTER;
    let left = (longest + 14.0).clamp(60.0, WIDTH * LONGEST);
    let letters = ((left - 14.0) / LETTER) as usize;
    let bottom = TOP + ROW * bars.len() as f64;
    let spread = |bar: &Bar| (bar.value, bar.margin);
    let scale = Scale::over(bars.iter().map(spread), 4);
    let far = scale.first() > 0.5 * scale.last() && scale.first() > 0.0;
    let zero = [(0.0, None)].into_iter().filter(|_| !far);
    let scale = Scale::over(bars.iter().map(spread).chain(zero), 4);
    let across = |value: f64| left + scale.share(value) * (right - left);
    let mut svg = begin(title, bottom + 34.0);
    for (value, label) in scale.ticks() {
        let (at, below) = (across(value), bottom + 18.0);
        put(
            &mut svg,
            format_args!("<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"currentColor\" opacity=\".15\"/>"),
        );
        put(
            &mut svg,
            format_args!("<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>"),
        );
    }
    for (index, bar) in bars.iter().enumerate() {
        let color = COLORS[0];
        let top = TOP + ROW * index as f64;
        let (middle, text, names_end) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0, left - 8.0);
        let name: String = if bar.name.chars().count() > letters {
            bar.name.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
        } else {
            bar.name.clone()
        };
        put(
            &mut svg,
            format_args!(
                "<text x=\"{names_end:.1}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
                escape(&name)
            ),
        );
        let hover = format!("<title>{}: {}</title>", escape(&bar.name), told(bar.value, bar.margin));
        let at = across(bar.value);
        if far {
            put(
                &mut svg,
                format_args!(
                    "<circle cx=\"{at:.1}\" cy=\"{middle}\" r=\"4.5\" fill=\"{color}\">{hover}</circle>"
                ),
            );
        } else {
            let (from, to) = (across(0.0).min(at), across(0.0).max(at));
            let (y, width) = (top + 5.0, to - from);
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" rx=\"2\" fill=\"{color}\" \
                     opacity=\".75\">{hover}</rect>"
                ),
            );
        }
        if let Some(margin) = bar.margin {
            let (low, high) = (across(bar.value - margin), across(bar.value + margin));
            put(
                &mut svg,
                format_args!(
                    "<path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"currentColor\" stroke-width=\"1.5\"/>"
                ),
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Text as it stands in SVG and HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn begin(title: &str, height: f64) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Inter, 'Helvetica Neue', Arial, sans-serif\" font-size=\"12\" fill=\"currentColor\">\n\
         <title>{title}</title>\n<text x=\"8\" y=\"20\" font-size=\"14\" font-weight=\"600\">{title}</text>\n"
    )
}

fn told(value: f64, margin: Option<f64>) -> String {
    margin.map_or_else(|| format!("{value:.4}"), |margin| format!("{value:.4} ± {margin:.4}"))
}

/// An axis over means with their intervals.
struct Scale(crate::axis::Ticks);

impl Scale {
    fn over(means: impl Iterator<Item = (f64, Option<f64>)>, count: usize) -> Self {
        let ends = means.map(|(mean, margin)| (mean - margin.unwrap_or(0.0), mean + margin.unwrap_or(0.0)));
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = ends.fold(none, |(low, high), (least, most)| (low.min(least), high.max(most)));
        Self(ticks(low, high, count))
    }

    fn first(&self) -> f64 {
        self.0.values[0]
    }

    fn last(&self) -> f64 {
        self.0.values[self.0.values.len() - 1]
    }

    /// Where a value lies between the axis's ends, 0..1.
    fn share(&self, value: f64) -> f64 {
        (value - self.first()) / (self.last() - self.first())
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        self.0.values.iter().map(|value| (*value, self.0.label(*value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64) -> Bar {
        Bar { name: name.into(), value, margin: Some(0.01) }
    }

    #[test]
    fn bars_begin_at_zero_and_dots_where_that_is_far_off() {
        let near = bars("error", &[bar("a", 0.2), bar("b <c>", 0.05)]);
        assert_eq!((near.matches("<rect").count(), near.matches("<circle").count()), (2, 0));
        assert!(near.contains("b &lt;c&gt;") && near.contains(">0.0<"), "{near}");
        let far = bars("similarity", &[bar("a", 0.31), bar("b", 0.32)]);
        assert_eq!((far.matches("<rect").count(), far.matches("<circle").count()), (0, 2));
    }

    #[test]
    fn lines_have_a_legend_where_they_are_several() {
        let line = |name: &str| Line {
            name: name.into(),
            points: (0..4).map(|x| Point { x: f64::from(x) / 10.0, y: f64::from(x), margin: None }).collect(),
        };
        let one = lines("error", "settings.tau", &[line("noise")]);
        assert!(!one.contains(">noise<") && one.contains(">settings.tau<") && one.contains(">0.3<"));
        let two = lines("error", "settings.tau", &[line("noise"), line("inverted")]);
        assert!(two.contains(">noise<") && two.contains(">inverted<"));
        assert_eq!(two.matches("<circle").count(), 8);
        let none = lines("error", "x", &[]);
        assert!(none.ends_with("</svg>\n") && !none.contains("NaN") && !none.contains("inf"), "{none}");
    }
}
