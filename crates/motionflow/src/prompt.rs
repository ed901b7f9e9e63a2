//! Prompts with their subjects marked: `a [dog] chasing a [red ball]`.
//!
//! The k-th subject of the source prompt gives its motion to the k-th of the target prompt. The brackets are removed
//! before the text is encoded; a literal bracket is written `\[` or `\]`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::tokenizer::Tokens;

/// A prompt without its brackets, and what stood in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// The text to encode.
    pub text: String,
    /// The subjects, in the order of the text.
    pub subjects: Vec<Subject>,
}

/// One or several words of a prompt whose motion is taken or given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The words, without space around them.
    pub text: String,
    /// The bytes of [`Prompt::text`] that they are.
    pub range: Range<usize>,
}

/// A bracket that makes no sense, and where. Its message has the prompt with a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptError {
    /// What is wrong.
    pub kind: PromptErrorKind,
    /// The prompt as it was given.
    pub prompt: String,
    /// The byte of `prompt` where the bracket is.
    pub position: usize,
}

/// What can be wrong with the brackets of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromptErrorKind {
    /// `[` without `]`.
    NeverClosed,
    /// `]` without `[`.
    NeverOpened,
    /// `[` inside of brackets.
    Nested,
    /// Nothing, or nothing but space, inside of brackets.
    Empty,
}

/// Why a subject has no usable tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The text was cut off before the subject's end.
    #[error(
        "the subject \"{subject}\" is beyond the text encoder's limit of {limit} tokens (the prompt has {total}): \
         shorten the prompt, or move the subject to its front"
    )]
    CutOff {
        /// The subject.
        subject: String,
        /// How many tokens fit, begin and end token included.
        limit: usize,
        /// How many the prompt has.
        total: usize,
    },
    /// The tokenizer makes nothing of the subject.
    #[error("the tokenizer makes no token of the subject \"{subject}\"")]
    NoTokens {
        /// The subject.
        subject: String,
    },
}

impl FromStr for Prompt {
    type Err = PromptError;

    fn from_str(prompt: &str) -> Result<Self, PromptError> {
        let error = |kind, position| PromptError { kind, prompt: prompt.to_owned(), position };
        let mut text = String::with_capacity(prompt.len());
        let mut subjects = Vec::new();
        // Where the open bracket stands in `prompt`, and where its content begins in `text`.
        let mut open: Option<(usize, usize)> = None;
        let mut characters = prompt.char_indices().peekable();
        while let Some((position, character)) = characters.next() {
            match (character, open) {
                ('\\', _) => {
                    let escaped = characters.next_if(|(_, next)| matches!(next, '[' | ']'));
                    text.push(escaped.map_or('\\', |(_, bracket)| bracket));
                }
                ('[', None) => open = Some((position, text.len())),
                ('[', Some(_)) => return Err(error(PromptErrorKind::Nested, position)),
                (']', None) => return Err(error(PromptErrorKind::NeverOpened, position)),
                (']', Some((opened, start))) => {
                    let subject = Subject::trimmed(&text, start);
                    subjects.push(subject.ok_or_else(|| error(PromptErrorKind::Empty, opened))?);
                    open = None;
                }
                (other, _) => text.push(other),
            }
        }
        match open {
            Some((opened, _)) => Err(error(PromptErrorKind::NeverClosed, opened)),
            None => Ok(Self { text, subjects }),
        }
    }
}

impl Subject {
    /// The end of `text` from byte `start` on, without the space around it.
    fn trimmed(text: &str, start: usize) -> Option<Self> {
        let words = text[start..].trim_end();
        let begin = start + words.len() - words.trim_start().len();
        let range = begin..start + words.len();
        (!range.is_empty()).then(|| Self { text: text[range.clone()].to_owned(), range })
    }
}

/// The positions in [`Tokens::ids`] of the tokens that stand for any part of `subject`.
///
/// `tokens` must be those of the text of the subject's prompt.
///
/// # Errors
/// [`SubjectError`]: the subject is cut off, wholly or in part, or has no tokens.
pub fn subject_positions(tokens: &Tokens, subject: &Subject) -> Result<Vec<usize>, SubjectError> {
    if subject.range.end > tokens.text_used {
        return Err(SubjectError::CutOff {
            subject: subject.text.clone(),
            limit: tokens.ids.len(),
            total: tokens.total,
        });
    }
    let overlaps = |token: &Range<usize>| token.start < subject.range.end && subject.range.start < token.end;
    let positions: Vec<_> = (0..tokens.offsets.len()).filter(|&i| overlaps(&tokens.offsets[i])).collect();
    if positions.is_empty() {
        return Err(SubjectError::NoTokens { subject: subject.text.clone() });
    }
    Ok(positions)
}

/// Whether the tokens at `positions` are all unknown to the tokenizer, so that the text encoder cannot tell the subject
/// from any other such word. That is a warning to give, not an error.
pub fn subject_is_unknown(tokens: &Tokens, positions: &[usize]) -> bool {
    positions.iter().all(|position| tokens.unknown.contains(position))
}

impl fmt::Display for PromptErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverClosed => "this [ is never closed",
            Self::NeverOpened => "this ] closes nothing",
            Self::Nested => "this [ is inside of other brackets",
            Self::Empty => "there is no word in these brackets",
        })
    }
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many characters are shown on either side of the place.
        const AROUND: usize = 50;
        let (before, after) = self.prompt.split_at(self.position);
        let column = before.chars().count();
        let on_one_line = |c: char| if c.is_control() { ' ' } else { c };
        let skipped = column.saturating_sub(AROUND);
        let start = if skipped > 0 { "…" } else { "" };
        let end = if after.chars().count() > AROUND { "…" } else { "" };
        let before: String = before.chars().skip(skipped).map(on_one_line).collect();
        let after: String = after.chars().take(AROUND).map(on_one_line).collect();
        let indent = " ".repeat(start.chars().count() + before.chars().count());
        write!(
            f,
            "{} (character {} of the prompt)\n  {start}{before}{after}{end}\n  {indent}^\n",
            self.kind,
            column + 1
        )?;
        write!(
            f,
            "Subjects are marked as in \"a [red car] on a road\"; a bracket as such is written \\[ or \\]."
        )
    }
}

impl std::error::Error for PromptError {}
