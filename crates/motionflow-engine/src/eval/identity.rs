//! What a model that measures is, by its content.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::models::lookup::folder_of;
use crate::source::hex;

use super::clip;
use super::judges::Judges;
use super::judging::DETECTOR;

/// The endings of files on which figures may depend.
const ENDINGS: [&str; 4] = ["json", "txt", "safetensors", "bin"];

/// The models that measure, as far as they are here: what is still to be fetched, or is gone, is none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct JudgesIdentity {
    pub(crate) clip: Option<String>,
    pub(crate) detector: Option<String>,
}

impl JudgesIdentity {
    /// Looks what is here, and fetches nothing.
    pub(crate) fn of(judges: &Judges, engine: &Engine) -> Result<Self> {
        let clip = match clip::here(judges.clip.as_deref()) {
            Some(clip::Here::Folder(folder)) => Some(of_folder(&folder, engine)?),
            Some(clip::Here::Commit(commit)) => Some(commit),
            None => None,
        };
        let detector = judges.detector.as_ref().and_then(|name| folder_of(name, DETECTOR).ok());
        let detector = detector.map(|folder| of_folder(&folder, engine)).transpose()?;
        Ok(Self { clip, detector })
    }
}

/// SHA-256, in hex, over names and hashes of the files.
fn of_folder(folder: &Path, engine: &Engine) -> Result<String> {
    let cannot = || format!("{}: cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            files.push(path);
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        digest.update(format!("{name}\0{}\0", engine.sha256_of(&path)?));
    }
    Ok(hex(&digest.finalize()))
}
