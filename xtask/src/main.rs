//! The chores of this workspace: `cargo xtask help` lists them.
//!
//! Every chore that builds or runs something first makes sure that libtorch and ffmpeg are there ([`setup`]).

mod arguments;
mod bench;
mod checkpoint_shapes;
mod ci;
mod circles;
mod clip_vocabulary;
mod demo;
mod deny;
mod ffmpeg;
mod fuzz;
mod libtorch;
mod nats;
mod page;
mod parity;
mod parity_cases;
mod python;
mod random_checkpoint;
mod reference;
mod run;
mod setup;
mod tensor_list;
mod test;
mod wheels;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::arguments::Arguments;
use crate::workspace::Workspace;

const HELP: &str = "\
The chores of motionflow.

Usage: cargo xtask <COMMAND>

  setup                      bring libtorch and ffmpeg into .native/ (every other command does this by itself)
  demo [--model NAME] [--quick] [-- FLAGS]   transfer the motion of a shipped clip with a shipped model, into out/NAME; NAME: demo
                             (default), demo-animatediff, demo-wan
  run [--] ARGS              build and run the program `motionflow` with ARGS
  test [ARGS]                run every test; ARGS go to `cargo test`
  parity [--full] [NAME]...  compare with diffusers and transformers on freshly made cases; --full: slower shapes too
  parity --committed         write the small cases under crates/motionflow/tests/ anew
  bench [ARGS]               time a forward of the UNet against PyTorch's; ARGS go to benches/unet_forward.py
  fuzz [TARGET] [--seconds N | --runs N]   run the fuzz targets, 60 seconds each; what they learn stays in target/fuzz/
  random-checkpoint [--like NAME] FOLDER   write a checkpoint of a published one's shape with random weights of float16; NAME:
                             zeroscope (3.7 GB), animatediff (Stable Diffusion 1.5 and a motion adapter, 3.0 GB),
                             wan-1.3b (14.5 GB), wan-14b (40.2 GB); needs no workspace
  circles                    check that no folders of a crate import one another in a circle
  page                       check the studio's page and build it, by npm
  ci                         what must pass: fmt, clippy, circles, cargo-deny, the page, every test, the demo at few steps

Environment:
  LIBTORCH            a libtorch 2.11 of your own, instead of the one in .native/
  MOTIONFLOW_FFMPEG   an ffmpeg of your own (else: FFMPEG, ffmpeg on PATH, one in .native/)
  PYTHON              the Python 3 whose pip fetches the above (default: python3)
  MOTIONFLOW_REFERENCE_PYTHON   `parity`, `bench`: a Python that has torch and diffusers
  MOTIONFLOW_REFERENCE_BPE      `parity`: CLIP's bpe_simple_vocab_16e6.txt.gz
";

fn main() -> ExitCode {
    match chore() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Result<ExitCode> {
    let mut arguments = Arguments::from_env();
    let Some(command) = arguments.next() else {
        eprint!("{HELP}");
        return Ok(ExitCode::from(2));
    };
    if command == "random-checkpoint" {
        return random_checkpoint::random_checkpoint(arguments);
    }
    let workspace = Workspace::find()?;
    match command.as_str() {
        "setup" => {
            arguments.finish()?;
            setup::setup(&workspace).map(|_| ExitCode::SUCCESS)
        }
        "demo" => demo::demo(&workspace, arguments),
        "run" => run::run(&workspace, arguments),
        "test" => test::test(&workspace, arguments),
        "parity" => parity::parity(&workspace, arguments),
        "bench" => bench::bench(&workspace, arguments),
        "fuzz" => fuzz::fuzz(&workspace, arguments),
        "circles" => {
            arguments.finish()?;
            circles::circles(&workspace).map(|()| ExitCode::SUCCESS)
        }
        "page" => {
            arguments.finish()?;
            page::page(&workspace)
        }
        "ci" => {
            arguments.finish()?;
            ci::ci(&workspace)
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no chore `{other}`; `cargo xtask help` lists them"),
    }
}
