//! Requests as the API has them: the tables of a settings file as JSON, with references in place of paths.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use motionflow_engine::request::Request;
use motionflow_engine::toml_file;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::{Code, Problem};
use crate::studio::Studio;
use crate::uploads;

/// What messages call a request.
const NAME: &str = "the request";
/// What of `[program]` a request may say.
const PROGRAM: [&str; 5] = ["device", "precision", "memory", "threads", "cache"];

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked(pub(crate) Value);

impl JsonSchema for Asked {
    fn schema_name() -> Cow<'static, str> {
        "Request".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        motionflow_engine::schema::schema::<Request>().try_into().unwrap_or_default()
    }
}

impl Asked {
    /// Without what says nothing: nulls and empty tables. Two requests that ask for the same are the same text.
    pub(crate) fn plain(&self) -> Self {
        let mut value = self.0.clone();
        if let Value::Object(tables) = &mut value {
            for table in tables.values_mut() {
                remove_nulls(table);
            }
            tables.retain(|_, table| {
                !table.is_null() && table.as_object().is_none_or(|table| !table.is_empty())
            });
        }
        Self(value)
    }

    /// Of the text that [`Asked::text`] gave.
    pub(crate) fn kept(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    pub(crate) fn str_at(&self, pointer: &str) -> Option<String> {
        self.0.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    }

    /// The references that it has.
    pub(crate) fn references(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Ok(mut request) = parse(self) {
            for path in paths_of(&mut request) {
                all.push(path.display().to_string());
            }
        }
        all
    }
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.values_mut().for_each(remove_nulls);
            table.retain(|_, value| !value.is_null());
        }
        Value::Array(values) => values.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Reads a request with its references as they are.
fn parse(asked: &Asked) -> Result<Request, Problem> {
    let plain = asked.plain();
    if !plain.0.is_object() {
        return Err(Problem::malformed("the request is no object of tables"));
    }
    let text = toml::to_string(&plain.0).map_err(|error| Problem::malformed(format!("{NAME}: {error}")))?;
    toml_file::parse(&text, NAME)
        .map_err(|error| Problem::new(Code::Misuse, without_lines(&error.to_string())))
}

/// Lines are those of a text that nobody wrote.
fn without_lines(message: &str) -> String {
    let line = |line: &str| match line
        .strip_prefix(&format!("{NAME}, line "))
        .and_then(|rest| rest.split_once(": "))
    {
        Some((_, rest)) => format!("{NAME}: {rest}"),
        None => line.to_owned(),
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Every path of a request.
fn paths_of(request: &mut Request) -> Vec<&mut PathBuf> {
    let Request { source, motion, .. } = request;
    let mut paths: Vec<&mut PathBuf> = source.path.iter_mut().chain(&mut source.inversion).collect();
    paths.extend(
        motion.mask.iter_mut().flatten().chain(motion.track.iter_mut().flatten()).chain(&mut motion.avoid),
    );
    for subject in motion.subject.iter_mut().flatten() {
        let of = [&mut subject.source, &mut subject.inversion, &mut subject.mask, &mut subject.track];
        paths.extend(of.into_iter().flatten());
    }
    paths
}

impl Studio {
    /// The engine's request, its references looked up, and what holds for all jobs filled in.
    pub(crate) fn read(&self, asked: &Asked) -> Result<Request, Problem> {
        let mut request = parse(asked)?;
        self.check_scope(asked)?;
        for path in paths_of(&mut request) {
            let text = path.to_str().unwrap_or_default().to_owned();
            *path =
                self.place.path_of(&text).map_err(|problem| Problem::new(Code::Missing, problem.detail))?;
        }
        if request.model.chosen.name.is_none() {
            request.model.chosen.name.clone_from(&self.options.model);
        }
        let resources = &self.options.program.resources;
        let own = &mut request.program.resources;
        own.device = own.device.or(resources.device);
        own.precision = own.precision.or(resources.precision);
        own.memory = own.memory.or(resources.memory);
        own.threads = own.threads.or(resources.threads);
        Ok(request)
    }

    /// Refuses what is the server's and not a request's.
    fn check_scope(&self, asked: &Asked) -> Result<(), Problem> {
        let refuse = |key: &str| {
            Err(Problem::new(
                Code::Misuse,
                format!("{key} cannot be said here: it is the studio's own; leave it out"),
            ))
        };
        for (table, allowed) in [("output", &["metadata"][..]), ("program", &PROGRAM[..])] {
            let keys = asked.0.get(table).and_then(Value::as_object).into_iter().flatten();
            if let Some((key, _)) =
                keys.filter(|(_, value)| !value.is_null()).find(|(key, _)| !allowed.contains(&key.as_str()))
            {
                return refuse(&format!("{table}.{key}"));
            }
        }
        for key in ["/model/path", "/model/motion_adapter_path"] {
            if asked.0.pointer(key).is_some_and(|value| !value.is_null()) {
                return refuse(&key[1..].replace('/', "."));
            }
        }
        for key in ["/model/name", "/model/motion_adapter"] {
            asked.str_at(key).map_or(Ok(()), |name| self.check_model(&name))?;
        }
        Ok(())
    }

    /// The clip here that has this content.
    fn clip_of(&self, sha256: &str) -> Option<PathBuf> {
        let mut all = uploads::all_clips(&self.place).into_iter().map(|(_, _, path)| path);
        all.find(|path| self.engine.sha256_of(path).is_ok_and(|hash| hash == sha256))
    }

    /// The same request for a client: with references in place of paths. Paths that the server does not have are left out
    /// and told.
    pub(crate) fn shown(&self, request: &Request) -> (Asked, Vec<String>) {
        let mut request = request.clone();
        let mut missing = Vec::new();
        if let (Some(path), Some(sha256)) = (&mut request.source.path, &request.source.sha256)
            && self.place.reference_of(path).is_none()
            && let Some(same) = self.clip_of(sha256)
        {
            *path = same;
        }
        for path in paths_of(&mut request) {
            let known = self.place.reference_of(path);
            if known.is_none() && !path.as_os_str().is_empty() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                missing.push(format!("{name} is not among the clips and uploads; upload it again"));
            }
            *path = known.unwrap_or_default().into();
        }
        request.output = motionflow_engine::request::tables::Output {
            metadata: request.output.metadata,
            ..Default::default()
        };
        let resources = request.program.resources.clone();
        request.program = motionflow_engine::request::tables::Program {
            resources,
            cache: request.program.cache,
            ..Default::default()
        };
        let named = |name: &Option<String>, path: &Option<PathBuf>| {
            name.clone()
                .filter(|name| self.knows_model(name))
                .or_else(|| self.model_at(path.as_deref().or(name.as_deref().map(Path::new))?))
        };
        let model = &mut request.model;
        if model.chosen.name.is_some() {
            let known = named(&model.chosen.name, &model.path);
            if known.is_none() {
                let name = model.chosen.name.as_deref().unwrap_or_default();
                missing.push(format!("the checkpoint {name} is not here; choose another one"));
            }
            model.chosen.name = known;
        }
        (model.path, model.motion_adapter_path, model.sha256, model.beta_schedule) = (None, None, None, None);
        request.source.sha256 = None;
        request.source.frames_sha256 = None;
        request.source.inversion_sha256 = None;
        request.source.fps = None;
        request.motion.sha256 = None;
        request.motion.avoid_sha256 = None;
        let mut value = serde_json::to_value(&request).unwrap_or_default();
        remove_empty_paths(&mut value);
        (Asked(value).plain(), missing)
    }
}

/// Paths that are left out are empty by now.
fn remove_empty_paths(value: &mut Value) {
    let source = value.pointer_mut("/source").and_then(Value::as_object_mut);
    if let Some(source) = source {
        source.retain(|key, value| !(matches!(key.as_str(), "path" | "inversion") && value == ""));
    }
    if let Some(motion) = value.pointer_mut("/motion").and_then(Value::as_object_mut) {
        for key in ["mask", "track"] {
            if let Some(paths) = motion.get_mut(key).and_then(Value::as_array_mut) {
                paths.retain(|path| path != "");
            }
            if motion.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
                motion.remove(key);
            }
        }
        if motion.get("avoid").is_some_and(|avoid| avoid == "") {
            motion.remove("avoid");
        }
        for subject in motion.get_mut("subject").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(subject) = subject.as_object_mut() {
                subject.retain(|_, value| value != "");
            }
        }
    }
}
