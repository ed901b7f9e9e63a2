//! `cargo xtask demo`: a motion, transferred from a shipped clip with a shipped model.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::arguments::Arguments;
use crate::setup::{Environment, setup};
use crate::workspace::{Workspace, exit_code, run};

const SOURCE: &str = "assets/clips/car-arc.mp4";
const TRUTH: &str = "assets/clips/car-arc.npz";
const SOURCE_PROMPT: &str = "a [car] on a road";
const PROMPT: &str = "a [panda] in a forest";

/// The checkpoints of the demo world, and what of the clip each takes: Wan's frames are one more than a multiple of four.
const MODELS: [(&str, &[&str]); 3] =
    [("demo", &[]), ("demo-animatediff", &[]), ("demo-wan", &["--frames", "13"])];

/// So few steps that the result says little, but every part has run.
const QUICK: [&str; 4] = ["--steps", "4", "--guided-steps", "2"];

/// Sets up, builds, transfers, and says where to look.
pub fn demo(workspace: &Workspace, mut arguments: Arguments) -> Result<ExitCode> {
    let quick = arguments.flag("--quick");
    let model = arguments.value("--model")?.unwrap_or_else(|| MODELS[0].0.to_owned());
    let flags = arguments.after_dashes()?;
    if !MODELS.iter().any(|(name, _)| *name == model) {
        bail!("--model {model}: it is one of {}", MODELS.map(|(name, _)| name).join(", "));
    }
    run_demo(&setup(workspace)?, &model, quick, &flags)
}

/// The transfer itself with one of the models; `flags` go to the program after the demo's own.
pub fn run_demo(environment: &Environment, model: &str, quick: bool, flags: &[String]) -> Result<ExitCode> {
    let out = &format!("out/{model}{}", if quick { "-quick" } else { "" });
    let mut program = environment.program();
    program.args(["transfer", "--source", SOURCE, "--source-prompt", SOURCE_PROMPT, "--prompt", PROMPT]);
    program.args(["--model", model, "--output", out, "--force"]);
    for (_, cut) in MODELS.iter().filter(|(name, _)| *name == model) {
        program.args(*cut);
    }
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
