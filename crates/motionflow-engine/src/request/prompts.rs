//! Prompts from the command line, checked before anything else is done.

use anyhow::{Context, Result};
use motionflow::error::Error;
use motionflow::prompt::Prompt;

/// The message where there is no prompt.
pub const PROMPT_MISSING: &str =
    "there is no prompt; say what the new video shows: --prompt \"a panda in the snow\"";
/// The message where there is no source.
pub const SOURCE_MISSING: &str =
    "there is no source; give the video whose motion is taken: --source clip.mp4";
/// The message where there is no source prompt.
pub const SOURCE_PROMPT_MISSING: &str = "there is no source prompt; say what the source shows, its subject in brackets: --source-prompt \"a [car] on a road\"";

/// The message where masks are given and there is nothing to start from.
pub const START_MISSING: &str = "there is no source to start from; give one (--source, --source-prompt), or start from noise (--init noise), for \
     which the masks are enough";

/// Reads a prompt with its brackets; `flag` is the one that it came from.
///
/// # Errors
/// A [`Misuse`](crate::error::Misuse) where the brackets do not match or a subject is empty.
pub fn parse(flag: &'static str, text: &str) -> Result<Prompt> {
    text.parse::<Prompt>().map_err(Error::from).with_context(|| flag)
}

/// A prompt that must mark a subject.
///
/// # Errors
/// A [`Misuse`](crate::error::Misuse) where there is none.
pub fn with_subject(which: &'static str, prompt: &Prompt) -> Result<()> {
    if prompt.subjects.is_empty() { Err(Error::NoSubject { which }.into()) } else { Ok(()) }
}

/// Source prompt and prompt must mark equally many subjects, and at least one.
///
/// # Errors
/// A [`Misuse`](crate::error::Misuse) where the two have not as many subjects.
pub fn check_pair(source: &Prompt, target: &Prompt) -> Result<()> {
    with_subject("the source prompt", source)?;
    with_subject("the prompt", target)?;
    let (source_count, target_count) = (source.subjects.len(), target.subjects.len());
    if source_count == target_count {
        return Ok(());
    }
    Err(Error::SubjectCount { source_count, target_count }.into())
}

/// The subjects' words.
pub fn subjects(prompt: &Prompt) -> Vec<&str> {
    prompt.subjects.iter().map(|subject| subject.text.as_str()).collect()
}
