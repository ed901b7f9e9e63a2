//! The two streams: results go to standard output, all else to standard error; colour only for eyes that want it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// A line of results. A reader that has gone away is no reason to fail.
pub(crate) fn result(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line about the run.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Something that the user should know, without being an error.
pub(crate) fn warning(message: &str) {
    note(&format!("{} {message}", painted("warning:", "1;33")));
}

/// Why the program ends.
pub(crate) fn error(message: &str) {
    note(&format!("{} {message}", painted("error:", "1;31")));
}

/// Whether standard error is a terminal that can redraw its last line.
pub(crate) fn can_redraw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard error may have colours (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    can_redraw() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A path as it is typed in a shell.
pub(crate) fn typed(path: &Path) -> String {
    let plain = path.display().to_string();
    shlex::try_quote(&plain).map_or_else(|_| plain.clone(), Cow::into_owned)
}

fn painted(text: &str, style: &str) -> String {
    if has_colour() { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
}
