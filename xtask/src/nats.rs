//! The NATS server that tests of the queue start.

use std::process::Command;

use anyhow::Result;

use crate::page::install_packages;
use crate::workspace::on_path;

const SERVER: &str = "nats-server";
/// Set for the tests where there must be a server.
const VARIABLE: &str = "MOTIONFLOW_NATS";

/// Installs Debian's package where the server is missing.
pub fn install() -> Result<()> {
    if on_path(SERVER).is_some() { Ok(()) } else { install_packages(&[SERVER]) }
}

/// Lets `tests` fail where the server goes away; else says why those that need it are skipped.
pub fn prepare(tests: &mut Command) -> Option<String> {
    if on_path(SERVER).is_none() {
        return Some(format!("no {SERVER} is on PATH (Debian: apt-get install {SERVER})"));
    }
    tests.env(VARIABLE, "1");
    None
}
