//! A prompt as the text encoder will get it: its tokens with their positions, the subjects marked.

use std::fmt::Write;
use std::ops::Range;

use anyhow::Result;
use motionflow::error::Error;
use motionflow::prompt::{Prompt, prompt_warnings, subject_positions};
use motionflow::tokenizer::{Tokenizer, Tokens};

use crate::engine::Engine;
use crate::progress::Progress;
use crate::request::{prompts, tables};
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
    let shown = tokens_of(prompt, &tokens);
    for position in 0..shown.len() {
        let word = word(&shown, position);
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

/// A prompt as the text encoder of a checkpoint will get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTokens {
    /// With its brackets read.
    pub prompt: Prompt,
    /// Before the padding.
    pub tokens: Vec<PromptToken>,
    /// How many tokens the text encoder takes.
    pub limit: usize,
    /// What is odd about it, and what of it the checkpoint does not know.
    pub warnings: Vec<String>,
}

impl Engine {
    /// The tokens of a prompt with its brackets, by a checkpoint's tokenizer; its weights are not loaded. `which` is what
    /// messages call the prompt.
    ///
    /// # Errors
    /// When the brackets do not match, or the checkpoint is not there.
    pub fn tokens(
        &self,
        model: &tables::Model,
        which: &'static str,
        text: &str,
        progress: &mut Progress,
    ) -> Result<PromptTokens> {
        let prompt = prompts::parse(which, text)?;
        let found = self.find(model, progress)?;
        let tokens = found.tokenizer()?.encode(&prompt.text).map_err(Error::from)?;
        let mut warnings = prompt_warnings(&prompt, &tokens).map_err(Error::from)?;
        warnings.extend(found.recommended.domain.warning(which, &prompt));
        let shown = tokens_of(&prompt, &tokens);
        Ok(PromptTokens { prompt, tokens: shown, limit: tokens.ids.len(), warnings })
    }
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

/// A token of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptToken {
    /// Where it stands among the tokens.
    pub position: usize,
    /// What of the prompt without its brackets it stands for; for a person, never empty.
    pub text: String,
    /// The bytes of that text; empty of the begin and end tokens.
    pub range: Range<usize>,
    /// Whether it is the begin or the end token.
    pub special: Option<Special>,
    /// Which subject it belongs to, counted from 0.
    pub subject: Option<usize>,
    /// Whether the vocabulary does not have it.
    pub is_unknown: bool,
    /// Whether its word goes on in the next token.
    pub is_piece: bool,
}

/// A token that stands for no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Before the text.
    Start,
    /// After it.
    End,
}

/// The tokens of a prompt before the padding.
pub(crate) fn tokens_of(prompt: &Prompt, tokens: &Tokens) -> Vec<PromptToken> {
    let positions = |subject| subject_positions(tokens, subject).unwrap_or_default();
    let of_subjects: Vec<Vec<usize>> = prompt.subjects.iter().map(positions).collect();
    let token = |position| {
        let subject = of_subjects.iter().position(|positions| positions.contains(&position));
        token_at(prompt, tokens, position, subject)
    };
    (0..tokens.length).map(token).collect()
}

fn token_at(prompt: &Prompt, tokens: &Tokens, position: usize, subject: Option<usize>) -> PromptToken {
    let special = match position {
        position if position < tokens.first => Some(Special::Start),
        position if position + 1 == tokens.length => Some(Special::End),
        _ => None,
    };
    if let Some(special) = special {
        let text = if special == Special::Start { "<start>" } else { "<end>" }.to_owned();
        let (range, is_unknown, is_piece) = (0..0, false, false);
        return PromptToken { position, text, range, special: Some(special), subject, is_unknown, is_piece };
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
    let letter = |found: Option<char>| found.is_some_and(char::is_alphabetic);
    let next = prompt.text.get(range.end..).and_then(|rest| rest.chars().next());
    let is_piece = letter(text.chars().next_back()) && letter(next) && position + 2 < tokens.length;
    let text = if text.is_empty() { "▁".to_owned() } else { on_one_line(text) };
    let is_unknown = tokens.unknown.contains(&position);
    PromptToken { position, text, range, special, subject, is_unknown, is_piece }
}

/// The token at a place, as it is shown.
fn word(all: &[PromptToken], at: usize) -> String {
    let PromptToken { text, subject, is_unknown, is_piece, .. } = &all[at];
    let other = |neighbour: Option<&PromptToken>| {
        subject.is_some() && neighbour.is_none_or(|neighbour| neighbour.subject != *subject)
    };
    let sign = |is_there: bool, sign| if is_there { sign } else { "" };
    let (opens, closes) = (other(at.checked_sub(1).map(|before| &all[before])), other(all.get(at + 1)));
    let (opens, closes) = (sign(opens, "["), sign(closes, "]"));
    format!("{opens}{text}{}{}{closes}", sign(*is_unknown, "?"), sign(*is_piece, "|"))
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
