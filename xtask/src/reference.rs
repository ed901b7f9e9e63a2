//! The Python with PyTorch and diffusers that parity cases are made with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parity_cases::{Case, Script};
use crate::python::python;
use crate::workspace::{Workspace, run};

const REQUIREMENTS: &str = include_str!("../wheels/reference.txt");
const STAMP: &str = "xtask-requirements.txt";

/// The reference, ready to write cases.
pub struct Reference {
    python: PathBuf,
    scripts: PathBuf,
}

impl Reference {
    /// Finds or makes the environment: 5 GB the first time.
    pub fn ensure(workspace: &Workspace) -> Result<Self> {
        let python = match std::env::var_os("MOTIONFLOW_REFERENCE_PYTHON") {
            Some(own) => PathBuf::from(own),
            None => environment(workspace)?,
        };
        Ok(Self { python, scripts: workspace.join("tools/reference") })
    }

    /// A command that starts the reference's Python on a script.
    pub fn script(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(script);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Writes a case into `out`, whole or not at all, unless the same one is there already. `vocabulary` is CLIP's file of
    /// merges.
    pub fn make_case(&self, vocabulary: &Path, out: &Path, case: &Case) -> Result<()> {
        let scripts = match case.script {
            Script::Method => ["make_case.py", "motionflow_ref.py"].as_slice(),
            Script::AnimateDiff => {
                &["make_case_animatediff.py", "case_tools.py", "motionflow_arch.py", "motionflow_ref.py"]
            }
            Script::Wan => &["make_case_wan.py", "case_tools.py", "motionflow_arch.py", "motionflow_ref.py"],
            Script::Clip => &["make_clip_case.py"],
        };
        let mut made_from = case.flags.join("\n");
        for script in scripts {
            let path = self.scripts.join(script);
            made_from +=
                &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        let stamp = out.with_extension("made-from.txt");
        if out.is_dir() && fs::read_to_string(&stamp).is_ok_and(|old| old == made_from) {
            return Ok(());
        }
        let partial = out.with_extension("partial");
        for old in [out, &partial] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        let mut command = self.script(&self.scripts.join(scripts[0]));
        command.arg(&partial).arg("--bpe").arg(vocabulary).args(case.flags);
        let output = command.output().context("cannot start the reference's Python")?;
        if !output.status.success() {
            bail!("{} failed:\n{}", scripts[0], String::from_utf8_lossy(&output.stderr));
        }
        fs::rename(&partial, out).with_context(|| format!("cannot put {} in place", out.display()))?;
        fs::write(&stamp, made_from).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// The Python of the environment in `.native/reference`.
fn environment(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.native().join("reference");
    let interpreter = folder.join("bin/python");
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == REQUIREMENTS) {
        return Ok(interpreter);
    }
    // Without a stamp it is what a run that was cut has left, or holds other versions.
    eprintln!("making {} with PyTorch and diffusers: 5 GB, some minutes", workspace.show(&folder));
    if !run(python()?.args(["-m", "venv", "--clear"]).arg(&folder))?.success() {
        bail!(
            "the Python here cannot make a virtual environment: install its venv module (often called python3-venv)"
        );
    }
    let mut pip = Command::new(&interpreter);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(REQUIREMENTS.lines());
    if !run(&mut pip)?.success() {
        bail!(
            "pip failed (its message is above): it needs the network, 5 GB of room and Python 3.10 or newer; or set \
             MOTIONFLOW_REFERENCE_PYTHON to a Python that has these packages"
        );
    }
    fs::write(&stamp, REQUIREMENTS).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(interpreter)
}
