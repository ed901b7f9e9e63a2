//! What took long to compute, kept for other runs: folders of files, each named by what it was made from.
//!
//! ```text
//! ~/.cache/motionflow/inversions/
//!     KEY/                 SHA-256, in hex, over the parts of the key
//!         entry.toml       the parts, and every file's size and checksum
//!         ...              the files
//!     .partial-*/          being written; becomes an entry by one rename
//!     .gone-*/             being removed
//! ```
//!
//! An entry's folder has the time of its last use. Processes that share the cache are kept apart by locks.

pub mod inversions;
mod key;
mod lock;
mod manifest;
mod place;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::error::without_name;

pub(crate) use key::Key;
use lock::{Alone, Lock};
use manifest::Manifest;
pub use place::{FOLDER_VARIABLE, LIMIT_VARIABLE, NoHome};

/// Beginnings of the names of folders that are no entries yet, or no longer.
const PARTIAL: &str = ".partial-";
const GONE: &str = ".gone-";

/// Younger folders of those names may be about to be locked.
const YOUNG: Duration = Duration::from_secs(60);
/// Older ones are leftovers, even where no locks are known.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// How often an entry is looked at anew that others seem to remove and to make again meanwhile.
const LOOKS: usize = 3;

/// A folder of entries that holds no more bytes than its limit.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
}

/// What the cache has of something.
#[derive(Debug)]
pub enum Found {
    /// An entry whose files are what they were when they were put.
    Whole(Entry),
    /// There is none.
    Nothing,
    /// There was one, but it was damaged, as the text says, and is removed.
    Damaged(String),
}

/// An entry. No process removes it before this is dropped.
#[derive(Debug)]
pub struct Entry {
    folder: PathBuf,
    _lock: Lock,
}

impl Entry {
    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// What is known about an entry without reading its files.
#[derive(Debug, Clone)]
pub struct Listed {
    /// SHA-256 over the parts.
    pub name: String,
    /// The parts of its key; none where the manifest cannot be read.
    pub parts: BTreeMap<String, String>,
    /// The size of its files.
    pub bytes: u64,
    /// When it was last put or got.
    pub used: SystemTime,
}

/// What was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// How many entries.
    pub entries: usize,
    /// Their size.
    pub bytes: u64,
    /// Entries that were kept because a process uses them.
    pub busy: usize,
}

enum Looked {
    Whole(Lock),
    Gone,
    Damaged(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Removed {
    Yes,
    Busy,
    Gone,
}

impl Cache {
    /// The user's cache. Nothing is made on disk yet.
    ///
    /// # Errors
    /// [`NoHome`], and a limit that is none.
    pub fn open() -> Result<Self> {
        Ok(Self { folder: place::folder()?, limit: place::limit()? })
    }

    /// One in a folder of its own, which holds what comes.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, limit: u64::MAX }
    }

    /// Where the entries are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many bytes all entries together may have; 0 keeps nothing.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Looks for an entry, and checks every byte of it.
    pub(crate) fn get(&self, key: &Key) -> Found {
        let folder = self.place_of(key);
        let mut reason = String::new();
        for _ in 0..LOOKS {
            match look(&folder, key) {
                Looked::Whole(lock) => {
                    touch(&folder);
                    return Found::Whole(Entry { folder, _lock: lock });
                }
                Looked::Gone => return Found::Nothing,
                Looked::Damaged(why) => reason = why,
            }
            if self.remove_damaged(&folder, key) {
                break;
            }
        }
        Found::Damaged(reason)
    }

    /// Lets `write` fill a folder with files, and makes it the entry of `key`, whole or not at all. Then removes
    /// those that were not used for longest, as far as the limit demands.
    ///
    /// Says whether there is such an entry now: there is none when it alone exceeds the limit. Where another process
    /// was first, its entry stays.
    pub(crate) fn put(&self, key: &Key, write: impl FnOnce(&Path) -> Result<()>) -> Result<bool> {
        if self.limit == 0 {
            return Ok(false);
        }
        let cannot = || {
            let folder = self.folder.display();
            format!("{folder}: cannot be written to; set {FOLDER_VARIABLE} to a folder that you may write to")
        };
        fs::create_dir_all(&self.folder).with_context(cannot)?;
        self.sweep();
        let mut partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.folder)
            .map_err(without_name)
            .with_context(cannot)?;
        let mut lock = Lock::new_in(partial.path()).with_context(cannot)?;
        write(partial.path()).with_context(cannot)?;
        let manifest = Manifest::of(key, partial.path()).with_context(cannot)?.text()?;
        lock.file().write_all(manifest.as_bytes()).with_context(cannot)?;
        if bytes_in(partial.path()) > self.limit {
            return Ok(false);
        }
        let place = self.place_of(key);
        match fs::rename(partial.path(), &place) {
            Ok(()) => partial.disable_cleanup(true),
            Err(error) if is_taken(&error) => return Ok(true),
            Err(error) => return Err(error).with_context(cannot),
        }
        touch(&place);
        drop(lock);
        self.evict(key.name())?;
        Ok(true)
    }

    /// Every entry, the last used first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn entries(&self) -> Result<Vec<Listed>> {
        let cannot = || {
            let folder = self.folder.display();
            format!("{folder}: cannot be read; set {FOLDER_VARIABLE} to a folder for the cache")
        };
        let mut entries = Vec::new();
        for (name, folder) in self.folders().with_context(cannot)? {
            // What is gone by now is no entry.
            if let Ok(used) = folder.metadata().and_then(|metadata| metadata.modified())
                && Key::may_be(&name)
            {
                let parts = Manifest::read(&folder).map(|manifest| manifest.key).unwrap_or_default();
                entries.push(Listed { name, parts, bytes: bytes_in(&folder), used });
            }
        }
        entries.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.name.cmp(&b.name)));
        Ok(entries)
    }

    /// Removes the entries that were not used for at least so long, but for those in use, and leftovers.
    ///
    /// # Errors
    /// When an entry cannot be removed.
    pub fn clear(&self, unused_for: Duration) -> Result<Cleared> {
        let mut cleared = Cleared { bytes: self.sweep(), ..Cleared::default() };
        for entry in self.entries()?.into_iter().filter(|entry| age(entry.used) >= unused_for) {
            match self.remove(&self.folder.join(&entry.name))? {
                Removed::Yes => {
                    cleared.entries += 1;
                    cleared.bytes += entry.bytes;
                }
                Removed::Busy => cleared.busy += 1,
                Removed::Gone => {}
            }
        }
        Ok(cleared)
    }

    fn place_of(&self, key: &Key) -> PathBuf {
        self.folder.join(key.name())
    }

    /// The folders in the cache with their names; none where there is no cache yet.
    fn folders(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let listing = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        let entries = listing.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        Ok(entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect())
    }

    /// Removes the entries that were not used for longest, until the others are within the limit; never `keep`.
    fn evict(&self, keep: &str) -> Result<()> {
        let entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries.iter().rev().filter(|entry| entry.name != keep) {
            if total <= self.limit {
                break;
            }
            if self.remove(&self.folder.join(&entry.name))? != Removed::Busy {
                total -= entry.bytes;
            }
        }
        Ok(())
    }

    /// Removes an entry, unless a process is at work on it.
    fn remove(&self, folder: &Path) -> Result<Removed> {
        let _lock = match Lock::alone(folder) {
            Alone::Busy => return Ok(Removed::Busy),
            Alone::Gone => return Ok(Removed::Gone),
            Alone::Held(lock) => Some(lock),
            Alone::Unknown => None,
        };
        self.take_away(folder)
    }

    /// Removes an entry that still is damaged when nobody else is at work on it, and says whether it did.
    fn remove_damaged(&self, folder: &Path, key: &Key) -> bool {
        let _lock = match Lock::alone(folder) {
            Alone::Busy | Alone::Gone => return false,
            Alone::Held(lock) => Some(lock),
            Alone::Unknown => None,
        };
        check(folder, key).is_err() && self.take_away(folder).is_ok()
    }

    /// One rename, so that nobody ever finds half of it; then the files go.
    fn take_away(&self, folder: &Path) -> Result<Removed> {
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let gone = self.folder.join(format!("{GONE}{}-{moment}", std::process::id()));
        match fs::rename(folder, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removed::Gone),
            renamed => renamed.with_context(|| format!("{}: cannot be removed", folder.display()))?,
        }
        // What cannot be removed now is a leftover, and goes with the next sweep.
        fs::remove_dir_all(&gone).ok();
        Ok(Removed::Yes)
    }

    /// Removes what killed processes left, and says how many bytes that was.
    fn sweep(&self) -> u64 {
        let mut freed = 0;
        for (name, folder) in self.folders().unwrap_or_default() {
            if !name.starts_with(PARTIAL) && !name.starts_with(GONE) {
                continue;
            }
            let Ok(modified) = folder.metadata().and_then(|metadata| metadata.modified()) else { continue };
            let age = age(modified);
            if age < YOUNG {
                continue;
            }
            let _lock = match Lock::alone(&folder) {
                Alone::Held(lock) => Some(lock),
                Alone::Unknown if age >= OLD => None,
                _ => continue,
            };
            let bytes = bytes_in(&folder);
            if fs::remove_dir_all(&folder).is_ok() {
                freed += bytes;
            }
        }
        freed
    }
}

fn look(folder: &Path, key: &Key) -> Looked {
    match Lock::shared(folder) {
        Ok(lock) => match check(folder, key) {
            Ok(()) => Looked::Whole(lock),
            Err(reason) => Looked::Damaged(format!("{reason:#}")),
        },
        Err(_) if !folder.is_dir() => Looked::Gone,
        Err(error) => Looked::Damaged(format!("{}: {error}", manifest::MANIFEST)),
    }
}

fn check(folder: &Path, key: &Key) -> Result<()> {
    Manifest::read(folder)?.check(key, folder)
}

/// Notes that an entry is used now. Where that cannot be, it will only go the sooner.
fn touch(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
}

/// How long ago; nothing for the future, which a clock that was set may give.
fn age(moment: SystemTime) -> Duration {
    SystemTime::now().duration_since(moment).unwrap_or_default()
}

fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Whether a folder could not be renamed because there is one of that name.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

#[cfg(test)]
mod tests;
