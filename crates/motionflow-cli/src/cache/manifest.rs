//! `entry.toml`: what an entry was made from, and its files with their checksums.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::source::sha256_of_file;

/// The file's name.
pub(super) const MANIFEST: &str = "entry.toml";

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of the program that made it.
    pub(super) version: String,
    /// The parts of the key.
    pub(super) key: BTreeMap<String, String>,
    /// Every file but this one.
    #[serde(rename = "file", default)]
    files: Vec<FileRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileRecord {
    name: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Of the files that lie in `folder`.
    pub(super) fn of(key: &Key, folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(entry.file_type()?.is_file(), "{name}: an entry of the cache holds files alone");
            if name != MANIFEST {
                let sha256 = sha256_of_file(&entry.path())?;
                files.push(FileRecord { name, bytes: entry.metadata()?.len(), sha256 });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), key: key.parts().clone(), files })
    }

    /// Reads it.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join(MANIFEST)).context(MANIFEST)?;
        // Where the text is no TOML, its reason goes over several lines.
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{MANIFEST}: {}", error.message()))
    }

    /// The file's text.
    pub(super) fn text(&self) -> Result<String> {
        let mut text =
            "# An entry of the cache of `motionflow`; `motionflow cache list` shows it.\n\n".to_owned();
        let _ = write!(text, "{}", toml::to_string(self)?);
        Ok(text)
    }

    /// Checks that this is the manifest of `key`, and that every file in `folder` is what it was.
    pub(super) fn check(&self, key: &Key, folder: &Path) -> Result<()> {
        ensure!(self.key == *key.parts(), "{MANIFEST}: is of another key");
        for file in &self.files {
            let path = folder.join(&file.name);
            let Ok(metadata) = path.metadata() else { bail!("{}: is missing", file.name) };
            ensure!(
                metadata.len() == file.bytes,
                "{}: has {} bytes, not {}",
                file.name,
                metadata.len(),
                file.bytes
            );
            ensure!(sha256_of_file(&path)? == file.sha256, "{}: its checksum is wrong", file.name);
        }
        Ok(())
    }
}
