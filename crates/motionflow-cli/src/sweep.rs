//! `motionflow sweep`: every combination of some settings, side by side.

use anyhow::{Result, bail};

use crate::args;
use crate::session::Session;

/// Runs the command.
pub(crate) fn run(_args: &args::Sweep, _session: &mut Session) -> Result<()> {
    bail!("not built yet")
}
