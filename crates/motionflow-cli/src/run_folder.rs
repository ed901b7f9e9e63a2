//! The folder that a run leaves: all of its files, or none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::failure::Misuse;

/// Files by which a folder is known to hold a run, of whatever command.
const MARKERS: [&str; 4] = ["run.toml", "run.json", "inversion.toml", "inspect.json"];

/// Other files of a run, of whatever command.
const FILES: [&str; 9] = [
    "result.mp4",
    "result.gif",
    "compare.mp4",
    "masks.mp4",
    "contact-sheet.png",
    "loss.svg",
    "overview.png",
    "maps.safetensors",
    "inversion.safetensors",
];

/// A folder that may be written to and holds no run that must be kept.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Checks, before any work is done, that the folder can be written to, and that it holds no other run unless
    /// `force` allows to replace that. Leaves nothing behind.
    pub(crate) fn claim(path: &Path, force: bool) -> Result<Self> {
        if path.is_file() {
            let message = format!("{}: is a file; give a folder for the results (--output)", path.display());
            return Err(Misuse(message).into());
        }
        if !force && MARKERS.iter().any(|marker| path.join(marker).exists()) {
            let message = format!(
                "{}: holds another run; give another folder (--output), or --force to replace it",
                path.display()
            );
            return Err(Misuse(message).into());
        }
        let folder = Self { path: path.to_owned() };
        folder.passing()?;
        Ok(folder)
    }

    /// Where the files will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets `write` fill a passing folder, then moves its files into place. When anything fails, an old run in the
    /// folder is as it was, and nothing new is left.
    pub(crate) fn publish(&self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let passing = self.passing()?;
        write(passing.folder.path())?;
        let cannot = || format!("{}: cannot be written", self.path.display());
        if !self.path.exists() {
            // One rename: the whole folder appears at once.
            return passing.become_folder(&self.path).with_context(cannot);
        }
        let mut new = Vec::new();
        for entry in fs::read_dir(passing.folder.path()).with_context(cannot)? {
            new.push(entry.with_context(cannot)?.file_name());
        }
        // The markers go last, so that a run is never announced before its files are there.
        new.sort_by_key(|name| MARKERS.iter().any(|marker| name == marker));
        for marker in MARKERS.iter().map(|marker| self.path.join(marker)).filter(|marker| marker.exists()) {
            fs::remove_file(&marker).with_context(cannot)?;
        }
        for name in &new {
            fs::rename(passing.folder.path().join(name), self.path.join(name)).with_context(cannot)?;
        }
        // What the old run had and the new one has not would only mislead.
        for entry in fs::read_dir(&self.path).with_context(cannot)?.flatten() {
            let name = entry.file_name();
            if is_of_a_run(&name.to_string_lossy()) && !new.contains(&name) {
                fs::remove_file(entry.path()).with_context(cannot)?;
            }
        }
        Ok(())
    }

    /// A new hidden folder on the same disk: inside the run folder where that exists, else beside it.
    fn passing(&self) -> Result<Passing> {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = if path.is_dir() { path } else { path.parent().map_or(path.clone(), Path::to_owned) };
        let cannot = || {
            format!(
                "{}: cannot be written to; choose a folder that you may write to (--output)",
                self.path.display()
            )
        };
        let made = MadeFolders::make(&parent).with_context(cannot)?;
        let prefix = format!(".{name}.partial-");
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&parent)
            .map_err(plain)
            .with_context(cannot)?;
        Ok(Passing { folder, made })
    }
}

/// Whether a file of a run, of whatever command, may have this name.
pub(crate) fn is_of_a_run(name: &str) -> bool {
    let layer = name.strip_suffix(".png").and_then(|name| name.split_once('-'));
    let is_layer =
        layer.is_some_and(|(of, layer)| ["attention", "masks"].contains(&of) && layer.contains("block"));
    is_layer || FILES.contains(&name) || MARKERS.contains(&name)
}

/// The system's reason, without the passing folder's name, which tells the user nothing.
fn plain(error: std::io::Error) -> std::io::Error {
    error.raw_os_error().map_or(error, std::io::Error::from_raw_os_error)
}

/// A folder that goes away again, and with it the folders above that were made for it.
#[derive(Debug)]
struct Passing {
    folder: TempDir,
    made: MadeFolders,
}

impl Passing {
    fn become_folder(mut self, path: &Path) -> std::io::Result<()> {
        // Passing folders are private; a run folder is as any other.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode =
                fs::metadata(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
                    .permissions()
                    .mode();
            fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(mode & 0o777 | 0o700))?;
        }
        fs::rename(self.folder.path(), path)?;
        self.folder.disable_cleanup(true);
        self.made.0.clear();
        Ok(())
    }
}

/// Folders that did not exist before, the deepest first; removed again where they stay empty.
#[derive(Debug)]
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn make(folder: &Path) -> std::io::Result<Self> {
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

    #[test]
    fn a_claim_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        RunFolder::claim(&place.path().join("a/b/out"), false).unwrap();
        assert!(names(place.path()).is_empty());
    }

    #[test]
    fn files_appear_together() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("a/out");
        RunFolder::claim(&out, false).unwrap().publish(write_run).unwrap();
        assert_eq!(names(&out), ["result.mp4", "run.json"]);
        assert_eq!(names(out.parent().unwrap()), ["out"]);
    }

    #[test]
    fn a_failed_run_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder = RunFolder::claim(&place.path().join("a/out"), false).unwrap();
        let failed = folder.publish(|folder| {
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
        assert!(RunFolder::claim(place.path(), false).unwrap_err().to_string().contains("--force"));
        let folder = RunFolder::claim(place.path(), true).unwrap();
        assert!(folder.publish(|_| anyhow::bail!("no more")).is_err());
        assert_eq!(fs::read(place.path().join("run.json")).unwrap(), b"old");
        folder.publish(write_run).unwrap();
        assert_eq!(names(place.path()), ["notes.txt", "result.mp4", "run.json"]);
        assert_eq!(fs::read(place.path().join("run.json")).unwrap(), b"{}");
    }

    #[test]
    fn a_folder_below_a_file_cannot_be() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        let message = format!("{:#}", RunFolder::claim(&place.path().join("file/out"), false).unwrap_err());
        assert!(message.contains("file/out") && message.contains("cannot be written"), "{message}");
    }
}
