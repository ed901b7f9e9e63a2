//! Reading JSON files with errors that say where.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::CheckpointError;
use crate::printable::printable;
use crate::small_file;

/// Reads `path`, of at most `limit` bytes, as a `T`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, CheckpointError> {
    let text = small_file::read(path, limit)
        .map_err(|source| CheckpointError::Read { path: path.to_path_buf(), source })?;
    parse(path, &small_file::without_mark(text))
}

/// Takes `text` as a `T`; `path` is for messages.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, CheckpointError> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let at = format!(" at line {line} column {column}");
        CheckpointError::Json {
            path: path.to_path_buf(),
            line,
            column,
            message: printable(message.strip_suffix(&at).unwrap_or(&message)),
        }
    })
}
