//! Hashes of files, each read once by a process as long as it does not change.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;

use crate::source::sha256_of_file;

/// What was hashed, and as what it was found.
#[derive(Debug, Default)]
pub(crate) struct Hashes(HashMap<PathBuf, (Stamp, String)>);

/// What is other when a file was changed or replaced while this process runs.
pub(crate) type Stamp = (u64, Option<SystemTime>, [i64; 4]);

impl Hashes {
    /// SHA-256 of a file, in hex.
    pub(crate) fn sha256_of(&mut self, path: &Path) -> Result<String> {
        let now = fs::metadata(path).ok().map(|metadata| stamp(&metadata));
        if let Some((then, hash)) = self.0.get(path)
            && Some(then) == now.as_ref()
        {
            return Ok(hash.clone());
        }
        let hash = sha256_of_file(path)?;
        self.0.extend(now.map(|stamp| (path.to_owned(), (stamp, hash.clone()))));
        Ok(hash)
    }
}

pub(crate) fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.len(), metadata.modified().ok(), identity(metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev() as i64, metadata.ino() as i64, metadata.ctime(), metadata.ctime_nsec()]
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> [i64; 4] {
    [0; 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        let mut hashes = Hashes::default();
        fs::write(&path, "one").unwrap();
        let one = hashes.sha256_of(&path).unwrap();
        assert_eq!(hashes.sha256_of(&path).unwrap(), one);
        let when = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(place.path().join("b"), "two").unwrap();
        fs::rename(place.path().join("b"), &path).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
        let two = hashes.sha256_of(&path).unwrap();
        assert!(one != two && two == sha256_of_file(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(hashes.sha256_of(&path).is_err());
    }
}
