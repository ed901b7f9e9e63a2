//! A name for a checkpoint that follows from its content.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::CheckpointFile;
use super::error::CheckpointError;
use crate::printable::hex;
use crate::small_file::require_file;

/// Bytes that are read at once. Read and not mapped: beside weights that are being loaded, mapped pages would count as
/// memory of the program's once more.
const CHUNK: usize = 1 << 18;

/// SHA-256, in hex, over the relative names and the contents of files, in the order given. Lengths stand before names and
/// contents, so that no two sets of files give the same bytes.
pub(super) fn identity(files: &[CheckpointFile]) -> Result<String, CheckpointError> {
    let mut hash = Sha256::new();
    for CheckpointFile { name, path, .. } in files {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        add_content(&mut hash, path)
            .map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
    }
    Ok(hex(&hash.finalize()))
}

fn add_content(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    require_file(path)?;
    let file = File::open(path)?;
    hash.update(file.metadata()?.len().to_le_bytes());
    io::copy(&mut BufReader::with_capacity(CHUNK, file), hash).map(|_| ())
}
