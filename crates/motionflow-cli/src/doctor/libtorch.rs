//! libtorch: which one, how many threads, which devices.

use std::path::{Path, PathBuf};

use motionflow::device::cuda_devices;
use motionflow::kernels;
use tch::Device;

use super::Finding;
use motionflow_engine::libtorch_version::version_of;

const BUILT_WITH: &str = env!("MOTIONFLOW_LIBTORCH_VERSION");

pub(super) fn look() -> Vec<Finding> {
    vec![version(), threads(), cuda()]
}

fn version() -> Finding {
    let Some(folder) = loaded_from() else { return Finding::ok(format!("built with {BUILT_WITH}")) };
    let place = folder.display();
    // The libraries lie in `lib/` of what LIBTORCH names.
    match folder.parent().and_then(version_of) {
        Some(loaded) if loaded == BUILT_WITH => Finding::ok(format!("{loaded}, from {place}")),
        Some(loaded) => Finding::warning(
            format!("{loaded}, from {place}, but the program was built with {BUILT_WITH}"),
            "set LIBTORCH to the one that it shall use, or run `cargo xtask setup`, and build it again",
        ),
        None => {
            Finding::ok(format!("built with {BUILT_WITH}; one of unknown version is loaded from {place}"))
        }
    }
}

/// The folder of the libtorch that this process runs on, where the system tells.
fn loaded_from() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps.lines().find_map(|line| {
        let path = Path::new(&line[line.find('/')?..]);
        path.file_name()?.to_str()?.starts_with("libtorch_cpu.").then(|| path.to_owned())
    })?;
    library.parent().map(Path::to_owned)
}

fn threads() -> Finding {
    let cores = std::thread::available_parallelism().map_or("an unknown number of".into(), |n| n.to_string());
    Finding::ok(format!("{} threads to compute with, on {cores} cores", tch::get_num_threads()))
}

fn cuda() -> Finding {
    let reason = match cuda_devices() {
        Ok(devices) => return with_kernels(devices),
        Err(reason) => reason,
    };
    if Path::new("/dev/nvidia0").exists() {
        return Finding::warning(
            format!("CUDA: {reason}, but the machine has an NVIDIA device"),
            "give it a libtorch for CUDA that the driver can run (`nvidia-smi` shows which): docs/devices.md",
        );
    }
    Finding::ok(format!("CUDA: {reason}; the CPU computes"))
}

/// What is said where the CPU need not compute.
fn with_kernels(devices: usize) -> Finding {
    let devices = if devices == 1 { "1 device".to_owned() } else { format!("{devices} devices") };
    match kernels::problem(Device::Cuda(0)) {
        None => Finding::ok(format!("CUDA: {devices}, kernels ready")),
        Some(problem) => Finding::warning(
            format!("CUDA: {devices}, but without kernels of its own it computes slower: {problem}"),
            "let the program find NVRTC, which is one of the libraries of libtorch for CUDA: docs/devices.md",
        ),
    }
}
