//! Asking the hub: what a repository holds, how large a file is and what it is called in the cache, its bytes.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::environment::Environment;
use super::error::HubError;

/// How long to wait before each further try, in seconds.
pub(super) const WAITS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

const REDIRECTS: usize = 10;

/// Talks to one hub.
#[derive(Debug)]
pub(super) struct Client<'a> {
    agent: Agent,
    environment: &'a Environment,
}

/// What a repository holds at a revision.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    /// The commit that the revision stands for.
    #[serde(rename = "sha")]
    pub(super) commit: String,
    pub(super) siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Debug, Deserialize)]
pub(super) struct Sibling {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
}

/// A file that can be fetched.
#[derive(Debug, Clone)]
pub(super) struct RemoteFile {
    /// In the repository, with `/` between the parts.
    pub(super) name: String,
    pub(super) url: String,
    /// Its name in the cache; the SHA-256 of a large file.
    pub(super) etag: String,
    pub(super) bytes: u64,
}

impl<'a> Client<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        let config = Agent::config_builder()
            .user_agent(concat!("motionflow/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // Redirects are followed here, since whether the token goes along depends on where they lead.
            .max_redirects(0)
            // The system's certificates, and so those of a company's own proxy.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), environment }
    }

    /// What the repository holds.
    pub(super) fn list(&self, id: &str, revision: &str) -> Result<Listing, HubError> {
        let revision = revision.replace('/', "%2F");
        let url = format!("{}/api/models/{id}/revision/{revision}", self.environment.endpoint);
        let text = patiently(|| {
            let mut response = self.send(&url, Fetch::Whole)?;
            Ok(response.body_mut().read_to_string()?)
        })?;
        let listing: Listing = serde_json::from_str(&text)
            .map_err(|error| HubError::NoHub { url: url.clone(), what: error.to_string() })?;
        if is_name(&listing.commit) {
            Ok(listing)
        } else {
            Err(HubError::NoHub { url, what: format!("its commit is \"{}\"", listing.commit) })
        }
    }

    /// Size and name in the cache of a file.
    pub(super) fn look(&self, id: &str, commit: &str, name: &str) -> Result<RemoteFile, HubError> {
        let url = format!("{}/{id}/resolve/{commit}/{name}", self.environment.endpoint);
        let response = patiently(|| self.send(&url, Fetch::Headers))?;
        let headers = response.headers();
        let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let bytes = header(headers, "x-linked-size").or_else(|| header(headers, "content-length"));
        match (etag.filter(|etag| is_name(etag)), bytes.and_then(|bytes| bytes.parse().ok())) {
            (Some(etag), Some(bytes)) => Ok(RemoteFile { name: name.to_owned(), url, etag, bytes }),
            _ => Err(HubError::NoHub { url, what: "it has no ETag or no size".into() }),
        }
    }

    /// The bytes of a file, from `start` on where the server can do that.
    pub(super) fn open(&self, file: &RemoteFile, start: u64) -> Result<Response<Body>, HubError> {
        self.send(&file.url, if start > 0 { Fetch::From(start) } else { Fetch::Whole })
    }

    /// Sends a request and follows redirects. The token goes to the hub alone.
    fn send(&self, url: &str, fetch: Fetch) -> Result<Response<Body>, HubError> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let mut request = match fetch {
                Fetch::Headers => self.agent.head(&url),
                Fetch::Whole | Fetch::From(_) => self.agent.get(&url),
            };
            if let Some(token) =
                self.environment.token.as_ref().filter(|_| same_host(&url, &self.environment.endpoint))
            {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Fetch::From(start) = fetch {
                request = request.header("range", format!("bytes={start}-"));
            }
            let response = request.call()?;
            let status = response.status();
            // A redirect to where a large file is stored tells what it is; the store itself may not.
            if status.is_success()
                || fetch == Fetch::Headers && response.headers().contains_key("x-linked-etag")
            {
                return Ok(response);
            }
            let location = header(response.headers(), "location").filter(|_| status.is_redirection());
            let Some(location) = location else {
                let code = header(response.headers(), "x-error-code").map(str::to_owned);
                return Err(HubError::Status { url, status: status.as_u16(), code });
            };
            url = resolved(&url, location);
        }
        Err(HubError::Network(ureq::Error::TooManyRedirects))
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fetch {
    Headers,
    Whole,
    From(u64),
}

/// Tries again, after a while, what may pass.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
    for wait in WAITS {
        match attempt() {
            Err(error) if error.may_pass() => std::thread::sleep(Duration::from_secs_f64(wait)),
            done => return done,
        }
    }
    attempt()
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a server's text can be the name of a file.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
}

fn same_host(left: &str, right: &str) -> bool {
    let parts = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.to_string()))
    };
    parts(left).is_some_and(|left| Some(left) == parts(right))
}

/// Where a redirect leads.
fn resolved(from: &str, location: &str) -> String {
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.to_owned();
    }
    let path_at = from.find("://").and_then(|at| from[at + 3..].find('/').map(|slash| at + 3 + slash));
    format!("{}/{}", &from[..path_at.unwrap_or(from.len())], location.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_with_its_host() {
        let hub = "https://huggingface.co";
        assert!(same_host("https://huggingface.co/a/b/resolve/main/c", hub));
        for other in [
            "https://cdn.huggingface.co/x",
            "https://huggingface.co.evil.net/x",
            "https://huggingface.co:8443/x",
            "http://huggingface.co/x",
            "https://huggingface.co@evil.net/x",
        ] {
            assert!(!same_host(other, hub), "{other}");
        }
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let from = "http://127.0.0.1:80/a/b/resolve/main/c";
        assert_eq!(resolved(from, "/cdn/x?y=http://z"), "http://127.0.0.1:80/cdn/x?y=http://z");
        assert_eq!(resolved(from, "https://cdn.net/x"), "https://cdn.net/x");
    }

    #[test]
    fn names_from_outside_stay_in_their_folder() {
        assert!(is_name("0123abc") && is_name("33-5f"));
        assert!(!is_name("") && !is_name("../x") && !is_name("a/b") && !is_name(".."));
    }
}
