//! An ffmpeg does not outlive the program that started it, however that ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Lets the kernel end the command when the thread that starts it is gone: one that waits for a pipe or decodes a long
/// film would not notice by itself.
pub(crate) fn ends_with_parent(command: &mut Command) {
    let parent = Pid::this();
    // SAFETY: between fork and exec there are two system calls, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            // Where a sandbox forbids it, an ffmpeg that stays is the lesser evil.
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            // It may be gone already.
            if getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::ESRCH)) }
        });
    }
}
