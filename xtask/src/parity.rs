//! `cargo xtask parity`: the program against diffusers, on cases of many shapes.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::arguments::Arguments;
use crate::clip_vocabulary;
use crate::parity_cases::{CASES, Case, Script, When};
use crate::reference::Reference;
use crate::setup::setup;
use crate::workspace::{Workspace, run_ok};

const COMMITTED: &str = "crates/motionflow/tests/cases";
const COMMITTED_CLIP: &str = "crates/motionflow/tests/clip-cases";

/// Makes the cases, verifies each, and prints a table.
pub fn parity(workspace: &Workspace, mut arguments: Arguments) -> Result<ExitCode> {
    let all = arguments.flag("--full");
    let committed = arguments.flag("--committed");
    let names = arguments.rest();
    if let Some(unknown) = names.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        bail!("there is no case `{unknown}`; there are: {}", known.join(", "));
    }
    if committed {
        return write_committed(workspace);
    }
    let chosen = |case: &&Case| {
        if names.is_empty() {
            case.when == When::Always || all && case.when == When::Full
        } else {
            names.iter().any(|name| name == case.name)
        }
    };
    let reference = Reference::ensure(workspace)?;
    let vocabulary = clip_vocabulary::ensure(workspace)?;
    let environment = setup(workspace)?;
    run_ok(environment.cargo("build").args(["--package", "motionflow-cli"]))?;
    let folder = workspace.native().join("parity");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;

    let mut table = Vec::new();
    for case in CASES.iter().filter(chosen) {
        let directory = folder.join(case.name);
        eprintln!("{}", case.name);
        reference.make_case(&vocabulary, &directory, case)?;
        table.push((case.name, verify(environment.program(), &directory)?));
    }
    println!("\n{:34}{:8}worst relative error", "case", "");
    for (name, verdict) in &table {
        println!("{name:34}{:8}{}", if verdict.passed { "ok" } else { "FAILED" }, verdict.worst);
    }
    let failed = table.iter().filter(|(_, verdict)| !verdict.passed).count();
    println!("\n{} cases, {failed} failed", table.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Verdict {
    passed: bool,
    worst: String,
}

/// Runs `motionflow verify`; shows all that it says if the case failed.
fn verify(mut program: Command, directory: &Path) -> Result<Verdict> {
    let output = program.arg("verify").arg(directory).output().context("cannot start motionflow")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        print!("{text}");
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    // The largest number in the column of errors: they alone are written with an exponent.
    let errors =
        text.split_whitespace().filter(|word| word.contains('e')).filter_map(|word| word.parse::<f64>().ok());
    let worst = errors.reduce(f64::max).map_or_else(|| "-".to_owned(), |worst| format!("{worst:.1e}"));
    Ok(Verdict { passed: output.status.success(), worst })
}

/// Writes those that lie in the repository. Rounding differs between machines: commit them only when they must change.
fn write_committed(workspace: &Workspace) -> Result<ExitCode> {
    let reference = Reference::ensure(workspace)?;
    let vocabulary = clip_vocabulary::ensure(workspace)?;
    let temporary = workspace.native().join("parity");
    fs::create_dir_all(&temporary)
        .with_context(|| format!("cannot make the folder {}", temporary.display()))?;
    for case in CASES.iter().filter(|case| case.when == When::Committed) {
        let made = temporary.join(case.name);
        reference.make_case(&vocabulary, &made, case)?;
        let committed = if case.script == Script::Clip { COMMITTED_CLIP } else { COMMITTED };
        let place = workspace.join(committed).join(case.name);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
        }
        copy(&made, &place)?;
        println!("{}", workspace.show(&place));
    }
    Ok(ExitCode::SUCCESS)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make the folder {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
