//! `motionflow show`: how a result was made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use motionflow::settings::Settings;
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::args;
use crate::console::Console;
use motionflow_engine::error::{Misuse, message};
use motionflow_engine::estimate::bytes;
use motionflow_engine::folder::damage::{self, HISTORIES};
use motionflow_engine::folder::inversion_file;
use motionflow_engine::folder::metadata;
use motionflow_engine::folder::run_folder::{holds_a_run, is_of_a_run};
use motionflow_engine::folder::unfinished::Unfinished;
use motionflow_engine::shell::on_one_line;
use motionflow_engine::source::find_ffmpeg;
use motionflow_engine::units::brief;

/// The records of a run folder, of whatever command.
const RECORDS: [&str; 2] = ["run.toml", inversion_file::RECORD];

/// Runs the command.
pub(crate) fn run(args: &args::Show, console: &Console) -> Result<()> {
    let found = Found::at(&args.path)?;
    if args.toml {
        console.product("toml", found.toml.trim_end());
        return Ok(());
    }
    let damaged = || format!("{}: is no TOML, so it is damaged", found.place.display());
    let record: Table = found.toml.parse().with_context(damaged)?;
    console.row("record", &serde_json::to_value(&record)?);
    let Some(maker) = maker(&record) else {
        return Err(Misuse(format!(
            "{}: is no record of motionflow; give a folder that it made, or a result",
            found.place.display()
        ))
        .into());
    };
    let mut lines = summary(&record);
    if let Some(folder) = &found.folder {
        lines.extend(outcome(folder)?);
        lines.extend(damage::look_at_sizes(folder).err().map(|error| ("damaged", message(&error))));
        if Unfinished::is_recorded_in(folder) {
            lines.push(("unfinished", "another run was begun in this folder".to_owned()));
        }
    }
    let longest = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    console.result(&format!("{}: {}\n", found.place.display(), on_one_line(&maker)));
    for (name, value) in lines {
        console.result(format!("{name:longest$}  {}", on_one_line(&value)).trim_end());
    }
    Ok(())
}

/// A record, and where it was found.
struct Found {
    toml: String,
    place: PathBuf,
    /// The run folder that it lies in, if it does not come out of a file.
    folder: Option<PathBuf>,
}

impl Found {
    fn at(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::in_folder(path)?.ok_or_else(|| no_run(path));
        }
        if !path.is_file() {
            return Err(Misuse(format!("{}: no such file or folder", path.display())).into());
        }
        if let Some(toml) = metadata::from_file(&find_ffmpeg()?, path)? {
            return Ok(Self { toml, place: path.to_owned(), folder: None });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = if is_of_a_run(&name) { Self::in_folder(folder)? } else { None };
        beside.ok_or_else(|| {
            let message = format!(
                "{}: carries no record of motionflow; give a result that it made, or its folder",
                path.display()
            );
            Misuse(message).into()
        })
    }

    /// What a run has left in a folder.
    fn in_folder(folder: &Path) -> Result<Option<Self>> {
        let Some(path) = RECORDS.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
            return Ok(None);
        };
        let toml =
            fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Ok(Some(Self { toml, place: path, folder: Some(folder.to_owned()) }))
    }
}

fn no_run(folder: &Path) -> anyhow::Error {
    if !Unfinished::is_recorded_in(folder) && holds_a_run(folder) {
        let damaged = format!("{}: is damaged; remove the folder, to make it anew", folder.display());
        return anyhow!("{}: is missing", RECORDS[0]).context(damaged);
    }
    let what = if Unfinished::is_recorded_in(folder) {
        "holds a run that is not finished; go on with it (--resume)"
    } else {
        "holds no run of motionflow; give a folder that it made, or a result"
    };
    Misuse(format!("{}: {what}", folder.display())).into()
}

/// The program and the command.
fn maker(record: &Table) -> Option<String> {
    let program = |key| text(record, &["program", key]);
    Some(format!("`motionflow {}`, version {}", program("command")?, program("version")?))
}

/// The request, as names and values. What a record does not have is left out.
fn summary(record: &Table) -> Vec<(&'static str, String)> {
    let get = |path: &[&str]| text(record, path);
    let mut lines = Vec::new();
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    add("prompt", get(&["prompts", "prompt"]));
    add("negative prompt", get(&["prompts", "negative_prompt"]).filter(|prompt| !prompt.is_empty()));
    add("source prompt", get(&["prompts", "source_prompt"]).or_else(|| get(&["source_prompt"])));
    add("source", source(record));
    add("inversion", get(&["source", "inversion"]));
    add("motion", motion(record));
    add("model", model(record));
    add("video", video(record));
    add("settings", settings(record));
    add("computed", computed(record));
    lines
}

fn source(record: &Table) -> Option<String> {
    let get = |key| text(record, &["source", key]);
    let every = match get("every")?.as_str() {
        "1" => "every frame".to_owned(),
        every => format!("one frame of {every}"),
    };
    Some(format!("{} (from {} s, {every}, {})", get("path")?, get("start")?, get("fit")?))
}

/// What was given of the motion, without its checksums.
fn motion(record: &Table) -> Option<String> {
    let given = record.get("motion")?.as_table()?.iter().filter(|(key, _)| !key.contains("sha256"));
    let given: Vec<String> = given.map(|(key, value)| format!("{key} = {value}")).collect();
    Some(given.join(", "))
}

fn model(record: &Table) -> Option<String> {
    let get = |key| text(record, &["model", key]);
    let with_place = |name: String, place: Option<String>| {
        let place = place.filter(|path| *path != name).map(|path| format!(" ({path})"));
        name + &place.unwrap_or_default()
    };
    let model = with_place(get("name")?, get("path"));
    let adapter = get("motion_adapter").map(|name| {
        let beta = get("beta_schedule").map(|beta| format!(", {beta} β")).unwrap_or_default();
        format!(" with {}{beta}", with_place(name, get("motion_adapter_path")))
    });
    let sha256 =
        get("sha256").map(|sha256| format!(", sha256 {}", sha256.chars().take(12).collect::<String>()));
    Some(model + &adapter.unwrap_or_default() + &sha256.unwrap_or_default())
}

fn video(record: &Table) -> Option<String> {
    let get = |key| text(record, &["video", key]);
    Some(format!(
        "{}x{}, {} frames, {} per second",
        get("width")?,
        get("height")?,
        get("frames")?,
        get("fps")?
    ))
}

/// The settings that are not the general defaults; an inversion has two of them, at the top.
fn settings(record: &Table) -> Option<String> {
    let defaults = Table::try_from(Settings::default()).unwrap_or_default();
    let settings = match record.get("settings") {
        Some(Value::Table(settings)) => settings.clone(),
        _ => record
            .iter()
            .filter(|(key, _)| defaults.contains_key(*key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    };
    if settings.is_empty() {
        return None;
    }
    let changed: Vec<String> = settings
        .iter()
        .filter(|(key, value)| defaults.get(*key) != Some(*value))
        .map(|(key, value)| format!("{key} {}", plain(value)))
        .collect();
    Some(match changed.as_slice() {
        [] => "the general defaults".to_owned(),
        changed => format!("{}; others as by default", changed.join(", ")),
    })
}

/// By what and as what; records from before there was a choice do not say.
fn computed(record: &Table) -> Option<String> {
    let get = |key| text(record, &["program", key]);
    Some(format!("on {} in {}, memory {}", get("device")?, get("precision")?, get("memory")?))
}

/// How it went: time, memory, warnings.
fn outcome(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let Some(path) = HISTORIES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
        return Ok(Vec::new());
    };
    let history = fs::read(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let damaged = || format!("{}: is no JSON, so it is damaged", path.display());
    let history: Json = serde_json::from_slice(&history).with_context(damaged)?;
    let mut lines = Vec::new();
    if let Some(seconds) = history["seconds"].as_f64() {
        let memory =
            history["peak_memory_bytes"].as_u64().map(|count| format!(", {} of memory", bytes(count)));
        lines.push(("took", brief(seconds) + &memory.unwrap_or_default()));
    }
    let warnings = history["warnings"].as_array().into_iter().flatten().filter_map(Json::as_str);
    lines.extend(warnings.map(|warning| ("warning", warning.to_owned())));
    Ok(lines)
}

/// The value at a path of keys.
fn text(record: &Table, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let value = rest.iter().try_fold(record.get(*first)?, |value, key| value.get(key))?;
    Some(plain(value))
}

/// A value without TOML's quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
