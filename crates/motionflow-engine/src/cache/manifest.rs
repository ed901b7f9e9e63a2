//! `entry.toml`: what an entry was made from, and its files with their checksums.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::key::{Key, digest};
use crate::folder::checksums::{FileRecord, files_in};
use crate::source::sha256_of_file;

/// The file's name.
pub(super) const MANIFEST: &str = "entry.toml";

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Of the program that made it.
    version: String,
    /// Over all that follows, so that a manifest that was cut off is noticed.
    sha256: String,
    /// The parts of the key.
    pub(super) key: BTreeMap<String, String>,
    /// Every file but this one.
    #[serde(rename = "file", default)]
    files: Vec<FileRecord>,
}

impl Manifest {
    /// Of the files that lie in `folder`.
    pub(super) fn of(key: &Key, folder: &Path) -> Result<Self> {
        let files = files_in(folder, Some(MANIFEST))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let sha256 = sha256_of(key, &files);
        Ok(Self { version, sha256, key: key.parts().clone(), files })
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
        ensure!(self.sha256 == sha256_of(key, &self.files), "{MANIFEST}: its checksum is wrong");
        self.files.iter().try_for_each(|file| file.check(folder, sha256_of_file))
    }
}

fn sha256_of(key: &Key, files: &[FileRecord]) -> String {
    let of_files: Vec<String> = files
        .iter()
        .flat_map(|file| [file.name.clone(), file.bytes.to_string(), file.sha256.clone()])
        .collect();
    digest(std::iter::once(key.name()).chain(of_files.iter().map(String::as_str)))
}
