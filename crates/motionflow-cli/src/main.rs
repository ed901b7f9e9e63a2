//! The program `motionflow`: reads the command line, runs one command, tells how it ended.

mod args;
mod failure;
mod generate;
mod generating;
mod hub;
mod inspect;
mod inversion_file;
mod invert;
mod inverting;
mod known;
mod looking;
mod model;
mod models;
mod pictures;
mod progress;
mod prompts;
mod recommended;
mod record;
mod report;
mod resolve;
mod run_folder;
mod source;
mod terminal;
mod threads;
mod transfer;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::progress::Progress;

fn main() -> ExitCode {
    let cli = Cli::parse();
    threads::wait_asleep();
    threads::limit(cli.common.threads);
    let mut progress = Progress::new(cli.common.quiet);
    let outcome = failure::catch(|| match &cli.command {
        Command::Transfer(args) => transfer::run(args, &mut progress),
        Command::Generate(args) => generate::run(args, &mut progress),
        Command::Invert(args) => invert::run(args, &mut progress),
        Command::Inspect(args) => inspect::run(args, &mut progress),
        Command::Models(args) => models::run(args, &mut progress),
        Command::Verify(args) => verify::run(args, &mut progress),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
