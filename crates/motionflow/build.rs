//! Compiles what stands between this crate and the parts of libtorch that `tch` does not reach, and lets this crate's
//! tests find libtorch by rpath.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=native");
    // Where torch-sys found libtorch.
    let Ok(libraries) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries}");
    let Some(libtorch) = Path::new(&libraries).parent() else { return };
    let include = libtorch.join("include");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(include.join("torch/csrc/api/include"))
        .include(include)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .files(
            ["attention", "device", "flash_attention", "function", "stream"]
                .map(|name| format!("native/{name}.cpp")),
        )
        .compile("motionflow_native");
}
