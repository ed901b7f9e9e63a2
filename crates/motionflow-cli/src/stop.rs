//! Ctrl-C and its kin: the first lets the running step end, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::failure::STOPPED;
use crate::terminal;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on a signal to end is kept until [`requested`] is asked. To be called once there is something to keep.
pub(crate) fn watch() -> Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            // Without the end of what still computes: taken down below it, it would only complain.
            signal_hook::low_level::exit(STOPPED.into());
        }
        terminal::note("\nstopping after this step; once more stops at once");
    })
    .context("the program cannot listen to Ctrl-C")
}

/// Whether the program shall end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
