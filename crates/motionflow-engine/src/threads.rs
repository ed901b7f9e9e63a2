//! How many threads compute, and what becomes of one that did something aside.

use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::{self, JoinHandle};
use std::{io, panic};

use anyhow::{Result, bail};
use motionflow_media::system::with_hint;

/// More are never taken.
pub(crate) const MOST: i32 = 1024;

/// So many threads compute where nothing else is said: those that `OMP_NUM_THREADS` names, else as many as libtorch takes by
/// itself, but not more than the process may run at once. A container's share of the CPU counts in that.
pub(crate) fn by_default() -> i32 {
    let named = std::env::var("OMP_NUM_THREADS").ok();
    let cores = thread::available_parallelism().ok().and_then(|cores| i32::try_from(cores.get()).ok());
    default_of(named.as_deref(), tch::get_num_threads(), cores)
}

fn default_of(named: Option<&str>, of_libtorch: i32, cores: Option<i32>) -> i32 {
    let within_cores = || cores.map_or(of_libtorch, |cores| of_libtorch.min(cores));
    named.and_then(first_level).unwrap_or_else(within_cores).clamp(1, MOST)
}

/// `OMP_NUM_THREADS` may name a number for each level of nesting: `4,2`. What is no number of threads says nothing.
fn first_level(named: &str) -> Option<i32> {
    let first = named.split(',').next()?.trim();
    first.parse().ok().filter(|threads| *threads > 0)
}

/// Checks that the system lets so many threads compute. Where it does not, libtorch waits for them for ever, and libgomp ends
/// the program.
pub(crate) fn check(threads: i32) -> Result<()> {
    const STACK: usize = 1 << 16;
    /// Those that read, write and listen.
    const OTHERS: i32 = 4;
    let (done, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let spawn = |_| {
        let wait = Arc::clone(&wait);
        thread::Builder::new().stack_size(STACK).spawn(move || drop(wait.lock().map(|wait| wait.recv())))
    };
    // Both libgomp and libtorch's own pool have a thread for each but this one.
    let spawned: Vec<io::Result<JoinHandle<()>>> = (0..2 * (threads - 1) + OTHERS).map(spawn).collect();
    drop(done);
    let joined = spawned.into_iter().map(|thread| thread.map(join)).collect::<io::Result<Vec<()>>>();
    match joined {
        Ok(_) => Ok(()),
        Err(error) => {
            bail!("cannot start threads (--threads {threads}): {}", with_hint(&error, "give fewer"))
        }
    }
}

/// Sets the number of threads.
pub(crate) fn limit(threads: i32) {
    // libtorch takes this one but once.
    static INTEROP: Once = Once::new();
    INTEROP.call_once(|| tch::set_num_interop_threads(threads));
    tch::set_num_threads(threads);
}

/// What a thread gives when it is done; its panic goes on here.
pub(crate) fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_unless_the_user_says_how_many() {
        assert_eq!(default_of(None, 16, Some(2)), 2);
        assert_eq!(default_of(None, 2, Some(16)), 2);
        assert_eq!(default_of(None, 8, None), 8);
        for (named, threads) in [("4", 4), (" 4,2 ", 4), ("3,", 3), ("99999", MOST)] {
            assert_eq!(default_of(Some(named), 16, Some(2)), threads, "{named}");
        }
        for nonsense in ["", "0", "-3", "many", "4x", ",2", "99999999999999"] {
            assert_eq!(default_of(Some(nonsense), 16, Some(2)), 2, "{nonsense}");
        }
    }
}
