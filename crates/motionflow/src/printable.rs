//! Text from a file that is not to be trusted, made fit for a message.

use std::fmt::Write as _;

/// Characters that are shown of the beginning and, of a longer text, of the end.
const BEGINNING: usize = 160;
const END: usize = 80;

/// `text` on one line, without control characters and the like, and without its middle where it is long.
pub(crate) fn printable(text: &str) -> String {
    let Some((cut, _)) = text.char_indices().nth(BEGINNING + END) else {
        return text.chars().flat_map(shown).collect();
    };
    let beginning = text[..cut].chars().take(BEGINNING).flat_map(shown);
    let mut end: Vec<char> = text.chars().rev().take(END).collect();
    end.reverse();
    beginning.chain(" … ".chars()).chain(end.into_iter().flat_map(shown)).collect()
}

/// Whether [`printable`] shows all of `text` as it is.
pub(crate) fn is_printable(text: &str) -> bool {
    text.chars().count() <= BEGINNING + END && text.chars().all(|c| shown(c).eq([c]))
}

fn shown(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '\'' | '"' | '\\');
    plain.then_some(c).into_iter().chain((!plain).then(|| c.escape_debug()).into_iter().flatten())
}

/// Two hexadecimal digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_plain_text() {
        assert_eq!(printable("it's \"a\" \\ ü 猫"), "it's \"a\" \\ ü 猫");
        assert_eq!(printable("\x1b[2J\n\u{202e}"), r"\u{1b}[2J\n\u{202e}");
        assert!(is_printable("down_blocks.0.resnets") && !is_printable("a\tb"));
    }

    #[test]
    fn a_long_text_loses_its_middle() {
        let long = format!("a{}z", "é".repeat(1_000_000));
        let shown = printable(&long);
        assert_eq!(shown.chars().count(), BEGINNING + END + 3);
        assert!(shown.starts_with('a') && shown.ends_with('z') && !is_printable(&long));
        assert_eq!(printable(&"é".repeat(BEGINNING + END)), "é".repeat(BEGINNING + END));
    }
}
