//! What can go wrong with a queue.

use std::io;
use std::path::PathBuf;

use crate::queue::State;

/// What can go wrong with a queue. Each message says where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The server does not answer.
    #[error(
        "{place}: the queue cannot be reached: {reason}; see that its server runs (nats-server --jetstream), or give another one (--queue)"
    )]
    Unreachable {
        /// The address, without secrets.
        place: String,
        /// Why.
        reason: String,
    },
    /// The server does not let this program in.
    #[error(
        "{place}: the server does not let this program in; give --creds, --nkey or the variables of NATS (docs/clusters.md)"
    )]
    Refused {
        /// The address, without secrets.
        place: String,
    },
    /// The server has no `JetStream`.
    #[error("{place}: the server has no JetStream; start it with --jetstream and a folder (--store_dir)")]
    NoJetStream {
        /// The address, without secrets.
        place: String,
    },
    /// What names a queue is none.
    #[error("--queue {given}: {reason}; give nats://HOST, tls://HOST or a folder")]
    NoQueue {
        /// As it was given, without secrets.
        given: String,
        /// Why.
        reason: String,
    },
    /// A file of credentials cannot be used.
    #[error("{path}: cannot be used to log in: {reason}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why, without what is in it.
        reason: String,
    },
    /// The queue refuses to write.
    #[error(
        "{place}: the queue cannot be written to: {reason}; make room for it, or remove what is old (motionflow queue clean)"
    )]
    Unwritable {
        /// The address, without secrets.
        place: String,
        /// Why.
        reason: String,
    },
    /// Another program does not let it be written to.
    #[error(
        "{place}: another program has held the queue's file for too long: {reason}; end that program, then try again"
    )]
    Locked {
        /// The folder.
        place: String,
        /// Why.
        reason: String,
    },
    /// What it holds cannot be read.
    #[error("{place}: the queue is damaged: {reason}")]
    Damaged {
        /// The address or folder.
        place: String,
        /// Why.
        reason: String,
    },
    /// There is no such job.
    #[error("there is no job \"{id}\"; `motionflow queue list` shows all")]
    NoJob {
        /// What was looked for.
        id: String,
    },
    /// Another job has this id.
    #[error("there is another job \"{id}\" with {differs}; give this one another name (--name)")]
    OtherJob {
        /// The id.
        id: String,
        /// What is not the same, to read.
        differs: String,
    },
    /// Nothing can be cancelled.
    #[error("job \"{id}\" is {} already", .state.words())]
    IsOver {
        /// The id.
        id: String,
        /// Its state.
        state: State,
    },
    /// Nothing can be tried again.
    #[error("job \"{id}\" is {}; only a job that failed, was cancelled or given up can be tried again", .state.words())]
    NotOver {
        /// The id.
        id: String,
        /// Its state.
        state: State,
    },
    /// A job has no result yet.
    #[error("job \"{id}\" is {}, so it has no result{}", .state.words(), why(.error.as_deref()))]
    NoResult {
        /// The id.
        id: String,
        /// Its state.
        state: State,
        /// Why it failed.
        error: Option<String>,
    },
    /// A file is not in the queue any more.
    #[error("{name}: is not in the queue any more, or damaged there; submit the job anew")]
    NoFile {
        /// The file.
        name: String,
    },
    /// A file here cannot be read or written.
    #[error("{path}: cannot be read or written: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl QueueError {
    /// Whether the user asked for something that cannot be.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self,
            Self::NoQueue { .. }
                | Self::Credentials { .. }
                | Self::NoJob { .. }
                | Self::OtherJob { .. }
                | Self::IsOver { .. }
                | Self::NotOver { .. }
                | Self::NoResult { .. }
        )
    }

    /// Whether it may help to wait.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Locked { .. })
    }

    /// Whether the queue has a fault that somebody may repair while a worker waits, and that no job is to blame for.
    pub fn is_of_the_queue(&self) -> bool {
        let is_full = |source: &io::Error| {
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        self.passes()
            || matches!(self, Self::Unwritable { .. })
            || matches!(self, Self::File { source, .. } if is_full(source))
    }
}

fn why(error: Option<&str>) -> String {
    error.map(|error| format!(": {error}")).unwrap_or_default()
}
