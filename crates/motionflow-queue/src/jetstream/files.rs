//! Files in chunks.

use std::collections::BTreeMap;
use std::path::Path;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use futures_util::StreamExt;
use motionflow_engine::queue::QueueError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FILE_SUBJECT;
use super::connection::Trouble;
use super::listing::Listed;
use crate::broker::Object;

/// The size of a chunk; a server takes messages of 1 MiB.
const CHUNK: u64 = 512 << 10;
/// Chunks that are on their way at once.
const TOGETHER: usize = 8;

fn chunks(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK).max(1)
}

fn subject(name: &str, chunk: u64) -> String {
    format!("{FILE_SUBJECT}.{name}.{chunk}")
}

fn here(path: &Path) -> impl Fn(std::io::Error) -> Trouble + '_ {
    |source| Trouble::Here(QueueError::File { path: path.to_owned(), source })
}

/// Writes a file; its last chunk goes when all others are there, and says that it is whole.
pub(super) async fn write(context: &Context, name: &str, path: &Path) -> Result<(), Trouble> {
    let mut file = tokio::fs::File::open(path).await.map_err(here(path))?;
    let count = chunks(file.metadata().await.map_err(here(path))?.len());
    let mut answers = Vec::new();
    for chunk in 0..count {
        let mut bytes = Vec::with_capacity(CHUNK as usize);
        (&mut file).take(CHUNK).read_to_end(&mut bytes).await.map_err(here(path))?;
        if chunk + 1 == count || answers.len() == TOGETHER {
            for answer in answers.drain(..) {
                heard(answer).await?;
            }
        }
        let sent = context.publish(subject(name, chunk), bytes.into()).await;
        answers.push(sent.map_err(|error| Trouble::of_publishing(&error))?);
    }
    for answer in answers {
        heard(answer).await?;
    }
    Ok(())
}

async fn heard(answer: async_nats::jetstream::context::PublishAckFuture) -> Result<(), Trouble> {
    answer.await.map(|_| ()).map_err(|error| Trouble::of_publishing(&error))
}

/// Whether a file is whole; its last chunk is written anew then, so that it counts as young.
pub(super) async fn touch(
    context: &Context,
    stream: &Stream,
    name: &str,
    bytes: u64,
) -> Result<bool, Trouble> {
    let mut there =
        stream.info_with_subjects(format!("{FILE_SUBJECT}.{name}.>")).await.map_err(Trouble::passing)?;
    let mut count = 0;
    while let Some(found) = there.next().await {
        found.map_err(Trouble::passing)?;
        count += 1;
    }
    if count != chunks(bytes) {
        return Ok(false);
    }
    let last = subject(name, chunks(bytes) - 1);
    let Some(payload) = chunk(stream, last.clone()).await? else { return Ok(false) };
    let sent = context.publish(last, payload.into()).await.map_err(|error| Trouble::of_publishing(&error))?;
    heard(sent).await.map(|()| true)
}

async fn chunk(stream: &Stream, subject: String) -> Result<Option<Vec<u8>>, Trouble> {
    match stream.direct_get_last_for_subject(subject).await {
        Ok(message) => Ok(Some(message.payload.to_vec())),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(Trouble::passing(error)),
    }
}

/// Reads a file. False where a chunk is not there.
pub(super) async fn read(stream: &Stream, name: &str, bytes: u64, path: &Path) -> Result<bool, Trouble> {
    let mut file = tokio::fs::File::create(path).await.map_err(here(path))?;
    let chunks = (0..chunks(bytes)).map(|number| chunk(stream, subject(name, number)));
    let mut chunks = futures_util::stream::iter(chunks).buffered(TOGETHER);
    while let Some(chunk) = chunks.next().await {
        let Some(chunk) = chunk? else { return Ok(false) };
        file.write_all(&chunk).await.map_err(here(path))?;
    }
    file.flush().await.map_err(here(path))?;
    Ok(true)
}

/// The files that chunks make up.
pub(super) fn objects(chunks: &[Listed]) -> Vec<Object> {
    let mut objects: BTreeMap<&str, Object> = BTreeMap::new();
    for Listed { subject, bytes, age, .. } in chunks {
        let name = subject.trim_start_matches(FILE_SUBJECT).trim_start_matches('.');
        let name = name.rsplit_once('.').map_or(name, |(name, _)| name);
        let object =
            objects.entry(name).or_insert_with(|| Object { name: name.to_owned(), bytes: 0, age: *age });
        object.bytes += bytes;
        object.age = object.age.min(*age);
    }
    objects.into_values().collect()
}
