//! What can go wrong in a run, and of which kind it is.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};

use anyhow::{Result, anyhow};
use motionflow::out_of_memory;
use motionflow_media::system::{self, Refusal};

use crate::out_of_memory::OutOfMemory;
use crate::queue::QueueError;

/// How a message begins that no user can bring about.
pub const FAULT: &str = "this should not have happened, please report it";

/// Of which kind an error is: what a front end does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request cannot be carried out as it stands. Nothing was made.
    Misuse,
    /// The request names something that is not there. Nothing was made.
    Missing,
    /// The run needs more memory than there is. Nothing was made.
    DoesNotFit,
    /// Memory ran out in the run.
    OutOfMemory,
    /// The run was cancelled, and what is done is kept.
    Stopped,
    /// Anything else: a damaged file, a full disk, a network that is down.
    Failed,
}

impl ErrorKind {
    /// The kind of an error of this crate, also below context.
    pub fn of(error: &anyhow::Error) -> Self {
        let is = |test: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(test);
        if is(is_stopped) {
            Self::Stopped
        } else if crate::out_of_memory::caused(error) {
            Self::OutOfMemory
        } else if is(<dyn std::error::Error + 'static>::is::<DoesNotFit>) {
            Self::DoesNotFit
        } else if is(is_missing) {
            Self::Missing
        } else if is(is_misuse) {
            Self::Misuse
        } else {
            Self::Failed
        }
    }

    /// The exit code of a program that ends with such an error.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Misuse | Self::Missing | Self::DoesNotFit => 2,
            Self::OutOfMemory | Self::Failed => 1,
            Self::Stopped => 130,
        }
    }
}

/// The chain of causes in one message. A cause that the text before it tells already is left out. What the system lacks is
/// told with its own hint, in place of those that the chain has.
pub fn message(error: &anyhow::Error) -> String {
    if let Some(refusal) = error.chain().find_map(refusal_of) {
        return refused(error, refusal);
    }
    let mut message = String::new();
    for cause in error.chain() {
        let is_told = cause
            .downcast_ref()
            .and_then(system::refusal)
            .is_some_and(|refusal| message.contains(refusal.reason));
        let cause = cause.to_string();
        if message.is_empty() {
            message = cause;
        } else if !is_told && !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn refusal_of(cause: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let error =
        cause.downcast_ref::<io::Error>().filter(|error| error.kind() != io::ErrorKind::WouldBlock)?;
    system::refusal(error).or_else(|| system::refusal_in(&error.to_string()))
}

fn refused(error: &anyhow::Error, Refusal { reason, hint }: Refusal) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if text.contains(reason) && message.is_empty() {
            return text;
        }
        if text.contains(reason) || refusal_of(cause).is_some() {
            break;
        }
        // `a.mp4: cannot be written; choose another folder`
        let what = text.rsplit_once("; ").map_or(text.as_str(), |(what, _)| what);
        message = format!("{message}{what}: ");
    }
    format!("{message}{reason}; {hint}")
}

/// The message about a path that no settings file or record could have.
pub(crate) const NOT_UTF8: &str = "a path that is not UTF-8 cannot be taken here; give another";

macro_rules! message_errors {
    ($($(#[$about:meta])* $name:ident),*) => {$(
        $(#[$about])*
        #[derive(Debug)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::error::Error for $name {}
    )*};
}

message_errors!(
    /// The user asked for something that cannot be.
    Misuse,
    /// The user named something that is not there.
    Missing,
    /// Another process is at work where this one was told to be; it may be done soon.
    Busy,
    /// The run would need more memory than there is.
    DoesNotFit,
    /// The run was cancelled. Says how to resume it.
    Stopped
);

/// Runs `work`; a panic in it becomes an error. libtorch's errors come as panics, those of memory among them.
///
/// # Errors
/// Those of `work`.
pub fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(of_panic(&*payload)))
}

/// The error that a panic becomes.
pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> anyhow::Error {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    unexpected(text.or(payload.downcast_ref::<&str>().copied()).unwrap_or_default())
}

/// An error for what no other error foresaw.
fn unexpected(panic: &str) -> anyhow::Error {
    // libtorch's messages go on with addresses of its own code; the first line says what it is.
    let inner = panic.split_once("Torch(\"").map_or(panic, |(_, inner)| inner);
    let first = inner.split("\\n").next().unwrap_or(inner).lines().next().unwrap_or_default();
    if out_of_memory::is_told_in(first) {
        return anyhow::Error::new(OutOfMemory(first.to_owned()));
    }
    if let Some(Refusal { reason, hint }) = system::refusal_in(first) {
        return anyhow!("{reason}; {hint}");
    }
    anyhow!("{FAULT}: {first}")
}

/// The system's reason, without the name of a passing file or folder, which tells the user nothing.
pub fn without_name(error: io::Error) -> io::Error {
    error.raw_os_error().map_or(error, io::Error::from_raw_os_error)
}

fn is_stopped(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<Stopped>() || matches!(cause.downcast_ref(), Some(motionflow::error::Error::Stopped))
}

fn is_missing(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<Missing>()
        || matches!(cause.downcast_ref(), Some(motionflow_media::Error::SourceMissing { .. }))
}

fn is_misuse(cause: &(dyn std::error::Error + 'static)) -> bool {
    use motionflow::checkpoint::CheckpointError;
    use motionflow::error::Error as Core;
    let core = cause.downcast_ref::<Core>().is_some_and(|error| {
        matches!(
            error,
            Core::Prompt(_)
                | Core::Subject(_)
                | Core::Settings(_)
                | Core::Size { .. }
                | Core::TooManyFrames { .. }
                | Core::Frames { .. }
                | Core::SubjectCount { .. }
                | Core::NoSubject { .. }
                | Core::EndOfSeveral { .. }
                | Core::UnknownBlock { .. }
                | Core::Inversion(_)
                | Core::Checkpoint(
                    CheckpointError::NoMotionAdapter { .. }
                        | CheckpointError::TakesNoMotionAdapter { .. }
                        | CheckpointError::IsMotionAdapter { .. }
                )
        )
    });
    let media =
        cause.downcast_ref::<motionflow_media::Error>().is_some_and(motionflow_media::Error::is_misuse);
    let queue = cause.downcast_ref::<QueueError>().is_some_and(QueueError::is_misuse);
    core || media || queue || cause.is::<Misuse>() || cause.is::<Busy>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow!("no such file").context("a.mp4: no such file").context("cannot read the source");
        assert_eq!(message(&error), "cannot read the source: a.mp4: no such file");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_lacks_is_told_with_its_own_hint() {
        let full = || io::Error::from_raw_os_error(28);
        let told = "the disk is full; free some space on it, or choose a folder on another disk";
        let error =
            anyhow::Error::new(full()).context("out: cannot be written to; choose a folder (--output)");
        assert_eq!(message(&error), format!("out: cannot be written to: {told}"));
        let unwritable = |source| motionflow_media::Error::Unwritable { path: "a.png".into(), source };
        let error = anyhow::Error::new(unwritable(full()));
        assert_eq!(message(&error), format!("a.png: cannot be written: {told}"));
        let error = anyhow::Error::new(unwritable(io::Error::other(
            "IoError(Os { .. \"No space left on device\" })",
        )));
        assert_eq!(message(&error), format!("a.png: cannot be written: {told}"));
        let error = error.context("cache: cannot be written to; set A_VARIABLE");
        assert_eq!(message(&error), format!("cache: cannot be written to: {told}"));
        let spawn = "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily \
                     unavailable\" }";
        assert!(unexpected(spawn).to_string().starts_with("the system refuses another thread"));
    }

    #[test]
    fn a_panic_becomes_one_line() {
        let told = |panic: &str| unexpected(panic).to_string();
        let lack = "called `Result::unwrap()` on an `Err` value: Torch(\"[enforce fail at alloc_cpu.cpp:121] err == 0. \
                    DefaultCPUAllocator: can't allocate memory: you tried\\nException raised in CUDA's code";
        let lack = unexpected(lack).downcast::<OutOfMemory>().unwrap().0;
        assert!(lack.starts_with("[enforce fail") && lack.ends_with("you tried"), "{lack}");
        let torch = "called `Result::unwrap()` on an `Err` value: Torch(\"The size of tensor a (3)\\nException raised";
        assert!(told(torch).ends_with("please report it: The size of tensor a (3)"), "{}", told(torch));
        let caught = catch::<()>(|| panic!("{} and more", 7)).unwrap_err().to_string();
        assert!(caught.ends_with("7 and more"), "{caught}");
    }

    #[test]
    fn the_kind_is_found_below_context() {
        let kind = |error: anyhow::Error| ErrorKind::of(&error.context("while trying"));
        let missing = motionflow_media::Error::SourceMissing { path: "a".into() };
        assert_eq!(kind(Misuse("no".into()).into()), ErrorKind::Misuse);
        assert_eq!(kind(missing.into()), ErrorKind::Missing);
        assert_eq!(kind(DoesNotFit("no".into()).into()), ErrorKind::DoesNotFit);
        assert_eq!(kind(OutOfMemory("no".into()).into()), ErrorKind::OutOfMemory);
        assert_eq!(kind(Stopped("no".into()).into()), ErrorKind::Stopped);
        assert_eq!(kind(motionflow::error::Error::Stopped.into()), ErrorKind::Stopped);
        assert_eq!(kind(anyhow!("disk on fire")), ErrorKind::Failed);
    }
}
