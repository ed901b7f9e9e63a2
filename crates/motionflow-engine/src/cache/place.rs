//! Where the cache lies, and how much it may hold.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use bytesize::ByteSize;

use crate::error::Misuse;
use crate::home;

/// Names the folder.
pub const FOLDER_VARIABLE: &str = "MOTIONFLOW_CACHE";
/// Sets the limit.
pub const LIMIT_VARIABLE: &str = "MOTIONFLOW_CACHE_LIMIT";

const DEFAULT_LIMIT: ByteSize = ByteSize::gib(10);

/// The user has no folder for a cache.
#[derive(Debug)]
pub struct NoHome;

impl fmt::Display for NoHome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "there is no home folder for the cache: set {FOLDER_VARIABLE} to a folder")
    }
}

impl std::error::Error for NoHome {}

/// The folder: `$MOTIONFLOW_CACHE`, else one in the user's cache folder.
pub(super) fn folder() -> Result<PathBuf> {
    if let Some(folder) = set(FOLDER_VARIABLE) {
        let folder = PathBuf::from(folder);
        return Ok(std::path::absolute(&folder).unwrap_or(folder));
    }
    Ok(home::cache().ok_or(NoHome)?.join("motionflow").join("inversions"))
}

/// The limit in bytes: `$MOTIONFLOW_CACHE_LIMIT`, else 10 GiB.
pub(super) fn limit() -> Result<u64> {
    let Some(text) = set(LIMIT_VARIABLE) else { return Ok(DEFAULT_LIMIT.as_u64()) };
    parse_limit(&text.to_string_lossy())
}

fn set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

fn parse_limit(text: &str) -> Result<u64> {
    let size: Result<ByteSize, _> = text.trim().parse();
    size.map(|size| size.as_u64()).map_err(|_| {
        let forms = "give a size such as 10GiB or 500MB, or 0 to keep nothing";
        Misuse(format!("{LIMIT_VARIABLE} is \"{text}\": {forms}")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let sizes = [("10GiB", 10 << 30), ("500MB", 500_000_000), (" 1.5 KiB ", 1536), ("7", 7), ("0", 0)];
        for (text, bytes) in sizes {
            assert_eq!(parse_limit(text).unwrap(), bytes, "{text}");
        }
        for text in ["lots", "-1", "10 apples", "GiB", "1e9", ""] {
            let error = parse_limit(text).unwrap_err();
            assert!(error.is::<Misuse>(), "{text}");
            assert!(error.to_string().contains("10GiB"), "{error}");
        }
    }
}
