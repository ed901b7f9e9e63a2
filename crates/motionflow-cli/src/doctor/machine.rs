//! Memory and disk.

use super::Finding;
use crate::bytes::readable;

/// What a transfer with the shipped checkpoint needs: its runs record peaks of 1.0 GiB.
const DEMO_NEEDS: u64 = 3 << 29;

pub(super) fn memory() -> Vec<Finding> {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) = (kibibytes(&info, "MemTotal:"), kibibytes(&info, "MemAvailable:"))
    else {
        return vec![Finding::ok("this system does not tell")];
    };
    let what = format!("{} in all, {} available", readable(total), readable(available));
    if available < DEMO_NEEDS {
        let needs = readable(DEMO_NEEDS);
        return vec![Finding::warning(
            what,
            format!("the shipped checkpoint needs {needs}, others more: end other programs"),
        )];
    }
    vec![Finding::ok(what)]
}

/// A line of `/proc/meminfo`, in bytes.
fn kibibytes(info: &str, name: &str) -> Option<u64> {
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
