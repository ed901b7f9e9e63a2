//! The Python whose pip fetches wheels.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A command that starts the Python of this machine: `$PYTHON`, else `python3`; an error says what is missing.
pub fn python() -> Result<Command> {
    let name = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let works = |arguments: &[&str]| {
        Command::new(&name)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !works(&["-c", "import sys; sys.exit(sys.version_info < (3, 8))"]) {
        bail!("`{name}` is no Python 3.8 or newer: install Python 3, or set PYTHON to the one to use");
    }
    if !works(&["-m", "pip", "--version"]) {
        bail!(
            "`{name}` has no pip: install it (the package is often called python3-pip; \
             or `{name} -m ensurepip --user`), or set PYTHON to a Python that has it"
        );
    }
    Ok(Command::new(name))
}
