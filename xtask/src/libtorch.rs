//! Where libtorch is: the user's, or pinned wheels in `.native/site`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::python::python;
use crate::wheels::Wheels;
use crate::workspace::Workspace;

/// torch itself, without what it needs on a GPU: of CUDA's libraries, the CPU code loads these two.
const WHEELS: Wheels = Wheels {
    what: "libtorch 2.11.0",
    folder: "site",
    requirements: include_str!("../wheels/libtorch.txt"),
    sentinel: "torch/lib/libtorch_cpu.so",
    mebibytes: 3_000,
    instead: "set LIBTORCH to the folder of a libtorch 2.11",
    check: loads,
};

/// The folder that torch-sys shall build against.
pub enum Libtorch {
    /// The user has set LIBTORCH.
    Own(PathBuf),
    /// Wheels in `.native/`, which `.cargo/config.toml` names as the default.
    Workspace,
}

/// Finds libtorch, or fetches it.
pub fn ensure(workspace: &Workspace) -> Result<Libtorch> {
    let default = workspace.native().join(WHEELS.folder).join("torch");
    // Cargo itself sets LIBTORCH to the default when the user has not.
    if let Some(own) = std::env::var_os("LIBTORCH").map(PathBuf::from).filter(|own| *own != default) {
        if !["libtorch.so", "libtorch.dylib", "torch.dll"]
            .iter()
            .any(|name| own.join("lib").join(name).is_file())
        {
            bail!("LIBTORCH is set to {}, but no libtorch is in its lib folder", own.display());
        }
        eprintln!("libtorch: {} (LIBTORCH is set)", own.display());
        return Ok(Libtorch::Own(own));
    }
    let site = WHEELS.ensure(workspace)?;
    eprintln!("libtorch: 2.11.0 in {}", workspace.show(&site));
    Ok(Libtorch::Workspace)
}

/// Whether the dynamic linker finds everything that it needs.
fn loads(site: &Path) -> Result<()> {
    let library = site.join("torch/lib/libtorch_cpu.so");
    let output =
        python()?.args(["-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])"]).arg(&library).output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().last().unwrap_or("no message");
        bail!("libtorch is there but does not load: {last}");
    }
    Ok(())
}
