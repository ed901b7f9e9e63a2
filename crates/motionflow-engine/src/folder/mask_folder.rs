//! What the masks of a run are called in its folder.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder with a folder a subject.
pub(crate) const FOLDER: (&str, &str) = ("masks", "the masks as pictures, a folder a subject");
/// The same as arrays.
pub(crate) const ARRAYS: (&str, &str) = ("masks.npz", "the masks as arrays");

/// In a subject's folder, that of its soft maps.
pub(crate) const SOFT: &str = "soft";

/// Whether a folder of that name has nothing in it but what a run writes there, so that it may be replaced.
pub(crate) fn is_of_a_run(folder: &Path) -> bool {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let is_numbered = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "png")
            && path.file_stem().is_some_and(|stem| stem.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let is_soft = |path: &PathBuf| path.ends_with(SOFT) && entries(path).iter().all(is_numbered);
    let is_subject =
        |path: &PathBuf| path.is_dir() && entries(path).iter().all(|path| is_numbered(path) || is_soft(path));
    folder.is_dir() && entries(folder).iter().all(is_subject)
}
