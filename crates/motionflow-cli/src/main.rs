//! The program `motionflow`: reads the command line, runs one command, tells how it ended.

mod args;
mod dry_run;
mod estimate;
mod failure;
mod generate;
mod generating;
mod inspect;
mod inversion_file;
mod invert;
mod inverting;
mod looking;
mod metadata;
mod model;
mod pictures;
mod progress;
mod prompts;
mod recommended;
mod record;
mod report;
mod resolve;
mod run_folder;
mod show;
mod source;
mod terminal;
mod threads;
mod tokens;
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
        Command::Show(args) => show::run(args, &progress),
        Command::Verify(args) => verify::run(args, &mut progress),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
