//! `motionflow eval`: how well did the motion arrive?

mod clip;
mod given;
mod identity;
mod judging;
mod origin;
mod pair;
mod suite;
mod video;

use anyhow::Result;

use crate::args;
use crate::session::Session;

pub(crate) use identity::JudgesIdentity;
pub(crate) use judging::{Judging, Measured};

/// Runs the command.
pub(crate) fn run(args: &args::Eval, session: &mut Session) -> Result<()> {
    match &args.suite.suite {
        Some(file) => suite::run(file, args, session),
        None => pair::run(args, session),
    }
}
