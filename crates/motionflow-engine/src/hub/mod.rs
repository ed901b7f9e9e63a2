//! Checkpoints from the Hugging Face hub, kept in the cache that all of its tools share.
//!
//! The cache's layout is hf-hub's. Its downloads are not used: 0.5 they hand the token on to the store that a
//! large file is redirected to, append to a broken file whatever the server sends, and check nothing; 1.0 begins a
//! broken download anew.

mod address;
mod client;
mod download;
mod environment;
mod error;
mod layout;
mod place;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use hf_hub::{Cache, Repo, RepoType};
use motionflow::checkpoint::listed;

pub(crate) use self::address::Address;
use self::client::{Client, Listing, RemoteFile};
use self::environment::Environment;
use self::error::HubError;
pub(crate) use self::layout::Layout;
use self::place::Place;
use crate::error::Misuse;
use crate::progress::Progress;
use crate::request::recommended;
use crate::units::{free_space, readable};

/// The revision that is taken when none is said.
pub const REVISION: &str = "main";

/// The message about a download that is ended.
const STOPPED: &str = "stopped; the same command goes on with what is already fetched";

/// The hub, and what is here of it.
#[derive(Debug)]
pub struct Hub {
    environment: Environment,
    cache: Cache,
    /// What is looked for.
    layout: Layout,
}

/// A repository at a commit, as a folder of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// OWNER/NAME.
    pub id: String,
    /// The commit.
    pub commit: String,
    /// Where its files are.
    pub folder: PathBuf,
    layout: Layout,
}

impl Snapshot {
    /// What it lacks; nothing where it is whole, or wrong in another way.
    pub fn missing(&self) -> Vec<String> {
        self.layout.missing(&self.folder)
    }
}

/// Whether `name` can be a repository of the hub: `OWNER/NAME`.
pub fn is_id(name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
            && !part.contains("..")
            && !part.contains("--")
    };
    name.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

impl Hub {
    /// As the environment says, for text-to-video checkpoints.
    ///
    /// # Errors
    /// A [`Misuse`] where a variable of the environment makes no sense.
    pub fn new() -> Result<Self> {
        Self::of(Layout::Checkpoint)
    }

    /// As the environment says, for what a repository holds: a motion adapter, or else a checkpoint.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn for_repository(id: &str, revision: &str) -> Result<Self> {
        let hub = Self::of(Layout::MotionAdapter)?;
        let is_adapter = if hub.environment.offline {
            hub.here(id, revision)?.is_some_and(|snapshot| snapshot.missing().is_empty())
        } else {
            // What else is wrong is reported when it is fetched.
            let listing = Client::new(&hub.environment).list(id, revision).ok();
            listing.is_some_and(|listing| {
                let published: Vec<&str> = listing.siblings.iter().map(|file| file.name.as_str()).collect();
                !published.contains(&Layout::Checkpoint.index()) && hub.layout.needed(&published).is_ok()
            })
        };
        Ok(Self { layout: if is_adapter { Layout::MotionAdapter } else { Layout::Checkpoint }, ..hub })
    }

    /// As the environment says, for motion adapters.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn of_motion_adapters() -> Result<Self> {
        Self::of(Layout::MotionAdapter)
    }

    /// As the environment says.
    pub(crate) fn of(layout: Layout) -> Result<Self> {
        let environment = Environment::read()?;
        let cache = Cache::new(environment.cache.clone());
        Ok(Self { environment, cache, layout })
    }

    /// The folder of the cache.
    pub fn cache(&self) -> &Path {
        &self.environment.cache
    }

    /// A checkpoint from the cache where it is whole there, else from the hub.
    ///
    /// # Errors
    /// As [`Hub::fetch`].
    pub fn get(&self, id: &str, revision: &str, progress: &mut Progress) -> Result<Snapshot> {
        match self.here(id, revision)? {
            Some(snapshot) if snapshot.missing().is_empty() => Ok(snapshot),
            _ => self.fetch(id, revision, progress),
        }
    }

    /// A checkpoint as the hub has it now; what the cache lacks of it is fetched.
    ///
    /// # Errors
    /// When the hub cannot be reached, has no such repository or one of another kind, or the disk has no room.
    pub fn fetch(&self, id: &str, revision: &str, progress: &mut Progress) -> Result<Snapshot> {
        let here = self.here(id, revision)?;
        if self.environment.offline {
            return self.offline(id, revision, here);
        }
        let client = Client::new(&self.environment);
        let explain = |error: HubError| error.into_error(id, revision, &self.environment);
        let listing = match (client.list(id, revision), here) {
            (Ok(listing), _) => listing,
            (Err(HubError::Network(_)), Some(here)) if here.missing().is_empty() => {
                progress.warn(format!(
                    "{} cannot be reached: {id} is taken as the cache has it, commit {}",
                    self.environment.endpoint, here.commit
                ));
                return Ok(here);
            }
            (Err(error), _) => return Err(explain(error)),
        };
        let place = Place::new(&self.cache, id, revision, &listing.commit);
        let names = self.needed(id, &listing)?;
        let looked = names.iter().map(|name| client.look(id, &listing.commit, name));
        let files = looked.collect::<Result<Vec<RemoteFile>, _>>().map_err(explain)?;
        let missing: Vec<&RemoteFile> = files.iter().filter(|file| !place.has(file)).collect();
        let total: u64 = missing.iter().map(|file| place.left(file)).sum();
        self.check_space(id, total)?;
        if !missing.is_empty() {
            progress.note(&format!(
                "fetching {id} ({revision}, commit {}): {} files, {} into {}",
                listing.commit,
                missing.len(),
                readable(total),
                self.cache().display()
            ));
        }
        let cancel = progress.cancel_token();
        let _part = cancel.tells(|| Some(STOPPED.to_owned()));
        let mut stage = progress.stage_in("MiB", "fetch", mebibytes(total).max(1));
        let mut done = 0;
        for file in &files {
            if !place.has(file) {
                let left = place.left(file);
                place.fetch(&client, file, &cancel, explain, |here| {
                    let fetched = (here + left).saturating_sub(file.bytes);
                    stage.step(mebibytes(done + fetched), &file.name);
                })?;
                done += left;
            }
            place.link(file)?;
            if file.name == self.layout.index() {
                self.layout.check(&place.pointer(file)).map_err(|error| Misuse(format!("{id}: {error}")))?;
            }
        }
        if !missing.is_empty() {
            stage.finish();
        }
        if revision != listing.commit {
            place.name(&listing.commit)?;
        }
        Ok(self.snapshot(id, listing.commit, place.folder))
    }

    /// What the cache has of a revision, whole or not.
    ///
    /// # Errors
    /// When the cache cannot be read.
    pub fn here(&self, id: &str, revision: &str) -> Result<Option<Snapshot>> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./+".contains(letter);
        if revision.is_empty() || revision.contains("..") || !revision.chars().all(is_plain) {
            return Err(Misuse(format!("--revision \"{revision}\": not a branch, tag or commit")).into());
        }
        let root = self.cache().join(repo(id, revision).folder_name());
        let named = fs::read_to_string(root.join("refs").join(revision)).ok();
        let commit = named.map_or_else(|| revision.to_owned(), |commit| commit.trim().to_owned());
        let folder = root.join("snapshots").join(&commit);
        let is_here = !commit.is_empty() && folder.is_dir();
        Ok(is_here.then(|| self.snapshot(id, commit, folder)))
    }

    /// Every snapshot in the cache that has the index of the layout.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        for (root, name) in entries(self.cache()) {
            let Some(id) = name.strip_prefix("models--").map(|id| id.replacen("--", "/", 1)) else {
                continue;
            };
            for (folder, commit) in entries(&root.join("snapshots")) {
                if self.layout.check(&folder.join(self.layout.index())).is_ok() {
                    snapshots.push(self.snapshot(&id, commit, folder));
                }
            }
        }
        snapshots
    }

    fn offline(&self, id: &str, revision: &str, here: Option<Snapshot>) -> Result<Snapshot> {
        let missing = here.as_ref().map(Snapshot::missing);
        match (here, missing) {
            (Some(here), Some(missing)) if missing.is_empty() => Ok(here),
            (_, missing) => {
                let lacks = missing.map(|missing| format!("; it lacks {}", listed(&missing)));
                Err(Misuse(format!(
                    "{id} (revision \"{revision}\") is not whole in {}, and HF_HUB_OFFLINE forbids fetching it{}; unset \
                     HF_HUB_OFFLINE, or set HF_HOME to a cache that has it",
                    self.cache().display(),
                    lacks.unwrap_or_default()
                ))
                .into())
            }
        }
    }

    fn snapshot(&self, id: &str, commit: String, folder: PathBuf) -> Snapshot {
        Snapshot { id: id.to_owned(), commit, folder, layout: self.layout }
    }

    /// The files to fetch, in this order.
    fn needed(&self, id: &str, listing: &Listing) -> Result<Vec<String>> {
        let published: Vec<&str> = listing.siblings.iter().map(|file| file.name.as_str()).collect();
        let mut names = self.layout.needed(&published).map_err(|missing| {
            Misuse(format!("{id} is not {}; it lacks {}", self.layout.described(), listed(&missing)))
        })?;
        if self.layout == Layout::Checkpoint && published.contains(&recommended::FILE) {
            names.insert(1, recommended::FILE.to_owned());
        }
        Ok(names)
    }

    /// Checks that what is still to come has room.
    fn check_space(&self, id: &str, needed: u64) -> Result<()> {
        let existing = self.cache().ancestors().find(|folder| folder.exists());
        match existing.and_then(free_space) {
            Some(available) if available < needed => Err(Misuse(format!(
                "{id}: {} are still to be fetched, but the disk of {} has {} left; make room, or set HF_HOME to a \
                 folder on another disk",
                readable(needed),
                self.cache().display(),
                readable(available)
            ))
            .into()),
            _ => Ok(()),
        }
    }
}

fn repo(id: &str, revision: &str) -> Repo {
    Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned())
}

fn mebibytes(bytes: u64) -> usize {
    (bytes >> 20) as usize
}

/// What lies in a folder, with its name, in order.
pub fn entries(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<(PathBuf, String)> =
        entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?))).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_hub_is_no_path() {
        assert!(is_id("cerspense/zeroscope_v2_576w") && is_id("damo-vilab/text-to-video-ms-1.7b"));
        for other in
            ["demo", "./model", "../model", "/model", "a/b/c", "a/", "a b/c", "a/..", "a\\b", "a/b..c"]
        {
            assert!(!is_id(other), "{other}");
        }
    }
}
