//! Files that appear whole or not at all: written beside their place under a passing name, then renamed.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    let folder = folder_of(path);
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let mut builder = tempfile::Builder::new();
    builder.prefix(".motionflow-").suffix(&ending);
    if let Some(permissions) = new_file_permissions() {
        builder.permissions(permissions);
    }
    if path.is_dir() {
        return Err(unwritable(io::Error::other("a folder is in its place")));
    }
    // An absolute passing path, so that no program takes a name for an option.
    let folder = std::path::absolute(folder).map_err(unwritable)?;
    let passing = builder.tempfile_in(&folder).map_err(|error| unwritable(plain(&error)))?.into_temp_path();
    write(&passing)?;
    File::options().write(true).open(&passing).and_then(|file| file.sync_all()).map_err(unwritable)?;
    passing.persist(path).map_err(|error| unwritable(error.error))?;
    // The rename itself is safe on disk only once the folder is; not every file system can do that.
    if let Ok(handle) = File::open(&folder) {
        handle.sync_all().ok();
    }
    Ok(())
}

/// The folder that a file lies in, `.` for a bare name.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The error without the passing file's name, which tells the user nothing.
fn plain(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::from(error.kind()),
    }
}

/// What a new file may be by default (the system takes its mask off), as passing files are private otherwise.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "the other systems have none")]
fn new_file_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn new_file_permissions() -> Option<Permissions> {
    None
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
