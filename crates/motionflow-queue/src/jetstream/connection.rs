//! The connection: who is let in, and how long an answer is waited for.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use async_nats::jetstream::{Context, kv};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use motionflow_engine::queue::{QueueError, Result};
use tokio::runtime::{Builder, Runtime};

use super::unwritable;
use crate::address::{Access, decoded};

/// Between two tries.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];
/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may be done when it is tried again.
    Passing(String),
    /// The server has no room, or does not allow it.
    Fatal(String),
    /// The server has no `JetStream`.
    NoJetStream,
    /// Of this machine.
    Here(QueueError),
}

impl Trouble {
    pub(super) fn passing(error: impl std::fmt::Display) -> Self {
        Self::Passing(error.to_string())
    }

    /// Of something that was to be written.
    pub(super) fn of_writing(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            // Many tell their cause themselves.
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        let lacks = [
            "insufficient",
            "maximum bytes",
            "maximum messages",
            "resource limits",
            "no space",
            "max payload",
        ];
        if lacks.iter().any(|lack| text.to_lowercase().contains(lack)) {
            Self::Fatal(text)
        } else {
            Self::Passing(text)
        }
    }
}

pub(super) fn runtime(place: &str) -> Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("queue").enable_all().build();
    runtime.map_err(|error| QueueError::Unreachable { place: place.to_owned(), reason: error.to_string() })
}

/// Tries something until it is done, patience ends, or the program is to stop.
pub(super) fn patiently<T, F>(
    runtime: &Runtime,
    place: &str,
    access: &Access,
    work: impl Fn() -> F,
) -> Result<T>
where
    F: Future<Output = std::result::Result<T, Trouble>>,
{
    let since = Instant::now();
    let mut pauses = PAUSES.iter().chain(std::iter::repeat(&PAUSES[PAUSES.len() - 1]));
    loop {
        let reason = match runtime.block_on(work()) {
            Ok(done) => return Ok(done),
            Err(Trouble::Passing(reason)) => reason,
            Err(Trouble::Fatal(reason)) => return Err(unwritable(place, reason)),
            Err(Trouble::NoJetStream) => return Err(QueueError::NoJetStream { place: place.to_owned() }),
            Err(Trouble::Here(error)) => return Err(error),
        };
        let is_over = access.patience.is_some_and(|patience| since.elapsed() >= patience);
        if is_over || access.stop.is_cancelled() {
            return Err(QueueError::Unreachable { place: place.to_owned(), reason });
        }
        std::thread::sleep(*pauses.next().unwrap_or(&CONNECT));
    }
}

pub(super) fn connect(runtime: &Runtime, servers: &str, place: &str, access: &Access) -> Result<Client> {
    let addresses: Vec<ServerAddr> = servers
        .split(',')
        .map(|server| {
            let reason = || QueueError::NoQueue {
                given: place.to_owned(),
                reason: "is no address of a server".to_owned(),
            };
            server.parse().map_err(|_| reason())
        })
        .collect::<Result<_>>()?;
    let since = Instant::now();
    loop {
        let options = options(addresses.first(), access)?;
        let (reason, is_refused) = match runtime.block_on(options.connect(&addresses[..])) {
            Ok(client) => return Ok(client),
            Err(error) => {
                let refused = [ConnectErrorKind::Authentication, ConnectErrorKind::AuthorizationViolation];
                (error.to_string(), refused.contains(&error.kind()))
            }
        };
        if is_refused {
            return Err(QueueError::Refused { place: place.to_owned() });
        }
        // The first time, nobody waits for ever: the address may be wrong.
        let patience = access.patience.unwrap_or(CONNECT * 6);
        if since.elapsed() >= patience || access.stop.is_cancelled() {
            return Err(QueueError::Unreachable { place: place.to_owned(), reason });
        }
        std::thread::sleep(PAUSES[2]);
    }
}

fn options(server: Option<&ServerAddr>, access: &Access) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::new().name("motionflow").connection_timeout(CONNECT);
    let named = server.and_then(|server| Some((decoded(server.username()?), server.password().map(decoded))));
    if let Some((user, password)) = named {
        options = match password {
            Some(password) => options.user_and_password(user, password),
            None => options.token(user),
        };
    } else if let (Some(user), Some(password)) = (&access.user, &access.password) {
        options = options.user_and_password(user.clone(), password.clone());
    } else if let Some(token) = &access.user {
        options = options.token(token.clone());
    }
    if let Some(path) = &access.creds {
        let text = secret(path)?;
        options = options.credentials(&text).map_err(|_| QueueError::Credentials {
            path: path.clone(),
            reason: "it is no file of NATS credentials".to_owned(),
        })?;
    }
    if let Some(path) = &access.nkey {
        let text = secret(path)?;
        let seed = text.lines().map(str::trim).find(|line| line.starts_with('S'));
        let seed = seed.ok_or_else(|| QueueError::Credentials {
            path: path.clone(),
            reason: "it has no seed of an nkey".to_owned(),
        })?;
        options = options.nkey(seed.to_owned());
    }
    if let Some(path) = &access.tls_ca {
        secret(path)?;
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let (Some(certificate), Some(key)) = (&access.tls_cert, &access.tls_key) {
        secret(certificate).and_then(|_| secret(key))?;
        options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
    }
    Ok(options)
}

fn secret(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| QueueError::Credentials { path: path.to_owned(), reason: error.to_string() })
}

/// A bucket, made where it is not there yet. By its stream: the client's own way asks for more than a server 2.9 tells.
pub(super) async fn bucket(
    context: &Context,
    name: &str,
    max_age: Duration,
) -> std::result::Result<kv::Store, Trouble> {
    let config = stream::Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await.map_err(|error| Trouble::of_stream(&error))?;
    context.get_key_value(name).await.map_err(Trouble::passing)
}
