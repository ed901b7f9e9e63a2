//! What names a queue, and how it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use motionflow_engine::queue::{Queue, QueueError, Result};

use crate::jetstream::JetStream;
use crate::shared::Shared;
use crate::sqlite::Sqlite;

/// How long a lease holds where nothing else is said.
pub const LEASE: Duration = Duration::from_secs(30);

/// A queue's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A NATS server, or several of one cluster with commas between them.
    Nats(String),
    /// A folder on this machine.
    Folder(PathBuf),
}

/// How to get in, and how patiently.
#[derive(Debug, Clone)]
pub struct Access {
    /// NATS credentials (a JWT and its seed).
    pub creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// Certificates of authorities that are trusted besides the system's.
    pub tls_ca: Option<PathBuf>,
    /// The client's certificate.
    pub tls_cert: Option<PathBuf>,
    /// The key of the client's certificate.
    pub tls_key: Option<PathBuf>,
    /// A user's name; a name in the address goes before it.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// How long a worker may be silent until its job goes to another one.
    pub lease: Duration,
    /// How long an answer is waited for; without end where nothing is said.
    pub patience: Option<Duration>,
    /// Ends all waiting where it says so.
    pub stop: motionflow_engine::cancel::CancelToken,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            creds: None,
            nkey: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            user: None,
            password: None,
            lease: LEASE,
            patience: Some(Duration::from_secs(10)),
            stop: motionflow_engine::cancel::CancelToken::default(),
        }
    }
}

impl Address {
    /// Reads what `--queue` says.
    ///
    /// # Errors
    /// [`QueueError::NoQueue`] where it is another kind of address.
    pub fn parse(text: &str) -> Result<Self> {
        let no_queue =
            |reason: &str| QueueError::NoQueue { given: without_secret(text), reason: reason.to_owned() };
        match text.split_once("://") {
            Some(("nats" | "tls", rest)) if !rest.is_empty() => Ok(Self::Nats(text.to_owned())),
            Some(("nats" | "tls", _)) => Err(no_queue("names no host")),
            Some((scheme, _)) => Err(no_queue(&format!("there are no queues of the kind \"{scheme}\""))),
            None if text.is_empty() => Err(no_queue("is empty")),
            None if Path::new(text).is_file() => Err(no_queue("is a file")),
            None if is_like_a_host(text) => {
                Err(no_queue("is a folder's name that looks like a host's; write nats://HOST, or ./FOLDER"))
            }
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }

    /// To read, without secrets.
    pub fn shown(&self) -> String {
        match self {
            Self::Nats(address) => without_secret(address),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }
}

/// Whether somebody has left out `nats://`: `HOST:PORT` or `USER@HOST`.
fn is_like_a_host(text: &str) -> bool {
    let has_port = || {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        port.is_some_and(|port| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()))
    };
    !text.contains('/') && !Path::new(text).exists() && (text.contains('@') || has_port())
}

/// An address without what may be the user, password or token in it: all before the last `@`, which a password may hold, too, as it
/// may a comma. Of several servers those after the last login are shown.
fn without_secret(address: &str) -> String {
    let Some((before, host)) = address.rsplit_once('@') else { return address.to_owned() };
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    // Servers before it that have no login of their own are told apart by their scheme alone.
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

/// What is percent-encoded in an address, as it was.
pub(crate) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Opens a queue; what it lacks there is made.
///
/// # Errors
/// When it cannot be reached, or does not let this program in.
pub fn open(address: &Address, access: &Access) -> Result<Arc<dyn Queue>> {
    let place = address.shown();
    Ok(match address {
        Address::Nats(servers) => Arc::new(Shared::new(JetStream::open(servers, &place, access)?, place)),
        Address::Folder(folder) => Arc::new(Shared::new(Sqlite::open(folder, access.lease)?, place)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_shown_without_secrets() {
        let shown = |text: &str| Address::parse(text).map(|address| address.shown()).unwrap();
        assert_eq!(shown("nats://me:secret@host:4222"), "nats://host:4222");
        assert_eq!(shown("tls://token@a,tls://b:1"), "tls://a,tls://b:1");
        assert_eq!(shown("nats://a,nats://b:1"), "nats://a,nats://b:1");
        assert_eq!(shown("nats://me:se,c@r,et@host"), "nats://host");
        assert_eq!(shown("runs"), "runs");
        assert_eq!(shown("./runs:1"), "./runs:1");
        for host in ["me:secret@localhost:4222", "localhost:4222"] {
            let error = Address::parse(host).unwrap_err().to_string();
            assert!(error.contains("nats://HOST") && !error.contains("secret"), "{error}");
        }
        let error = Address::parse("redis://me:secret@host").unwrap_err().to_string();
        assert!(error.contains("redis://host") && !error.contains("secret"), "{error}");
        assert!(Address::parse("nats://").is_err() && Address::parse("").is_err());
    }
}
