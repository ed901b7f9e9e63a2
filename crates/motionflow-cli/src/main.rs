//! The program `motionflow`: reads the command line, runs one command, tells how it ended.

mod args;
mod asked;
mod event;
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
mod map_tensors;
mod model;
mod models;
mod named;
mod pictures;
mod progress;
mod prompts;
mod recommended;
mod record;
mod report;
mod request;
mod resolve;
mod run_folder;
mod session;
mod source;
mod stop;
mod terminal;
mod threads;
mod toml_file;
mod transfer;
mod unfinished;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::event::Event;
use crate::progress::Voice;
use crate::session::Session;

fn main() -> ExitCode {
    let cli = Cli::parse();
    threads::wait_asleep();
    let mut session = Session::new(&cli.common);
    session.progress.event(&Event::Started {
        format: event::FORMAT,
        command: cli.command.name(),
        version: env!("CARGO_PKG_VERSION"),
    });
    let outcome = failure::catch(|| {
        match &cli.command {
            // These take settings files, which may say how to behave.
            Command::Transfer(args) => transfer::run(args, &mut session),
            Command::Generate(args) => generate::run(args, &mut session),
            Command::Invert(args) => invert::run(args, &mut session),
            Command::Inspect(args) => inspect::run(args, &mut session),
            Command::Models(args) => {
                session.behave(&session.flags().clone())?;
                models::run(args, &mut session.progress)
            }
            Command::Verify(args) => {
                session.behave(&session.flags().clone())?;
                verify::run(args, &mut session.progress)
            }
            Command::Schema => request::print_schema(),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, session.progress.voice() == Voice::Json),
    }
}
