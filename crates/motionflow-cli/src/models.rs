//! `motionflow models`: which checkpoints are known, which are here, how large, under which licence.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use motionflow::registry;
use motionflow::settings::SamplerName;
use serde_json::json;

use crate::app::App;
use crate::args;
use motionflow_engine::columns::columns;
use motionflow_engine::error::{Misuse, message};
use motionflow_engine::hub::{self, Hub};
use motionflow_engine::models::found::{model_folders, named};
use motionflow_engine::models::known::{KNOWN, Known};
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
    let snapshot = Hub::new()?.fetch(name, revision, &mut app.progress)?;
    let checkpoint = registry::open(&snapshot.folder)?;
    let size = readable(checkpoint.size_bytes());
    app.console.result(&format!("{name}, {size}, is in {}", snapshot.folder.display()));
    Ok(())
}

fn list(app: &App) {
    let hub = Hub::new();
    let mut rows = on_shelves();
    rows.extend(hub.iter().flat_map(in_cache));
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
            "\n`motionflow models fetch OWNER/NAME` fetches a checkpoint from the hub into {}; `--model OWNER/NAME` does so \
             when it is needed.",
            hub.cache().display()
        ),
        Err(error) => format!("\ncheckpoints from the hub are not listed: {}", message(&error)),
    });
}

/// The checkpoints that lie in folders of checkpoints, under their folder's name.
fn on_shelves() -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for shelf in model_folders() {
        for (folder, name) in hub::entries(&shelf) {
            let Ok(checkpoint) = registry::open(&folder) else { continue };
            if seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
                rows.push(row(&name, readable(checkpoint.size_bytes()), &folder));
            }
        }
    }
    rows
}

/// The checkpoints in the hub's cache, whole or not.
fn in_cache(hub: &Hub) -> Vec<Row> {
    let rows = hub.snapshots().into_iter().map(|snapshot| match registry::open(&snapshot.folder) {
        Ok(checkpoint) => row(&snapshot.id, readable(checkpoint.size_bytes()), &snapshot.folder),
        Err(_) => row(&snapshot.id, "not whole".into(), &snapshot.folder),
    });
    rows.collect()
}

fn not_here(known: &Known) -> Row {
    let size =
        known.fetched_bytes.map_or_else(|| "-".into(), |bytes| format!("{} to fetch", readable(bytes)));
    let recommended = known.recommended();
    let (licence, makes, knows) = (known.licence.to_owned(), makes(&recommended), knows(&recommended));
    [known.name.to_owned(), size, licence, makes, knows, "not here".into()]
}

fn row(name: &str, size: String, folder: &Path) -> Row {
    let known = Known::find(name);
    let recommended = Recommended::of(folder, SamplerName::default())
        .ok()
        .flatten()
        .or_else(|| known.map(Known::recommended));
    let licence = known.map_or("see its card", |known| known.licence).to_owned();
    let makes = recommended.as_ref().map_or_else(|| "not said".into(), makes);
    let knows = recommended.as_ref().map_or_else(|| "not said".into(), knows);
    [name.to_owned(), size, licence, makes, knows, folder.display().to_string()]
}

/// The videos that suit it.
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
