//! The program `motionflow`: reads the command line, runs one command, tells how it ended.

mod args;
mod asked;
mod batch;
mod bench;
mod bytes;
mod cache;
mod cache_command;
mod changes;
mod checksums;
mod columns;
mod completions;
mod damage;
mod doctor;
mod dry_run;
mod estimate;
mod eval;
mod event;
mod experiment;
mod failure;
mod folder_name;
mod generate;
mod generating;
mod group_memory;
mod hashes;
mod home;
mod hub;
mod inputs;
mod inspect;
mod inversion_cache;
mod inversion_file;
mod invert;
mod inverting;
mod jobs;
mod known;
mod leave;
mod libtorch_version;
mod looking;
mod man;
mod map_tensors;
mod metadata;
mod model;
mod models;
mod named;
mod out_of_memory;
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
mod show;
#[cfg(unix)]
mod signals;
mod source;
mod standing;
mod stop;
mod suitability;
mod sweep;
mod system_memory;
mod terminal;
mod threads;
mod tokens;
mod toml_file;
mod transfer;
mod unfinished;
mod values;
mod verify;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use motionflow_media::system::told;

use crate::args::{Cli, Command};
use crate::event::Event;
use crate::out_of_memory::Mend;
use crate::progress::Voice;
use crate::session::Session;

const CANNOT_LISTEN: &str = "the program cannot listen to signals such as Ctrl-C";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&harmless(error)),
    };
    #[cfg(unix)]
    signals::hold();
    threads::wait_asleep();
    let mut session = Session::new(cli.command.name(), &cli.common);
    let outcome = failure::catch(|| {
        stop::listen().map_err(|error| anyhow!("{CANNOT_LISTEN}: {}", told(&error, "run it elsewhere")))?;
        run(&cli.command, &mut session)
    });
    stop::let_it_end();
    match outcome {
        Ok(()) => match terminal::lost() {
            None => ExitCode::SUCCESS,
            // The files are there.
            Some(message) if leaves_files(&cli.command) && session.progress.voice() != Voice::Json => {
                terminal::warning(&message);
                ExitCode::SUCCESS
            }
            Some(message) => ExitCode::from(failure::tell(&anyhow!(message), session.progress.voice())),
        },
        Err(error) => {
            let error = out_of_memory::explain(error, &session, Mend::OtherDevice);
            ExitCode::from(failure::tell(&error, session.progress.voice()))
        }
    }
}

/// The same error, about arguments that are fit for a terminal.
fn harmless(error: clap::Error) -> clap::Error {
    let shown = std::env::args_os().map(|argument| terminal::on_one_line(&argument.to_string_lossy()));
    Cli::try_parse_from(shown).err().filter(|again| again.kind() == error.kind()).unwrap_or(error)
}

/// Tells what is wrong with the command line, or the help that it asks for.
fn not_parsed(error: &clap::Error) -> ExitCode {
    #[cfg(unix)]
    signals::let_through();
    // Nothing was parsed, so the flag is looked for by itself.
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let message = message.trim_start_matches("error: ").trim_end();
        event::tell(&Event::Error { message, exit_code: failure::MISUSED });
    }
    ExitCode::from(terminal::of_command_line(error))
}

/// Whether a command is there for the files that it leaves, and what it prints only says where they are.
fn leaves_files(command: &Command) -> bool {
    match command {
        Command::Transfer(args) => !args.dry_run,
        Command::Eval(args) => args.suite.suite.is_some(),
        Command::Generate(_)
        | Command::Invert(_)
        | Command::Inspect(_)
        | Command::Batch(_)
        | Command::Sweep(_) => true,
        _ => false,
    }
}

fn run(command: &Command, session: &mut Session) -> Result<()> {
    match command {
        Command::Transfer(args) => transfer::run(args, session),
        Command::Generate(args) => generate::run(args, session),
        Command::Invert(args) => invert::run(args, session),
        Command::Inspect(args) => inspect::run(args, session),
        Command::Batch(args) => batch::run(args, session),
        Command::Eval(args) => eval::run(args, session),
        Command::Sweep(args) => sweep::run(args, session),
        Command::Models(args) => models::run(args, session),
        Command::Verify(args) => verify::run(args, session),
        Command::Bench(args) => bench::run(args, session),
        Command::Cache(args) => cache_command::run(args, &session.progress),
        Command::Doctor => doctor::run(session),
        Command::Completions(args) => completions::run(args, &session.progress),
        Command::Man(args) => man::run(args, &session.progress),
        Command::Show(args) => show::run(args, &session.progress),
        Command::Schema => request::print_schema(&session.progress),
    }
}
