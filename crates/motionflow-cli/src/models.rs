//! `motionflow models`: which checkpoints are known, which are here, how large, under which licence.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use motionflow::checkpoint::{CheckpointError, MotionAdapter};
use motionflow::registry;
use motionflow::settings::SamplerName;
use serde_json::json;

use crate::app::App;
use crate::args;
use motionflow_engine::columns::columns;
use motionflow_engine::error::{Misuse, message};
use motionflow_engine::hub::{self, Hub};
use motionflow_engine::models::known::{KNOWN, Kind, Known};
use motionflow_engine::models::lookup::{model_folders, named};
use motionflow_engine::request::recommended::Recommended;
use motionflow_engine::units::readable;

const TITLES: [&str; 6] = ["NAME", "SIZE", "LICENCE", "MAKES", "KNOWS", "WHERE"];

/// One line of the table.
type Row = [String; 6];

/// Runs the command.
pub(crate) fn run(args: &args::Models, app: &mut App) -> Result<()> {
    match &args.action {
        None => {
            list(app);
            Ok(())
        }
        Some(args::ModelsAction::Fetch { name, revision }) => fetch(name, revision, app),
    }
}

fn fetch(name: &str, revision: &str, app: &mut App) -> Result<()> {
    let default = revision == hub::REVISION;
    let (name, revision) = named("models fetch", name, (!default).then_some(revision))?;
    let (name, revision) = (name.as_str(), revision.as_deref().unwrap_or(hub::REVISION));
    if !hub::is_id(name) {
        return Err(Misuse(format!("{name} is no name on the hub; give OWNER/NAME")).into());
    }
    let snapshot = Hub::for_repository(name, revision)?.fetch(name, revision, &mut app.progress)?;
    let size = readable(size_bytes(&snapshot.folder)?);
    app.console.result(&format!("{name}, {size}, is in {}", snapshot.folder.display()));
    Ok(())
}

fn list(app: &App) {
    let hub = Hub::new();
    let mut rows = on_shelves();
    rows.extend(hub.iter().flat_map(in_cache));
    rows.extend(Hub::of_motion_adapters().iter().flat_map(in_cache));
    let absent = |known: &&Known| !rows.iter().any(|row| row[0] == known.name);
    let to_fetch: Vec<Row> = KNOWN.iter().filter(absent).map(not_here).collect();
    rows.extend(to_fetch);
    // Known ones come first, in their order; then the others as they were found.
    rows.sort_by_key(|row| KNOWN.iter().position(|known| known.name == row[0]).unwrap_or(KNOWN.len()));
    for [name, size, licence, makes, knows, place] in &rows {
        let row = json!({ "name": name, "size": size, "licence": licence, "makes": makes, "knows": knows, "where": place });
        app.console.row("checkpoint", &row);
    }
    rows.insert(0, TITLES.map(str::to_owned));
    for line in columns(&rows) {
        app.console.result(&line);
    }
    app.progress.note(&match hub {
        Ok(hub) => format!(
            "\n`motionflow models fetch OWNER/NAME` fetches a checkpoint or motion adapter from the hub into {}; `--model \
             OWNER/NAME` and `--motion-adapter OWNER/NAME` do so when it is needed.",
            hub.cache().display()
        ),
        Err(error) => format!("\ncheckpoints from the hub are not listed: {}", message(&error)),
    });
}

/// The size of the files of a checkpoint or motion adapter that are used.
fn size_bytes(folder: &Path) -> Result<u64, CheckpointError> {
    match registry::open(folder) {
        Err(CheckpointError::IsMotionAdapter { .. }) => Ok(MotionAdapter::open(folder)?.size_bytes()),
        opened => Ok(opened?.size_bytes()),
    }
}

/// The checkpoints and motion adapters that lie in folders of checkpoints, under their folder's name.
fn on_shelves() -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for shelf in model_folders() {
        for (folder, name) in hub::entries(&shelf) {
            let Ok(bytes) = size_bytes(&folder) else { continue };
            if seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
                rows.push(row(&name, readable(bytes), &folder));
            }
        }
    }
    rows
}

/// What the hub's cache has of a kind, whole or not.
fn in_cache(hub: &Hub) -> Vec<Row> {
    let rows = hub.snapshots().into_iter().map(|snapshot| match size_bytes(&snapshot.folder) {
        Ok(bytes) => row(&snapshot.id, readable(bytes), &snapshot.folder),
        Err(_) => row(&snapshot.id, "not whole".into(), &snapshot.folder),
    });
    rows.collect()
}

fn not_here(known: &Known) -> Row {
    let size =
        known.fetched_bytes.map_or_else(|| "-".into(), |bytes| format!("{} to fetch", readable(bytes)));
    let [makes, knows] = suits(known.recommended().as_ref(), &(&known.kind).into());
    [known.name.to_owned(), size, known.licence.to_owned(), makes, knows, "not here".into()]
}

fn row(name: &str, size: String, folder: &Path) -> Row {
    let known = Known::find(name);
    let recommended = Recommended::of(folder, SamplerName::default())
        .ok()
        .flatten()
        .or_else(|| known.and_then(Known::recommended));
    let licence = known.map_or("see its card", |known| known.licence).to_owned();
    let [makes, knows] = suits(recommended.as_ref(), &Found::at(folder));
    [name.to_owned(), size, licence, makes, knows, folder.display().to_string()]
}

/// What lies in a folder.
enum Found {
    Checkpoint,
    Pictures,
    MotionAdapter,
}

impl Found {
    fn at(folder: &Path) -> Self {
        match registry::open(folder) {
            Err(CheckpointError::IsMotionAdapter { .. }) => Self::MotionAdapter,
            Ok(checkpoint) if checkpoint.takes_motion_adapter() => Self::Pictures,
            _ => Self::Checkpoint,
        }
    }
}

impl From<&Kind> for Found {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::Checkpoint(_) | Kind::Flow(_) => Self::Checkpoint,
            Kind::Pictures(_) => Self::Pictures,
            Kind::MotionAdapter => Self::MotionAdapter,
        }
    }
}

/// The videos that suit it, and what it knows.
fn suits(recommended: Option<&Recommended>, found: &Found) -> [String; 2] {
    let not_said = || "not said".to_owned();
    let makes = recommended.map_or_else(not_said, makes);
    match found {
        Found::Checkpoint => [makes, recommended.map_or_else(not_said, knows)],
        Found::Pictures => {
            [format!("{makes}, with a motion adapter"), recommended.map_or_else(not_said, knows)]
        }
        Found::MotionAdapter => ["a motion adapter".to_owned(), "for Stable Diffusion 1.5".to_owned()],
    }
}

/// The size of the videos that suit it.
fn makes(recommended: &Recommended) -> String {
    let video = &recommended.video;
    format!("{}x{}, {} frames", video.width, video.height, video.frames)
}

/// The domain of a checkpoint that knows little.
fn knows(recommended: &Recommended) -> String {
    let domain = &recommended.domain;
    if domain.subjects.is_empty() {
        return "open prompts".to_owned();
    }
    format!("{} subjects, {} scenes", domain.subjects.len(), domain.scenes.len())
}
