//! What went wrong, as RFC 9457 has it: `application/problem+json`, with the command line's message.

use std::path::Path;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use motionflow_engine::error::{self, ErrorKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seconds after which a request that was refused for its number may come again.
const RETRY_AFTER: &str = "5";

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what it is
    #[serde(rename = "type")]
    kind: String,
    /// The status in words
    title: String,
    /// The HTTP status
    pub(crate) status: u16,
    /// For programs
    pub(crate) code: Code,
    /// For people: what, where, and what to do
    pub(crate) detail: String,
}

/// Which error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request cannot be read.
    Malformed,
    /// The token is missing or wrong.
    Token,
    /// The server is asked for under a name that is not its own.
    Host,
    /// The request comes from another site.
    Origin,
    /// There is no such thing.
    NotFound,
    /// The path takes no such method.
    Method,
    /// There is another thing of this name.
    Exists,
    /// The job is running.
    JobRunning,
    /// The job is not running.
    JobNotRunning,
    /// The job is over.
    JobOver,
    /// What is asked for is in use.
    Busy,
    /// This vote was given.
    Voted,
    /// The body is too large.
    TooLarge,
    /// The body is of another type.
    ContentType,
    /// The settings cannot be carried out.
    Misuse,
    /// A file is not there.
    Missing,
    /// It would need more memory than there is.
    DoesNotFit,
    /// A file is not what it should be.
    Unreadable,
    /// There are too many of them.
    TooMany,
    /// Anything else.
    Failed,
    /// The disk is full.
    DiskFull,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Exists
            | Self::JobRunning
            | Self::JobNotRunning
            | Self::JobOver
            | Self::Busy
            | Self::Voted => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misuse | Self::Missing | Self::DoesNotFit | Self::Unreadable => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.status();
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code,
            detail: detail.into(),
        }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(Code::NotFound, what)
    }

    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::new(Code::Malformed, what)
    }

    /// An error of the engine, or a problem that went through it.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(problem) = error.downcast_ref::<Self>() {
            return problem.clone();
        }
        let message = error::message(error);
        let code = match ErrorKind::of(error) {
            ErrorKind::Misuse => Code::Misuse,
            ErrorKind::Missing => Code::Missing,
            ErrorKind::DoesNotFit => Code::DoesNotFit,
            _ if message.contains(DISK_FULL) => Code::DiskFull,
            ErrorKind::OutOfMemory | ErrorKind::Stopped | ErrorKind::Failed => Code::Failed,
        };
        Self::new(code, message)
    }

    /// An error about a file that was uploaded or named.
    pub(crate) fn unreadable(error: &anyhow::Error) -> Self {
        let problem = Self::of(error);
        match problem.code {
            Code::DiskFull | Code::DoesNotFit => problem,
            _ => Self::new(Code::Unreadable, problem.detail),
        }
    }

    /// The same without the names of folders that tell a user of the page nothing.
    #[must_use]
    pub(crate) fn without(mut self, folder: &Path) -> Self {
        self.detail = without_uploads(&self.detail.replace(&format!("{}/", folder.display()), ""));
        self
    }
}

/// The same with what was uploaded under the name that it came with: `.studio/uploads/ID/content/NAME` is NAME.
fn without_uploads(detail: &str) -> String {
    let mut parts = detail.split(".studio/uploads/");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once('/').and_then(|(_, rest)| rest.strip_prefix("content"));
        match rest.map(|rest| rest.strip_prefix('/').ok_or(rest)) {
            Some(Ok(named)) => told.push_str(named),
            Some(Err(painted)) => told.extend(["the painted masks", painted]),
            None => told.push_str(part),
        }
    }
    told
}

/// How the engine's message about a full disk begins.
const DISK_FULL: &str = "the disk is full";

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::of(&error)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::of(&error.into())
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        let is_full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        let code = if is_full { Code::DiskFull } else { Code::Failed };
        Self::new(
            code,
            format!(
                "the queue's file cannot be used: {error}; free some space, or give another folder (--runs)"
            ),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code == Code::TooMany {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_uploaded_has_the_name_that_it_came_with() {
        for (said, told) in [
            (
                "mask 1: /runs/.studio/uploads/ab/content/my cat.csv: is no track",
                "mask 1: my cat.csv: is no track",
            ),
            ("/runs/.studio/uploads/ab/content: has 3 frames", "the painted masks: has 3 frames"),
            ("/runs/.studio/uploads/ab/content/x, /runs/.studio/uploads/cd/content/y", "x, y"),
            ("/runs/panda/result.mp4: is broken", "panda/result.mp4: is broken"),
            (".studio/uploads/", ""),
        ] {
            let problem = Problem::new(Code::Unreadable, said).without(Path::new("/runs"));
            assert_eq!(problem.detail, told);
        }
    }
}
