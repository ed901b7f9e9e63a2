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

/// A line of a file of Linux such as `/proc/meminfo`, in bytes.
pub(crate) fn kibibytes(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let info = "MemTotal:       24641372 kB\nMemFree:         5000 kB\nMemAvailable:   23068672 kB\n";
        assert_eq!(kibibytes(info, "MemAvailable:"), Some(22 << 30));
        assert_eq!(kibibytes(info, "SwapTotal:"), None);
    }
}
