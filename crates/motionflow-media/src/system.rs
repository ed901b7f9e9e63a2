//! What the system refuses for want of something, in words, with what helps.

use std::io;

/// Why the system refused, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What there is not enough of.
    pub reason: &'static str,
    /// What to do.
    pub hint: &'static str,
}

const DISK_FULL: Refusal =
    Refusal { reason: "the disk is full", hint: "free some space on it, or choose a folder on another disk" };
const QUOTA: Refusal = Refusal {
    reason: "your disk quota is used up",
    hint: "remove files of yours, or choose a folder on another disk",
};
const FILE_SIZE: Refusal = Refusal {
    reason: "the file is larger than it may be",
    hint: "raise the limit of this process (ulimit -f), or choose a folder on a file system that takes larger files",
};
const READ_ONLY: Refusal =
    Refusal { reason: "the file system is read-only", hint: "choose a folder on another one" };
const OPEN_FILES: Refusal = Refusal {
    reason: "too many files are open",
    hint: "raise the limit of this process (ulimit -n) to 256 or more",
};
const ALL_OPEN_FILES: Refusal =
    Refusal { reason: "too many files are open on this machine", hint: "end other programs" };
const PROCESSES: Refusal = Refusal {
    reason: "the system refuses another thread or process",
    hint: "raise the limit of this user or container (ulimit -u, pids.max), or end other programs",
};

/// What an error says that the system lacks; none where it says something else.
pub fn refusal(error: &io::Error) -> Option<Refusal> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some(DISK_FULL),
        io::ErrorKind::QuotaExceeded => Some(QUOTA),
        io::ErrorKind::FileTooLarge => Some(FILE_SIZE),
        io::ErrorKind::ReadOnlyFilesystem => Some(READ_ONLY),
        _ => by_number(error),
    }
}

/// The same of a text that quotes the system's words, as the messages of ffmpeg and libtorch do.
pub fn refusal_in(text: &str) -> Option<Refusal> {
    const WORDS: [(&str, Refusal); 7] = [
        ("No space left on device", DISK_FULL),
        ("Disk quota exceeded", QUOTA),
        ("File too large", FILE_SIZE),
        ("Read-only file system", READ_ONLY),
        ("Too many open files in system", ALL_OPEN_FILES),
        ("Too many open files", OPEN_FILES),
        ("Resource temporarily unavailable", PROCESSES),
    ];
    WORDS.into_iter().find(|(words, _)| text.contains(words)).map(|(_, refusal)| refusal)
}

/// An error in words, with what to do: `otherwise` where the system lacks nothing.
pub fn with_hint(error: &io::Error, otherwise: &str) -> String {
    match refusal(error).or_else(|| refusal_in(&error.to_string())) {
        Some(Refusal { reason, hint }) => format!("{reason}; {hint}"),
        None => format!("{error}; {otherwise}"),
    }
}

#[cfg(unix)]
fn by_number(error: &io::Error) -> Option<Refusal> {
    use nix::errno::Errno;
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE => Some(OPEN_FILES),
        Errno::ENFILE => Some(ALL_OPEN_FILES),
        Errno::EAGAIN => Some(PROCESSES),
        _ => None,
    }
}

#[cfg(not(unix))]
fn by_number(_: &io::Error) -> Option<Refusal> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn each_refusal_is_known_by_its_number_and_by_its_words() {
        for (number, refusal) in [
            (28, DISK_FULL),
            (122, QUOTA),
            (27, FILE_SIZE),
            (30, READ_ONLY),
            (24, OPEN_FILES),
            (23, ALL_OPEN_FILES),
            (11, PROCESSES),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(super::refusal(&error), Some(refusal), "{error}");
            assert_eq!(refusal_in(&format!("IoError({error:?})")), Some(refusal), "{error}");
            assert_eq!(with_hint(&error, "no"), format!("{}; {}", refusal.reason, refusal.hint));
        }
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!((refusal(&missing), refusal_in(&missing.to_string())), (None, None));
        assert!(with_hint(&missing, "look again").ends_with("; look again"));
    }
}
