//! Requests to stop: Ctrl-C and the signals of job schedulers.
//!
//! While a run keeps its steps, the first request lets the running step end, and the second one ends the program at once.
//! Elsewhere there is nothing to wait for, and the first one ends it. Whatever happens, the last words are how to go on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use motionflow_engine::cancel::CancelToken;
use motionflow_engine::error::ErrorKind;
use motionflow_engine::event::Event;

use crate::console::{self, Console, OutputMode};
use crate::terminal;

/// Two requests within this time are one: `timeout` signals the process and then its group.
#[cfg(unix)]
const ONE_REQUEST: Duration = Duration::from_millis(100);
/// So long the last words may take: whoever should read them may have stopped reading.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Whether the program ends at once.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Listens from now on.
#[cfg(unix)]
pub(crate) fn listen(cancel: &CancelToken, console: &Console) -> io::Result<()> {
    use crate::signals;
    let first = Mutex::new(None::<Instant>);
    let (cancel, console) = (cancel.clone(), console.clone());
    signals::listen(move |signal| {
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *first.get_or_insert_with(Instant::now);
        if !cancel.is_looked_at() {
            end(&cancel, &console);
        }
        if !cancel.cancel() {
            terminal::note("\nstopping after this step; once more stops at once");
        } else if signals::is_urgent(signal) && since.elapsed() > ONE_REQUEST {
            end(&cancel, &console);
        }
    })
}

#[cfg(not(unix))]
pub(crate) fn listen(_: &CancelToken, _: &Console) -> io::Result<()> {
    Ok(())
}

/// Never returns where the program ends at once: what fails for want of an ffmpeg that was ended is nobody's concern.
pub(crate) fn let_it_end() {
    while ENDING.load(Ordering::Relaxed) {
        thread::sleep(LAST_WORDS);
    }
}

/// Ends the program at once.
#[cfg(unix)]
fn end(cancel: &CancelToken, console: &Console) -> ! {
    ENDING.store(true, Ordering::Relaxed);
    let (done, is_done) = mpsc::channel();
    let (cancel, mode) = (cancel.clone(), console.mode_at_last());
    let tell = move || {
        let unbroken = cancel.unbroken();
        let words = cancel.last_words();
        terminal::note(&format!("\n{words}"));
        if mode == Some(OutputMode::Json) {
            console::print(&Event::Stopped { message: &words });
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
    signal_hook::low_level::exit(ErrorKind::Stopped.exit_code().into());
}
