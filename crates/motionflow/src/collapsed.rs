//! A text with its white space collapsed, which knows where it stood.

use std::ops::Range;

/// A text whose runs of white space are one space each, without any at its ends: what diffusers' `WanPipeline` makes of a
/// prompt. (It also repairs text that was decoded wrongly, and HTML entities; a prompt is taken as it is here.)
pub(crate) struct Collapsed {
    pub(crate) text: String,
    /// For each byte of `text`, where in the given text its character begins; then where its last one ends.
    origins: Vec<usize>,
}

impl Collapsed {
    pub(crate) fn of(given: &str) -> Self {
        let mut text = String::with_capacity(given.len());
        let mut origins = Vec::with_capacity(given.len() + 1);
        let mut end = 0;
        for (position, character) in given.char_indices().filter(|&(_, character)| !is_space(character)) {
            if !text.is_empty() && position > end {
                text.push(' ');
                origins.push(end);
            }
            text.push(character);
            origins.resize(text.len(), position);
            end = position + character.len_utf8();
        }
        origins.push(end);
        Self { text, origins }
    }

    /// The bytes of the given text that these bytes of the collapsed one stand for; of characters that are only partly
    /// in the range, none. A space stands for the whole run.
    pub(crate) fn origin(&self, range: Range<usize>) -> Range<usize> {
        let last = self.origins.len() - 1;
        let start = self.origins[range.start.min(last)];
        start..self.origins[range.end.min(last)].max(start)
    }
}

/// What `\s` of Python's regular expressions matches: Unicode's white space, and four control characters.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_one_space_and_none_at_the_ends() {
        for (given, text) in [
            ("", ""),
            (" \t\n ", ""),
            ("a", "a"),
            ("  a\u{a0}\u{3000}b \x1f c\n", "a b c"),
            ("é  猫\u{85}🐼", "é 猫 🐼"),
            ("zero\u{200b}width", "zero\u{200b}width"),
        ] {
            let collapsed = Collapsed::of(given);
            assert_eq!(collapsed.text, text);
            assert_eq!(collapsed.origins.len(), text.len() + 1);
        }
    }

    #[test]
    fn ranges_are_of_the_given_text() {
        let given = "  a\t\t猫  ";
        let collapsed = Collapsed::of(given);
        let origin = |range| &given[collapsed.origin(range)];
        assert_eq!(collapsed.text, "a 猫");
        assert_eq!([origin(0..1), origin(1..2), origin(1..5), origin(2..5)], ["a", "\t\t", "\t\t猫", "猫"]);
        assert_eq!((origin(5..5), origin(9..11)), ("", ""));
        assert_eq!(collapsed.origin(5..5), 8..8);
    }
}
