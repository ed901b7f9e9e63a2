//! What `--json` prints: one event a line on standard output. docs/machines.md is their documentation.

use std::fmt::Write as _;

use serde::Serialize;

use crate::batch::jobs::Ending;
use crate::folder::record::StepRecord;
use crate::terminal;

/// The version of the format: it changes when a field is renamed, removed or means something else, not when one is added.
pub(crate) const FORMAT: u32 = 1;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// The first event.
    Started { format: u32, command: &'a str, version: &'a str },
    /// A part of the run begins; `steps` is 1 where there is nothing to count.
    Stage { stage: &'a str, steps: usize },
    /// How far the part is.
    Progress { stage: &'a str, done: usize, of: usize, detail: &'a str },
    /// A step of the method, with its figures.
    Step { step: &'a StepRecord },
    /// A part of the run is done.
    StageDone { stage: &'a str, seconds: f64 },
    /// Something that is good to know.
    Note { message: &'a str },
    /// Something that is probably wrong.
    Warning { message: &'a str },
    /// A run is finished, and these are its files.
    Finished { folder: &'a str, files: Vec<MadeFile<'a>>, seconds: f64, peak_memory_bytes: Option<u64> },
    /// A row of what a command lists; `of` says what it is.
    Row { of: &'a str, row: &'a serde_json::Value },
    /// A job of a batch is over.
    Job { name: &'a str, ending: Ending, seconds: f64 },
    /// The program was asked to stop, and the run can go on later.
    Stopped { message: &'a str },
    /// The program ends, or a job of a batch does.
    Error { message: &'a str, exit_code: u8 },
}

/// A file of a finished run.
#[derive(Debug, Serialize)]
pub(crate) struct MadeFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) shows: &'a str,
}

/// Prints an event.
pub(crate) fn tell(event: &Event) {
    // Nothing in an event can fail to become JSON.
    if let Ok(line) = serde_json::to_string(event) {
        terminal::product(&escaped(&line));
    }
}

/// The same JSON, without what is harmful on a terminal: such signs stand in strings alone, and may be escaped there.
fn escaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for letter in line.chars() {
        if terminal::is_harmful(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_harmless_and_says_the_same() {
        let message = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\n\"b\"";
        let line = serde_json::to_string(&Event::Note { message }).unwrap();
        let shown = escaped(&line);
        assert!(!shown.chars().any(terminal::is_harmful), "{shown}");
        let [one, other] =
            [line, shown].map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
        assert_eq!(one, other);
        assert_eq!(other["message"], message);
    }
}
