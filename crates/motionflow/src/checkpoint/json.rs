//! Reading JSON files with errors that say where.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::CheckpointError;

/// Reads `path` as a `T`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let text =
        std::fs::read(path).map_err(|source| CheckpointError::Read { path: path.to_path_buf(), source })?;
    serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let at = format!(" at line {line} column {column}");
        CheckpointError::Json {
            path: path.to_path_buf(),
            line,
            column,
            message: message.strip_suffix(&at).unwrap_or(&message).to_owned(),
        }
    })
}
