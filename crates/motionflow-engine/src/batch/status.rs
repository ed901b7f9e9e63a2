//! How far a job is: still to do, begun, or done as it is requested now.

use std::fs;
use std::path::Path;

use anyhow::Result;
use toml::Table;

use crate::batch::jobs::Job;
use crate::engine::Engine;
use crate::error::Misuse;
use crate::folder::changes::{Changes, is_other};
use crate::folder::damage;
use crate::folder::record::RunRecord;
use crate::folder::run_folder;
use crate::folder::unfinished::{self, REQUEST, Unfinished};
use crate::progress::Progress;
use crate::request::tables::Request;

const HINT: &str = "remove that folder, or give another name or folder";

/// How far a job is.
#[derive(Debug)]
pub(crate) enum JobStatus {
    /// Still to do; the message about an unfinished run that is given up for it.
    ToDo(Option<String>),
    /// It can be resumed.
    Begun,
    /// It is done; the message about its last bits.
    Done(Option<String>),
}

impl Job {
    /// How far it is, `request` being what it asks for together with the flags. A folder that holds something else, or
    /// not all of it any more, is an error.
    pub(crate) fn status(
        &self,
        request: &Request,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<JobStatus> {
        let folder = &self.folder;
        Unfinished::check_free(folder)?;
        let mut given_up = None;
        if Unfinished::is_recorded_in(folder) {
            let place = folder.join(unfinished::FOLDER);
            let mut settings = String::new();
            if let (Some(requested), Ok(record)) = (requested_in(&place), RunRecord::read(&place)) {
                let changes = self.changes(&record, &requested, request, engine, progress)?;
                if changes.settings.is_empty() {
                    return if changes.inputs.is_empty() {
                        Ok(JobStatus::Begun)
                    } else {
                        Err(other_inputs_begun(folder, &changes))
                    };
                }
                settings = format!(" ({})", changes.settings_in_words());
            }
            given_up = Some(format!(
                "{}: the unfinished run was of other settings{settings}; it is begun anew",
                folder.display()
            ));
        }
        let kept = requested_in(folder);
        if !run_folder::holds_a_run(folder) && !folder.join(REQUEST).exists() {
            return Ok(JobStatus::ToDo(given_up.filter(|_| Unfinished::is_in(folder))));
        }
        let whole = damage::check(folder, &mut |path| engine.sha256_of(path));
        if kept.is_some() || damage::has_history(folder) {
            whole?;
        }
        let Some(requested) = kept else {
            let message = format!("{}: holds a run of other settings; {HINT}", folder.display());
            return Err(Misuse(message).into());
        };
        let changes = self.changes(&RunRecord::read(folder)?, &requested, request, engine, progress)?;
        if changes.settings.is_empty() && changes.inputs.is_empty() {
            let last_bits = changes.last_bits.join(", ");
            return Ok(JobStatus::Done((!last_bits.is_empty()).then(|| {
                format!(
                    "what is done was computed with {last_bits}: the last bits of a new run may be others"
                )
            })));
        }
        Err(other_run(folder, &changes))
    }

    /// What is other now than when the run of a record was requested.
    fn changes(
        &self,
        record: &RunRecord,
        requested: &Table,
        request: &Request,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Changes> {
        let now = engine.record_now(record, request, progress)?;
        let mut changes = Changes::between(record, &now, &request.program)?;
        changes.add_requested(requested, &self.requested.parse()?);
        Ok(changes)
    }
}

/// What was requested, as its text in a folder says.
fn requested_in(folder: &Path) -> Option<Table> {
    fs::read_to_string(folder.join(REQUEST)).ok()?.parse().ok()
}

fn other_run(folder: &Path, changes: &Changes) -> anyhow::Error {
    let mut reasons: Vec<String> = Vec::new();
    if !changes.settings.is_empty() {
        reasons.push(format!("holds a run of other settings ({})", changes.settings_in_words()));
    }
    reasons.extend(changes.inputs.iter().map(|what| is_other(what)));
    Misuse(format!("{}: {}; {HINT}", folder.display(), reasons.join(", and "))).into()
}

fn other_inputs_begun(folder: &Path, changes: &Changes) -> anyhow::Error {
    let reasons: Vec<String> = changes.inputs.iter().map(|what| is_other(what)).collect();
    let reasons = reasons.join(", and ");
    let folder = folder.display();
    Misuse(format!("{folder}: {reasons}, so it cannot go on; bring the old one back, or remove that folder"))
        .into()
}
