//! The two streams: results go to standard output, all else to standard error; colour only for eyes that want it.
//!
//! Whatever a line quotes (names of files, prompts, words of a checkpoint or of ffmpeg), it leaves here fit for a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use motionflow_media::system::with_hint;

use motionflow_engine::error::ErrorKind;
use motionflow_engine::shell::is_harmful;

/// What is said of standard output that cannot be written to.
const OUTPUT: &str = "standard output cannot be written to";
const ELSEWHERE: &str = "send it elsewhere";

/// Why standard output takes no more.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// A line of results for a person.
pub(crate) fn result(line: &str) {
    print(&fit(line));
}

/// Text that a command is there to print: to its last byte, but on a terminal.
pub(crate) fn product(text: &str) {
    if io::stdout().is_terminal() { result(text) } else { print(text) }
}

/// A line about the run.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", fit(line));
}

/// Something that the user should know, without being an error.
pub(crate) fn warning(message: &str) {
    labelled("warning:", "1;33", message);
}

/// Why the program ends.
pub(crate) fn error(message: &str) {
    labelled("error:", "1;31", message);
}

/// Prints what the reader of the command line has to say: help, or what is wrong. Gives the exit code.
pub(crate) fn of_command_line(message: &clap::Error) -> u8 {
    let code = message.exit_code() as u8;
    let printed = message.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(cause) if !message.use_stderr() && cause.kind() != io::ErrorKind::BrokenPipe => {
            error(&lost_output(&cause));
            ErrorKind::Failed.exit_code()
        }
        _ => code,
    }
}

/// The message about results that went nowhere. None where all were written, or where the reader had enough.
pub(crate) fn lost() -> Option<String> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    lost.as_ref().filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map(lost_output)
}

/// Prints no more results.
pub(crate) fn close() {
    *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(io::ErrorKind::BrokenPipe.into());
}

/// Whether standard error is a terminal that can redraw its last line.
pub(crate) fn can_redraw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard error may have colours (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    can_redraw() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text without characters that do something else than to be seen; line breaks of an argument are not the text's own.
pub(crate) fn fit(text: &str) -> String {
    let text = arguments_of_lines().iter().fold(Cow::Borrowed(text), |text, argument| {
        if text.contains(argument) {
            text.replace(argument, &argument.replace('\n', "\\n")).into()
        } else {
            text
        }
    });
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// As [`fit`], with its line breaks shown as well.
pub(crate) fn on_one_line(text: &str) -> String {
    fit(text).replace('\n', "\\n")
}

fn labelled(label: &str, style: &str, message: &str) {
    let label = if has_colour() { format!("\u{1b}[{style}m{label}\u{1b}[0m") } else { label.to_owned() };
    let _ = writeln!(io::stderr().lock(), "{label} {}", fit(message));
}

/// The arguments that go over several lines, the longest first.
fn arguments_of_lines() -> &'static [String] {
    static ARGUMENTS: OnceLock<Vec<String>> = OnceLock::new();
    ARGUMENTS.get_or_init(|| {
        let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        let mut arguments: Vec<String> =
            arguments.filter(|argument| argument.trim_end_matches('\n').contains('\n')).collect();
        arguments.sort_by_key(|argument| std::cmp::Reverse(argument.len()));
        arguments
    })
}

fn lost_output(error: &io::Error) -> String {
    format!("{OUTPUT}: {}", with_hint(error, ELSEWHERE))
}

/// Prints a line, unless an earlier one could not be printed.
fn print(text: &str) {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.is_none() {
        *lost = write_line(text).err();
    }
}

/// Past the standard library's buffer, so that what is not written is known at once.
#[cfg(unix)]
fn write_line(text: &str) -> io::Result<()> {
    use rustix::io::Errno;
    const WAIT: std::time::Duration = std::time::Duration::from_millis(5);
    let line = format!("{text}\n");
    let mut left = line.as_bytes();
    while !left.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), left) {
            Ok(written) => left = &left[written..],
            // Another program has made the pipe so that writing does not wait.
            Err(Errno::AGAIN) => std::thread::sleep(WAIT),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn write_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let text = "a\u{1b}[31m\u{7}b\r\u{8}\u{9b}2J\u{7f}\t\u{202e}\u{2066}\u{2029}\u{200f}";
        let shown = fit(text);
        assert_eq!(shown, r"a\u{1b}[31m\u{7}b\r\u{8}\u{9b}2J\u{7f}\t\u{202e}\u{2066}\u{2029}\u{200f}");
        for plain in ["one\n  two", "猫 cafe\u{301} \u{1f469}\u{200d}\u{1f680} it's \"a\" \\"] {
            assert_eq!(fit(plain), plain);
        }
    }
}
