//! `cargo xtask demo`: a motion, transferred from a shipped clip with the shipped model.

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::Arguments;
use crate::setup::{Environment, setup};
use crate::workspace::{Workspace, exit_code, run};

const SOURCE: &str = "assets/clips/car-arc.mp4";
const TRUTH: &str = "assets/clips/car-arc.npz";
const SOURCE_PROMPT: &str = "a [car] on a road";
const PROMPT: &str = "a [panda] in a forest";
const OUT: &str = "out/demo";

/// So few steps that the result says little, but every part has run.
const QUICK: [&str; 4] = ["--steps", "4", "--guided-steps", "2"];
const QUICK_OUT: &str = "out/demo-quick";

/// Sets up, builds, transfers, and says where to look.
pub fn demo(workspace: &Workspace, mut arguments: Arguments) -> Result<ExitCode> {
    let quick = arguments.flag("--quick");
    run_demo(&setup(workspace)?, quick, &arguments.after_dashes()?)
}

/// The transfer itself; `flags` go to the program after the demo's own.
pub fn run_demo(environment: &Environment, quick: bool, flags: &[String]) -> Result<ExitCode> {
    let out = if quick { QUICK_OUT } else { OUT };
    let mut program = environment.program();
    program.args(["transfer", "--source", SOURCE, "--source-prompt", SOURCE_PROMPT, "--prompt", PROMPT]);
    program.args(["--output", out, "--force"]);
    if quick {
        program.args(QUICK);
    }
    let mut status = run(program.args(flags))?;
    if status.success() && flags.is_empty() {
        println!("\nDid the motion arrive? (docs/eval.md)");
        let mut eval = environment.program();
        eval.args(["eval", "--source", SOURCE, "--truth", TRUTH, "--prompt", PROMPT]);
        eval.args(["--clip", "demo-clip", "--detector", "demo-detector", "--result"]);
        status = run(eval.arg(format!("{out}/result.mp4")))?;
        println!("\nWith a clip of your own:");
        println!("  cargo xtask run -- transfer --source CLIP --source-prompt \"a [car] on a road\" \\");
        println!("      --prompt \"a [panda] in a forest\" -o out/mine");
    }
    Ok(exit_code(status))
}
