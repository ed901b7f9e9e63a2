//! What came out of an experiment: the figures of every transfer, and their means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use motionflow_media::atomic::write_atomically;
use serde::Serialize;
use serde_json::{Value, json};

use super::cell::{Cell, Judged, Known, KnownFigure};
use super::{Experiment, errors, table};
use crate::batch::jobs::Outcome;
use crate::engine::Engine;
use crate::progress::Progress;
use crate::request::tables::Program;

/// How the intervals are made, in words for the reports.
pub(crate) const INTERVAL: &str = "means with their 95 % intervals: ± 1.96 standard errors (normal approximation, transfers taken as independent)";

/// A subject follows where its centre is, in the mean, no further off than this: in fractions of the width.
const FOLLOWS: f64 = 0.12;

/// All transfers of an experiment.
#[derive(Debug)]
pub struct Results {
    pub(crate) title: String,
    pub(crate) variants: Vec<VariantResult>,
    pub(crate) cells: Vec<CellResult>,
    /// The figures in the order of the tables.
    pub(crate) figures: Vec<String>,
    /// What each was made with.
    pub(crate) made_with: BTreeMap<String, BTreeSet<String>>,
}

/// A variant with its means, one for each figure that it has.
#[derive(Debug)]
pub(crate) struct VariantResult {
    pub(crate) name: String,
    pub(crate) settings: BTreeMap<String, toml::Value>,
    pub(crate) done: usize,
    pub(crate) of: usize,
    pub(crate) means: BTreeMap<String, Mean>,
}

/// A transfer.
#[derive(Debug)]
pub(crate) struct CellResult {
    pub(crate) name: String,
    pub(crate) clip: String,
    pub(crate) motion: Option<String>,
    pub(crate) prompt: String,
    pub(crate) variant: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) state: State,
}

/// How far a transfer is.
#[derive(Debug)]
pub(crate) enum State {
    /// Done and measured. A figure of several subjects is their mean.
    Done {
        known: Box<Known>,
        values: BTreeMap<String, f64>,
    },
    Failed {
        error: String,
    },
    NotDone,
}

/// A mean with half its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Mean {
    #[serde(rename = "mean")]
    pub(crate) value: f64,
    /// Unknown of one number alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) margin: Option<f64>,
    pub(crate) count: usize,
}

impl Mean {
    /// Of numbers; none of none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let margin = (count > 1).then(|| 1.96 * (squares / (count - 1) as f64 / count as f64).sqrt());
        Some(Self { value: mean, margin, count })
    }
}

impl Results {
    /// Reads what the cells' folders hold.
    pub(crate) fn of(
        experiment: &Experiment,
        judged: Option<&Judged>,
        outcomes: &[Outcome],
        program: &Program,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Self> {
        let errors = errors(outcomes);
        let mut figures: Vec<String> = Vec::new();
        let mut made_with: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut cells = Vec::new();
        for cell in &experiment.cells {
            let state =
                match (cell.finished(judged, program, engine, progress)?, errors.get(cell.job.name.as_str()))
                {
                    (Some((known, _)), _) => {
                        let values = values(&known);
                        for (name, _) in &values {
                            if !figures.contains(name) {
                                figures.push(name.clone());
                            }
                        }
                        for figure in &known.figures {
                            made_with
                                .entry(figure.name.clone())
                                .or_default()
                                .insert(figure.made_with.clone());
                        }
                        State::Done { known: Box::new(known), values: values.into_iter().collect() }
                    }
                    (None, Some(error)) => State::Failed { error: (*error).to_owned() },
                    (None, None) => State::NotDone,
                };
            let Cell { job, clip, motion, prompt, variant, seed, .. } = cell;
            cells.push(CellResult {
                name: job.name.clone(),
                clip: clip.clone(),
                motion: motion.clone(),
                prompt: prompt.clone(),
                variant: *variant,
                seed: *seed,
                state,
            });
        }
        // What the run itself measured stands behind what the judges say.
        figures
            .sort_by_key(|name| RUN_FIGURES.iter().position(|of_run| of_run == name).map_or(0, |at| at + 1));
        let variant = |(index, variant): (usize, &super::Variant)| {
            let of: Vec<&CellResult> = cells.iter().filter(|cell| cell.variant == index).collect();
            VariantResult {
                name: variant.name.clone(),
                settings: variant.settings.clone(),
                done: of.iter().filter(|cell| matches!(cell.state, State::Done { .. })).count(),
                of: of.len(),
                means: figures
                    .iter()
                    .filter_map(|figure| Some((figure.clone(), mean(figure, &of)?)))
                    .collect(),
            }
        };
        let variants = experiment.variants.iter().enumerate().map(variant).collect();
        Ok(Self { title: experiment.title.clone(), variants, cells, figures, made_with })
    }

    /// The figures that the judges gave, or that follow from theirs.
    pub(crate) fn judged(&self) -> impl Iterator<Item = &String> {
        self.figures.iter().filter(|name| !RUN_FIGURES.contains(&name.as_str()))
    }

    /// Whether every transfer is done.
    pub(crate) fn is_whole(&self) -> bool {
        self.cells.iter().all(|cell| matches!(cell.state, State::Done { .. }))
    }

    /// The transfers that failed, and why.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&CellResult, &str)> {
        self.cells.iter().filter_map(|cell| match &cell.state {
            State::Failed { error } => Some((cell, error.as_str())),
            _ => None,
        })
    }

    /// The best of the variants' means.
    pub(crate) fn best(&self, figure: &str) -> Option<f64> {
        let lower = lower_is_better(figure)?;
        let means = self.variants.iter().filter_map(|variant| Some(variant.means.get(figure)?.value));
        let best = means.reduce(if lower { f64::min } else { f64::max })?;
        (self.variants.len() > 1).then_some(best)
    }

    /// What the second table has its rows of: "motion", or "clip" where no motions were named.
    pub(crate) fn grouped_by(&self) -> &'static str {
        if self.cells.iter().any(|cell| cell.motion.is_some()) { "motion" } else { "clip" }
    }

    /// The groups in their order, each with its transfers.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&CellResult>)> {
        let by_motion = self.grouped_by() == "motion";
        let mut groups: Vec<(&str, Vec<&CellResult>)> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for cell in &self.cells {
            let name = cell.motion.as_deref().filter(|_| by_motion).unwrap_or(&cell.clip);
            let place = *places.entry(name).or_insert_with(|| {
                groups.push((name, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(cell);
        }
        groups
    }

    /// `results.json` and `table.md`.
    pub(crate) fn write(&self, output: &Path) -> Result<()> {
        write_atomically(&output.join("results.json"), self.to_json()?.as_bytes())?;
        write_atomically(&output.join("table.md"), table::markdown(self).as_bytes())?;
        Ok(())
    }

    /// The means, for a program: one value a variant.
    pub fn rows(&self) -> Vec<Value> {
        self.variants.iter().map(VariantResult::to_json).collect()
    }

    /// The means, for a person: a table in lines.
    pub fn table(&self) -> Vec<String> {
        table::plain(self)
    }

    /// One line a variant and a transfer.
    fn to_json(&self) -> Result<String> {
        let lines = |values: Vec<Value>| -> Result<String> {
            let lines: Result<Vec<String>, _> = values.iter().map(serde_json::to_string).collect();
            Ok(lines?.join(",\n"))
        };
        let made_with: BTreeMap<&str, String> = self
            .made_with
            .iter()
            .map(|(name, with)| (name.as_str(), with.iter().cloned().collect::<Vec<_>>().join(", ")))
            .collect();
        Ok(format!(
            "{{\"title\": {},\n\"means\": {},\n\"made_with\": {},\n\"variants\": [\n{}\n],\n\"cells\": [\n{}\n]}}\n",
            json!(self.title),
            json!(INTERVAL),
            json!(made_with),
            lines(self.variants.iter().map(VariantResult::to_json).collect())?,
            lines(self.cells.iter().map(|cell| cell.to_json(&self.variants[cell.variant])).collect())?,
        ))
    }
}

impl VariantResult {
    fn to_json(&self) -> Value {
        json!({ "name": self.name, "settings": self.settings, "done": self.done, "of": self.of, "figures": self.means })
    }
}

impl CellResult {
    /// Its number, if it is done.
    pub(crate) fn value(&self, figure: &str) -> Option<f64> {
        match &self.state {
            State::Done { values, .. } => values.get(figure).copied(),
            _ => None,
        }
    }

    fn to_json(&self, variant: &VariantResult) -> Value {
        let mut cell = json!({
            "name": self.name, "clip": self.clip, "prompt": self.prompt, "variant": variant.name,
            "settings": variant.settings,
        });
        let more = match &self.state {
            State::Done { known, .. } => json!({
                "ending": "done", "seconds": known.seconds, "sampling_seconds": known.sampling_seconds,
                "peak_memory_bytes": known.peak_memory_bytes, "final_loss": known.final_loss,
                "warnings": known.warnings.len(), "figures": figures_to_json(&known.figures),
            }),
            State::Failed { error } => json!({ "ending": "failed", "error": error }),
            State::NotDone => json!({ "ending": "not_done" }),
        };
        if let (Value::Object(cell), Value::Object(more)) = (&mut cell, more) {
            cell.extend(self.motion.as_ref().map(|motion| ("motion".to_owned(), json!(motion))));
            cell.extend(self.seed.map(|seed| ("seed".to_owned(), json!(seed))));
            cell.extend(more);
        }
        cell
    }
}

/// By name; those of several subjects by name and subject.
fn figures_to_json(figures: &[KnownFigure]) -> Value {
    let mut all = serde_json::Map::new();
    for KnownFigure { name, subject, value, .. } in figures {
        match subject {
            None => {
                all.insert(name.clone(), json!(value));
            }
            Some(subject) => {
                let of_subjects = all.entry(name.clone()).or_insert_with(|| json!({}));
                if let Value::Object(of_subjects) = of_subjects {
                    of_subjects.insert(subject.clone(), json!(value));
                }
            }
        }
    }
    Value::Object(all)
}

/// The figures that every run has, in the order of the tables.
const RUN_FIGURES: [&str; 4] = ["final_loss", "warnings", "sampling_seconds", "peak_memory_mib"];

/// All numbers of a transfer: the judges' (of several subjects their mean), what follows from them, and the run's own.
/// A figure that is no number for one of the subjects is left out.
fn values(known: &Known) -> Vec<(String, f64)> {
    let mut values: Vec<(String, f64)> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for figure in &known.figures {
        if !names.contains(&figure.name.as_str()) {
            names.push(&figure.name);
        }
    }
    for name in names {
        let of: Vec<Option<f64>> =
            known.figures.iter().filter(|figure| figure.name == name).map(|figure| figure.value).collect();
        if let Some(all) = of.iter().copied().collect::<Option<Vec<f64>>>() {
            values.push((name.to_owned(), all.iter().sum::<f64>() / all.len() as f64));
        }
        if name == "trajectory_error" {
            let follow = of.iter().filter(|value| value.is_some_and(|error| error <= FOLLOWS)).count();
            values.push((format!("trajectory_within_{FOLLOWS}"), follow as f64 / of.len() as f64));
            if of.len() > 1 {
                let all = if follow == of.len() { 1.0 } else { 0.0 };
                values.push((format!("every_trajectory_within_{FOLLOWS}"), all));
            }
        }
    }
    let memory = known.peak_memory_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
    let of_run = [known.final_loss, Some(known.warnings.len() as f64), known.sampling_seconds, memory];
    let of_run = RUN_FIGURES.iter().zip(of_run);
    values.extend(of_run.filter_map(|(name, value)| Some(((*name).to_owned(), value?))));
    values
}

fn mean(figure: &str, cells: &[&CellResult]) -> Option<Mean> {
    let values: Vec<f64> = cells.iter().filter_map(|cell| cell.value(figure)).collect();
    Mean::of(&values)
}

/// As [`Mean`] of those of one variant.
pub(crate) fn mean_of_variant(figure: &str, variant: usize, cells: &[&CellResult]) -> Option<Mean> {
    let of: Vec<&CellResult> = cells.iter().copied().filter(|cell| cell.variant == variant).collect();
    mean(figure, &of)
}

/// Which end of a figure is the good one; neither of what only says how the run went.
pub(crate) fn lower_is_better(figure: &str) -> Option<bool> {
    match figure {
        "warnings" | "final_loss" => None,
        _ => Some(figure.ends_with("_error") || RUN_FIGURES.contains(&figure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_textbook() {
        // Standard deviation 2, standard error 1.
        let mean = Mean::of(&[3.0, 7.0, 3.0, 7.0, 5.0]).unwrap();
        assert!((mean.value - 5.0).abs() < 1e-12 && mean.count == 5);
        assert!((mean.margin.unwrap() - 1.96 * 2.0 / 5.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Mean::of(&[4.0]), Some(Mean { value: 4.0, margin: None, count: 1 }));
        assert_eq!(Mean::of(&[]), None);
    }

    #[test]
    fn what_follows_from_trajectories() {
        let figure = |subject: &str, value| KnownFigure {
            name: "trajectory_error".into(),
            subject: Some(subject.into()),
            value,
            made_with: "d".into(),
        };
        let known = |figures| Known {
            seconds: 1.0,
            sampling_seconds: Some(0.5),
            peak_memory_bytes: Some(3 << 20),
            final_loss: None,
            warnings: vec![],
            judged_by: None,
            figures,
        };
        let of = |figures| values(&known(figures)).into_iter().collect::<BTreeMap<_, _>>();
        let both = of(vec![figure("dog", Some(0.1)), figure("car", Some(0.2))]);
        assert!((both["trajectory_error"] - 0.15).abs() < 1e-12);
        assert_eq!((both["trajectory_within_0.12"], both["every_trajectory_within_0.12"]), (0.5, 0.0));
        assert_eq!((both["peak_memory_mib"], both.contains_key("final_loss")), (3.0, false));
        // No number that could be averaged, but it does not follow.
        let unseen = of(vec![figure("dog", None)]);
        assert_eq!((unseen.get("trajectory_error"), unseen["trajectory_within_0.12"]), (None, 0.0));
        assert!(!unseen.contains_key("every_trajectory_within_0.12"));
    }
}
