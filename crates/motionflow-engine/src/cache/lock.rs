//! Who is at work on an entry: a lock on its manifest, which the system takes back when a process ends.
//!
//! Who reads an entry holds its lock with others, who writes or removes one holds it alone. The lock belongs to the
//! file, not to its name: it goes along when the folder is renamed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::manifest::MANIFEST;

/// A lock on the entry in a folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

/// What became of asking for an entry alone.
#[derive(Debug)]
pub(super) enum Alone {
    /// Nobody else is at work on it.
    Held(Lock),
    /// Somebody is.
    Busy,
    /// The folder is gone.
    Gone,
    /// The file system knows no locks, or the manifest may not be written to.
    Unknown,
}

impl Drop for Lock {
    /// Closing the file is not enough: a program that is being started has it open for a moment, too.
    fn drop(&mut self) {
        self.file.unlock().ok();
    }
}

impl Lock {
    /// Locks a new folder that nobody else knows of.
    pub(super) fn new_in(folder: &Path) -> io::Result<Self> {
        let lock = Self { file: File::create_new(folder.join(MANIFEST))? };
        // Without locks, only its age tells whether such a folder is a leftover.
        lock.file.lock().ok();
        Ok(lock)
    }

    /// Waits for the moment that somebody may be removing it, then holds it along with other readers.
    ///
    /// # Errors
    /// What opening the manifest gives: [`io::ErrorKind::NotFound`] when there is no entry.
    pub(super) fn shared(folder: &Path) -> io::Result<Self> {
        let lock = Self { file: File::open(folder.join(MANIFEST))? };
        // A file system that knows no locks can still be read from.
        lock.file.lock_shared().ok();
        // While it was waited for, the entry may have been removed, and even been made anew.
        if lock.is_of(folder) { Ok(lock) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Holds it alone, if nobody else is at work on it.
    pub(super) fn alone(folder: &Path) -> Alone {
        // A damaged entry may lack its manifest; an empty one serves to lock it.
        let file = match File::options().write(true).create(true).truncate(false).open(folder.join(MANIFEST))
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Alone::Gone,
            Err(_) => return Alone::Unknown,
        };
        let lock = Self { file };
        match lock.file.try_lock() {
            Ok(()) if lock.is_of(folder) => Alone::Held(lock),
            // Somebody removed it, and may have made it anew.
            Ok(()) => Alone::Gone,
            Err(TryLockError::WouldBlock) => Alone::Busy,
            Err(TryLockError::Error(_)) => Alone::Unknown,
        }
    }

    /// Whether the locked manifest is still the one in the folder, which may have been removed and made anew.
    #[cfg(unix)]
    fn is_of(&self, folder: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (self.file.metadata(), folder.join(MANIFEST).metadata()) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    #[cfg(not(unix))]
    fn is_of(&self, folder: &Path) -> bool {
        folder.join(MANIFEST).exists()
    }

    /// The locked manifest.
    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }
}
