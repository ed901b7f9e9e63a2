//! The folder that a run leaves: all of its files, or none.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};
use motionflow::compute::MemoryUse;
use toml::Table;

use crate::cancel::{self, CancelToken, InPart};
use crate::error::{FAULT, Misuse, without_name};
use crate::folder::changes;
use crate::folder::mask_folder;
use crate::folder::record::RunRecord;
use crate::folder::unfinished::{self, Unfinished};
use crate::progress::Progress;
use crate::request::recommended::Recommended;
use crate::shell::{self, typed};

/// Files by which a folder is known to hold a run, of whatever command.
const MARKERS: [&str; 4] = ["run.toml", "run.json", "inversion.toml", "inspect.json"];

/// Other files of a run, of whatever command.
const FILES: [&str; 12] = [
    mask_folder::FOLDER.0,
    mask_folder::ARRAYS.0,
    "result.mp4",
    "result.gif",
    "compare.mp4",
    "masks.mp4",
    "contact-sheet.png",
    "loss.svg",
    "overview.png",
    "maps.safetensors",
    "inversion.safetensors",
    unfinished::REQUEST,
];

/// A folder that may be written to and holds no run that must be kept.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// The run that is at work in it. Dropped before `made`, so that the folders are empty by then if nothing is kept.
    unfinished: Option<Unfinished>,
    made: MadeFolders,
    requested: Option<String>,
    /// The part of the work that keeps its steps.
    part: Option<InPart>,
    cancel: CancelToken,
    /// What the checkpoint recommended when the run was begun.
    recommended: Option<Table>,
    /// Whether a run that it holds may be replaced.
    force: bool,
}

/// The message when the program is ended while it works on the run in a folder.
fn last_words(command: &str, path: &Path) -> impl Fn() -> Option<String> + Send + 'static {
    let (folder, resume) = (path.to_owned(), shell::resume(command, path));
    move || Unfinished::is_recorded_in(&folder).then(|| cancel::goes_on_with(&resume))
}

/// Whether a folder holds a finished run, of whatever command.
pub fn holds_a_run(path: &Path) -> bool {
    MARKERS.iter().any(|marker| path.join(marker).exists())
}

/// The endings of files that somebody may have in mind who writes `-o panda.mp4`.
const OF_FILES: [&str; 20] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "wmv", "flv", "ogv", "3gp", "gif",
    "webp", "png", "jpg", "jpeg", "apng", "avif",
];

/// Refuses a folder for results that would be a new one with the name of a video or picture.
pub(crate) fn refuse_name_of_a_file(path: &Path) -> Result<()> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let is_said_to_be_a_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if path.exists()
        || is_said_to_be_a_folder
        || !ending.is_some_and(|ending| OF_FILES.contains(&ending.as_str()))
    {
        return Ok(());
    }
    let message = format!(
        "{}: is the name of a file, and the results are several; give a folder (--output), such as {}",
        path.display(),
        path.with_extension("").display()
    );
    Err(Misuse(message).into())
}

impl RunFolder {
    /// Checks, before any work is done, that the folder can be written to, and that it holds no other run unless
    /// `force` allows to replace that. Leaves nothing behind.
    pub(crate) fn claim(path: &Path, force: bool, cancel: &CancelToken) -> Result<Self> {
        if path.is_file() {
            let message = format!("{}: is a file; give a folder for the results (--output)", path.display());
            return Err(Misuse(message).into());
        }
        if !force && holds_a_run(path) {
            let message = format!(
                "{}: holds another run; give another folder (--output), or --force to replace it",
                path.display()
            );
            return Err(Misuse(message).into());
        }
        if !force && Unfinished::is_in(path) {
            let message = format!(
                "{}: holds an unfinished run; go on with it (--resume {}), give another folder (--output), or --force \
                 to drop it",
                path.display(),
                typed(path)
            );
            return Err(Misuse(message).into());
        }
        if let Some(name) = in_the_way(path).filter(|_| !force) {
            let message = format!(
                "{}: holds {name}, which is no run's but has the name of a run's file; give another folder (--output), \
                 or --force to replace it",
                path.display()
            );
            return Err(Misuse(message).into());
        }
        let folder = Self::new(path, None, force, cancel);
        let unbroken = cancel.unbroken();
        let made = folder.make().with_context(|| folder.cannot())?;
        // Without a name, so that a program that is killed at this moment leaves nothing.
        let trial = tempfile::tempfile_in(path).map_err(without_name).with_context(|| folder.cannot());
        drop(trial?);
        drop(made);
        drop(unbroken);
        Ok(folder)
    }

    /// Opens a folder to go on with the run in it.
    pub(crate) fn resume(path: &Path, command: &str, cancel: &CancelToken) -> Result<Self> {
        let mut folder = Self::new(path, Some(Unfinished::open(path)?), false, cancel);
        folder.part = Some(cancel.tells(last_words(command, path)));
        Ok(folder)
    }

    fn new(path: &Path, unfinished: Option<Unfinished>, force: bool, cancel: &CancelToken) -> Self {
        let (made, requested, part, recommended) = (MadeFolders::default(), None, None, None);
        Self {
            path: path.to_owned(),
            unfinished,
            made,
            requested,
            part,
            cancel: cancel.clone(),
            recommended,
            force,
        }
    }

    /// Where the files will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the record of a resumed run lies.
    pub(crate) fn record_path(&self) -> PathBuf {
        self.path.join(unfinished::FOLDER).join("run.toml")
    }

    /// Keeps what was requested, as text, beside what the run leaves.
    pub(crate) fn keep_request(&mut self, text: String) {
        self.requested = Some(text);
    }

    /// Whether this is a run that was begun earlier.
    pub(crate) fn is_resumed(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Keeps what the checkpoint recommends, or tells that it is other than when the run was begun. Keeps the memory in
    /// which a run goes on, if it does. Returns the memory in which it began, where its steps are not
    /// all made in one.
    pub(crate) fn take_up(
        &mut self,
        memory: MemoryUse,
        recommended: &Recommended,
        progress: &mut Progress,
    ) -> Result<Option<String>> {
        let recommended = recommended.to_table()?;
        let Some(unfinished) = &mut self.unfinished else {
            self.recommended = Some(recommended);
            return Ok(None);
        };
        let changed = unfinished.recommended().map(|then| changes::in_words(&then, &recommended));
        if let Some(changed) = changed.filter(|changed| !changed.is_empty()) {
            let what = changes::is_other("recommendation of the checkpoint");
            progress.warn(format!("{what} ({changed}): the run goes on as it began"));
        }
        unfinished.continue_in(memory)?;
        let began_in = unfinished.began_in();
        if began_in.is_some() {
            progress.warn(
                "some steps of this run were made in another --memory: the last bits may not be those of an unbroken run",
            );
        }
        Ok(began_in)
    }

    /// From now on the folder is in use, and what each step leaves is kept in it.
    pub(crate) fn begin(&mut self, record: &RunRecord) -> Result<&mut Unfinished> {
        let words = last_words(&record.program.command, &self.path);
        self.part = Some(self.cancel.by_step(words));
        let begun = if let Some(unfinished) = self.unfinished.take() {
            unfinished
        } else {
            self.made = self.make().with_context(|| self.cannot())?;
            let memory = record.program.memory.as_deref();
            let begun = Unfinished::begin(&self.path, &record.to_toml()?, memory, self.requested.as_deref());
            if !self.force && holds_a_run(&self.path) {
                // Another process was faster since the folder was claimed.
                return Err(unfinished::busy(&self.path));
            }
            let begun = begun?;
            if let Some(recommended) = &self.recommended {
                begun.keep_recommended(recommended)?;
            }
            begun
        };
        Ok(self.unfinished.insert(begun))
    }

    /// Lets `write` fill a passing folder, then moves its files into place. When anything fails, an old run in the
    /// folder is as it was.
    pub(crate) fn publish(mut self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let Some(unfinished) = self.unfinished.take() else {
            bail!("{FAULT}: {} was never begun", self.path.display())
        };
        let files = unfinished.files()?;
        write(&files)?;
        let cannot = || self.cannot();
        let mut new = Vec::new();
        for entry in fs::read_dir(&files).with_context(cannot)? {
            new.push(entry.with_context(cannot)?.file_name());
        }
        // The markers go last, so that a run is never announced before its files are there.
        new.sort_by_key(|name| MARKERS.iter().any(|marker| name == marker));
        for marker in MARKERS.iter().map(|marker| self.path.join(marker)).filter(|marker| marker.exists()) {
            fs::remove_file(&marker).with_context(cannot)?;
        }
        for name in &new {
            let old = self.path.join(name);
            if old.is_dir() {
                // No folder takes the place of one that is not empty.
                unfinished::remove(&old).with_context(cannot)?;
            }
            fs::rename(files.join(name), self.path.join(name)).with_context(cannot)?;
        }
        // What the old run had and the new one has not would only mislead.
        for entry in fs::read_dir(&self.path).with_context(cannot)?.flatten() {
            let name = entry.file_name();
            if is_of_a_run(&name.to_string_lossy()) && !new.contains(&name) {
                unfinished::remove(&entry.path()).with_context(cannot)?;
            }
        }
        unfinished.remove();
        // Finished as it is, what is left to do is not worth stopping.
        self.part.take().into_iter().for_each(InPart::stay);
        Ok(())
    }

    fn make(&self) -> io::Result<MadeFolders> {
        MadeFolders::make(&std::path::absolute(&self.path)?).map_err(without_name)
    }

    fn cannot(&self) -> String {
        unfinished::cannot_be_written(&self.path)
    }
}

/// A file that no run has left, but that one would replace or remove.
fn in_the_way(folder: &Path) -> Option<String> {
    let masks = folder.join(mask_folder::FOLDER.0);
    if masks.exists() && !mask_folder::is_of_a_run(&masks) {
        return Some(mask_folder::FOLDER.0.to_owned());
    }
    // What was killed while it moved its files into place has left them.
    if holds_a_run(folder) || Unfinished::is_recorded_in(folder) {
        return None;
    }
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).find(|name| is_of_a_run(name))
}

/// Whether a file of a run, of whatever command, may have this name.
pub fn is_of_a_run(name: &str) -> bool {
    let layer = name.strip_suffix(".png").and_then(|name| name.split_once('-'));
    let is_layer =
        layer.is_some_and(|(of, layer)| ["attention", "masks"].contains(&of) && layer.contains("block"));
    is_layer || FILES.contains(&name) || MARKERS.contains(&name)
}

/// Folders that did not exist before, the deepest first; removed again where they stay empty.
#[derive(Debug, Default)]
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn make(folder: &Path) -> io::Result<Self> {
        let missing: Vec<PathBuf> =
            folder.ancestors().take_while(|ancestor| !ancestor.exists()).map(Path::to_owned).collect();
        let made = Self(missing);
        fs::create_dir_all(folder)?;
        Ok(made)
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn write_run(folder: &Path) -> Result<()> {
        fs::write(folder.join("run.json"), "{}")?;
        fs::write(folder.join("result.mp4"), "new")?;
        Ok(())
    }

    fn begun(path: &Path, force: bool) -> RunFolder {
        let mut folder = RunFolder::claim(path, force, &CancelToken::default()).unwrap();
        folder.begin(&crate::folder::record::tests::record()).unwrap();
        folder
    }

    #[test]
    fn a_claim_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        RunFolder::claim(&place.path().join("a/b/out"), false, &CancelToken::default()).unwrap();
        assert!(names(place.path()).is_empty());
    }

    #[test]
    fn files_appear_and_nothing_else_is_left() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("a/out");
        begun(&out, false).publish(write_run).unwrap();
        assert_eq!(names(&out), ["result.mp4", "run.json"]);
        assert_eq!(names(out.parent().unwrap()), ["out"]);
    }

    #[test]
    fn a_failed_run_without_a_step_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let failed = begun(&place.path().join("a/out"), false).publish(|folder| {
            write_run(folder)?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert!(names(place.path()).is_empty());
    }

    #[test]
    fn another_run_is_kept_unless_forced_and_whole() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("run.json"), "old").unwrap();
        fs::write(place.path().join("loss.svg"), "old").unwrap();
        fs::write(place.path().join("notes.txt"), "mine").unwrap();
        assert!(
            RunFolder::claim(place.path(), false, &CancelToken::default())
                .unwrap_err()
                .to_string()
                .contains("--force")
        );
        assert!(begun(place.path(), true).publish(|_| anyhow::bail!("no more")).is_err());
        assert_eq!(fs::read(place.path().join("run.json")).unwrap(), b"old");
        begun(place.path(), true).publish(write_run).unwrap();
        assert_eq!(names(place.path()), ["notes.txt", "result.mp4", "run.json"]);
        assert_eq!(fs::read(place.path().join("run.json")).unwrap(), b"{}");
    }

    #[test]
    fn files_that_no_run_has_left_are_kept_unless_forced() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("overview.png"), "mine").unwrap();
        let message = RunFolder::claim(place.path(), false, &CancelToken::default()).unwrap_err().to_string();
        assert!(message.contains("holds overview.png"), "{message}");
        RunFolder::claim(place.path(), true, &CancelToken::default()).unwrap();
        assert_eq!(names(place.path()), ["overview.png"]);
    }

    #[test]
    fn one_process_at_a_time_works_in_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let _first = begun(place.path(), false);
        let mut second = RunFolder::claim(place.path(), false, &CancelToken::default()).unwrap();
        let message = second.begin(&crate::folder::record::tests::record()).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
    }

    #[test]
    fn a_folder_below_a_file_cannot_be() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let message = format!(
            "{:#}",
            RunFolder::claim(&place.path().join("file/out"), false, &CancelToken::default()).unwrap_err()
        );
        assert!(message.contains("file/out") && message.contains("cannot be written"), "{message}");
    }
}
