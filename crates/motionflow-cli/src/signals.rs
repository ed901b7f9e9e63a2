//! Signals of the system: which of them ask the program to stop, and what becomes of the others.
//!
//! A signal that was ignored when the program started stays ignored, as `nohup` and shells want it, in this process and
//! in those that it starts.

use std::io;
use std::thread;

use libc::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use nix::sys::signal::{SigHandler, Signal, signal};
use signal_hook::iterator::Signals;

/// Those that ask the program to stop. Job schedulers send USR1 or USR2 some time before they end a job.
const REQUESTS: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];

/// Whether a second one of its kind ends the program at once. The others come in pairs: a terminal that is closed
/// sends HUP twice, and a service manager sends it after TERM.
pub(crate) fn is_urgent(signal: i32) -> bool {
    matches!(signal, SIGINT | SIGTERM)
}

/// Keeps requests waiting until [`listen`] is called, in this process or in the one that it becomes.
pub(crate) fn hold() {
    change(libc::SIG_BLOCK);
}

/// Lets requests end the program as they end any other.
pub(crate) fn let_through() {
    change(libc::SIG_UNBLOCK);
}

/// Runs before the libraries set themselves up, for which libtorch takes a while.
#[cfg(all(target_os = "linux", not(test)))]
#[used]
#[unsafe(link_section = ".preinit_array")]
static HOLD: extern "C" fn() = {
    extern "C" fn first() {
        hold();
    }
    first
};

/// Of the thread that calls. By system calls alone: nothing else is ready when this is called first.
fn change(how: i32) {
    let mut requests = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is made empty before it is used, and nothing else is written to.
    unsafe {
        libc::sigemptyset(requests.as_mut_ptr());
        for signal in REQUESTS.into_iter().filter(|signal| !is_ignored(*signal)) {
            libc::sigaddset(requests.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, requests.as_ptr(), std::ptr::null_mut());
    }
}

/// Calls `report` with each request, in a thread of its own.
///
/// # Errors
/// Where the system refuses a handler or the thread.
pub(crate) fn listen(report: impl Fn(i32) + Send + 'static) -> io::Result<()> {
    write_errors_instead_of_death();
    let mut signals = Signals::new(REQUESTS.into_iter().filter(|signal| !is_ignored(*signal)))?;
    let_through();
    thread::Builder::new().name("signals".to_owned()).spawn(move || signals.forever().for_each(report))?;
    Ok(())
}

fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes the present one to a place that is large enough.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// A file that grows beyond the limit of the process (`ulimit -f`) is to be an error, which has a message.
fn write_errors_instead_of_death() {
    // SAFETY: to ignore a signal runs no code.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
}
