//! How a run is asked to stop, and the message when it does.
//!
//! Where a run keeps its steps, it looks at the token after each, and stops with what is done kept. Elsewhere there is
//! nothing to wait for, and a program may end at once. In both cases the last words are how to resume the run.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use motionflow::error::Error;

/// The message where nothing was kept.
pub(crate) const NOTHING_KEPT: &str = "stopped; nothing was kept, so the same command begins anew";
/// The message about a batch, a suite or a sweep.
pub(crate) const RESUMABLE: &str = "stopped; the same command goes on where this one ended";

/// The last words of a run that goes on with this command.
pub(crate) fn goes_on_with(command: &str) -> String {
    format!("stopped; go on with\n  {command}")
}

/// Shared with whoever may stop a run.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    parts: Mutex<Vec<Part>>,
    unbroken: Mutex<()>,
}

/// A part of the work, as far as its end matters.
struct Part {
    number: u64,
    /// Whether it looks at the token after each step.
    looks: bool,
    words: Box<dyn Fn() -> Option<String> + Send>,
}

impl fmt::Debug for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Part").field("looks", &self.looks).finish_non_exhaustive()
    }
}

/// While this lives, the work is in a part of it.
#[derive(Debug)]
#[must_use]
pub struct InPart(Arc<Shared>, u64);

impl Drop for InPart {
    fn drop(&mut self) {
        locked(&self.0.parts).retain(|part| part.number != self.1);
    }
}

impl InPart {
    /// The part does not end before the program does.
    pub(crate) fn stay(self) {
        std::mem::forget(self);
    }
}

impl CancelToken {
    /// Asks the run to stop. Returns whether it had been asked before.
    pub fn cancel(&self) -> bool {
        self.0.cancelled.swap(true, Ordering::Relaxed)
    }

    /// Whether the run is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Whether the run looks at the token after each step, so that it is worth waiting for its end.
    pub fn is_looked_at(&self) -> bool {
        locked(&self.0.parts).iter().any(|part| part.looks)
    }

    /// What to tell when the program is ended now.
    pub fn last_words(&self) -> String {
        let words = locked(&self.0.parts).iter().find_map(|part| (part.words)());
        words.unwrap_or_else(|| NOTHING_KEPT.to_owned())
    }

    /// Nothing shall end the program while this lives. For moments alone.
    pub fn unbroken(&self) -> MutexGuard<'_, ()> {
        locked(&self.0.unbroken)
    }

    /// Fails where the run is to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Stopped.into()) } else { Ok(()) }
    }

    /// Each step of the next part looks at the token; `words` as in [`CancelToken::tells`].
    pub fn by_step(&self, words: impl Fn() -> Option<String> + Send + 'static) -> InPart {
        self.enter(true, words)
    }

    /// The message when the program is ended within the next part. The words of the outermost part that has some are
    /// taken.
    pub fn tells(&self, words: impl Fn() -> Option<String> + Send + 'static) -> InPart {
        self.enter(false, words)
    }

    fn enter(&self, looks: bool, words: impl Fn() -> Option<String> + Send + 'static) -> InPart {
        let mut parts = locked(&self.0.parts);
        let number = parts.last().map_or(0, |part| part.number + 1);
        parts.push(Part { number, looks, words: Box::new(words) });
        InPart(Arc::clone(&self.0), number)
    }
}

/// What a thread that panicked has left is still right here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
