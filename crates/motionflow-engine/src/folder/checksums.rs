//! The files of a folder with their sizes and checksums, so that a missing or changed one is noticed.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::source::sha256_of_file;

/// A file as it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileRecord {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In hex.
    pub(crate) sha256: String,
}

impl FileRecord {
    /// Checks that the file in `folder` is what it was.
    pub(crate) fn check(&self, folder: &Path, sha256_of: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
        self.check_size(folder)?;
        let sha256 = sha256_of(&folder.join(&self.name))?;
        ensure!(sha256 == self.sha256, "{}: its checksum is wrong", self.name);
        Ok(())
    }

    /// Checks, without reading it, that the file in `folder` is there and has its size.
    pub(crate) fn check_size(&self, folder: &Path) -> Result<()> {
        let Self { name, bytes, .. } = self;
        let Ok(metadata) = folder.join(name).metadata() else { bail!("{name}: is missing") };
        let found = metadata.len();
        ensure!(metadata.is_file() && found == *bytes, "{name}: has {found} bytes, not {bytes}");
        Ok(())
    }
}

/// Every file in `folder` but for `except`, in the order of their names. Folders in it are left out: the masks are there to be
/// edited.
pub(crate) fn files_in(folder: &Path, except: Option<&str>) -> Result<Vec<FileRecord>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            continue;
        }
        ensure!(kind.is_file(), "{name}: is no file");
        if Some(name.as_str()) != except {
            let sha256 = sha256_of_file(&entry.path())?;
            files.push(FileRecord { name, bytes: entry.metadata()?.len(), sha256 });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
