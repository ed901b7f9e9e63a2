//! Prompts with their subjects marked: `a [dog] chasing a [red ball]`.
//!
//! The k-th subject of the source prompt gives its motion to the k-th of the target prompt. The brackets are removed
//! before the text is encoded; a literal bracket is written `\[` or `\]`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::printable::printable;
use crate::prompt_marks;
use crate::tokenizer::Tokens;

/// A prompt without its brackets, and what stood in them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Prompt {
    /// The text to encode.
    pub text: String,
    /// The subjects, in the order of the text.
    pub subjects: Vec<Subject>,
}

/// One or several words of a prompt whose motion is taken or given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    #[error("the tokenizer makes no token of the subject \"{subject}\": use another word for it")]
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

impl Prompt {
    /// A prompt in which brackets mean nothing, as in a negative one.
    pub fn literal(text: &str) -> Self {
        Self { text: text.to_owned(), subjects: Vec::new() }
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

/// Whether a word of `subject` is in the vocabulary only in small pieces, so that the text encoder probably never learnt
/// what it means. That is a warning to give, not an error.
pub fn subject_is_spelt_out(tokens: &Tokens, subject: &Subject) -> bool {
    tokens.spelt_out.iter().any(|word| word.start < subject.range.end && subject.range.start < word.end)
}

/// What is odd about a prompt without being an error, in words for the user. `tokens` must be those of its text.
///
/// # Errors
/// [`SubjectError`], as [`subject_positions`].
pub fn prompt_warnings(prompt: &Prompt, tokens: &Tokens) -> Result<Vec<String>, SubjectError> {
    let mut warnings = Vec::new();
    if tokens.truncated {
        let (total, limit) = (tokens.total, tokens.ids.len());
        warnings.push(format!(
            "\"{}\" has {total} tokens and is cut off after {limit}: what stands at its end has no effect",
            printable(&prompt.text)
        ));
    }
    warnings.extend(prompt_marks::warning(prompt));
    for subject in &prompt.subjects {
        if subject_is_unknown(tokens, &subject_positions(tokens, subject)?) {
            warnings.push(format!(
                "the text encoder does not know the subject \"{}\": use another word for it",
                printable(&subject.text)
            ));
        } else if subject_is_spelt_out(tokens, subject) {
            warnings.push(format!(
                "the text encoder has the subject \"{}\" only in small pieces and may not know it: if the masks or \
                 the new video are wrong, use another word for it",
                printable(&subject.text)
            ));
        }
    }
    Ok(warnings)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subjects(prompt: &str) -> (String, Vec<String>) {
        let prompt: Prompt = prompt.parse().unwrap();
        for subject in &prompt.subjects {
            assert_eq!(prompt.text[subject.range.clone()], subject.text);
        }
        (prompt.text, prompt.subjects.into_iter().map(|subject| subject.text).collect())
    }

    #[test]
    fn finds_subjects() {
        for (prompt, text, expected) in [
            ("", "", &[][..]),
            ("a dog", "a dog", &[]),
            ("a [dog] chasing a [red ball]", "a dog chasing a red ball", &["dog", "red ball"]),
            ("[ red car ] on a road", " red car  on a road", &["red car"]),
            ("[一只猫][🐼]", "一只猫🐼", &["一只猫", "🐼"]),
            (r"a \[b\] [c\]d] \ e\", r"a [b] c]d \ e\", &["c]d"]),
        ] {
            let expected = expected.iter().map(ToString::to_string).collect();
            assert_eq!(subjects(prompt), (text.to_owned(), expected), "{prompt}");
        }
    }

    #[test]
    fn says_which_bracket_is_wrong() {
        for (prompt, kind, position) in [
            ("a [dog", PromptErrorKind::NeverClosed, 2),
            ("é] dog", PromptErrorKind::NeverOpened, 2),
            ("a [red [dog]]", PromptErrorKind::Nested, 7),
            ("a []", PromptErrorKind::Empty, 2),
            ("a [ \t]", PromptErrorKind::Empty, 2),
            ("a [dog\\]", PromptErrorKind::NeverClosed, 2),
        ] {
            let error = prompt.parse::<Prompt>().unwrap_err();
            assert_eq!((error.kind, error.position), (kind, position), "{prompt}");
        }
    }

    #[test]
    fn points_at_the_bracket() {
        let message = "né a] dog".parse::<Prompt>().unwrap_err().to_string();
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(
            lines[..3],
            ["this ] closes nothing (character 5 of the prompt)", "  né a] dog", "      ^"]
        );
        let long =
            format!("{}[{}", "é".repeat(300), "\n".repeat(300)).parse::<Prompt>().unwrap_err().to_string();
        let lines: Vec<_> = long.lines().collect();
        assert_eq!(lines[1].chars().nth(lines[2].chars().count() - 1), Some('['));
    }

    #[test]
    fn takes_the_tokens_that_overlap_a_subject() {
        let tokens = |text_used| Tokens {
            ids: vec![0; 6],
            first: 1,
            length: 5,
            truncated: false,
            total: 9,
            text_used,
            unknown: vec![2, 3],
            spelt_out: vec![0..1, 5..8],
            offsets: vec![0..0, 0..1, 2..5, 5..8, text_used..text_used],
        };
        let subject = |range: Range<usize>| Subject { text: "x".into(), range };
        assert_eq!(subject_positions(&tokens(8), &subject(2..8)), Ok(vec![2, 3]));
        assert_eq!(subject_positions(&tokens(8), &subject(0..1)), Ok(vec![1]));
        assert!(subject_is_unknown(&tokens(8), &[2, 3]) && !subject_is_unknown(&tokens(8), &[1, 2]));
        assert!(subject_is_spelt_out(&tokens(8), &subject(2..8)));
        assert!(!subject_is_spelt_out(&tokens(8), &subject(2..5)));
        let nothing = subject_positions(&tokens(8), &subject(1..2));
        assert_eq!(nothing, Err(SubjectError::NoTokens { subject: "x".into() }));
        let cut_off = subject_positions(&tokens(7), &subject(5..8));
        assert_eq!(cut_off, Err(SubjectError::CutOff { subject: "x".into(), limit: 6, total: 9 }));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(prompt in r"([\[\]\\ ]|\PC|[a-z ]{3}){0,40}") {
            match prompt.parse::<Prompt>() {
                Ok(parsed) => for subject in parsed.subjects {
                    prop_assert_eq!(&parsed.text[subject.range], &subject.text);
                },
                Err(error) => prop_assert!(error.to_string().contains('^')),
            }
        }

        #[test]
        fn what_is_marked_is_found(parts in prop::collection::vec((r"[a-zé ]{0,9}", r"[a-z猫\]\[]{1,9}"), 0..5)) {
            let escape = |text: &str| text.replace('[', r"\[").replace(']', r"\]");
            let marked: Vec<_> = parts.iter().map(|(a, b)| format!("{}[{}]", escape(a), escape(b))).collect();
            let marked = marked.concat();
            let plain = parts.iter().flat_map(|(a, b)| [a.as_str(), b]).collect::<String>();
            prop_assert_eq!(subjects(&marked), (plain, parts.into_iter().map(|(_, b)| b).collect::<Vec<_>>()));
        }
    }
}
