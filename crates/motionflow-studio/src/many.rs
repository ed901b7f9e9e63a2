//! Many jobs at once: prompts and seeds in place of a request's, and batch files.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use motionflow_engine::folder_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::jobs::{Job, MOST_JOBS, slug};
use crate::problem::{Code, Problem};
use crate::queue::Kept;
use crate::request::Asked;
use crate::route::{Blob, Json, NoBody, NoQuery, Route, Shared, Toml, With};
use crate::studio::random_id;

/// Jobs to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ManyJobs {
    /// Their ids begin with it
    id: String,
    request: Asked,
    /// Prompts in place of the request's
    prompts: Vec<String>,
    /// Seeds in place of the request's
    seeds: Vec<u64>,
}

/// Jobs that were added.
#[derive(Debug, Serialize, JsonSchema)]
struct Added {
    jobs: Vec<Job>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::POST, "/api/queue/many", "Adds prompts × seeds", many),
        Route::new(&Method::GET, "/api/queue/export", "The jobs that wait, as a batch file", export)
            .gives("application/toml"),
        Route::new(&Method::POST, "/api/queue/import", "Adds the jobs of a batch file", import),
    ]
}

fn many(studio: &Shared, (): (), _: NoQuery, Json(many): Json<ManyJobs>) -> Result<With<Added>, Problem> {
    let _alone = studio.changing();
    let prompts: Vec<Option<&String>> =
        if many.prompts.is_empty() { vec![None] } else { many.prompts.iter().map(Some).collect() };
    let seeds: Vec<Option<u64>> =
        if many.seeds.is_empty() { vec![None] } else { many.seeds.iter().copied().map(Some).collect() };
    if prompts.len().saturating_mul(seeds.len()) > MOST_JOBS {
        return Err(Problem::new(
            Code::TooMany,
            format!("these are more than {MOST_JOBS} jobs; give fewer prompts or seeds"),
        ));
    }
    let mut jobs: Vec<(String, Asked, Option<String>)> = Vec::new();
    for prompt in &prompts {
        for seed in &seeds {
            let mut request = many.request.plain();
            let Value::Object(tables) = &mut request.0 else {
                return Err(Problem::malformed("the request is no object of tables"));
            };
            let mut set = |table: &str, key: &str, value: Value| {
                let table = tables.entry(table).or_insert_with(|| json!({}));
                if let Some(table) = table.as_object_mut() {
                    table.insert(key.to_owned(), value);
                }
            };
            if let Some(prompt) = prompt {
                set("prompts", "prompt", prompt.as_str().into());
            }
            if let Some(seed) = seed {
                set("settings", "seed", (*seed).into());
            }
            jobs.push((format!("{}-{}", many.id, jobs.len() + 1), request, None));
        }
    }
    Ok(With(StatusCode::CREATED, Added { jobs: add_all(studio, jobs)? }))
}

/// Adds those that are not there yet, all or none.
fn add_all(studio: &Shared, jobs: Vec<(String, Asked, Option<String>)>) -> Result<Vec<Job>, Problem> {
    let mut new: Vec<Kept> = Vec::new();
    let mut names = BTreeSet::new();
    // The next number for a name.
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = Vec::new();
    for (id, asked, name) in jobs {
        match studio.queue.get(&id)? {
            Some(known) if known.request == asked.plain().text() => {}
            Some(_) => return Err(Problem::new(Code::Exists, format!("there is another job \"{id}\""))),
            None => {
                let mut job = studio.new_job(&id, &asked, name.as_deref())?;
                let stem = job.name.clone();
                let number = numbers.entry(stem.clone()).or_insert(2);
                while !names.insert(folder_name::folded(&job.name)) {
                    job.name = studio.free_name(&format!("{stem}-{number}"), false)?;
                    *number += 1;
                }
                new.push(job);
            }
        }
        ids.push(id);
    }
    studio.add(&new)?;
    let order = studio.queue.order()?;
    let mut all = Vec::new();
    for id in ids {
        let kept = studio.job(&id)?;
        all.push(studio.shown_job(&kept, order.iter().position(|queued| *queued == id)));
    }
    Ok(all)
}

/// A batch file: the tables of each job under its name.
fn export(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Blob, Problem> {
    let mut jobs = Vec::new();
    for kept in studio.queue.queued()? {
        let mut table: Value = serde_json::from_str(&kept.request).unwrap_or_default();
        table["name"] = kept.name.into();
        jobs.push(table);
    }
    let text = toml::to_string(&json!({ "job": jobs }))
        .map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    let text =
        format!("# Jobs of the studio's queue. Paths are references to what the studio has.\n\n{text}");
    Ok(Blob { content_type: "application/toml", bytes: text.into_bytes(), is_lasting: false })
}

fn import(studio: &Shared, (): (), _: NoQuery, Toml(text): Toml) -> Result<With<Added>, Problem> {
    let _alone = studio.changing();
    let file: toml::Table = text
        .parse()
        .map_err(|error| Problem::new(Code::Unreadable, format!("the batch file is no TOML: {error}")))?;
    if let Some(key) = file.keys().find(|key| !matches!(key.as_str(), "defaults" | "job")) {
        return Err(Problem::new(
            Code::Misuse,
            format!("\"{key}\" is not known here; known are defaults, job"),
        ));
    }
    let defaults = serde_json::to_value(file.get("defaults")).unwrap_or_default();
    let jobs = file.get("job").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    if jobs.is_empty() {
        return Err(Problem::new(Code::Misuse, "the batch file has no [[job]]; give one for every transfer"));
    }
    let mut all = Vec::new();
    for job in jobs {
        let mut value = serde_json::to_value(job).unwrap_or_default();
        let name = value.as_object_mut().and_then(|table| table.remove("name"));
        let Some(Value::String(name)) = name else {
            return Err(Problem::new(Code::Misuse, "a [[job]] has no name; give each its own"));
        };
        let mut request = if defaults.is_object() { defaults.clone() } else { json!({}) };
        merge(&mut request, value);
        let id: String =
            format!("{}-{}", slug(&name).chars().filter(char::is_ascii).collect::<String>(), random_id(4)?);
        let name = studio.free_name(&name, false)?;
        all.push((id.trim_start_matches('-').to_owned(), Asked(request), Some(name)));
    }
    Ok(With(StatusCode::CREATED, Added { jobs: add_all(studio, all)? }))
}

fn merge(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}
