//! Where things are, and how to start a program so that it is said what runs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// The root of this workspace.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace by the place of xtask's own manifest.
    pub fn find() -> Result<Self> {
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = PathBuf::from(manifest)
            .parent()
            .map(Path::to_path_buf)
            .context("xtask stands in no workspace")?;
        if !root.join("Cargo.lock").is_file() {
            bail!("{} is no workspace; start xtask as `cargo xtask`", root.display());
        }
        Ok(Self { root })
    }

    /// The folder of Cargo.toml.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `path` below the root.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The folder for what xtask fetches; git ignores it.
    pub fn native(&self) -> PathBuf {
        self.root.join(".native")
    }

    /// `path` as a reader at the root would write it.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// Says the command line on stderr, runs it, and hands back how it ended.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    say(command);
    command.status().with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// As [`run`], and anything but success is an error.
pub fn run_ok(command: &mut Command) -> Result<()> {
    let status = run(command)?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Says the command line on stderr.
pub fn say(command: &Command) {
    eprintln!("$ {}", line(command));
}

/// The exit code to end with after a child ended with `status`.
pub fn exit_code(status: ExitStatus) -> std::process::ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    std::process::ExitCode::from(code)
}

/// The first executable file called `name` on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "\"'[]()*?$\\!;&|<>".contains(c)) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.into_owned()
    }
}
