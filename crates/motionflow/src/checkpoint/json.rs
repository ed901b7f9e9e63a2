//! Reading JSON files with errors that say where.

use std::borrow::Cow;
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
    serde_json::from_slice(&without_infinity(text)).map_err(|error| {
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

/// Python writes −∞ as a bare word, which is no JSON: null stands for it, in as many bytes. diffusers saves a
/// `lambda_min_clipped` so that clips nothing.
fn without_infinity(text: &[u8]) -> Cow<'_, [u8]> {
    const WORD: &[u8] = b"-Infinity";
    const NULL: &[u8] = b"null     ";
    if !text.windows(WORD.len()).any(|window| window == WORD) {
        return Cow::Borrowed(text);
    }
    let mut text = text.to_vec();
    let (mut is_string, mut index) = (false, 0);
    while index < text.len() {
        match text[index] {
            b'\\' if is_string => index += 1,
            b'"' => is_string = !is_string,
            b'-' if !is_string && text[index..].starts_with(WORD) => {
                text[index..index + WORD.len()].copy_from_slice(NULL);
            }
            _ => {}
        }
        index += 1;
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_as_python_writes_it_is_null_outside_of_texts() {
        let text = br#"{"a": -Infinity, "b": "\"-Infinity", "c": [-Infinity,-1]}"#;
        let value: serde_json::Value = parse(Path::new("a.json"), text).unwrap();
        assert_eq!(value, serde_json::json!({"a": null, "b": "\"-Infinity", "c": [null, -1]}));
        let error = parse::<serde_json::Value>(Path::new("a.json"), br#"{"a": -Infinity, "b": Infinity}"#);
        assert!(matches!(error, Err(CheckpointError::Json { line: 1, column: 23 | 24, .. })), "{error:?}");
    }
}
