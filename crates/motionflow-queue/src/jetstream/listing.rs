//! All messages of a stream that has one a subject.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures_util::StreamExt;

use super::connection::Trouble;

/// Messages that are asked for at once.
const TOGETHER: usize = 2000;
/// How long the next message may take.
const PATIENCE: Duration = Duration::from_secs(2);
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

/// Those whose subjects match, each subject once and as it was last, in the order in which they were met first.
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
    let mut heard: Vec<Listed> = Vec::with_capacity(left);
    let mut places: HashMap<String, usize> = HashMap::with_capacity(left);
    while left > 0 {
        let batch = consumer.batch().max_messages(left.min(TOGETHER)).expires(PATIENCE).messages().await;
        let mut batch = batch.map_err(Trouble::passing)?;
        let before = left;
        while let Some(message) = batch.next().await {
            let (listed, is_last) = listed(&message.map_err(Trouble::passing)?)?;
            left = if is_last { 0 } else { left.saturating_sub(1) };
            if let Some(place) = places.get(&listed.subject) {
                heard[*place] = listed;
            } else {
                places.insert(listed.subject.clone(), heard.len());
                heard.push(listed);
            }
            if left == 0 {
                break;
            }
        }
        // Some were replaced meanwhile.
        if left == before {
            break;
        }
    }
    let _ = stream.delete_consumer(&name).await;
    if headers_alone {
        return Ok(heard);
    }
    // What was written again meanwhile has moved to the end of the stream, perhaps past what was counted.
    let mut subjects = stream.info_with_subjects(filter).await.map_err(Trouble::passing)?;
    while let Some(subject) = subjects.next().await {
        let (subject, _) = subject.map_err(Trouble::passing)?;
        if !places.contains_key(&subject) {
            heard.extend(last(stream, &subject).await?);
        }
    }
    Ok(heard)
}

/// What a subject has by now.
async fn last(stream: &Stream, subject: &str) -> Result<Option<Listed>, Trouble> {
    let message = match stream.direct_get_last_for_subject(subject).await {
        Ok(message) => message,
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::passing(error)),
    };
    Ok(Some(Listed {
        subject: subject.to_owned(),
        number: message.sequence,
        age: age(message.time.unix_timestamp_nanos()),
        is_value: message.headers.get("KV-Operation").is_none(),
        bytes: message.payload.len() as u64,
        payload: message.payload.to_vec(),
    }))
}

/// Since a time in nanoseconds since 1970.
fn age(written: i128) -> Duration {
    Duration::from_secs_f64((crate::shared::now() - written as f64 / 1e9).max(0.0))
}

/// A message, and whether nothing comes after it.
fn listed(message: &Message) -> Result<(Listed, bool), Trouble> {
    let info = message.info().map_err(Trouble::passing)?;
    let headers = message.headers.as_ref();
    let header =
        |name: &str| headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
    let bytes = header("Nats-Msg-Size").and_then(|bytes| bytes.parse().ok());
    let listed = Listed {
        subject: message.subject.to_string(),
        number: info.stream_sequence,
        age: age(info.published.unix_timestamp_nanos()),
        is_value: header("KV-Operation").is_none(),
        bytes: bytes.unwrap_or(message.payload.len() as u64),
        payload: message.payload.to_vec(),
    };
    Ok((listed, info.pending == 0))
}
