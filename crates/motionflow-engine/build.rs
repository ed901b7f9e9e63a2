//! Lets this crate's binaries and tests find libtorch by rpath, and tells them its version.

#[path = "src/libtorch_version.rs"]
mod libtorch_version;

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let mut version = None;
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
        version = libtorch_version::version_of(Path::new(&libtorch));
    }
    println!("cargo::rustc-env=MOTIONFLOW_LIBTORCH_VERSION={}", version.unwrap_or("unknown".into()));
}
