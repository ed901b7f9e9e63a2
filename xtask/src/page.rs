//! The studio's page: npm checks and builds it, and a Chromium tells its whole story to the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, on_path, run_ok};

const PAGE: &str = "crates/motionflow-studio/page";

/// Set for the tests where the story can be told.
const STORY: &str = "MOTIONFLOW_STUDIO_STORY";

/// What the page and its story need, and the packages of Debian that have it.
const TOOLS: [(&str, &str); 3] = [("node", "nodejs"), ("npm", "npm"), ("chromium", "chromium")];

/// `cargo xtask page`.
pub fn page(workspace: &Workspace) -> Result<ExitCode> {
    check_page(workspace)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks types, style and logic of the page, and that the files in `dist/` are what its sources give.
pub fn check_page(workspace: &Workspace) -> Result<()> {
    if let Some(missing) = missing(&TOOLS[..2]) {
        bail!("the page cannot be checked: {missing}");
    }
    let committed = built(workspace)?;
    packages(workspace)?;
    run_ok(npm(workspace).args(["run", "check"]))?;
    if built(workspace)? != committed {
        bail!("{PAGE}/dist is not what the sources give: commit what `npm run build` has written there");
    }
    Ok(())
}

/// Lets `tests` tell the story, where that can be; else says why it is skipped.
pub fn prepare_story(workspace: &Workspace, tests: &mut Command) -> Option<String> {
    if let Some(missing) = missing(&TOOLS) {
        return Some(missing);
    }
    let is_there = workspace.join(PAGE).join("node_modules/puppeteer-core").is_dir();
    if !is_there && packages(workspace).is_err() {
        return Some("npm could not fetch the page's packages".to_owned());
    }
    tests.env(STORY, "1").envs(on_path("chromium").map(|path| ("CHROMIUM", path)));
    None
}

/// Installs Debian's packages of what is missing.
pub fn install() -> Result<()> {
    let packages: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| on_path(tool).is_none()).map(|(_, package)| *package).collect();
    if packages.is_empty() { Ok(()) } else { install_packages(&packages) }
}

/// Installs packages of Debian.
pub fn install_packages(packages: &[&str]) -> Result<()> {
    let apt = || {
        let mut command = if on_path("sudo").is_some() { Command::new("sudo") } else { Command::new("env") };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
        command
    };
    run_ok(apt().arg("update"))?;
    run_ok(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

fn missing(tools: &[(&str, &str)]) -> Option<String> {
    let lacks = tools.iter().find(|(tool, _)| on_path(tool).is_none());
    lacks.map(|(tool, package)| format!("no {tool} is on PATH (Debian: apt-get install {package})"))
}

fn packages(workspace: &Workspace) -> Result<()> {
    run_ok(npm(workspace).args(["ci", "--no-audit", "--no-fund"]))
}

fn npm(workspace: &Workspace) -> Command {
    let mut npm = Command::new("npm");
    // Its browser is Debian's.
    npm.current_dir(workspace.join(PAGE)).env("PUPPETEER_SKIP_DOWNLOAD", "1");
    npm
}

/// The built files by name.
fn built(workspace: &Workspace) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let folder = workspace.join(PAGE).join("dist");
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries
        .map(|entry| {
            let path = entry?.path();
            Ok((path.clone(), read(&path)?))
        })
        .collect()
}
