//! The ffmpegs that are at work, so that none outlives a program that ends at once.

use std::collections::BTreeSet;
use std::io;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

static AT_WORK: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Ends every ffmpeg that this process has started, without waiting for it. For a program that ends at once: it would leave
/// them behind, since they are in process groups of their own.
pub fn end_children() {
    for id in at_work().iter() {
        end(*id);
    }
}

/// A process was started.
pub(crate) fn began(id: u32) {
    at_work().insert(id);
}

/// It has ended.
pub(crate) fn ended(id: u32) {
    at_work().remove(&id);
}

/// What a command says until it ends. It reads nothing.
///
/// # Errors
/// Those of starting it and of reading what it says.
pub(crate) fn output_of(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let id = child.id();
    began(id);
    let output = child.wait_with_output();
    ended(id);
    output
}

fn at_work() -> MutexGuard<'static, BTreeSet<u32>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn end(id: u32) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
}

#[cfg(not(unix))]
fn end(_: u32) {}
