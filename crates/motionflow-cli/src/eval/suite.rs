//! Many results, and a report on them.

use std::path::Path;

use anyhow::{Result, bail};

use crate::args;
use crate::session::Session;

/// Makes and measures the transfers of a suite.
pub(crate) fn run(_file: &Path, _args: &args::Eval, _session: &mut Session) -> Result<()> {
    bail!("not built yet")
}
