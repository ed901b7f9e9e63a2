//! Whether the files of a finished run are there and whole: `run.json` (`inspect.json`) lists them with their checksums.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::folder::checksums::FileRecord;
use crate::folder::record::RunRecord;

/// What says how a run went, the last that it writes.
pub const HISTORIES: [&str; 2] = ["run.json", "inspect.json"];

/// What of it is read here.
#[derive(Deserialize)]
struct History {
    /// Of every run, so that JSON of something else is none.
    #[expect(dead_code, reason = "it must be there")]
    seconds: f64,
    /// Runs of earlier versions have none.
    files: Option<Vec<FileRecord>>,
}

/// Checks that a folder holds all that a finished run has left in it, as it was written.
pub(crate) fn check(folder: &Path, sha256_of: &mut dyn FnMut(&Path) -> Result<String>) -> Result<()> {
    look(folder, |file| file.check(folder, &mut *sha256_of))
        .with_context(|| format!("{}: is damaged; remove the folder, to make it anew", folder.display()))
}

/// Whether there is something to check it by.
pub(crate) fn has_history(folder: &Path) -> bool {
    HISTORIES.iter().any(|name| folder.join(name).exists())
}

/// Compares the files of a run with their recorded sizes, without reading them. The error says what is wrong and nothing else.
///
/// # Errors
/// When a file is missing or has another size than its record says.
pub fn look_at_sizes(folder: &Path) -> Result<()> {
    look(folder, |file| file.check_size(folder))
}

fn look(folder: &Path, check: impl FnMut(&FileRecord) -> Result<()>) -> Result<()> {
    let name = HISTORIES.into_iter().find(|name| folder.join(name).exists());
    let name = name.ok_or_else(|| anyhow!("{}: is missing", HISTORIES[0]))?;
    let text = fs::read(folder.join(name)).with_context(|| format!("{name}: cannot be read"))?;
    let history: History = serde_json::from_slice(&text).with_context(|| format!("{name}: is not whole"))?;
    if let Some(files) = history.files {
        return files.iter().try_for_each(check);
    }
    // An earlier version has noted no checksums.
    let command = RunRecord::read(folder)?.program.command;
    let has_result = ["transfer", "generate"].contains(&command.as_str());
    for name in ["result.mp4", "contact-sheet.png"].into_iter().filter(|_| has_result) {
        let bytes = folder.join(name).metadata().map(|metadata| metadata.len());
        ensure!(bytes.is_ok(), "{name}: is missing");
        ensure!(!matches!(bytes, Ok(0)), "{name}: is empty");
    }
    Ok(())
}
