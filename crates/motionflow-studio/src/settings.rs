//! Settings: what there is to set, presets, settings files, and what a transfer would take.

use std::fs;

use axum::http::{Method, StatusCode};
use motionflow_engine::cancel::CancelToken;
use motionflow_engine::folder::metadata;
use motionflow_engine::folder_name;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::reference::{Section, sections};
use motionflow_engine::request::setting::{Kind, Setting as Known};
use motionflow_engine::request::{Request, tables};
use motionflow_engine::source::find_ffmpeg;
use motionflow_engine::toml_file;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::{Code, Problem};
use crate::request::Asked;
use crate::route::{Blob, Done, Json, NoBody, NoQuery, Route, Shared, Upload, With};
use crate::studio::Studio;
use crate::watch::hearing_warnings;

/// Presets at once.
const MOST_PRESETS: usize = 1000;
/// The largest settings file.
const MOST_TEXT: u64 = 16 << 20;

/// A group of settings.
#[derive(Debug, Serialize, JsonSchema)]
struct Group {
    title: String,
    /// Of a settings file
    table: String,
    settings: Vec<Setting>,
}

/// All groups.
#[derive(Debug, Serialize, JsonSchema)]
struct Groups {
    groups: Vec<Group>,
}

/// A setting.
#[derive(Debug, Serialize, JsonSchema)]
struct Setting {
    /// Table and key
    path: String,
    key: String,
    /// Of the command line
    flag: String,
    about: String,
    /// switch, integer, number, text, choice, list or integers
    #[serde(rename = "type")]
    kind: &'static str,
    choices: Option<Vec<String>>,
    min: Option<i64>,
    max: Option<i64>,
    /// In words
    range: String,
    /// In words
    default: String,
    /// What a run of this checkpoint would have
    value: Option<Value>,
    /// What the paper gives
    paper: Option<String>,
    /// Whether most people need it
    common: bool,
    /// The key of a setting that cannot be set beside it
    conflicts: Option<String>,
}

/// Whose defaults.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhoseDefaults {
    model: Option<String>,
}

/// A request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfRequest {
    request: Asked,
}

/// A settings file under a name.
#[derive(Debug, Serialize, JsonSchema)]
struct Preset {
    name: String,
    request: Asked,
}

/// All presets.
#[derive(Debug, Serialize, JsonSchema)]
struct Presets {
    presets: Vec<Preset>,
}

/// Settings of an earlier run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Restored {
    request: Asked,
    /// What the server does not have, in words
    missing: Vec<String>,
    /// Which command it was
    command: Option<String>,
}

/// The name of a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileName {
    name: String,
}

/// What a transfer would take.
#[derive(Debug, Serialize, JsonSchema)]
struct Plan {
    seconds: f64,
    /// Whether it may be less
    at_most: bool,
    /// Names with seconds
    stages: Vec<(String, f64)>,
    peak_memory_bytes: u64,
    free_memory_bytes: Option<u64>,
    /// Why it would not be begun
    refusal: Option<String>,
    device: String,
    precision: String,
    /// Every setting as it would be recorded
    resolved: Value,
    warnings: Vec<String>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/settings", "What there is to set", groups),
        Route::new(&Method::GET, "/api/settings/schema", "The schema of a request", schema),
        Route::new(&Method::GET, "/api/presets", "Presets", presets),
        Route::new(&Method::PUT, "/api/presets/{name}", "Keeps a preset", put_preset),
        Route::new(&Method::DELETE, "/api/presets/{name}", "Removes a preset", remove_preset),
        Route::new(&Method::POST, "/api/settings/read", "The settings in a file", read),
        Route::new(&Method::POST, "/api/settings/write", "A settings file", write)
            .gives("text/plain; charset=utf-8"),
        Route::new(&Method::POST, "/api/estimate", "What a transfer would take", estimate),
    ]
}

fn groups(studio: &Shared, (): (), whose: WhoseDefaults, _: NoBody) -> Result<Json<Groups>, Problem> {
    let mut model = tables::Model::default();
    model.chosen.name = whose.model.or_else(|| studio.options.model.clone());
    if let Some(name) = model.chosen.name.as_ref().filter(|name| !studio.knows_model(name)) {
        return Err(Problem::not_found(format!("there is no checkpoint \"{name}\"")));
    }
    let found = studio
        .refuse_to_fetch(&model)
        .and_then(|()| Ok(studio.planner.find(&model, &mut Progress::silent())?));
    let recommended = found.ok().map(|found| found.recommended.clone());
    let values = recommended.as_ref().map(|recommended| {
        let video = &recommended.video;
        let mut values = serde_json::to_value(&recommended.settings).unwrap_or_default();
        for (key, value) in [("width", video.width), ("height", video.height), ("frames", video.frames)] {
            values[key] = value.into();
        }
        values["fps"] = video.fps.into();
        values["negative_prompt"] = recommended.negative_prompt.as_str().into();
        values
    });
    let group = |Section { title, table, settings }: Section| {
        let shown = settings.iter().filter(|setting| is_shown(table, &setting.key));
        let settings = shown.map(|known| setting(table, known, values.as_ref())).collect();
        Group { title: title.to_owned(), table: table.to_owned(), settings }
    };
    let groups = sections().into_iter().map(group).filter(|group| !group.settings.is_empty()).collect();
    Ok(Json(Groups { groups }))
}

/// Whether a request may say it here.
fn is_shown(table: &str, key: &str) -> bool {
    match table {
        "output" => key == "metadata",
        "program" => !matches!(key, "quiet" | "json"),
        _ => true,
    }
}

fn setting(table: &str, known: &Known, values: Option<&Value>) -> Setting {
    let (kind, choices, bounds) = match &known.kind {
        Kind::Switch => ("switch", None, None),
        Kind::Integer(least, most) => ("integer", None, Some((*least, *most))),
        Kind::Number => ("number", None, None),
        Kind::Text => ("text", None, None),
        Kind::Choice(names) => ("choice", Some(names.clone()), None),
        Kind::List => ("list", None, None),
        Kind::Integers(least, most) => ("integers", None, Some((*least, *most))),
    };
    Setting {
        path: format!("{table}.{}", known.key),
        key: known.key.clone(),
        flag: format!("--{}", known.flag()),
        about: known.about.clone(),
        kind,
        choices,
        min: bounds.map(|(least, _)| least),
        max: bounds.map(|(_, most)| most).filter(|most| *most != i64::MAX),
        range: known.range(),
        default: known.default(),
        value: values.and_then(|values| values.get(&known.key)).filter(|value| !value.is_null()).cloned(),
        paper: known.details.paper.clone(),
        common: known.details.common,
        conflicts: known.details.conflicts.clone(),
    }
}

fn schema(_: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Value>, Problem> {
    Ok(Json(motionflow_engine::schema::schema::<Request>()))
}

fn preset_path(studio: &Studio, name: &str) -> Result<std::path::PathBuf, Problem> {
    if folder_name::is_fit(name) && name.len() < 200 {
        return Ok(studio.place.own("presets").join(format!("{name}.toml")));
    }
    Err(Problem::new(
        Code::Misuse,
        format!("\"{name}\" will not do for a file; give the preset another name"),
    ))
}

/// A settings file with references, as a request.
fn with_references(text: &str, name: &str) -> Result<Asked, Problem> {
    let table: toml::Table =
        text.parse().map_err(|error| Problem::new(Code::Unreadable, format!("{name}: {error}")))?;
    Ok(Asked(serde_json::to_value(table).unwrap_or_default()))
}

fn presets(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Presets>, Problem> {
    let entries = fs::read_dir(studio.place.own("presets")).into_iter().flatten().flatten();
    let mut presets: Vec<Preset> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
            let request = with_references(&fs::read_to_string(&path).ok()?, &name).ok()?;
            Some(Preset { name, request })
        })
        .collect();
    presets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(Presets { presets }))
}

fn put_preset(
    studio: &Shared,
    name: String,
    _: NoQuery,
    Json(of): Json<OfRequest>,
) -> Result<With<Preset>, Problem> {
    let path = preset_path(studio, &name)?;
    let request = of.request.plain();
    studio.read(&request)?;
    let is_new = !path.exists();
    if is_new && fs::read_dir(studio.place.own("presets"))?.count() >= MOST_PRESETS {
        return Err(Problem::new(Code::TooMany, format!("there are {MOST_PRESETS} presets; remove some")));
    }
    studio.write_whole(&path, as_file(&request)?.as_bytes())?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(With(status, Preset { name, request }))
}

fn remove_preset(studio: &Shared, name: String, _: NoQuery, _: NoBody) -> Result<Done, Problem> {
    let path = preset_path(studio, &name)?;
    if !path.is_file() {
        return Err(Problem::not_found(format!("there is no preset \"{name}\"")));
    }
    fs::remove_file(path)?;
    Ok(Done)
}

impl Studio {
    /// Writes a file as a whole, or leaves the old one.
    pub(crate) fn write_whole(&self, path: &std::path::Path, bytes: &[u8]) -> Result<(), Problem> {
        let passing = tempfile::NamedTempFile::new_in(self.place.incoming())?;
        fs::write(passing.path(), bytes)?;
        passing.persist(path).map_err(|error| Problem::from(error.error))?;
        Ok(())
    }

    /// The settings that a settings file or a record says.
    pub(crate) fn restored(&self, text: &str, name: &str) -> Result<Restored, Problem> {
        // One that the studio wrote has references in it.
        if let Ok(asked) = with_references(text, name)
            && asked.str_at("/program/version").is_none()
            && self.read(&asked).is_ok()
        {
            return Ok(Restored { request: asked.plain(), missing: Vec::new(), command: None });
        }
        let mut request: Request = toml_file::parse(text, name)
            .map_err(|error| Problem::new(Code::Unreadable, error.to_string()))?;
        request.forget_generates_guidance();
        let (shown, missing) = self.shown(&request);
        Ok(Restored { request: shown, missing, command: request.program.command })
    }
}

fn read(studio: &Shared, (): (), which: FileName, file: Upload) -> Result<Json<Restored>, Problem> {
    let unreadable = |what: &str| Problem::new(Code::Unreadable, format!("{}: {what}", which.name));
    let is_text = which.name.to_lowercase().ends_with(".toml");
    if is_text {
        if file.0.as_file().metadata()?.len() > MOST_TEXT {
            return Err(unreadable("is too large for a settings file"));
        }
        let text = fs::read_to_string(file.0.path()).map_err(|_| unreadable("is no text in UTF-8"))?;
        return Ok(Json(studio.restored(&text, &which.name)?));
    }
    let found = metadata::from_file(&find_ffmpeg()?, file.0.path()).map_err(|error| {
        let problem = Problem::unreadable(&error);
        let passing = file.0.path().display().to_string();
        Problem::new(problem.code, problem.detail.replace(&passing, &which.name))
    })?;
    let text = found.ok_or_else(|| {
        unreadable("carries no settings of motionflow; drop a result.mp4, a result.gif or a run.toml")
    })?;
    let text = studio.record_of_result(file.0.path())?.unwrap_or(text);
    Ok(Json(studio.restored(&text, &which.name)?))
}

/// A request as a settings file.
fn as_file(request: &Asked) -> Result<String, Problem> {
    toml::to_string(&request.plain().0)
        .map_err(|error| Problem::malformed(format!("the request has no form in TOML: {error}")))
}

fn write(studio: &Shared, (): (), _: NoQuery, Json(of): Json<OfRequest>) -> Result<Blob, Problem> {
    studio.read(&of.request)?;
    let text = as_file(&of.request)?;
    Ok(Blob { content_type: "text/plain; charset=utf-8", bytes: text.into_bytes(), is_lasting: false })
}

fn estimate(studio: &Shared, (): (), _: NoQuery, Json(of): Json<OfRequest>) -> Result<Json<Plan>, Problem> {
    let request = studio.read(&of.request.plain())?;
    let (mut progress, warnings) = hearing_warnings(CancelToken::default());
    let plan = studio.plan(&request, &mut progress)?;
    let estimate = serde_json::to_value(&plan.estimate).unwrap_or_default();
    let number = |key: &str| estimate[key].as_u64();
    let text = |key: &str| estimate[key].as_str().map(str::to_owned);
    Ok(Json(Plan {
        seconds: estimate["seconds"].as_f64().unwrap_or_default(),
        at_most: estimate["at_most"].as_bool().unwrap_or_default(),
        stages: plan.estimate.stages().iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect(),
        peak_memory_bytes: number("peak_memory_bytes").unwrap_or_default(),
        free_memory_bytes: number("free_memory_bytes"),
        refusal: text("refusal"),
        device: text("device").unwrap_or_default(),
        precision: text("precision").unwrap_or_default(),
        resolved: serde_json::to_value(&plan.resolved).unwrap_or_default(),
        warnings: warnings.all(),
    }))
}
