//! Whether an error is the user's (exit code 2) or a failure (1), and how it is told: one message.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};

use anyhow::{Error, Result, anyhow};
use motionflow::out_of_memory;
use motionflow_media::system::{self, Refusal};

use crate::event::{self, Event};
use crate::out_of_memory::OutOfMemory;
use crate::progress::Voice;
use crate::stop;
use crate::terminal;

/// Exit codes besides 0: see docs/machines.md.
pub(crate) const FAILED: u8 = 1;
pub(crate) const MISUSED: u8 = 2;
pub(crate) const STOPPED: u8 = 130;

/// How a message begins that no user can bring about.
pub(crate) const FAULT: &str = "this should not have happened, please report it";

/// What is told of a path that no settings file or record could have.
pub(crate) const NOT_UTF8: &str = "a path that is not UTF-8 cannot be taken here; give another";

/// The user asked for something that cannot be.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// Another process is at work where this one was told to be; it may be done soon.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) String);

impl fmt::Display for Busy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Busy {}

/// The user wanted the program to end. Says how to go on.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) String);

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Stopped {}

/// Runs `work`; a panic in it becomes an error. libtorch's errors come as panics, [`OutOfMemory`] among them.
pub(crate) fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    outcome.unwrap_or_else(|payload| Err(of_panic(&*payload)))
}

/// The error that a panic becomes.
pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    unexpected(text.or(payload.downcast_ref::<&str>().copied()).unwrap_or_default())
}

/// An error for what no other error foresaw.
fn unexpected(panic: &str) -> anyhow::Error {
    // libtorch's messages go on with addresses of its own code; the first line says what it is.
    let inner = panic.split_once("Torch(\"").map_or(panic, |(_, inner)| inner);
    let first = inner.split("\\n").next().unwrap_or(inner).lines().next().unwrap_or_default();
    if out_of_memory::is_told_in(first) {
        return Error::new(OutOfMemory(first.to_owned()));
    }
    if let Some(Refusal { reason, mend }) = system::refusal_in(first) {
        return anyhow!("{reason}; {mend}");
    }
    anyhow!("{FAULT}: {first}")
}

/// Tells an error on standard error, and as an event where those are wanted. Gives its exit code.
pub(crate) fn tell(error: &anyhow::Error, voice: Voice) -> u8 {
    stop::let_it_end();
    let message = message(error);
    let exit_code = exit_code(error);
    let event = if exit_code == STOPPED {
        terminal::note(&message);
        Event::Stopped { message: &message }
    } else {
        terminal::error(&message);
        Event::Error { message: &message, exit_code }
    };
    if voice == Voice::Json {
        event::tell(&event);
    }
    exit_code
}

/// The system's reason, without the name of a passing file or folder, which tells the user nothing.
pub(crate) fn without_name(error: io::Error) -> io::Error {
    error.raw_os_error().map_or(error, io::Error::from_raw_os_error)
}

/// How the program ends with an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(<dyn std::error::Error>::is::<Stopped>) {
        STOPPED
    } else if is_misuse(error) {
        MISUSED
    } else {
        FAILED
    }
}

/// The chain of causes in one message. A cause that the text before it tells already is left out. What the system lacks is
/// told with its own mend, in place of those that the chain has.
pub(crate) fn message(error: &anyhow::Error) -> String {
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

fn refused(error: &anyhow::Error, Refusal { reason, mend }: Refusal) -> String {
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
    format!("{message}{reason}; {mend}")
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
                    | Core::EndOfSeveral { .. }
                    | Core::UnknownBlock { .. }
                    | Core::Inversion(_)
            )
        });
        let media =
            cause.downcast_ref::<motionflow_media::Error>().is_some_and(motionflow_media::Error::is_misuse);
        core || media || cause.is::<Misuse>() || cause.is::<Busy>()
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow!("no such file").context("a.mp4: no such file").context("cannot read the source");
        assert_eq!(message(&error), "cannot read the source: a.mp4: no such file");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_lacks_is_told_with_its_own_mend() {
        let full = || io::Error::from_raw_os_error(28);
        let told = "the disk is full; free some space on it, or choose a folder on another disk";
        let error = Error::new(full()).context("out: cannot be written to; choose a folder (--output)");
        assert_eq!(message(&error), format!("out: cannot be written to: {told}"));
        let unwritable = |source| motionflow_media::Error::Unwritable { path: "a.png".into(), source };
        let error = Error::new(unwritable(full()));
        assert_eq!(message(&error), format!("a.png: cannot be written: {told}"));
        let error =
            Error::new(unwritable(io::Error::other("IoError(Os { .. \"No space left on device\" })")));
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
    fn misuse_is_found_below_context() {
        assert!(is_misuse(&anyhow::Error::new(Misuse("no".into())).context("while trying")));
        let missing = Err::<(), _>(motionflow_media::Error::SourceMissing { path: "a".into() });
        assert!(is_misuse(&missing.context("the source").unwrap_err()));
        assert!(!is_misuse(&anyhow!("disk on fire")));
    }
}
