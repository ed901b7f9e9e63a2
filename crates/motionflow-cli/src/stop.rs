//! Requests to stop: Ctrl-C and the signals of job schedulers.
//!
//! While a run keeps its steps, the first request lets the running step end, and the second one ends the program at once.
//! Elsewhere there is nothing to wait for, and the first one ends it. Whatever happens, the last words are how to go on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use motionflow::error::Error;

use crate::event::{self, Event};
use crate::failure::STOPPED;
use crate::terminal;

/// What is told where nothing was kept.
pub(crate) const NOTHING_KEPT: &str = "stopped; nothing was kept, so the same command begins anew";
/// What is told of a batch, a suite or a sweep.
pub(crate) const GOES_ON: &str = "stopped; the same command goes on where this one ended";

/// The last words of a run that goes on with this command.
pub(crate) fn goes_on_with(command: &str) -> String {
    format!("stopped; go on with\n  {command}")
}

/// Two requests within this time are one: `timeout` signals the process and then its group.
#[cfg(unix)]
const ONE_REQUEST: Duration = Duration::from_millis(100);
/// So long the last words may take: whoever should read them may have stopped reading.
const LAST_WORDS: Duration = Duration::from_secs(1);

static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Whether the program ends at once.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Whether a program listens to events.
static HAS_LISTENER: AtomicBool = AtomicBool::new(false);
static PARTS: Mutex<Vec<Part>> = Mutex::new(Vec::new());
static UNBROKEN: Mutex<()> = Mutex::new(());

/// A part of the program's work, as far as its end matters.
struct Part {
    number: u64,
    /// Whether it looks at [`requested`] after each step.
    looks: bool,
    words: Box<dyn Fn() -> Option<String> + Send>,
}

/// While this lives, the program is in a part of its work.
#[derive(Debug)]
#[must_use]
pub(crate) struct InPart(u64);

impl Drop for InPart {
    fn drop(&mut self) {
        locked(&PARTS).retain(|part| part.number != self.0);
    }
}

impl InPart {
    /// The part does not end before the program does.
    pub(crate) fn stay(self) {
        std::mem::forget(self);
    }
}

/// Listens from now on.
#[cfg(unix)]
pub(crate) fn listen() -> io::Result<()> {
    use crate::signals;
    let first = Mutex::new(None::<Instant>);
    signals::listen(move |signal| {
        let since = *locked(&first).get_or_insert_with(Instant::now);
        if !looks() {
            end();
        }
        if !REQUESTED.swap(true, Ordering::Relaxed) {
            terminal::note("\nstopping after this step; once more stops at once");
        } else if signals::is_urgent(signal) && since.elapsed() > ONE_REQUEST {
            end();
        }
    })
}

#[cfg(not(unix))]
pub(crate) fn listen() -> io::Result<()> {
    Ok(())
}

/// Whether the program shall end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Never returns where the program ends at once: what fails for want of an ffmpeg that was ended is nobody's concern.
pub(crate) fn let_it_end() {
    while ENDING.load(Ordering::Relaxed) {
        thread::sleep(LAST_WORDS);
    }
}

/// Fails where the program shall end.
pub(crate) fn check() -> Result<()> {
    if requested() { Err(Error::Stopped.into()) } else { Ok(()) }
}

/// Each step of the next part looks at [`requested`]; `words` as in [`tells`].
pub(crate) fn by_step(words: impl Fn() -> Option<String> + Send + 'static) -> InPart {
    enter(true, words)
}

/// What is told when the program is ended within the next part. The words of the outermost part that has some are taken.
pub(crate) fn tells(words: impl Fn() -> Option<String> + Send + 'static) -> InPart {
    enter(false, words)
}

/// Nothing ends the program while this lives. For moments alone.
pub(crate) fn unbroken() -> MutexGuard<'static, ()> {
    locked(&UNBROKEN)
}

/// Whether a program listens to events on standard output.
pub(crate) fn has_listener(listens: bool) {
    HAS_LISTENER.store(listens, Ordering::Relaxed);
}

fn enter(looks: bool, words: impl Fn() -> Option<String> + Send + 'static) -> InPart {
    let mut parts = locked(&PARTS);
    let number = parts.last().map_or(0, |part| part.number + 1);
    parts.push(Part { number, looks, words: Box::new(words) });
    InPart(number)
}

#[cfg(unix)]
fn looks() -> bool {
    locked(&PARTS).iter().any(|part| part.looks)
}

/// Ends the program at once.
#[cfg(unix)]
fn end() -> ! {
    ENDING.store(true, Ordering::Relaxed);
    let (done, is_done) = mpsc::channel();
    let tell = move || {
        let unbroken = unbroken();
        let words = locked(&PARTS).iter().find_map(|part| (part.words)());
        let words = words.unwrap_or_else(|| NOTHING_KEPT.to_owned());
        terminal::note(&format!("\n{words}"));
        if HAS_LISTENER.load(Ordering::Relaxed) {
            event::tell(&Event::Stopped { message: &words });
        }
        terminal::close();
        let _ = done.send(());
        // Until the end nothing else is begun.
        std::mem::forget(unbroken);
    };
    if thread::Builder::new().spawn(tell).is_ok() {
        let _ = is_done.recv_timeout(LAST_WORDS);
    }
    motionflow_media::end_children();
    // Without the end of what still computes: taken down below it, it would only complain.
    signal_hook::low_level::exit(STOPPED.into());
}

/// What a thread that panicked has left is still right here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
