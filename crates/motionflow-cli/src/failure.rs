//! Whether an error is the user's (exit code 2) or a failure (1), and how it is told: one message.

use std::fmt;
use std::process::ExitCode;

use crate::terminal;

/// The user asked for something that cannot be.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// Tells an error on standard error and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    terminal::error(&message(error));
    if is_misuse(error) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The chain of causes in one message. A cause that the text before it tells already is left out.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn is_misuse(error: &anyhow::Error) -> bool {
    use motionflow::error::Error as Core;
    error.chain().any(|cause| {
        let core = cause.downcast_ref::<Core>().is_some_and(|error| {
            matches!(
                error,
                Core::Prompt(_)
                    | Core::Subject(_)
                    | Core::Settings(_)
                    | Core::Size { .. }
                    | Core::SubjectCount { .. }
                    | Core::NoSubject { .. }
                    | Core::Inversion(_)
            )
        });
        let media =
            cause.downcast_ref::<motionflow_media::Error>().is_some_and(motionflow_media::Error::is_misuse);
        core || media || cause.is::<Misuse>()
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow!("no such file").context("a.mp4: no such file").context("cannot read the source");
        assert_eq!(message(&error), "cannot read the source: a.mp4: no such file");
    }

    #[test]
    fn misuse_is_found_below_context() {
        assert!(is_misuse(&anyhow::Error::new(Misuse("no".into())).context("while trying")));
        let missing = Err::<(), _>(motionflow_media::Error::SourceMissing { path: "a".into() });
        assert!(is_misuse(&missing.context("the source").unwrap_err()));
        assert!(!is_misuse(&anyhow!("disk on fire")));
    }
}
