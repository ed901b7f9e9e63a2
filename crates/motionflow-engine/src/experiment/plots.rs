//! Plots of the variants' means: over the one numeric setting in which they differ, else a bar for each.

use std::collections::{BTreeMap, BTreeSet};

use motionflow_media::chart::{self, Bar, Line, Point};
use toml::Value;

use super::results::{Results, VariantResult};
use super::table::heading;

/// The plot of a figure; none where no variant has it.
pub(crate) fn plot(figure: &str, axis: Option<&Axis>, results: &Results) -> Option<String> {
    let title = match unit(figure) {
        Some(unit) => format!("{} ({unit})", heading(figure)),
        None => heading(figure),
    };
    let mean = |variant: &VariantResult| variant.means.get(figure).copied();
    results.variants.iter().find_map(mean)?;
    let Some(axis) = axis else {
        let bar = |variant: &VariantResult| {
            let mean = mean(variant)?;
            Some(Bar { name: variant.name.clone(), value: mean.value, margin: mean.margin })
        };
        let bars: Vec<Bar> = results.variants.iter().filter_map(bar).collect();
        return Some(chart::bars(&title, &bars));
    };
    let line = |(name, places): &(String, Vec<(f64, usize)>)| {
        let point = |&(x, variant): &(f64, usize)| {
            let mean = mean(&results.variants[variant])?;
            Some(Point { x, y: mean.value, margin: mean.margin })
        };
        Line { name: name.clone(), points: places.iter().filter_map(point).collect() }
    };
    let lines: Vec<Line> = axis.lines.iter().map(line).filter(|line| !line.points.is_empty()).collect();
    Some(chart::lines(&title, short(&axis.key), &lines))
}

/// A numeric setting that every variant says, and the variants along it: a line for all that are alike but for it.
#[derive(Debug, PartialEq)]
pub(crate) struct Axis {
    key: String,
    /// Name, and value and variant of each point.
    lines: Vec<(String, Vec<(f64, usize)>)>,
}

impl Axis {
    /// Of the variants of an experiment: the setting with the most values, if it has three or more.
    pub(crate) fn of(variants: &[VariantResult]) -> Option<Self> {
        let first = variants.first()?;
        let values = |key: &String| -> Option<Vec<f64>> {
            variants.iter().map(|variant| number(variant.settings.get(key)?)).collect()
        };
        let numeric = first.settings.keys().filter_map(|key| Some((key, values(key)?)));
        let count =
            |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<BTreeSet<_>>().len();
        let (key, values) = numeric.max_by_key(|(_, values)| count(values))?;
        if count(&values) < 3 {
            return None;
        }
        let mut lines: BTreeMap<String, Vec<(f64, usize)>> = BTreeMap::new();
        for (index, (variant, &value)) in variants.iter().zip(&values).enumerate() {
            let others = variant.settings.iter().filter(|(other, _)| *other != key);
            let name: Vec<String> =
                others.map(|(key, value)| format!("{} {}", short(key), value_text(value))).collect();
            lines.entry(name.join(", ")).or_default().push((value, index));
        }
        for line in lines.values_mut() {
            line.sort_by(|one, other| one.0.total_cmp(&other.0));
            if line.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                return None;
            }
        }
        Some(Self { key: key.clone(), lines: lines.into_iter().collect() })
    }
}

/// What a figure is counted in, where its name does not say so.
fn unit(figure: &str) -> Option<&'static str> {
    match figure {
        "trajectory_error" => Some("of the width"),
        "text_similarity" | "temporal_consistency" => Some("cosine"),
        name if name.starts_with("motion_fidelity") => Some("cosine"),
        _ => None,
    }
}

/// A key without its table.
pub(crate) fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// A value as it is read, a text without its quotes.
pub(crate) fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variants(settings: &[&str]) -> Vec<VariantResult> {
        let variant = |text: &&str| VariantResult {
            name: (*text).to_owned(),
            settings: text.parse::<toml::Table>().unwrap().into_iter().collect(),
            done: 0,
            of: 0,
            means: BTreeMap::new(),
        };
        settings.iter().map(variant).collect()
    }

    #[test]
    fn an_axis_is_found_where_there_is_one() {
        let axis = Axis::of(&variants(&["tau = 0.4", "tau = 0.2", "tau = 1"])).unwrap();
        let line = vec![(0.2, 1), (0.4, 0), (1.0, 2)];
        assert_eq!(axis, Axis { key: "tau".into(), lines: vec![(String::new(), line)] });
        assert_eq!(Axis::of(&variants(&["tau = 0.4", "tau = 0.2"])), None, "two values make no line");
        assert_eq!(Axis::of(&variants(&["tau = 0.4", "tau = 0.2", "n = 1"])), None);
        assert_eq!(
            Axis::of(&variants(&["tau = 1\nn = 1", "tau = 2\nn = 1", "tau = 3\nn = 2"])).unwrap().lines.len(),
            2
        );
        assert_eq!(Axis::of(&[]), None);
    }
}
