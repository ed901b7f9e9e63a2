//! `motionflow completions`: scripts that let a shell complete commands and flags.

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{self, Cli};
use crate::console::Console;

/// Runs the command. The script is the command's product, so `--quiet` does not silence it.
pub(crate) fn run(args: &args::Completions, console: &Console) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "motionflow", &mut script);
    console.product("completions", String::from_utf8(script)?.trim_end());
    Ok(())
}
