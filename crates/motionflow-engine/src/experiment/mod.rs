//! Many transfers that are compared: made, measured, and told of in one report.
//!
//! ```text
//! report/
//!     results.json, table.md, ...   what came out, small enough to be kept
//!     cells/NAME/                   a transfer: its run folder and figures.json
//!     inversions/                   one of every source and source prompt, whoever made it
//! ```

mod cell;
mod html;
mod pictures;
mod plots;
pub mod results;
pub mod suite;
pub mod sweep;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use motionflow_media::atomic::write_atomically;
use sha2::{Digest, Sha256};
use toml::Value;
use unicode_normalization::UnicodeNormalization;

use crate::batch::jobs::{self, Ending, Job, Jobs, Outcome};
use crate::batch::shard::Shard;
use crate::batch::status::JobStatus;
use crate::cancel;
use crate::engine::Engine;
use crate::eval::judges::Judges;
use crate::eval::judging::Judging;
use crate::folder::inputs::Inputs;
use crate::folder::outputs::LeftOut;
use crate::folder::run_folder;
use crate::progress::Progress;
use crate::request::Request;
use crate::request::tables::Program;
use crate::runs::transfer::TransferOptions;
use crate::source::hex;

pub(crate) use cell::Cell;
use cell::Judged;
pub(crate) use plots::value_text;
pub use results::Results;

const OVERVIEW: &str = "overview.jpg";

/// What an experiment leaves in its folder, besides the folders of its transfers.
const FILES: [&str; 5] = ["results.json", "table.md", "report.html", "overview.jpg", "grid.png"];

/// Transfers and what they are compared by.
#[derive(Debug)]
pub struct Experiment {
    pub(crate) title: String,
    /// The file that asked for it.
    pub(crate) file: PathBuf,
    /// Folder of the report.
    pub output: PathBuf,
    pub(crate) variants: Vec<Variant>,
    /// Those of one clip stand together.
    pub(crate) cells: Vec<Cell>,
    /// What measures the results, if they are measured.
    pub(crate) judges: Option<Judges>,
    pub(crate) report: Report,
}

/// Settings under a name.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// The settings in which it differs from other variants.
    pub(crate) settings: BTreeMap<String, Value>,
}

/// What became of an experiment.
#[derive(Debug)]
pub struct ExperimentOutcome {
    /// What came out, unless others are still at work on their shards.
    pub results: Option<Results>,
    /// A file of the report for people to look at, and what it shows.
    pub report: Option<(PathBuf, &'static str)>,
    outcomes: Vec<Outcome>,
    of: usize,
    file: PathBuf,
}

impl ExperimentOutcome {
    /// How the whole ends.
    ///
    /// # Errors
    /// When a transfer failed, or the experiment was stopped.
    pub fn verdict(&self) -> Result<()> {
        jobs::verdict(&self.outcomes, self.of, &self.file)
    }
}

impl Engine {
    /// Makes and measures what is not done yet, and writes what came out, unless others are still at work on their shards.
    ///
    /// # Errors
    /// When the report cannot be written, or what measures cannot be loaded. A transfer that fails is no reason:
    /// [`ExperimentOutcome::verdict`] tells of it.
    pub fn experiment(
        &self,
        experiment: &Experiment,
        shard: Option<Shard>,
        program: &Program,
        progress: &mut Progress,
    ) -> Result<ExperimentOutcome> {
        let Experiment { cells, output, file, .. } = experiment;
        run_folder::refuse_name_of_a_file(output)?;
        let inputs = cells.iter().fold(Inputs::default().and("the file", Some(file)), |inputs, cell| {
            let source = cell.job.request.source.path.as_deref();
            let motion = cell.job.request.motion.paths().into_iter();
            motion
                .fold(inputs, |inputs, (what, path)| inputs.and(what, Some(path)))
                .and("the source", source)
                .and("the truth", cell.truth.as_deref())
        });
        inputs.spared_in(output, |name| FILES.contains(&name))?;
        std::fs::create_dir_all(cells_folder(output)).with_context(|| {
            format!("{}: cannot be made; give another folder (--output)", output.display())
        })?;
        let ignored = output.join(".gitignore");
        if !ignored.exists() {
            write_atomically(&ignored, b"/cells/\n/inversions/\n")?;
        }
        let cancel = progress.cancel_token();
        let _part = cancel.tells(|| Some(cancel::RESUMABLE.to_owned()));
        let mut judged = judged(experiment, self)?;
        let mine = &cells[shard.map_or(0..cells.len(), |shard| shard.range(cells.len()))];
        let mut left = not_done(mine, judged.as_ref(), program, self, progress)?;
        progress.note(&format!("{} of {} transfers are done", mine.len() - left.len(), mine.len()));
        let mut judging = None;
        if let Some(judges) = experiment.judges.as_ref().filter(|_| !left.is_empty()) {
            let device = self.compute(&program.resources)?.device;
            judging = Some(Judging::load(judges, device, progress)?);
            // With what was fetched for it, more may be to be measured.
            judged = self::judged(experiment, self)?;
            left = not_done(mine, judged.as_ref(), program, self, progress)?;
        }
        let by = judging.as_ref().zip(judged.as_ref());
        let outcomes = make(&left, experiment, by, self, program, progress);
        let mut outcome =
            ExperimentOutcome { results: None, report: None, outcomes, of: mine.len(), file: file.clone() };
        if progress.is_cancelled() {
            outcome.verdict()?;
        }
        let results = Results::of(experiment, judged.as_ref(), &outcome.outcomes, program, self, progress)?;
        if !shard.is_some_and(Shard::is_part) || results.is_whole() {
            results.write(output)?;
            outcome.report = experiment.report.write(experiment, &results, self, progress)?;
            outcome.results = Some(results);
        }
        Ok(outcome)
    }
}

impl Engine {
    /// The transfers of an experiment that are not done yet, and how each is to be made.
    ///
    /// # Errors
    /// When a settings file cannot be read.
    pub fn transfers_left<'a>(
        &self,
        experiment: &'a Experiment,
        program: &Program,
        progress: &mut Progress,
    ) -> Result<Vec<(&'a Job, Request)>> {
        let mut left = Vec::new();
        for Cell { job, .. } in &experiment.cells {
            let request = job.with_flags(program)?;
            if !matches!(job.status(&request, self, progress)?, JobStatus::Done(_)) {
                left.push((job, request));
            }
        }
        Ok(left)
    }
}

/// What a report shows besides its tables.
#[derive(Debug)]
pub(crate) enum Report {
    /// A page with plots.
    Page,
    /// All contact sheets, with the names of the columns and rows.
    Grid { across: Vec<String>, down: Vec<String> },
}

impl Report {
    fn write(
        &self,
        experiment: &Experiment,
        results: &Results,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Option<(PathBuf, &'static str)>> {
        let folder = &experiment.output;
        let (mut left_out, mut is_there) = (LeftOut::default(), false);
        let report = match self {
            Self::Page => {
                left_out.attempt(folder, OVERVIEW, |path| {
                    is_there = pictures::overview(path, experiment, results, engine)?;
                    Ok(())
                });
                let page = html::page(results, is_there.then_some(OVERVIEW));
                let path = folder.join("report.html");
                write_atomically(&path, page.as_bytes())?;
                Some((path, "all of it, with plots"))
            }
            Self::Grid { across, down } => {
                left_out.attempt(folder, "grid.png", |path| {
                    is_there = pictures::sheets(path, experiment, results, across, down)?;
                    Ok(())
                });
                is_there.then(|| (folder.join("grid.png"), "all contact sheets"))
            }
        };
        left_out.tell(progress);
        Ok(report)
    }
}

/// Those that are not done yet, or not measured as they shall be.
fn not_done<'a>(
    cells: &'a [Cell],
    judged: Option<&Judged>,
    program: &Program,
    engine: &Engine,
    progress: &mut Progress,
) -> Result<Vec<&'a Cell>> {
    let mut left = Vec::new();
    for cell in cells {
        match cell.finished(judged, program, engine, progress)? {
            Some((_, last_bits)) => last_bits.into_iter().for_each(|warning| progress.warn(warning)),
            None => left.push(cell),
        }
    }
    Ok(left)
}

fn judged(experiment: &Experiment, engine: &Engine) -> Result<Option<Judged>> {
    experiment.judges.as_ref().map(|judges| Judged::by(judges, engine)).transpose()
}

fn make(
    left: &[&Cell],
    experiment: &Experiment,
    judging: Option<(&Judging, &Judged)>,
    engine: &Engine,
    program: &Program,
    progress: &mut Progress,
) -> Vec<Outcome> {
    let options = TransferOptions {
        quick: true,
        inversions: Some(experiment.output.join("inversions")),
        ..TransferOptions::default()
    };
    let jobs: Vec<&Job> = left.iter().map(|cell| &cell.job).collect();
    let make = Jobs { program: program.clone(), force: false, brief: true, options };
    make.run(&jobs, engine, progress, |index, progress| left[index].measure(judging, engine, progress))
}

/// Where the transfers are.
pub(crate) fn cells_folder(output: &Path) -> PathBuf {
    output.join("cells")
}

/// A text as a part of a file's name: lower-case letters, digits and dots, other signs as one dash. Long ones are cut,
/// and distinguished by a hash.
pub(crate) fn slug(text: &str) -> String {
    const LONGEST: usize = 56;
    let mut slug = String::new();
    for letter in text.nfc().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() || (letter == '.' && !slug.is_empty()) {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches(['-', '.']).to_owned();
    if slug.len() <= LONGEST && !slug.is_empty() {
        return slug;
    }
    let cut = slug.char_indices().map(|(at, _)| at).take_while(|&at| at <= LONGEST - 8).last().unwrap_or(0);
    format!("{}-{}", &slug[..cut], &hex(&Sha256::digest(text))[..7]).trim_start_matches('-').to_owned()
}

/// What differs between variants, of all that they say.
pub(crate) fn differences(said: Vec<BTreeMap<String, Value>>) -> Vec<BTreeMap<String, Value>> {
    let differs: Vec<String> = said
        .iter()
        .flat_map(BTreeMap::keys)
        .filter(|key| said.iter().any(|other| other.get(*key) != said[0].get(*key)))
        .cloned()
        .collect();
    said.into_iter().map(|said| said.into_iter().filter(|(key, _)| differs.contains(key)).collect()).collect()
}

/// Which transfers failed in this run, by their folders.
fn errors(outcomes: &[Outcome]) -> BTreeMap<&str, &str> {
    let failed = outcomes.iter().filter(|outcome| outcome.ending == Ending::Failed);
    failed.filter_map(|outcome| Some((outcome.name.as_str(), outcome.error.as_deref()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_readable_and_differ() {
        assert_eq!(slug("a [Panda] in  a forest!"), "a-panda-in-a-forest");
        assert_eq!(slug("tau 0.4"), "tau-0.4");
        assert_eq!(slug("..").len(), 7);
        let (one, other) = (slug(&"a ".repeat(60)), slug(&"a ".repeat(61)));
        assert!(one != other && one.len() < 60 && one.starts_with("a-a-a"), "{one}");
        assert!(slug(&"ü".repeat(99)).len() <= 60);
    }

    #[test]
    fn only_what_differs_is_told() {
        let said = |text: &str| -> BTreeMap<String, Value> {
            text.parse::<toml::Table>().unwrap().into_iter().collect()
        };
        let found = differences(vec![said("tau = 0.2\ninit = \"noise\""), said("init = \"noise\"")]);
        assert_eq!(found, [said("tau = 0.2"), BTreeMap::new()]);
    }
}
