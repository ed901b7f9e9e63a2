//! A name for a checkpoint that follows from its content.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::CheckpointError;
use super::weights::MappedFile;

/// SHA-256, in hex, over the relative names and the contents of `files` of `folder`, in the order given. Lengths stand
/// before names and contents, so that no two sets of files give the same bytes.
pub(super) fn identity<'a>(
    folder: &Path,
    files: impl Iterator<Item = &'a str>,
) -> Result<String, CheckpointError> {
    let mut hash = Sha256::new();
    for name in files {
        let file = MappedFile::open(&folder.join(name))?;
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((file.bytes().len() as u64).to_le_bytes());
        hash.update(file.bytes());
    }
    Ok(hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
