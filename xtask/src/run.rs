//! `cargo xtask run`: the program, with its surroundings set.

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::Arguments;
use crate::setup::setup;
use crate::workspace::{Workspace, exit_code, run as run_command};

/// Builds and runs the program; its exit code becomes xtask's.
pub fn run(workspace: &Workspace, arguments: Arguments) -> Result<ExitCode> {
    let environment = setup(workspace)?;
    run_command(environment.program().args(arguments.rest())).map(exit_code)
}
