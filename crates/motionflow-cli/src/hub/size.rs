//! Sizes of files and of what is left of a disk.

use std::path::Path;

/// The bytes that are free for us on the disk of a folder, which need not exist yet, where the system tells.
pub(super) fn available(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists())?;
    let disk = rustix::fs::statvfs(existing).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

pub(super) fn mebibytes(bytes: u64) -> usize {
    (bytes >> 20) as usize
}

/// A size to read: `3.67 GB`.
pub(crate) fn readable(bytes: u64) -> String {
    let scaled = |unit: f64| bytes as f64 / unit;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", scaled(1e3)),
        1_000_000..1_000_000_000 => format!("{:.0} MB", scaled(1e6)),
        _ => format!("{:.2} GB", scaled(1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_easy_to_read() {
        assert_eq!(
            [12, 34_567, 35_263_732, 3_670_000_000].map(readable),
            ["12 B", "35 kB", "35 MB", "3.67 GB"]
        );
    }
}
