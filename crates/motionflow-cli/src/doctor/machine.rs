//! Memory and disk.

use super::Finding;
use crate::bytes::{kibibytes, readable};

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
