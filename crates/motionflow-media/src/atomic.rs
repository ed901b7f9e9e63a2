//! Files that appear whole or not at all: written beside their place under a passing name, then renamed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Writes `bytes` to `path`, replacing what was there; on failure nothing changes and nothing is left behind.
///
/// # Errors
/// [`Error::Unwritable`] when the folder is missing, or may not be written to, or is full.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |passing| {
        let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
        let mut file = File::create(passing).map_err(unwritable)?;
        file.write_all(bytes).map_err(unwritable)
    })
}

/// Lets `write` fill a file of a passing name in the folder of `path`, then puts it in its place.
///
/// The passing name has the ending of `path`. The file exists already, empty, with the permissions of a new file.
/// When `write` fails, the passing file is removed and its error returned.
///
/// # Errors
/// [`Error::Unwritable`] when the passing file cannot be made, synced or renamed, and whatever `write` returns.
pub fn write_with(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write_then(path, write, true)
}

/// As [`write_with`], without waiting for the disk: whole or not at all whatever ends the program, but not when the
/// machine itself goes down.
///
/// # Errors
/// As [`write_with`].
pub fn write_unsynced(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write_then(path, write, false)
}

fn write_then(path: &Path, write: impl FnOnce(&Path) -> Result<()>, sync: bool) -> Result<()> {
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    if path.is_dir() {
        return Err(unwritable(io::Error::other("a folder is in its place")));
    }
    let folder = folder_of(path);
    let passing = Passing::new_in(&folder, path.extension()).map_err(unwritable)?;
    write(&passing.0)?;
    if !sync {
        return passing.rename_to(path).map_err(unwritable);
    }
    File::options().write(true).open(&passing.0).and_then(|file| file.sync_all()).map_err(unwritable)?;
    passing.rename_to(path).map_err(unwritable)?;
    // The rename itself is safe on disk only once the folder is; not every file system can do that.
    if let Ok(handle) = File::open(&folder) {
        handle.sync_all().ok();
    }
    Ok(())
}

/// A file that is removed when dropped.
struct Passing(PathBuf);

impl Passing {
    /// Makes an empty file of a name that was free.
    fn new_in(folder: &Path, ending: Option<&OsStr>) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut name = OsString::from(format!(".motionflow-{}-{count}", std::process::id()));
            if let Some(ending) = ending {
                name.push(".");
                name.push(ending);
            }
            let path = folder.join(name);
            match File::create_new(&path) {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename_to(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.0, path)?;
        // Nothing is left to remove.
        self.0.clear();
        Ok(())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            std::fs::remove_file(&self.0).ok();
        }
    }
}

/// The folder that a file lies in, `.` for a bare name.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"one").unwrap();
        let failure = write_with(&path, |passing| {
            std::fs::write(passing, b"half of it").unwrap();
            Err(Error::Encode { path: path.clone(), reason: "stopped".into() })
        });
        assert!(matches!(failure, Err(Error::Encode { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_missing_folder_is_named_plainly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not there/a.txt");
        let message = write_atomically(&path, b"one").unwrap_err().to_string();
        assert!(message.contains("not there/a.txt") && message.contains("No such file"), "{message}");
        assert!(!message.contains(".motionflow-"), "{message}");
    }

    #[test]
    fn a_folder_in_the_way_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(write_atomically(&path, b"one"), Err(Error::Unwritable { .. })));
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_file_as_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomically(&ours, b"").unwrap();
        std::fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
