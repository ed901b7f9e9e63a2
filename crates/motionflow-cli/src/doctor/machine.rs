//! Memory and disk.

use super::Finding;
use motionflow_engine::estimate::system_memory::SystemMemory;
use motionflow_engine::units::readable;

/// What a transfer with the shipped checkpoint needs: its runs record peaks of 1.0 GiB.
const DEMO_NEEDS: u64 = 3 << 29;

pub(super) fn memory() -> Vec<Finding> {
    let Some(SystemMemory { total, available, group }) = SystemMemory::read() else {
        return vec![Finding::ok("this system does not tell")];
    };
    let mut findings = vec![enough(total, available, "", "end other programs")];
    findings.extend(group.map(|group| {
        let of = " in this container (control group)";
        enough(group.limit, group.left.min(available), of, "raise its limit, or end other programs in it")
    }));
    findings
}

fn enough(total: u64, available: u64, of: &str, hint: &str) -> Finding {
    let what = format!("{} in all{of}, {} available", readable(total), readable(available));
    if available < DEMO_NEEDS {
        let needs = readable(DEMO_NEEDS);
        return Finding::warning(what, format!("the shipped checkpoint needs {needs}, others more: {hint}"));
    }
    Finding::ok(what)
}
