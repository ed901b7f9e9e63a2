//! One file from the hub into the cache, in as many tries as it takes, checked.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cancel::CancelToken;

use super::client::{Client, RemoteFile, WAITS, header};
use super::error::HubError;
use super::place::cannot_be_written;
use crate::source::sha256_of_file;
use crate::units::readable;

/// Why a try ended before the file was whole.
enum Stop {
    /// The hub's side; another try may help.
    Hub(HubError),
    /// Our side.
    Disk(io::Error),
    /// The user wants the program to end.
    Requested,
}

impl From<HubError> for Stop {
    fn from(error: HubError) -> Self {
        Self::Hub(error)
    }
}

/// Fetches a file to `blob`. What an earlier run has left in `partial` is taken as its beginning. `tell` hears how many
/// bytes are there.
pub(super) fn download(
    client: &Client,
    file: &RemoteFile,
    partial: &Path,
    blob: &Path,
    cancel: &CancelToken,
    explain: impl Fn(HubError) -> anyhow::Error,
    mut tell: impl FnMut(u64),
) -> Result<()> {
    let went_on = length(partial) > 0;
    complete(client, file, partial, cancel, &explain, &mut tell)?;
    if went_on && !is_right(file, partial)? {
        // Its beginning, which we did not see, may be to blame.
        fs::remove_file(partial).with_context(|| format!("{}: cannot be removed", partial.display()))?;
        complete(client, file, partial, cancel, &explain, &mut tell)?;
    }
    if !is_right(file, partial)? {
        let _ = fs::remove_file(partial);
        bail!(
            "{}: what came from {} is not what the hub announced (another length or checksum), and was thrown away; \
             run the same command again",
            file.name,
            file.url
        );
    }
    fs::rename(partial, blob).with_context(|| cannot_be_written(blob))
}

/// Tries until `partial` has the announced length.
fn complete(
    client: &Client,
    file: &RemoteFile,
    partial: &Path,
    cancel: &CancelToken,
    explain: &impl Fn(HubError) -> anyhow::Error,
    tell: &mut impl FnMut(u64),
) -> Result<()> {
    let mut waits = WAITS.iter();
    loop {
        let before = length(partial);
        let error = match attempt(client, file, partial, cancel, tell) {
            Ok(()) => return Ok(()),
            Err(Stop::Hub(error)) => error,
            Err(Stop::Requested) => return cancel.check(),
            Err(Stop::Disk(error)) => {
                return Err(error).with_context(|| cannot_be_written(partial));
            }
        };
        let here = length(partial);
        if here > before {
            waits = WAITS.iter();
        }
        // Where the hub has answered already, also a refused connection may pass.
        let is_network = matches!(error, HubError::Network(_));
        match waits.next().filter(|_| is_network || error.may_pass()) {
            Some(&wait) => std::thread::sleep(Duration::from_secs_f64(wait)),
            None if is_network => bail!(
                "{}: the connection broke off again and again; {} of {} are here: run the same command again, and it \
                 goes on from there",
                file.name,
                readable(here),
                readable(file.bytes)
            ),
            None => return Err(explain(error)),
        }
    }
}

/// One request for what is still missing.
fn attempt(
    client: &Client,
    file: &RemoteFile,
    partial: &Path,
    cancel: &CancelToken,
    tell: &mut impl FnMut(u64),
) -> Result<(), Stop> {
    let mut start = length(partial);
    if start >= file.bytes && start > 0 {
        return Ok(());
    }
    let mut response = client.open(file, start)?;
    let range = header(response.headers(), "content-range").unwrap_or_default();
    let goes_on = response.status() == 206 && range.starts_with(&format!("bytes {start}-"));
    if !goes_on {
        start = 0; // The server gives the whole file.
    }
    let opened = OpenOptions::new().create(true).write(true).append(goes_on).truncate(!goes_on).open(partial);
    let mut out = opened.map_err(Stop::Disk)?;
    // One byte more than there should be is enough to see that there are too many.
    let mut reader = response.body_mut().as_reader().take(file.bytes - start + 1);
    let mut buffer = vec![0; 1 << 18];
    let mut here = start;
    loop {
        let read = reader.read(&mut buffer).map_err(HubError::from)?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).map_err(Stop::Disk)?;
        if cancel.is_cancelled() {
            return Err(Stop::Requested);
        }
        here += read as u64;
        tell(here);
    }
    if here < file.bytes {
        return Err(HubError::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into());
    }
    out.sync_all().map_err(Stop::Disk)
}

/// Whether a file has the announced length and, where the hub tells it, SHA-256.
fn is_right(file: &RemoteFile, path: &Path) -> Result<bool> {
    let is_sha256 = file.etag.len() == 64 && file.etag.chars().all(|digit| digit.is_ascii_hexdigit());
    Ok(length(path) == file.bytes && (!is_sha256 || sha256_of_file(path)? == file.etag.to_lowercase()))
}

/// Of a file that may not be there.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
