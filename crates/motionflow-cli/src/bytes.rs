//! Sizes to read, and what is left of a disk.

use std::path::Path;

use bytesize::ByteSize;

/// A size in its largest unit, such as `10.0 GiB`.
pub(crate) fn readable(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Bytes that this user may still write below `folder`, where the system tells.
#[cfg(unix)]
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(not(unix))]
pub(crate) fn free_space(_: &Path) -> Option<u64> {
    None
}
