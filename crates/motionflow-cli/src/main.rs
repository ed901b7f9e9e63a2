//! The program `motionflow`: reads the command line, runs one command, tells how it ended.

mod app;
mod args;
mod bar;
mod bench;
mod cache_command;
mod completions;
mod console;
mod doctor;
mod man;
mod models;
mod omp;
mod plan;
mod queue;
mod runs;
mod show;
#[cfg(unix)]
mod signals;
mod spread;
mod stop;
mod studio;
mod terminal;
mod verify;
mod workers;

use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use motionflow::device::DeviceChoice;
use motionflow_engine::error::{self, ErrorKind};
use motionflow_engine::event::Event;
use motionflow_media::system::with_hint;

use crate::app::App;
use crate::args::{Cli, Command};
use crate::console::OutputMode;

const CANNOT_LISTEN: &str = "the program cannot listen to signals such as Ctrl-C";

fn main() -> ExitCode {
    let code = program();
    let _ = io::stdout().flush();
    #[cfg(unix)]
    end_at_once(code);
    #[cfg(not(unix))]
    ExitCode::from(code)
}

/// Ends the process without libtorch's and CUDA's own tidying up, which takes half a second and gives back what the system
/// takes back anyway.
#[cfg(unix)]
fn end_at_once(code: u8) -> ! {
    // SAFETY: ends the process; what was to be written is written.
    unsafe { libc::_exit(code.into()) }
}

/// Runs the command that the arguments name; gives the exit code.
fn program() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&harmless(error)),
    };
    #[cfg(unix)]
    signals::hold();
    omp::wait_asleep(cli.common.resources.0.device != Some(DeviceChoice::Cpu));
    // A panic is reported as an error, once.
    panic::set_hook(Box::new(|_| ()));
    let mut app = App::new(cli.command.name(), &cli.common);
    let outcome = error::catch(|| {
        stop::listen(&app.cancel, &app.console)
            .map_err(|error| anyhow!("{CANNOT_LISTEN}: {}", with_hint(&error, "run it elsewhere")))?;
        run(&cli.command, &mut app)
    });
    stop::let_it_end();
    match outcome {
        Ok(()) => match terminal::lost() {
            None => 0,
            // The files are there.
            Some(message) if leaves_files(&cli.command) && app.console.mode() != OutputMode::Json => {
                terminal::warning(&message);
                0
            }
            Some(message) => console::tell_error(&app.console, &anyhow!(message)),
        },
        Err(error) => {
            let error = app.engine.explain(error, &app.flags.resources, &app.progress);
            console::tell_error(&app.console, &error)
        }
    }
}

/// The same error, about arguments that are fit for a terminal.
fn harmless(error: clap::Error) -> clap::Error {
    let shown = std::env::args_os().map(|argument| terminal::on_one_line(&argument.to_string_lossy()));
    Cli::try_parse_from(shown).err().filter(|again| again.kind() == error.kind()).unwrap_or(error)
}

/// Tells what is wrong with the command line, or the help that it asks for.
fn not_parsed(error: &clap::Error) -> u8 {
    #[cfg(unix)]
    signals::let_through();
    // Nothing was parsed, so the flag is looked for by itself.
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let message = message.trim_start_matches("error: ").trim_end();
        let kind = ErrorKind::Misuse;
        console::print(&Event::Error { message, kind, exit_code: kind.exit_code(), job: None });
    }
    terminal::of_command_line(error)
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
        | Command::Sweep(_)
        | Command::Worker(_) => true,
        _ => false,
    }
}

fn run(command: &Command, app: &mut App) -> Result<()> {
    match command {
        Command::Transfer(args) => runs::transfer(args, app),
        Command::Generate(args) => runs::generate(args, app),
        Command::Invert(args) => runs::invert(args, app),
        Command::Inspect(args) => runs::inspect(args, app),
        Command::Batch(args) => runs::batch(args, app),
        Command::Eval(args) => runs::eval(args, app),
        Command::Sweep(args) => runs::sweep(args, app),
        Command::Models(args) => models::run(args, app),
        Command::Studio(args) => studio::run(args, app),
        Command::Worker(args) => queue::work(args, app),
        Command::Submit(args) => queue::submit(args, app),
        Command::Queue(args) => queue::queue(args, app),
        Command::Track(args) => runs::track(args, app),
        Command::Verify(args) => verify::run(args, app),
        Command::Bench(args) => bench::run(args, app),
        Command::Cache(args) => cache_command::run(args, &app.console),
        Command::Doctor => doctor::run(app),
        Command::Completions(args) => completions::run(args, &app.console),
        Command::Man(args) => man::run(args, &app.console),
        Command::Show(args) => show::run(args, &app.console),
        Command::Schema(args) => runs::schema(args, app),
    }
}
