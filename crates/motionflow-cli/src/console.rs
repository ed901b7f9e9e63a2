//! How the program talks: to a person with bars and lines, to a program with one JSON object a line, or not at all.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use motionflow_engine::error::ErrorKind;
use motionflow_engine::event::{Event, FORMAT, MadeFile};
use motionflow_engine::folder::record::{MaskRecord, StepRecord};
use motionflow_engine::progress::Observer;
use motionflow_engine::request::tables::Program;
use motionflow_engine::shell::is_harmful;
use motionflow_engine::units::brief;

use crate::bar::Bar;
use crate::stop;
use crate::terminal;

/// How the program talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputMode {
    /// To a person.
    Plain,
    /// Errors alone.
    Quiet,
    /// To a program, as [`Event`]s.
    Json,
}

impl OutputMode {
    /// What a request says of it.
    pub(crate) fn of(program: &Program) -> Self {
        match (program.json, program.quiet) {
            (Some(true), _) => Self::Json,
            (_, Some(true)) => Self::Quiet,
            _ => Self::Plain,
        }
    }
}

/// Shows what happens. Clones talk together.
#[derive(Debug, Clone)]
pub(crate) struct Console(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    command: &'static str,
    mode: OutputMode,
    /// Whether a job of many is at work of which a person sees one line in the end.
    in_brief_job: bool,
    bar: Option<Bar>,
    /// The loss of the last update.
    loss: String,
}

impl Console {
    pub(crate) fn new(command: &'static str, mode: OutputMode) -> Self {
        let state =
            State { command, mode: OutputMode::Plain, in_brief_job: false, bar: None, loss: String::new() };
        let console = Self(Arc::new(Mutex::new(state)));
        console.set_mode(mode);
        console
    }

    /// Talks in this way from now on. The first line of JSON says what it is.
    pub(crate) fn set_mode(&self, mode: OutputMode) {
        let mut state = self.state();
        let was_told = state.mode == OutputMode::Json;
        state.mode = mode;
        if mode == OutputMode::Json && !was_told {
            let version = env!("CARGO_PKG_VERSION");
            print(&Event::Started { format: FORMAT, command: state.command, version });
        }
    }

    /// How it talks.
    pub(crate) fn mode(&self) -> OutputMode {
        self.state().mode
    }

    /// How it talks, unless it is talking.
    pub(crate) fn mode_at_last(&self) -> Option<OutputMode> {
        self.0.try_lock().ok().map(|state| state.mode)
    }

    /// Shows the events of a run.
    pub(crate) fn observer(&self) -> Observer {
        let console = self.clone();
        Arc::new(move |event| console.event(event))
    }

    /// Shows an event.
    pub(crate) fn event(&self, event: &Event) {
        let mut state = self.state();
        if let Event::Error { message, job, .. } = event {
            state.bar = None;
            // To a person the job's name stands above or below it.
            let prefix = job.filter(|_| state.mode == OutputMode::Plain).map(|job| format!("job {job}: "));
            terminal::error(prefix.and_then(|prefix| message.strip_prefix(&prefix)).unwrap_or(message));
        }
        if let Event::Stopped { message } = event {
            state.bar = None;
            terminal::note(message);
        }
        match state.mode {
            OutputMode::Json => print(event),
            OutputMode::Quiet => {}
            OutputMode::Plain => state.show(event),
        }
    }

    /// A row of a table, for a program.
    pub(crate) fn row(&self, of: &str, row: &serde_json::Value) {
        self.event(&Event::Row { of, row });
    }

    /// A line of results, for a person.
    pub(crate) fn result(&self, line: &str) {
        if self.state().mode == OutputMode::Plain {
            terminal::result(line);
        }
    }

    /// What a command is there to print, for whoever reads it; `of` says what it is.
    pub(crate) fn product(&self, of: &str, text: &str) {
        let mode = self.state().mode;
        match mode {
            OutputMode::Json => self.row(of, &text.into()),
            _ => terminal::product(text),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints an event for a program. Those that are for people alone are left out.
pub(crate) fn print(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        terminal::product(&escaped(&line));
    }
}

/// The same JSON, without what is harmful on a terminal: such signs stand in strings alone, and may be escaped there.
fn escaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for letter in line.chars() {
        if is_harmful(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

impl State {
    /// Shows an event to a person.
    fn show(&mut self, event: &Event) {
        match event {
            Event::JobBegins { brief, .. } => self.in_brief_job = *brief,
            Event::JobEnds { .. } => self.in_brief_job = false,
            _ if self.in_brief_job => {}
            Event::Waiting { device } => {
                terminal::note(&format!("waiting: another run is at work on {device}"));
            }
            Event::Stage { stage, steps, unit } => {
                self.loss.clear();
                self.bar = Some(Bar::new(stage, *steps, unit));
            }
            Event::Progress { done, detail, .. } => {
                let detail = if detail.is_empty() { &self.loss } else { *detail };
                if let Some(bar) = &mut self.bar {
                    bar.step(*done, detail);
                }
            }
            Event::Step { step: StepRecord::Update { loss, .. } } => {
                self.loss = format!("loss {:.4}", loss.total);
                if let Some(bar) = &self.bar {
                    bar.detail(&self.loss);
                }
            }
            Event::StageDone { stage, seconds } => {
                self.bar = None;
                terminal::note(&format!("{stage}: done in {}", brief(*seconds)));
            }
            Event::StageLeft { .. } => self.bar = None,
            Event::Note { message } => terminal::note(message),
            Event::Warning { message } => terminal::warning(message),
            Event::Finished { folder, files, seconds, masks, .. } => finished(folder, files, *seconds, masks),
            Event::Started { .. }
            | Event::Step { .. }
            | Event::Row { .. }
            | Event::Job { .. }
            | Event::Stopped { .. }
            | Event::Masks { .. }
            | Event::Preview { .. }
            | Event::Error { .. } => {}
        }
    }
}

/// What was made, and where to look.
fn finished(folder: &str, files: &[MadeFile], seconds: f64, masks: &[MaskRecord]) {
    for MaskRecord { subject, coverage, overlap } in masks {
        terminal::result(&format!(
            "\"{subject}\": the mask covers {:.1} % of the frame, neighbouring frames' masks overlap by {:.0} %",
            coverage * 100.0,
            overlap * 100.0
        ));
    }
    terminal::result(&format!("{folder} made in {}:", brief(seconds)));
    let longest = files.iter().map(|file| file.name.len()).max().unwrap_or(0);
    for MadeFile { name, shows } in files {
        terminal::result(&format!("  {name:longest$}  {shows}"));
    }
}

/// Tells why the program ends. Returns its exit code.
pub(crate) fn tell_error(console: &Console, error: &anyhow::Error) -> u8 {
    stop::let_it_end();
    let message = motionflow_engine::error::message(error);
    let kind = ErrorKind::of(error);
    let exit_code = kind.exit_code();
    match kind {
        ErrorKind::Stopped => console.event(&Event::Stopped { message: &message }),
        _ => console.event(&Event::Error { message: &message, kind, exit_code, job: None }),
    }
    exit_code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_harmless_and_says_the_same() {
        let message = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\n\"b\"";
        let line = serde_json::to_string(&Event::Note { message }).unwrap();
        let shown = escaped(&line);
        assert!(!shown.chars().any(is_harmful), "{shown}");
        let [one, other] =
            [line, shown].map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
        assert_eq!(one, other);
        assert_eq!(other["message"], message);
    }
}
