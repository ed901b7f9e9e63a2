//! The version of a libtorch on disk; `build.rs` uses this file too.

use std::path::Path;

/// The file `build-version` of a libtorch archive, or `version.py` of a wheel: `2.11.0+cu130`.
#[allow(unreachable_pub, reason = "build scripts use this file too")]
pub fn version_of(libtorch: &Path) -> Option<String> {
    if let Ok(version) = std::fs::read_to_string(libtorch.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let python = std::fs::read_to_string(libtorch.join("version.py")).ok()?;
    let version = python.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(version.trim_matches(['\'', '"']).to_owned())
}
