//! Lets this crate's binaries and tests find libtorch by rpath, and tells them its version.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let mut version = None;
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
        version = version_of(Path::new(&libtorch));
    }
    println!("cargo::rustc-env=MOTIONFLOW_LIBTORCH_VERSION={}", version.unwrap_or("unknown".into()));
}

/// The file `build-version` of a libtorch archive, or `version.py` of a wheel: `2.11.0+cu130`.
fn version_of(libtorch: &Path) -> Option<String> {
    if let Ok(version) = std::fs::read_to_string(libtorch.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let python = std::fs::read_to_string(libtorch.join("version.py")).ok()?;
    let version = python.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(version.trim_matches(['\'', '"']).to_owned())
}
