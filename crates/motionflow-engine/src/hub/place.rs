//! Where the files of one commit lie in the cache, and how they get there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use hf_hub::{Cache, CacheRepo};

use crate::cancel::CancelToken;

use super::client::{Client, RemoteFile};
use super::download::{download, length};
use super::error::HubError;
use super::repo;

/// Where one commit of a repository lies in the cache: contents under `blobs`, links to them under `snapshots`.
pub(super) struct Place {
    repo: CacheRepo,
    root: PathBuf,
    locks: PathBuf,
    /// The snapshot.
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn new(cache: &Cache, id: &str, revision: &str, commit: &str) -> Self {
        let repo = repo(id, revision);
        let name = repo.folder_name();
        let (root, locks) = (cache.path().join(&name), cache.path().join(".locks").join(&name));
        let repo = cache.repo(repo);
        Self { folder: repo.pointer_path(commit), repo, root, locks }
    }

    fn blob(&self, file: &RemoteFile) -> PathBuf {
        self.root.join("blobs").join(&file.etag)
    }

    fn partial(&self, file: &RemoteFile) -> PathBuf {
        self.root.join("blobs").join(format!("{}.incomplete", file.etag))
    }

    pub(super) fn pointer(&self, file: &RemoteFile) -> PathBuf {
        self.folder.join(&file.name)
    }

    /// Whether the content is here in full length.
    pub(super) fn has(&self, file: &RemoteFile) -> bool {
        [self.blob(file), self.pointer(file)].iter().any(|path| path.is_file() && length(path) == file.bytes)
    }

    /// How many bytes of the content are still to come.
    pub(super) fn left(&self, file: &RemoteFile) -> u64 {
        file.bytes.saturating_sub(length(&self.partial(file)))
    }

    /// Fetches the content, or waits while another process does.
    pub(super) fn fetch(
        &self,
        client: &Client,
        file: &RemoteFile,
        cancel: &CancelToken,
        explain: impl Fn(HubError) -> anyhow::Error,
        mut tell: impl FnMut(u64),
    ) -> Result<()> {
        let blob = self.blob(file);
        make_parent(&blob)?;
        let lock = self.locks.join(format!("{}.lock", file.etag));
        make_parent(&lock)?;
        let cannot = || format!("{}: cannot be locked", lock.display());
        let lock = File::create(&lock).with_context(cannot)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    cancel.check()?;
                    tell(length(&self.partial(file)));
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
            }
        }
        if self.has(file) {
            return Ok(());
        }
        download(client, file, &self.partial(file), &blob, cancel, explain, tell)
    }

    /// Lets the revision stand for this commit.
    pub(super) fn name(&self, commit: &str) -> Result<()> {
        self.repo.create_ref(commit).with_context(|| cannot_be_written(&self.root))
    }

    /// Makes the snapshot's name for the content.
    pub(super) fn link(&self, file: &RemoteFile) -> Result<()> {
        let pointer = self.pointer(file);
        if length(&pointer) == file.bytes && pointer.is_file() {
            return Ok(());
        }
        make_parent(&pointer)?;
        // By a rename, so that another process never finds the name without its content.
        let mut passing = pointer.clone().into_os_string();
        passing.push(format!(".{}", std::process::id()));
        let above = file.name.split('/').count() + 1;
        let made = link(&self.blob(file), Path::new(&passing), above);
        let made = made.and_then(|()| fs::rename(&passing, &pointer));
        made.with_context(|| cannot_be_written(&pointer))
    }
}

pub(super) fn cannot_be_written(path: &Path) -> String {
    format!("{}: cannot be written; set HF_HOME to a folder that you may write to", path.display())
}

/// Links `pointer` to `blob`, which lies in `blobs` so many folders above the pointer's.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path, above: usize) -> io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    std::os::unix::fs::symlink(Path::new(&"../".repeat(above)).join("blobs").join(name), pointer)
}

#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path, _above: usize) -> io::Result<()> {
    fs::hard_link(blob, pointer)
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).with_context(|| {
        format!("{}: cannot be made; set HF_HOME to a folder that you may write to", parent.display())
    })
}
