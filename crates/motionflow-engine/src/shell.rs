//! Text for a shell or a terminal: commands to type, and what a terminal must not be given.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// Whether a terminal may obey a character instead of showing it: control characters but for line breaks, and those that turn
/// the direction of the text around.
pub fn is_harmful(letter: char) -> bool {
    let turns = matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (letter.is_control() && letter != '\n')
}

/// A text of somebody else, without ends of lines and other control characters.
pub fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A path as it is typed in a shell.
pub(crate) fn typed(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    match path.to_str() {
        Some(plain) if !plain.chars().any(|letter| is_harmful(letter) || letter == '\n') => {
            shlex::try_quote(plain).map_or_else(|_| plain.to_owned(), Cow::into_owned)
        }
        _ => quoted_bytes(bytes),
    }
}

/// `$'…'`, which bash, ksh and zsh know, for what no other quotes can show.
fn quoted_bytes(bytes: &[u8]) -> String {
    let mut quoted = "$'".to_owned();
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => quoted.extend(['\\', byte.into()]),
            b' '..=b'~' => quoted.push(byte.into()),
            // Three digits, so that none that follows is taken for one of them.
            _ => drop(write!(quoted, "\\{byte:03o}")),
        }
    }
    quoted + "'"
}

/// The command that resumes the run in `folder`.
pub(crate) fn resume(command: &str, folder: &Path) -> String {
    format!("motionflow {command} --resume {}", typed(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_typed_as_a_shell_takes_it() {
        assert_eq!(typed(Path::new("a/b-1.mp4")), "a/b-1.mp4");
        assert_eq!(typed(Path::new("a b")), "'a b'");
        assert_eq!(typed(Path::new("a'\u{1b}1\n")), r"$'a\'\0331\012'");
        #[cfg(unix)]
        {
            use std::ffi::OsStr;
            use std::os::unix::ffi::OsStrExt;
            assert_eq!(typed(Path::new(OsStr::from_bytes(b"u\xe9\\.mp4"))), r"$'u\351\\.mp4'");
        }
    }
}
