//! All messages of a stream that has one a subject.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;

use super::connection::Trouble;

/// Messages that are asked for at once.
const TOGETHER: usize = 2000;
/// How long the next message may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Then the server forgets about the listing.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A message.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) subject: String,
    /// Empty where the headers alone were asked for.
    pub(super) payload: Vec<u8>,
    /// In the stream.
    pub(super) number: u64,
    /// Since it was written.
    pub(super) age: Duration,
    /// False for what says that a key of a bucket was removed.
    pub(super) is_value: bool,
    /// Of the payload, also where it was not asked for.
    pub(super) bytes: u64,
}

/// Those whose subjects match.
pub(super) async fn messages(
    stream: &Stream,
    filter: &str,
    headers_alone: bool,
) -> Result<Vec<Listed>, Trouble> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::None,
        filter_subject: filter.to_owned(),
        headers_only: headers_alone,
        memory_storage: true,
        inactive_threshold: FORGOTTEN,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = stream.create_consumer(config).await.map_err(Trouble::passing)?;
    let info = consumer.cached_info();
    let (mut left, name) = (info.num_pending as usize, info.name.clone());
    let mut heard = Vec::with_capacity(left);
    while left > 0 {
        let asked = left.min(TOGETHER);
        let batch = consumer.batch().max_messages(asked).expires(PATIENCE).messages().await;
        let mut batch = batch.map_err(Trouble::passing)?;
        let before = left;
        while let Some(message) = batch.next().await {
            let message = message.map_err(Trouble::passing)?;
            let info = message.info().map_err(Trouble::passing)?;
            let headers = message.headers.as_ref();
            let header = |name: &str| {
                headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned())
            };
            let written = info.published.unix_timestamp_nanos() as f64 / 1e9;
            let bytes = header("Nats-Msg-Size").and_then(|bytes| bytes.parse().ok());
            heard.push(Listed {
                subject: message.subject.to_string(),
                number: info.stream_sequence,
                age: Duration::from_secs_f64((crate::shared::now() - written).max(0.0)),
                is_value: header("KV-Operation").is_none(),
                bytes: bytes.unwrap_or(message.payload.len() as u64),
                payload: message.payload.to_vec(),
            });
            left = left.saturating_sub(1);
        }
        // Some were replaced meanwhile: what has come since is enough.
        if left == before {
            break;
        }
    }
    let _ = stream.delete_consumer(&name).await;
    Ok(heard)
}
