//! Everything that a build or a run needs from outside, once.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::libtorch::Libtorch;
use crate::workspace::{Workspace, on_path};
use crate::{ffmpeg, libtorch};

/// What [`setup`] found or fetched.
pub struct Environment<'a> {
    workspace: &'a Workspace,
    libtorch: Libtorch,
    ffmpeg: PathBuf,
}

/// Makes sure that a C++ compiler, libtorch and ffmpeg are there.
pub fn setup(workspace: &Workspace) -> Result<Environment<'_>> {
    compiler()?;
    Ok(Environment { workspace, libtorch: libtorch::ensure(workspace)?, ffmpeg: ffmpeg::ensure(workspace)? })
}

impl Environment<'_> {
    /// Where all that is for.
    pub fn workspace(&self) -> &Workspace {
        self.workspace
    }

    /// `cargo SUBCOMMAND` at the root, which will find libtorch and ffmpeg.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = cargo(self.workspace, subcommand);
        if let Libtorch::Own(folder) = &self.libtorch {
            cargo.env("LIBTORCH", folder);
        }
        cargo.env("MOTIONFLOW_FFMPEG", &self.ffmpeg);
        cargo
    }

    /// `cargo run` of the program, up to its own arguments.
    pub fn program(&self) -> Command {
        let mut program = self.cargo("run");
        program.args(["--package", "motionflow-cli", "--bin", "motionflow", "--"]);
        program
    }
}

/// `cargo SUBCOMMAND` at the root, as if the user had started it: what cargo has set for xtask is taken out again, so
/// that nothing is rebuilt only because xtask started it.
pub fn cargo(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let of_xtask = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if of_xtask.iter().any(|prefix| name.starts_with(prefix)) || name == "LIBTORCH" {
            command.env_remove(&*name);
        }
    }
    command.arg(subcommand).current_dir(workspace.root());
    command
}

fn compiler() -> Result<()> {
    let named = std::env::var_os("CXX").is_some_and(|name| !name.is_empty());
    if !named && !["c++", "g++", "clang++"].iter().any(|name| on_path(name).is_some()) {
        bail!(
            "no C++ compiler is on PATH, and the bindings to libtorch need one: install g++ or clang++, or set CXX"
        );
    }
    Ok(())
}
