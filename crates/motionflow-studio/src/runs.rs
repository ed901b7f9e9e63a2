//! The gallery: run folders as they are on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use motionflow_engine::eval::judges::Judges;
use motionflow_engine::eval::pair::Pair;
use motionflow_engine::folder::run_folder::holds_a_run;
use motionflow_engine::folder::unfinished::Unfinished;
use motionflow_engine::progress::Progress;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::clips::{Cut, Frames, encoded, poster};
use crate::files;
use crate::general::bytes_in;
use crate::place::inside;
use crate::problem::{Code, Problem};
use crate::route::{Blob, Done, Json, NoBody, NoQuery, Route, Shared};
use crate::settings::Restored;
use crate::studio::{Studio, seconds_of};

/// How deep folders are looked through for runs.
const DEEPEST: usize = 4;
/// Bytes of a record.
const MOST_RECORD: u64 = 64 << 20;
/// Runs that are looked at.
const MOST_RUNS: usize = 20_000;
/// Files that are listed of a run.
const MOST_FILES: usize = 2000;

/// A run folder.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Run {
    name: String,
    state: RunState,
    /// Which one made it
    command: Option<String>,
    /// Seconds since 1970
    modified: f64,
    bytes: u64,
    prompt: Option<String>,
    source_prompt: Option<String>,
    model: Option<String>,
    video: Option<Value>,
    seed: Option<u64>,
    seconds: Option<f64>,
    warnings: Vec<String>,
    files: Vec<String>,
    /// Address of a picture
    thumbnail: Option<String>,
    /// Its id in the queue
    job: Option<String>,
    /// run.toml; of a single run
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Value>,
    /// run.json; of a single run
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Value>,
}

/// Whether a run is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RunState {
    /// All of its files are there.
    Finished,
    /// It can go on.
    Unfinished,
}

/// All runs.
#[derive(Debug, Serialize, JsonSchema)]
struct Runs {
    runs: Vec<Run>,
}

/// Which of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Figures of a result against its source.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Figures {
    figures: Vec<Figure>,
}

/// A figure.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Figure {
    name: String,
    value: Option<f64>,
    /// What it was made with
    about: String,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/runs", "Run folders", list),
        Route::new(&Method::GET, "/api/runs/{name}", "A run folder with its records", get),
        Route::new(&Method::GET, "/api/runs/{name}/request", "The settings of a run", request_of),
        Route::raw("/api/runs/{name}/files/{*path}", "A file of a run", "application/octet-stream", file),
        Route::new(
            &Method::GET,
            "/api/runs/{name}/frames/{what}",
            "Frames of a run's source, mask or result",
            frames,
        ),
        Route::new(
            &Method::GET,
            "/api/runs/{name}/sheet/{what}",
            "All of these frames in one picture",
            sheet,
        )
        .gives("image/jpeg"),
        Route::new(
            &Method::GET,
            "/api/runs/{name}/figures",
            "Figures of a result against its source",
            figures,
        ),
        Route::raw("/api/runs/{name}/zip", "A run folder as one file", "application/zip", zipped),
        Route::new(&Method::DELETE, "/api/runs/{name}", "Deletes a run folder", remove),
    ]
}

/// Every run folder, by its name below the runs folder.
fn all(folder: &Path, name: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let own = entry.file_name();
        let (Some(own), Ok(kind)) = (own.to_str(), entry.file_type()) else { continue };
        if own.starts_with('.') || !kind.is_dir() || found.len() >= MOST_RUNS {
            continue;
        }
        let (path, name) =
            (entry.path(), if name.is_empty() { own.to_owned() } else { format!("{name}/{own}") });
        if holds_a_run(&path) || Unfinished::is_in(&path) {
            found.push((name, path));
        } else if depth < DEEPEST {
            all(&path, &name, depth + 1, found);
        }
    }
}

/// When a run was last written to.
fn modified(folder: &Path) -> f64 {
    let of = |path: PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    of(folder.join("run.json"))
        .or_else(|| of(folder.join("run.toml")))
        .or_else(|| of(folder.to_owned()))
        .map_or(0.0, seconds_of)
}

fn files_in(folder: &Path, below: &str, all: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let (Some(name), Ok(kind)) = (name.to_str(), entry.file_type()) else { continue };
        if name.starts_with('.') || all.len() >= MOST_FILES {
            continue;
        }
        let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if kind.is_dir() {
            files_in(&entry.path(), &name, all);
        } else if kind.is_file() {
            all.push(name);
        }
    }
}

/// The record of a run, whole or not.
fn record_in(folder: &Path) -> PathBuf {
    let records = if holds_a_run(folder) { folder.to_owned() } else { folder.join(".unfinished") };
    records.join("run.toml")
}

pub(crate) fn read_toml(path: &Path) -> Option<Value> {
    let table: toml::Table = read_text(path)?.parse().ok()?;
    serde_json::to_value(table).ok()
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_str(&read_text(path)?).ok()
}

/// The text of a record, which somebody may have put there: a file, and none that never ends.
fn read_text(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let is_record = metadata.is_file() && metadata.len() <= MOST_RECORD;
    is_record.then(|| fs::read_to_string(path).ok()).flatten()
}

impl Studio {
    /// The folder of a run.
    pub(crate) fn run_folder(&self, name: &str) -> Result<PathBuf, Problem> {
        let folder = self.place.run(name)?;
        if holds_a_run(&folder) || Unfinished::is_in(&folder) {
            return Ok(folder);
        }
        Err(Problem::not_found(format!("there is no run \"{name}\"")))
    }

    /// The runs in a folder of runs, or all of them; the newest first.
    pub(crate) fn runs_in(&self, folder: Option<&str>) -> Result<Vec<(String, PathBuf)>, Problem> {
        let mut found = Vec::new();
        match folder {
            None => all(self.place.runs(), "", 1, &mut found),
            Some(name) => all(&self.place.run(name)?, name, 1, &mut found),
        }
        let mut timed: Vec<(f64, (String, PathBuf))> =
            found.into_iter().map(|run| (modified(&run.1), run)).collect();
        timed.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.0.cmp(&other.1.0)));
        Ok(timed.into_iter().map(|(_, run)| run).collect())
    }

    /// The record of the run here that a file is a result of: it says more than the file's own, which has no paths.
    pub(crate) fn record_of_result(&self, file: &Path) -> Result<Option<String>, Problem> {
        let hash = self.engine.sha256_of(file)?;
        let is_of = |folder: &Path| {
            let history = read_json(&folder.join("run.json")).unwrap_or_default();
            history["files"].as_array().into_iter().flatten().any(|file| file["sha256"] == hash.as_str())
        };
        let made = self.runs_in(None)?.into_iter().find(|(_, folder)| is_of(folder));
        Ok(made.and_then(|(_, folder)| read_text(&folder.join("run.toml"))))
    }

    fn run(&self, name: &str, folder: &Path) -> Result<Run, Problem> {
        let is_whole = holds_a_run(folder);
        let record = read_toml(&record_in(folder)).unwrap_or_default();
        let history = read_json(&folder.join("run.json")).unwrap_or_default();
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut files = Vec::new();
        files_in(folder, "", &mut files);
        let has_result = files.iter().any(|file| file == "result.mp4");
        let warnings = history["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Run {
            name: name.to_owned(),
            state: if is_whole { RunState::Finished } else { RunState::Unfinished },
            command: text("/program/command"),
            modified: modified(folder),
            bytes: bytes_in(folder),
            prompt: text("/prompts/prompt"),
            source_prompt: text("/prompts/source_prompt").or_else(|| text("/source_prompt")),
            model: text("/model/name"),
            video: record.get("video").cloned(),
            seed: record.pointer("/settings/seed").and_then(Value::as_u64),
            seconds: history["seconds"].as_f64(),
            warnings: warnings.map(str::to_owned).collect(),
            files,
            thumbnail: has_result.then(|| poster(&format!("run:{name}/result.mp4"))),
            job: self.queue.named(name)?.map(|job| job.id),
            record: None,
            history: None,
        })
    }
}

fn list(studio: &Shared, (): (), which: Which, _: NoBody) -> Result<Json<Runs>, Problem> {
    let found = studio.runs_in(None)?;
    let chosen = found.iter().skip(which.offset.unwrap_or(0)).take(which.limit.unwrap_or(usize::MAX));
    let runs: Result<Vec<Run>, Problem> = chosen.map(|(name, folder)| studio.run(name, folder)).collect();
    Ok(Json(Runs { runs: runs? }))
}

fn get(studio: &Shared, name: String, _: NoQuery, _: NoBody) -> Result<Json<Run>, Problem> {
    let folder = studio.run_folder(&name)?;
    let run = studio.run(&name, &folder)?;
    let record = read_toml(&record_in(&folder));
    Ok(Json(Run { record, history: read_json(&folder.join("run.json")), ..run }))
}

fn request_of(studio: &Shared, name: String, _: NoQuery, _: NoBody) -> Result<Json<Restored>, Problem> {
    let folder = studio.run_folder(&name)?;
    let text = read_text(&record_in(&folder)).ok_or_else(|| {
        Problem::new(
            Code::Unreadable,
            format!("the run \"{name}\" has no run.toml, so its settings are lost"),
        )
    })?;
    Ok(Json(studio.restored(&text, "run.toml")?))
}

/// The folder and the rest of an address below `/api/runs/NAME/`.
fn folder_of(studio: &Studio, path: &str) -> Result<PathBuf, Problem> {
    let name = files::segment(path, 2).ok_or_else(|| Problem::not_found("there is nothing of this name"))?;
    // Of a report, too, which is a folder of runs.
    studio.place.run(&name)
}

async fn file(studio: Shared, request: Request<Body>) -> Response {
    let found = folder_of(&studio, request.uri().path()).and_then(|folder| {
        let file = files::rest(request.uri().path(), 4).unwrap_or_default();
        inside(&folder, &file).ok_or_else(|| Problem::not_found(format!("there is no file \"{file}\"")))
    });
    match found {
        Ok(path) => files::serve(&path, request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What of a run is shown as frames.
fn shown(studio: &Studio, name: &str, what: &str) -> Result<(String, PathBuf, Cut), Problem> {
    let folder = studio.run_folder(name)?;
    let file = match what {
        "result" => "result.mp4",
        "mask" => "masks.mp4",
        "source" => return source_of(studio, name, &folder),
        _ => {
            return Err(Problem::not_found(format!(
                "there is no \"{what}\" of a run; there are source, mask and result"
            )));
        }
    };
    let path = inside(&folder, file)
        .ok_or_else(|| Problem::not_found(format!("the run \"{name}\" has no {file}")))?;
    Ok((format!("run:{name}/{file}"), path, Cut::default()))
}

/// The frames of the source that a run was made of, where the studio has the source.
fn source_of(studio: &Studio, name: &str, folder: &Path) -> Result<(String, PathBuf, Cut), Problem> {
    let record = read_toml(&record_in(folder)).unwrap_or_default();
    let path = record.pointer("/source/path").and_then(Value::as_str).map(PathBuf::from);
    let reference = path.as_ref().and_then(|path| studio.place.reference_of(path));
    let (Some(path), Some(reference)) = (path, reference) else {
        return Err(Problem::not_found(format!(
            "the source of \"{name}\" is not among the clips and uploads"
        )));
    };
    let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_u64).map(|value| value as u32);
    let cut = Cut {
        width: number("/video/width"),
        height: number("/video/height"),
        frames: number("/video/frames"),
        start: record.pointer("/source/start").and_then(Value::as_f64),
        every: number("/source/every"),
        fit: record.pointer("/source/fit").and_then(Value::as_str).map(str::to_owned),
        side: None,
    };
    Ok((reference, path, cut))
}

fn frames(
    studio: &Shared,
    (name, what): (String, String),
    _: NoQuery,
    _: NoBody,
) -> Result<Json<Frames>, Problem> {
    let (reference, path, cut) = shown(studio, &name, &what)?;
    let sheet = format!("/api/runs/{}/sheet/{what}", encoded(&name));
    Ok(Json(studio.frames(&reference, &path, &cut, sheet)?))
}

fn sheet(studio: &Shared, (name, what): (String, String), _: NoQuery, _: NoBody) -> Result<Blob, Problem> {
    let (_, path, cut) = shown(studio, &name, &what)?;
    studio.sheet(&path, &cut)
}

fn figures(studio: &Shared, name: String, _: NoQuery, _: NoBody) -> Result<Json<Figures>, Problem> {
    let folder = studio.run_folder(&name)?;
    let result = inside(&folder, "result.mp4")
        .ok_or_else(|| Problem::not_found(format!("the run \"{name}\" has no result.mp4")))?;
    let record = read_toml(&folder.join("run.toml")).unwrap_or_default();
    let changed = modified(&folder);
    let kept = studio.place.own("figures").join(format!("{}.json", encoded(&name).replace('%', "_")));
    if let Some(known) = read_json(&kept)
        && known["modified"].as_f64() == Some(changed)
        && let Ok(figures) = serde_json::from_value(known["figures"].clone())
    {
        return Ok(Json(figures));
    }
    if studio.work.is_busy() {
        return Err(Problem::busy("a job is at work; figures are measured between jobs"));
    }
    let source = record.pointer("/source/path").and_then(Value::as_str).map(PathBuf::from);
    let source = source.filter(|source| studio.place.reference_of(source).is_some());
    let source = source.ok_or_else(|| {
        Problem::not_found(format!("the source of \"{name}\" is not among the clips and uploads"))
    })?;
    let is_demo = record.pointer("/model/name").and_then(Value::as_str)
        == Some(motionflow_engine::models::found::SHIPPED);
    // Other judges would have to be fetched.
    let judges = Judges { clip: Some(if is_demo { "demo-clip" } else { "none" }.to_owned()), detector: None };
    let pair = Pair {
        source,
        result,
        prompt: record.pointer("/prompts/prompt").and_then(Value::as_str).map(str::to_owned),
        ..Pair::default()
    };
    let measured =
        studio.engine.evaluate(&pair, &judges, &studio.options.program.resources, &mut Progress::silent())?;
    let figure = |figure: &Value| Figure {
        name: match figure["subject"].as_str() {
            Some(subject) => format!("{} ({subject})", figure["name"].as_str().unwrap_or_default()),
            None => figure["name"].as_str().unwrap_or_default().to_owned(),
        },
        value: figure["value"].as_f64(),
        about: figure["made_with"].as_str().unwrap_or_default().to_owned(),
    };
    let measured = serde_json::to_value(&measured.figures).unwrap_or_default();
    let figures = Figures { figures: measured.as_array().into_iter().flatten().map(figure).collect() };
    let text = json!({ "modified": changed, "figures": figures }).to_string();
    studio.write_whole(&kept, text.as_bytes())?;
    Ok(Json(figures))
}

async fn zipped(studio: Shared, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let made = spawn_blocking(move || zip_of(&studio, &path)).await;
    match made {
        Ok(Ok((name, file))) => {
            let mut response = files::serve(file.path(), request).await;
            let name = format!("attachment; filename*=UTF-8''{}.zip", encoded(&name).replace(':', "%3A"));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
            if let Ok(name) = HeaderValue::from_str(&name) {
                headers.insert(header::CONTENT_DISPOSITION, name);
            }
            // The file is open by now, so that its name may go.
            response
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(error) => Problem::new(Code::Failed, format!("the request failed: {error}")).into_response(),
    }
}

fn zip_of(studio: &Studio, path: &str) -> Result<(String, tempfile::NamedTempFile), Problem> {
    let name = files::segment(path, 2).unwrap_or_default();
    let folder = studio.run_folder(&name)?;
    let mut names = Vec::new();
    files_in(&folder, "", &mut names);
    let file = tempfile::NamedTempFile::new_in(studio.place.incoming())?;
    let mut zip = zip::ZipWriter::new(io::BufWriter::new(file.reopen()?));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(true);
    let cannot = |error: zip::result::ZipError| Problem::from(io::Error::from(error));
    let last = name.rsplit('/').next().unwrap_or_default().to_owned();
    for name in &names {
        zip.start_file(format!("{last}/{name}"), options).map_err(cannot)?;
        io::copy(&mut fs::File::open(folder.join(name))?, &mut zip)?;
    }
    zip.finish().map_err(cannot)?;
    Ok((last, file))
}

fn remove(studio: &Shared, name: String, _: NoQuery, _: NoBody) -> Result<Done, Problem> {
    let _alone = studio.changing();
    let folder = studio.run_folder(&name)?;
    if let Some(job) = studio.queue.named(&name)?.filter(|job| !job.state.is_over()) {
        return Err(Problem::busy(format!("job \"{}\" works in it; cancel or remove the job first", job.id)));
    }
    if let Some(id) = studio.comparison_of(&name) {
        return Err(Problem::busy(format!("the comparison \"{id}\" shows it; remove the comparison first")));
    }
    // Links are removed, not what they lead to.
    fs::remove_dir_all(&folder)?;
    studio.events.tell("runs", &json!({}));
    studio.look_at_disk();
    Ok(Done)
}
