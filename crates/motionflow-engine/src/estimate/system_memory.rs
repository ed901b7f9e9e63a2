//! The memory of this machine, and of the container that this process is in.

use std::path::Path;

use crate::estimate::group_memory::{GroupMemory, group_memory};
use crate::units::kibibytes;

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemMemory {
    /// Of the machine.
    pub total: u64,
    /// What programs may still take of it.
    pub available: u64,
    /// The control group that leaves least, where one has a limit.
    pub group: Option<GroupMemory>,
}

/// What this process has taken, in bytes; 0 where the system does not tell.
pub fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kibibytes(&status, "VmRSS:").unwrap_or_default()
}

impl SystemMemory {
    /// None where the system does not tell.
    pub fn read() -> Option<Self> {
        let info = std::fs::read_to_string("/proc/meminfo").ok()?;
        let (total, available) = (kibibytes(&info, "MemTotal:")?, kibibytes(&info, "MemAvailable:")?);
        // A limit beyond what the machine has limits nothing.
        let group = group_memory(Path::new("/"), own_memory()).filter(|group| group.limit < total);
        Some(Self { total, available, group })
    }
}
