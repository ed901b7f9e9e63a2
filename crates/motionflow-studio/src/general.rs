//! How the server is, what the disk has, and which checkpoints there are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Method;
use motionflow_engine::cache::Cache;
use motionflow_engine::hub::{self, Hub};
use motionflow_engine::models::found::SHIPPED;
use motionflow_engine::models::known::{KNOWN, Kind, Known};
use motionflow_engine::models::lookup::model_folders;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::tables;
use motionflow_engine::source::find_ffmpeg;
use motionflow_engine::units::readable;
use schemars::JsonSchema;
use serde::Serialize;

use crate::problem::Problem;
use crate::route::{Json, NoBody, NoQuery, Route, Shared};
use crate::studio::Studio;

/// Less room than this on the disk is warned of.
const LITTLE: u64 = 2 << 30;
/// How long the sizes of folders are taken for right.
const STILL_RIGHT: Duration = Duration::from_secs(10);

/// How the server is.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    state: Serving,
    version: String,
    device: String,
    /// The runs folder's name
    runs: String,
    max_upload_bytes: u64,
    /// The last event
    event: u64,
    /// Why nothing can be run
    problem: Option<String>,
}

/// Whether jobs can be done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Serving {
    /// Not yet.
    Starting,
    /// At once.
    Ready,
    /// One is at work.
    Busy,
}

/// What the disk has.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Disk {
    free_bytes: u64,
    total_bytes: u64,
    runs_bytes: u64,
    uploads_bytes: u64,
    cache_bytes: u64,
    cache_limit_bytes: u64,
    warning: Option<String>,
}

/// What is known of the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskWatch {
    last: Mutex<Option<(Instant, Disk)>>,
    warned: AtomicBool,
}

/// A checkpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct Model {
    name: String,
    licence: String,
    /// Of its files, or of what is to be fetched
    bytes: Option<u64>,
    /// Else it is fetched when a job needs it
    here: bool,
    /// Whether requests that name none take it
    default: bool,
    video: Option<ModelVideo>,
    domain: Option<ModelDomain>,
}

/// The videos that suit a checkpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct ModelVideo {
    width: u32,
    height: u32,
    frames: u32,
    fps: f64,
}

/// What a checkpoint that knows little knows.
#[derive(Debug, Serialize, JsonSchema)]
struct ModelDomain {
    about: String,
    subjects: Vec<String>,
    scenes: Vec<String>,
}

/// All checkpoints.
#[derive(Debug, Serialize, JsonSchema)]
struct Models {
    models: Vec<Model>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/health", "How the server is", health),
        Route::new(&Method::GET, "/api/disk", "What the disk has", disk),
        Route::new(&Method::GET, "/api/models", "Checkpoints", models),
    ]
}

fn health(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Health>, Problem> {
    let state = match (studio.is_ready.load(Ordering::Relaxed), studio.work.is_busy()) {
        (false, _) => Serving::Starting,
        (true, true) => Serving::Busy,
        (true, false) => Serving::Ready,
    };
    let device = studio.options.program.resources.device.unwrap_or_default().to_string();
    let name = studio.place.runs().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Json(Health {
        state,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        device,
        runs: name,
        max_upload_bytes: studio.options.max_upload,
        event: studio.events.last(),
        problem: studio.problem(),
    }))
}

fn disk(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Disk>, Problem> {
    Ok(Json(studio.disk_now()?))
}

/// The bytes of all files below a folder.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        _ => 0,
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(size).sum()
}

/// Free and all bytes of the disk that a folder is on.
#[cfg(unix)]
fn room(folder: &Path) -> std::io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(folder)?;
    Ok((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
}

#[cfg(not(unix))]
fn room(_: &Path) -> std::io::Result<(u64, u64)> {
    Ok((u64::MAX, u64::MAX))
}

impl Studio {
    fn disk_now(&self) -> Result<Disk, Problem> {
        let (free, total) = room(self.place.runs())?;
        let mut last = self.disk.last.lock().unwrap_or_else(PoisonError::into_inner);
        let warning = (free < LITTLE).then(|| {
            format!(
                "the disk is nearly full: {} are free; delete runs that are not needed, or clear the cache",
                readable(free)
            )
        });
        if let Some((at, known)) = last.as_ref()
            && at.elapsed() < STILL_RIGHT
        {
            return Ok(Disk { free_bytes: free, total_bytes: total, warning, ..known.clone() });
        }
        let uploads = bytes_in(&self.place.own(""));
        let cache = Cache::open().ok();
        let entries = cache.as_ref().and_then(|cache| cache.entries().ok()).unwrap_or_default();
        let disk = Disk {
            free_bytes: free,
            total_bytes: total,
            runs_bytes: bytes_in(self.place.runs()).saturating_sub(uploads),
            uploads_bytes: uploads,
            cache_bytes: entries.iter().map(|entry| entry.bytes).sum(),
            cache_limit_bytes: cache.map_or(0, |cache| cache.limit()),
            warning,
        };
        *last = Some((Instant::now(), disk.clone()));
        Ok(disk)
    }

    /// Tells where a warning about the disk came or went.
    pub(crate) fn look_at_disk(&self) {
        let Ok(disk) = self.disk_now() else { return };
        let is_warned = disk.warning.is_some();
        if self.disk.warned.swap(is_warned, Ordering::Relaxed) != is_warned {
            self.events.tell("disk", &disk);
        }
    }

    /// Sees whether jobs can be done at all.
    pub(crate) fn get_ready(&self) {
        if let Err(error) = find_ffmpeg() {
            self.trouble(&Problem::of(&error));
        }
        self.look_at_disk();
        self.is_ready.store(true, Ordering::Relaxed);
    }

    /// The checkpoints and motion adapters here, by name.
    fn on_shelves() -> Vec<(String, PathBuf)> {
        let mut all: Vec<(String, PathBuf)> = Vec::new();
        for shelf in model_folders() {
            for (folder, name) in hub::entries(&shelf) {
                if !all.iter().any(|(known, _)| *known == name) {
                    all.push((name, folder));
                }
            }
        }
        all
    }

    /// Whether requests may name a checkpoint or motion adapter so.
    pub(crate) fn knows_model(&self, name: &str) -> bool {
        self.options.model.as_deref() == Some(name)
            || KNOWN.iter().any(|known| known.name == name)
            || Self::on_shelves().iter().any(|(known, _)| known == name)
    }

    /// Refuses a checkpoint or motion adapter that requests may not name.
    pub(crate) fn check_model(&self, name: &str) -> Result<(), Problem> {
        if self.knows_model(name) {
            return Ok(());
        }
        let message = format!("there is no checkpoint \"{name}\" here; choose one that the studio lists");
        Err(Problem::new(crate::problem::Code::Missing, message))
    }

    /// Whether a checkpoint need not be fetched.
    fn has_model(&self, name: &str) -> bool {
        let is_own = self.options.model.as_deref() == Some(name) && Path::new(name).is_dir();
        let is_fetched =
            || Hub::new().is_ok_and(|hub| hub.snapshots().iter().any(|snapshot| snapshot.id == name));
        is_own || Self::on_shelves().iter().any(|(here, _)| here == name) || is_fetched()
    }

    /// Refuses to fetch a checkpoint for a question: only a job does.
    pub(crate) fn refuse_to_fetch(&self, model: &tables::Model) -> Result<(), Problem> {
        let name = model.chosen.name.as_deref().unwrap_or(SHIPPED);
        if self.has_model(name) {
            return Ok(());
        }
        let message = format!(
            "the checkpoint {name} is not here yet; a job fetches it, or `motionflow models fetch {name}`"
        );
        Err(Problem::new(crate::problem::Code::Missing, message))
    }

    /// The name of the checkpoint in a folder, where it has one here.
    pub(crate) fn model_at(&self, folder: &Path) -> Option<String> {
        let folder = folder.canonicalize().ok()?;
        let is_there = |path: &Path| path.canonicalize().is_ok_and(|path| path == folder);
        if let Some(name) = self.options.model.as_ref().filter(|name| is_there(Path::new(name))) {
            return Some(name.clone());
        }
        Self::on_shelves().into_iter().find(|(_, path)| is_there(path)).map(|(name, _)| name)
    }

    fn model(&self, name: &str, default: &str) -> Option<Model> {
        let known = Known::find(name);
        if known.is_some_and(|known| matches!(known.kind, Kind::MotionAdapter)) {
            return None;
        }
        let mut choice = tables::Model::default();
        choice.chosen.name = Some(name.to_owned());
        let is_here = self.has_model(name);
        let found = if is_here { self.planner.find(&choice, &mut Progress::silent()).ok() } else { None };
        if is_here && found.is_none() {
            return None;
        }
        let recommended =
            found.as_ref().map(|found| found.recommended.clone()).or_else(|| known?.recommended());
        let domain = recommended
            .as_ref()
            .map(|recommended| &recommended.domain)
            .filter(|domain| !domain.subjects.is_empty());
        Some(Model {
            name: name.to_owned(),
            licence: known.map(|known| known.licence.to_owned()).unwrap_or_default(),
            bytes: found.as_ref().map(|found| found.size_bytes()).or_else(|| known?.fetched_bytes),
            here: is_here,
            default: name == default,
            domain: domain.map(|domain| ModelDomain {
                about: domain.about.clone(),
                subjects: domain.subjects.clone(),
                scenes: domain.scenes.clone(),
            }),
            video: recommended.as_ref().map(|recommended| ModelVideo {
                width: recommended.video.width,
                height: recommended.video.height,
                frames: recommended.video.frames,
                fps: recommended.video.fps,
            }),
        })
    }
}

fn models(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Models>, Problem> {
    let default = studio.options.model.clone().unwrap_or_else(|| SHIPPED.to_owned());
    let mut names = vec![default.clone()];
    names.extend(Studio::on_shelves().into_iter().map(|(name, _)| name));
    names.extend(KNOWN.iter().map(|known| known.name.to_owned()));
    let mut models: Vec<Model> = Vec::new();
    for name in names {
        if !models.iter().any(|model| model.name == name) {
            models.extend(studio.model(&name, &default));
        }
    }
    Ok(Json(Models { models }))
}
