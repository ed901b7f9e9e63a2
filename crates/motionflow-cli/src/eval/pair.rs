//! One result against its source.

use anyhow::{Result, bail};

use crate::args;
use crate::session::Session;

/// Measures one result.
pub(crate) fn run(_args: &args::Eval, _session: &mut Session) -> Result<()> {
    bail!("not built yet")
}
