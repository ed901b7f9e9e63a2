//! A prompt as the text encoder will get it: its tokens with their positions, the subjects marked.

use std::fmt::Write;

use anyhow::Result;
use motionflow::error::Error;
use motionflow::prompt::{Prompt, prompt_warnings, subject_positions};
use motionflow::tokenizer::{Tokenizer, Tokens};

use crate::progress::Progress;
use crate::shell::on_one_line;

/// Characters of a line.
const WIDTH: usize = 96;

/// A prompt's tokens.
#[derive(Debug)]
pub(crate) struct ShownTokens {
    /// A line of positions and a line of tokens under it, as often as it takes.
    pub(crate) lines: Vec<String>,
    /// What is odd about the prompt.
    pub(crate) warnings: Vec<String>,
}

/// Splits a prompt as the tokenizer does. The pieces of a word end in `|` but for the last; a subject keeps its
/// brackets; what the vocabulary does not have ends in `?`.
pub(crate) fn show(tokenizer: &Tokenizer, prompt: &Prompt) -> Result<ShownTokens> {
    let tokens = tokenizer.encode(&prompt.text).map_err(Error::from)?;
    let warnings = prompt_warnings(prompt, &tokens).map_err(Error::from)?;
    let mut lines = Vec::new();
    let (mut positions, mut words) = (String::new(), String::new());
    for position in 0..tokens.length {
        let word = word(prompt, &tokens, position);
        let width = word.chars().count().max(position.to_string().len());
        if words.chars().count() + width > WIDTH {
            lines.extend([std::mem::take(&mut positions), std::mem::take(&mut words)]);
        }
        let _ = write!(positions, "{position:<width$}  ");
        let _ = write!(words, "{word:width$}  ");
    }
    lines.extend([positions, words]);
    Ok(ShownTokens { lines: lines.iter().map(|line| line.trim_end().to_owned()).collect(), warnings })
}

/// The tokens of several prompts, each under its name. What is odd about them is warned of.
pub(crate) fn of_prompts(
    tokenizer: &Tokenizer,
    prompts: &[(&str, &Prompt)],
    progress: &mut Progress,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (name, prompt) in prompts {
        let shown = show(tokenizer, prompt)?;
        lines.push(format!("tokens of the {name}"));
        lines.extend(shown.lines.iter().map(|line| format!("  {line}")));
        shown.warnings.iter().for_each(|warning| progress.warn(warning));
    }
    Ok(lines)
}

/// The token at a position, as it is shown.
fn word(prompt: &Prompt, tokens: &Tokens, position: usize) -> String {
    if position < tokens.first {
        return "<start>".to_owned();
    }
    if position + 1 == tokens.length {
        return "<end>".to_owned();
    }
    let range = &tokens.offsets[position];
    // An accent that was a character of its own is of the letter before it, which the token stands for alone.
    let mut behind = tokens.offsets[position + 1..].iter().map(|next| next.start);
    let next = behind.find(|start| *start >= range.end).unwrap_or(range.end);
    let text = prompt.text.get(range.start..next).unwrap_or_default();
    // A piece of UMT5's begins with its space, and may be that alone.
    let start = range.start + text.len() - text.trim_start().len();
    let text = text.trim();
    let range = start..start + text.len();
    let unknown = if tokens.unknown.contains(&position) { "?" } else { "" };
    let letter = |found: Option<char>| found.is_some_and(char::is_alphabetic);
    let next = prompt.text.get(range.end..).and_then(|rest| rest.chars().next());
    let goes_on = letter(text.chars().next_back()) && letter(next) && position + 2 < tokens.length;
    let piece = if goes_on { "|" } else { "" };
    let positions = |subject| subject_positions(tokens, subject).unwrap_or_default();
    let opens = prompt.subjects.iter().any(|subject| positions(subject).first() == Some(&position));
    let closes = prompt.subjects.iter().any(|subject| positions(subject).last() == Some(&position));
    let bracket = |is_there, bracket| if is_there { bracket } else { "" };
    let visible = if text.is_empty() { "▁".to_owned() } else { on_one_line(text) };
    format!("{}{visible}{unknown}{piece}{}", bracket(opens, "["), bracket(closes, "]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(prompt: &str) -> ShownTokens {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/tokenizer");
        let tokenizer = Tokenizer::from_folder(folder.as_ref(), 77).unwrap();
        show(&tokenizer, &prompt.parse().unwrap()).unwrap()
    }

    #[test]
    fn subjects_keep_their_brackets() {
        let lines = shown("a [red  ball] on a road").lines;
        assert_eq!(
            lines,
            ["0        1  2     3      4   5  6     7", "<start>  a  [red  ball]  on  a  road  <end>"]
        );
    }

    #[test]
    fn pieces_of_a_word_are_seen() {
        let shown = shown("a [qxzv] on");
        assert!(shown.lines[1].contains("[q|") && shown.lines[1].contains("v]  on"), "{:?}", shown.lines);
        assert!(shown.warnings[0].contains("small pieces"), "{:?}", shown.warnings);
    }

    #[test]
    fn a_subject_whose_accents_are_characters_of_their_own_has_both_brackets() {
        let composed = shown("a [caf\u{e9}] on a road").lines[1].clone();
        let decomposed = shown("a [cafe\u{301}] on a road").lines[1].clone();
        assert_eq!(
            decomposed.replace("e\u{301}", "\u{e9}").split_whitespace().collect::<Vec<_>>(),
            composed.split_whitespace().collect::<Vec<_>>()
        );
        for prompt in
            ["an [e\u{301}le\u{301}phant]", "[no\u{308}e\u{308}] and [A\u{30a}]", "a [🐼]", "a [한]"]
        {
            let line = shown(prompt).lines[1..].join(" ");
            let count = |bracket| line.matches(bracket).count();
            assert_eq!(
                (count('['), count(']')),
                (prompt.matches('[').count(), prompt.matches('[').count()),
                "{line}"
            );
        }
    }

    #[test]
    fn a_long_prompt_takes_several_lines_and_is_cut_off() {
        let shown = shown(&format!("a [car] {}", "on a road ".repeat(20)));
        assert!(shown.lines.len() > 2 && shown.lines.iter().all(|line| line.len() <= WIDTH + 2));
        assert!(shown.lines.last().unwrap().ends_with("<end>"));
        assert!(shown.warnings[0].contains("cut off"), "{:?}", shown.warnings);
    }
}
