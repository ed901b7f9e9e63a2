//! `cargo xtask bench`: a forward of the UNet, ours against diffusers'.

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::Arguments;
use crate::reference::Reference;
use crate::setup::setup;
use crate::workspace::{Workspace, exit_code, run, run_ok};

/// Builds our side and runs the script that times both; arguments go to the script.
pub fn bench(workspace: &Workspace, arguments: Arguments) -> Result<ExitCode> {
    let environment = setup(workspace)?;
    run_ok(environment.cargo("build").args(["--package", "motionflow", "--example", "unet_forward"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |own| workspace.join(own));
    let mut script = Reference::ensure(workspace)?.script(&workspace.join("benches/unet_forward.py"));
    script.current_dir(workspace.root()).arg("--program").arg(target.join("debug/examples/unet_forward"));
    run(script.args(arguments.rest())).map(exit_code)
}
