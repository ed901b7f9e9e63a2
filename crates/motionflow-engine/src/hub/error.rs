//! What can go wrong with the hub, and how it is reported.

use std::io;

use super::environment::Environment;
use crate::error::Misuse;

/// A request that failed.
#[derive(Debug)]
pub(super) enum HubError {
    /// The server answered, but not with what was requested.
    Status {
        url: String,
        status: u16,
        /// The hub's own word for it.
        code: Option<String>,
    },
    /// No whole answer came.
    Network(ureq::Error),
    /// What answers is no hub.
    NoHub { url: String, what: String },
}

impl From<ureq::Error> for HubError {
    fn from(error: ureq::Error) -> Self {
        Self::Network(error)
    }
}

impl From<io::Error> for HubError {
    fn from(error: io::Error) -> Self {
        Self::Network(error.into())
    }
}

impl HubError {
    /// Whether it may be gone at the next try.
    pub(super) fn may_pass(&self) -> bool {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof,
        };
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Network(ureq::Error::Timeout(_)) => true,
            Self::Network(ureq::Error::Io(error)) => matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | TimedOut | UnexpectedEof
            ),
            Self::Network(_) | Self::NoHub { .. } => false,
        }
    }

    /// The message to the user, who asked for this revision of this repository.
    pub(super) fn into_error(self, id: &str, revision: &str, environment: &Environment) -> anyhow::Error {
        let endpoint = &environment.endpoint;
        match self {
            Self::Status { status: status @ (401 | 403), .. } => {
                let token = if environment.token.is_some() {
                    "check that the token which was sent (HF_TOKEN, or the one that `hf auth login` stored) may read it"
                } else {
                    "set HF_TOKEN to a token of yours"
                };
                Misuse(format!(
                    "{endpoint} does not give out {id} (HTTP {status}): it is private or gated, or there is no such \
                     repository; check the name (there is no folder of that name here either), accept its licence at {endpoint}/{id}, and {token}"
                ))
                .into()
            }
            Self::Status { status: 404, code, .. } if code.as_deref() == Some("RevisionNotFound") => {
                Misuse(format!("{id} at {endpoint} has no revision \"{revision}\"; check --revision")).into()
            }
            Self::Status { status: 404, .. } => Misuse(format!(
                "there is no repository {id} with revision \"{revision}\" at {endpoint}, and no folder {id} here; \
                 check the name"
            ))
            .into(),
            Self::Status { url, status, .. } => {
                anyhow::anyhow!("{url}: the server answers with HTTP {status}; try again later")
            }
            Self::Network(error) => anyhow::anyhow!(
                "cannot get {id} from {endpoint}: {}; check the network, proxy and HF_ENDPOINT; what is already in \
                 the cache, which `motionflow models` lists, needs no network",
                plain(&error)
            ),
            Self::NoHub { url, what } => {
                anyhow::anyhow!("{url}: not the answer of a model hub ({what}); check HF_ENDPOINT")
            }
        }
    }
}

/// The error without the library's own words.
fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
