//! Reports of sweeps and suites, as they are on disk.

use std::fs;
use std::path::{Path, PathBuf};

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clips::encoded;
use crate::problem::Problem;
use crate::route::{Json, NoBody, NoQuery, Route, Shared};
use crate::studio::{Studio, seconds_of};

/// The file that every report has.
const RESULTS: &str = "results.json";
/// Files of a report.
const FILES: [&str; 7] =
    [RESULTS, "table.md", "report.html", "overview.jpg", "grid.png", "plots.svg", "suite.toml"];
/// How deep folders are looked through.
const DEEPEST: usize = 3;

/// A report.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Report {
    name: String,
    kind: ReportKind,
    title: String,
    /// Seconds since 1970
    modified: f64,
    /// Address of report.html
    html: Option<String>,
    files: Vec<String>,
    columns: Vec<String>,
    variants: Vec<String>,
    /// One a transfer; of a single report
    rows: Vec<ReportRow>,
}

/// What was compared.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ReportKind {
    /// Values of settings.
    Sweep,
    /// Variants on clips.
    Suite,
}

/// A transfer of a report.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReportRow {
    /// Its run folder, where that is there
    pub(crate) run: Option<String>,
    /// By column
    pub(crate) values: Map<String, Value>,
}

/// All reports.
#[derive(Debug, Serialize, JsonSchema)]
struct Reports {
    reports: Vec<Report>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/reports", "Reports of sweeps and suites", list),
        Route::new(&Method::GET, "/api/reports/{name}", "A report with its transfers", get),
    ]
}

fn find(folder: &Path, name: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let own = entry.file_name();
        let (Some(own), Ok(kind)) = (own.to_str(), entry.file_type()) else { continue };
        if own.starts_with('.') || !kind.is_dir() {
            continue;
        }
        let (path, name) =
            (entry.path(), if name.is_empty() { own.to_owned() } else { format!("{name}/{own}") });
        if path.join(RESULTS).is_file() {
            found.push((name, path));
        } else if depth < DEEPEST {
            find(&path, &name, depth + 1, found);
        }
    }
}

impl Studio {
    /// A report in the runs folder.
    pub(crate) fn report(&self, name: &str, has_rows: bool) -> Result<Report, Problem> {
        let nothing = || Problem::not_found(format!("there is no report \"{name}\""));
        let folder = self.place.run(name).map_err(|_| nothing())?;
        let results = fs::read(folder.join(RESULTS)).map_err(|_| nothing())?;
        let results: Value = serde_json::from_slice(&results).map_err(|_| nothing())?;
        let cells = results["cells"].as_array().ok_or_else(nothing)?;
        let mut columns: Vec<String> = ["variant", "clip", "prompt", "seed"].map(str::to_owned).into();
        let mut rows = Vec::new();
        for cell in cells {
            let mut values = Map::new();
            for key in
                ["variant", "clip", "prompt", "seed", "ending", "error", "final_loss", "warnings", "seconds"]
            {
                if let Some(value) = cell.get(key).filter(|value| !value.is_null()) {
                    values.insert(key.to_owned(), value.clone());
                }
            }
            for part in ["settings", "figures"] {
                for (key, value) in cell[part].as_object().into_iter().flatten() {
                    values.insert(key.clone(), mean(value));
                }
            }
            for key in values.keys() {
                if !columns.contains(key) {
                    columns.push(key.clone());
                }
            }
            let run = cell["name"].as_str().map(|cell| format!("{name}/cells/{cell}"));
            rows.push(ReportRow { run: run.filter(|run| self.place.run(run).is_ok()), values });
        }
        let files: Vec<String> =
            FILES.iter().filter(|file| folder.join(file).is_file()).map(|file| (*file).to_owned()).collect();
        let has = |file: &str| files.iter().any(|known| known == file);
        let modified = fs::metadata(folder.join(RESULTS)).and_then(|metadata| metadata.modified());
        let variants = results["variants"].as_array().into_iter().flatten();
        Ok(Report {
            name: name.to_owned(),
            kind: if has("grid.png") { ReportKind::Sweep } else { ReportKind::Suite },
            title: results["title"].as_str().unwrap_or(name).to_owned(),
            modified: modified.map_or(0.0, seconds_of),
            html: has("report.html").then(|| format!("/api/runs/{}/files/report.html", encoded(name))),
            variants: variants.filter_map(|variant| variant["name"].as_str()).map(str::to_owned).collect(),
            files,
            columns,
            rows: if has_rows { rows } else { Vec::new() },
        })
    }
}

impl Report {
    pub(crate) fn rows(self) -> Vec<ReportRow> {
        self.rows
    }
}

/// A figure of several subjects as its mean.
fn mean(value: &Value) -> Value {
    let Some(subjects) = value.as_object() else { return value.clone() };
    let numbers: Vec<f64> = subjects.values().filter_map(Value::as_f64).collect();
    if numbers.is_empty() { Value::Null } else { (numbers.iter().sum::<f64>() / numbers.len() as f64).into() }
}

fn list(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Reports>, Problem> {
    let mut found = Vec::new();
    find(studio.place.runs(), "", 1, &mut found);
    let mut reports: Vec<Report> =
        found.iter().filter_map(|(name, _)| studio.report(name, false).ok()).collect();
    reports.sort_by(|one, other| other.modified.total_cmp(&one.modified));
    Ok(Json(Reports { reports }))
}

fn get(studio: &Shared, name: String, _: NoQuery, _: NoBody) -> Result<Json<Report>, Problem> {
    Ok(Json(studio.report(&name, true)?))
}
