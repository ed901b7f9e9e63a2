//! Sizes and times to read, and what is left of a disk.

use std::path::Path;

use bytesize::ByteSize;

/// A size in its largest unit, such as `10.0 GiB`.
pub fn readable(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Seconds to read: `3.2 s` or `2 min 05 s`.
pub fn brief(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours} h {minutes:02} min") } else { format!("{minutes} min {seconds:02} s") }
}

/// Bytes that this user may still write below `folder`, where the system tells.
#[cfg(unix)]
pub fn free_space(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(not(unix))]
pub fn free_space(_: &Path) -> Option<u64> {
    None
}

/// A line of a file of Linux such as `/proc/meminfo`, in bytes.
pub fn kibibytes(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_easy_to_read() {
        assert_eq!([3.21, 99.9, 125.4, 7265.0].map(brief), ["3.2 s", "99.9 s", "2 min 05 s", "2 h 01 min"]);
    }

    #[test]
    fn meminfo_is_read() {
        let info = "MemTotal:       24641372 kB\nMemFree:         5000 kB\nMemAvailable:   23068672 kB\n";
        assert_eq!(kibibytes(info, "MemAvailable:"), Some(22 << 30));
        assert_eq!(kibibytes(info, "SwapTotal:"), None);
    }
}
