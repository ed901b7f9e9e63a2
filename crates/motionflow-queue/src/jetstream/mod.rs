//! The side for many machines: NATS `JetStream`, as of server 2.9.
//!
//! - The key-value bucket `motionflow` has the records `job.ID` and `cache.KEY`, `motionflow_lines` the lines of needs.
//!   `motionflow_workers` forgets its records after a minute.
//! - The work queue `motionflow_jobs` has a message a job that waits or runs, by line; each line has a pull consumer with
//!   explicit acknowledgements.
//! - The stream `motionflow_files` has files in chunks, one message a chunk, by the file's name and the chunk's number. Names
//!   follow from what is in a file, so that a file whose writer died is made whole by the next one, and nothing is left
//!   over that nobody finds, as is with an object store's chunks.

mod connection;
mod files;
mod listing;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::consumer::{self, AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::kv::{self, UpdateErrorKind};
use async_nats::jetstream::stream::{
    self, DeleteMessageErrorKind, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, client::RequestErrorKind};
use futures_util::StreamExt;
use motionflow_engine::queue::{QueueError, Result};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::address::Access;
use crate::broker::{Broker, Delivery, Object, Record};
use connection::Trouble;

const RECORDS: &str = "motionflow";
const WORKERS: &str = "motionflow_workers";
const LINES: &str = "motionflow_lines";
const JOBS: &str = "motionflow_jobs";
const FILES: &str = "motionflow_files";
const JOB_SUBJECT: &str = "motionflow.jobs";
const FILE_SUBJECT: &str = "motionflow.files";
const NUDGE_SUBJECT: &str = "motionflow.nudge";
/// How long a worker is remembered that says nothing.
const PASSING: Duration = Duration::from_secs(60);
/// How often it is looked for something new in several lines.
const LOOK: Duration = Duration::from_millis(300);
/// Workers that may wait in one line, and jobs that may be at work from it.
const MOST_WAITING: i64 = 100_000;
/// How long an answer of the server is waited for at once.
const ANSWER: Duration = Duration::from_secs(5);

/// The queue on a server.
pub(crate) struct JetStream {
    runtime: Runtime,
    client: Client,
    context: Context,
    records: kv::Store,
    workers: kv::Store,
    /// By themselves, for workers list them often.
    lines: kv::Store,
    jobs: stream::Stream,
    files: stream::Stream,
    place: String,
    access: Access,
    consumers: Mutex<HashMap<String, PullConsumer>>,
    nudges: Arc<Nudges>,
    /// Since when nothing that was asked of the server was done.
    away: Mutex<Option<Instant>>,
}

/// The ids that somebody told of.
#[derive(Debug, Default)]
struct Nudges {
    ids: Mutex<HashSet<String>>,
    told: Notify,
}

impl JetStream {
    /// Connects, and makes what is not there yet.
    pub(crate) fn open(servers: &str, place: &str, access: &Access) -> Result<Self> {
        let runtime = connection::runtime(place)?;
        let client = connection::connect(&runtime, servers, place, access)?;
        let inside = runtime.enter();
        let context = jetstream::context::ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER);
        let context = context.build(client.clone());
        drop(inside);
        let made = connection::patiently(&runtime, place, access, || make(&context))?;
        let (records, workers, lines, jobs, files) = made;
        let nudges = Arc::new(Nudges::default());
        let this = Self {
            runtime,
            client,
            context,
            records,
            workers,
            lines,
            jobs,
            files,
            place: place.to_owned(),
            access: access.clone(),
            consumers: Mutex::default(),
            nudges,
            away: Mutex::default(),
        };
        this.listen()?;
        Ok(this)
    }

    /// Does something until it is done, patience ends, or the program is to stop.
    fn patiently<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Trouble>>,
    {
        connection::patiently(&self.runtime, &self.place, &self.access, || {
            let work = work();
            async move {
                let did = work.await;
                let is_away = matches!(did, Err(Trouble::Passing(_)));
                let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
                *away = if is_away { away.or_else(|| Some(Instant::now())) } else { None };
                drop(away);
                did
            }
        })
    }

    /// Hears of jobs that were cancelled.
    fn listen(&self) -> Result<()> {
        let nudges = Arc::clone(&self.nudges);
        let mut heard = self.patiently(|| async {
            self.client.subscribe(format!("{NUDGE_SUBJECT}.*")).await.map_err(Trouble::passing)
        })?;
        self.runtime.spawn(async move {
            while let Some(message) = heard.next().await {
                let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                nudges.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                nudges.told.notify_waiters();
            }
        });
        Ok(())
    }

    /// The consumer of a line.
    async fn consumer(&self, line: &str) -> std::result::Result<PullConsumer, Trouble> {
        let known = self.consumers.lock().unwrap_or_else(PoisonError::into_inner).get(line).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let config = pull::Config {
            durable_name: Some(line.to_owned()),
            filter_subject: format!("{JOB_SUBJECT}.{line}"),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.access.lease,
            max_deliver: -1,
            max_ack_pending: MOST_WAITING,
            max_waiting: MOST_WAITING,
            ..pull::Config::default()
        };
        // One that is there keeps its lease, whatever this program was told.
        let made: PullConsumer = match self.jobs.get_consumer(line).await {
            Ok(known) => known,
            Err(_) => self.jobs.create_consumer(config).await.map_err(Trouble::passing)?,
        };
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned(), made.clone());
        Ok(made)
    }

    async fn consumer_info(&self, line: &str) -> std::result::Result<consumer::Info, Trouble> {
        let mut consumer = self.consumer(line).await?;
        consumer.info().await.cloned().map_err(|error| {
            // Somebody may have cleaned it away.
            self.consumers.lock().unwrap_or_else(PoisonError::into_inner).remove(line);
            Trouble::passing(error)
        })
    }

    /// A message of a line, if one comes within `wait`; without waiting where there is no time.
    async fn next_of(&self, line: &str, wait: Duration) -> std::result::Result<Option<Delivery>, Trouble> {
        let consumer = self.consumer(line).await?;
        let messages = if wait.is_zero() {
            consumer.fetch().max_messages(1).messages().await
        } else {
            consumer.batch().max_messages(1).expires(wait).messages().await
        };
        let mut messages = messages.map_err(Trouble::passing)?;
        let next = tokio::time::timeout(wait + ANSWER, messages.next()).await;
        let Ok(next) = next else { return Err(Trouble::Passing("no answer".to_owned())) };
        let message = match next {
            None => return Ok(None),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                // The consumer may be gone.
                self.consumers.lock().unwrap_or_else(PoisonError::into_inner).remove(line);
                return Err(Trouble::passing(error));
            }
        };
        let number = message.info().map_err(Trouble::passing)?.stream_sequence;
        let reply = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(Some(Delivery { id: String::from_utf8_lossy(&message.payload).into_owned(), number, reply }))
    }

    /// Says something of a delivery, and waits until the server has heard it.
    fn say(&self, delivery: &Delivery, what: &str) -> Result<()> {
        self.patiently(|| async {
            let said = self.client.request(delivery.reply.clone(), what.to_owned().into()).await;
            match said {
                // The consumer is gone, and its deliveries with it.
                Err(error) if error.kind() == RequestErrorKind::NoResponders && self.is_gone().await => {
                    Ok(())
                }
                said => said.map(|_| ()).map_err(Trouble::passing),
            }
        })
    }

    /// Whether the server answers, but has the stream of jobs no more.
    async fn is_gone(&self) -> bool {
        use async_nats::jetstream::context::GetStreamErrorKind;
        let found = self.context.get_stream(JOBS).await;
        matches!(found.map_err(|error| error.kind()), Err(GetStreamErrorKind::JetStream(error)) if error.code() == 404)
    }

    fn bucket(&self, key: &str) -> &kv::Store {
        match key.split_once('.') {
            Some(("worker", _)) => &self.workers,
            Some(("line", _)) => &self.lines,
            _ => &self.records,
        }
    }
}

/// The buckets of records, workers and lines, and the streams of jobs and files.
type Made = (kv::Store, kv::Store, kv::Store, stream::Stream, stream::Stream);

async fn make(context: &Context) -> std::result::Result<Made, Trouble> {
    let records = connection::bucket(context, RECORDS, Duration::ZERO).await?;
    let workers = connection::bucket(context, WORKERS, PASSING).await?;
    let lines = connection::bucket(context, LINES, Duration::ZERO).await?;
    let jobs = stream::Config {
        name: JOBS.to_owned(),
        subjects: vec![format!("{JOB_SUBJECT}.*")],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        ..stream::Config::default()
    };
    let files = stream::Config {
        name: FILES.to_owned(),
        subjects: vec![format!("{FILE_SUBJECT}.>")],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        allow_direct: true,
        ..stream::Config::default()
    };
    let jobs = context.get_or_create_stream(jobs).await.map_err(|error| Trouble::of_stream(&error))?;
    let files = context.get_or_create_stream(files).await.map_err(|error| Trouble::of_stream(&error))?;
    Ok((records, workers, lines, jobs, files))
}

async fn remove(stream: &stream::Stream, number: u64) -> std::result::Result<(), Trouble> {
    match stream.delete_message(number).await {
        Err(error) if !matches!(error.kind(), DeleteMessageErrorKind::JetStream(_)) => {
            Err(Trouble::passing(error))
        }
        // Or somebody else has removed it.
        _ => Ok(()),
    }
}

impl Broker for JetStream {
    fn get(&self, key: &str) -> Result<Option<Record>> {
        let entry =
            self.patiently(|| async { self.bucket(key).entry(key).await.map_err(Trouble::passing) })?;
        let entry = entry.filter(|entry| entry.operation == kv::Operation::Put);
        Ok(entry.map(|entry| Record {
            key: key.to_owned(),
            value: entry.value.to_vec(),
            revision: entry.revision,
        }))
    }

    fn put(&self, key: &str, value: &[u8], revision: u64) -> Result<Option<u64>> {
        self.patiently(|| async {
            let written = self.records.update(key, value.to_vec().into(), revision).await;
            match written {
                Ok(revision) => Ok(Some(revision)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
                Err(error) => Err(Trouble::of_writing(&error)),
            }
        })
    }

    fn set(&self, key: &str, value: &[u8], _passes: bool) -> Result<()> {
        self.patiently(|| async {
            let written = self.bucket(key).put(key, value.to_vec().into()).await;
            written.map(|_| ()).map_err(|error| Trouble::of_writing(&error))
        })
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.patiently(|| async {
            let bucket = self.bucket(key);
            let subject = format!("$KV.{}.{key}", bucket.name);
            bucket.stream.purge().filter(subject).await.map(|_| ()).map_err(Trouble::passing)
        })
    }

    fn all(&self, prefix: &str) -> Result<Vec<Record>> {
        let bucket = self.bucket(prefix);
        let start = format!("$KV.{}.", bucket.name);
        let filter = format!("{start}{prefix}>");
        let heard = self.patiently(|| listing::messages(&bucket.stream, &filter, false))?;
        let records = heard.into_iter().filter(|message| message.is_value).map(|message| Record {
            key: message.subject.trim_start_matches(&start).to_owned(),
            value: message.payload,
            revision: message.number,
        });
        Ok(records.collect())
    }

    fn push(&self, line: &str, ids: &[String]) -> Result<()> {
        self.patiently(|| async { self.consumer(line).await.map(|_| ()) })?;
        self.patiently(|| async {
            let mut answers = Vec::new();
            for id in ids {
                let sent = self.context.publish(format!("{JOB_SUBJECT}.{line}"), id.clone().into()).await;
                answers.push(sent.map_err(|error| Trouble::of_publishing(&error))?);
            }
            for answer in answers {
                answer.await.map_err(|error| Trouble::of_publishing(&error))?;
            }
            Ok(())
        })
    }

    fn pull(&self, lines: &[String], wait: Duration) -> Result<Option<Delivery>> {
        // With several lines none is waited for long, so that none is left waiting.
        let each = if lines.len() == 1 { wait } else { Duration::ZERO };
        let since = Instant::now();
        loop {
            for line in lines {
                if let Some(delivery) = self.patiently(|| self.next_of(line, each))? {
                    return Ok(Some(delivery));
                }
            }
            if since.elapsed() >= wait || self.access.stop.is_cancelled() {
                return Ok(None);
            }
            std::thread::sleep(LOOK.min(wait));
        }
    }

    fn has_message(&self, line: &str, number: u64) -> Result<bool> {
        self.patiently(|| async {
            match self.jobs.get_raw_message(number).await {
                Ok(message) => Ok(message.subject.as_str() == format!("{JOB_SUBJECT}.{line}")),
                Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(false),
                Err(error) => Err(Trouble::passing(error)),
            }
        })
    }

    fn is_sound(&self, line: &str, jobs: usize) -> Result<bool> {
        self.patiently(|| async {
            let info = self.consumer_info(line).await?;
            let subject = format!("{JOB_SUBJECT}.{line}");
            let mut there = self.jobs.info_with_subjects(&subject).await.map_err(Trouble::passing)?;
            let mut count = 0;
            while let Some(found) = there.next().await {
                count += found.map_err(Trouble::passing)?.1;
            }
            Ok(count == jobs && info.num_pending + info.num_ack_pending as u64 == jobs as u64)
        })
    }

    fn messages(&self, line: &str) -> Result<Vec<(u64, String)>> {
        self.patiently(|| async {
            let info = self.consumer_info(line).await?;
            // A server 2.9 that was killed has messages again that it delivers to nobody.
            let is_done = info.num_pending == 0 && info.num_ack_pending == 0;
            let done = if is_done { info.delivered.stream_sequence } else { 0 };
            let subject = format!("{JOB_SUBJECT}.{line}");
            let (mut messages, mut from) = (Vec::new(), 1);
            loop {
                let message = match self.jobs.get_first_raw_message_by_subject(&subject, from).await {
                    Ok(message) => message,
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(messages),
                    Err(error) => return Err(Trouble::passing(error)),
                };
                from = message.sequence + 1;
                if message.sequence <= done {
                    remove(&self.jobs, message.sequence).await?;
                } else {
                    messages.push((message.sequence, String::from_utf8_lossy(&message.payload).into_owned()));
                }
            }
        })
    }

    fn remove_message(&self, number: u64) -> Result<()> {
        self.patiently(|| remove(&self.jobs, number))
    }

    fn forget(&self, line: &str) -> Result<()> {
        use async_nats::jetstream::stream::ConsumerErrorKind;
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).remove(line);
        self.patiently(|| async {
            let subject = format!("{JOB_SUBJECT}.{line}");
            self.jobs.purge().filter(subject).await.map_err(Trouble::passing)?;
            match self.jobs.delete_consumer(line).await {
                Err(error) if !matches!(error.kind(), ConsumerErrorKind::JetStream(_)) => {
                    Err(Trouble::passing(error))
                }
                // Or it is gone already.
                _ => Ok(()),
            }
        })
    }

    fn lasts(&self) -> Duration {
        let consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = consumers.values().map(|consumer| consumer.cached_info().config.ack_wait);
        theirs.fold(self.access.lease, Duration::min)
    }

    fn extend(&self, delivery: &Delivery) -> Result<()> {
        self.patiently(|| async {
            let said = self.client.publish(delivery.reply.clone(), "+WPI".into()).await;
            said.map_err(Trouble::passing)?;
            self.client.flush().await.map_err(Trouble::passing)
        })
    }

    fn acknowledge(&self, delivery: &Delivery) -> Result<()> {
        self.say(delivery, "+ACK")
    }

    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<()> {
        self.say(delivery, &format!("-NAK {{\"delay\": {}}}", after.as_nanos().max(1)))
    }

    fn nudge(&self, id: &str) -> Result<()> {
        self.patiently(|| async {
            let told = self.client.publish(format!("{NUDGE_SUBJECT}.{id}"), "".into()).await;
            told.map_err(Trouble::passing)?;
            self.client.flush().await.map_err(Trouble::passing)
        })
    }

    fn wait(&self, id: &str, wait: Duration) {
        let is_told = || self.nudges.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(wait, async {
                loop {
                    let told = self.nudges.told.notified();
                    if is_told() {
                        break;
                    }
                    told.await;
                }
            })
            .await;
        });
    }

    fn away(&self) -> Option<Duration> {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if self.client.connection_state() == State::Disconnected {
            away.get_or_insert_with(Instant::now);
        }
        away.map(|since| since.elapsed())
    }

    fn has(&self, name: &str, bytes: u64) -> Result<bool> {
        self.patiently(|| files::touch(&self.context, &self.files, name, bytes))
    }

    fn write(&self, name: &str, path: &Path) -> Result<()> {
        self.patiently(|| files::write(&self.context, name, path))
    }

    fn read(&self, name: &str, bytes: u64, path: &Path) -> Result<bool> {
        self.patiently(|| files::read(&self.files, name, bytes, path))
    }

    fn discard(&self, prefix: &str) -> Result<()> {
        let prefix = prefix.trim_end_matches('.');
        self.patiently(|| async {
            let subject = format!("{FILE_SUBJECT}.{prefix}.>");
            // Mostly there is nothing, and a listing costs more than the question.
            let mut there = self.files.info_with_subjects(&subject).await.map_err(Trouble::passing)?;
            if there.next().await.is_none() {
                return Ok(());
            }
            // One by one: a server 2.9 counts what is purged by its subject as stored until it starts anew.
            for chunk in listing::messages(&self.files, &subject, true).await? {
                remove(&self.files, chunk.number).await?;
            }
            Ok(())
        })
    }

    fn objects(&self) -> Result<Vec<Object>> {
        let filter = format!("{FILE_SUBJECT}.>");
        let heard = self.patiently(|| listing::messages(&self.files, &filter, true))?;
        Ok(files::objects(&heard))
    }
}

impl From<&async_nats::jetstream::context::PublishError> for Trouble {
    fn from(error: &async_nats::jetstream::context::PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Self::Fatal(error.to_string()),
            _ => Self::of_writing(error),
        }
    }
}

impl Trouble {
    fn of_publishing(error: &async_nats::jetstream::context::PublishError) -> Self {
        error.into()
    }

    fn of_stream(error: &async_nats::jetstream::context::CreateStreamError) -> Self {
        use async_nats::jetstream::context::CreateStreamErrorKind as Kind;
        match error.kind() {
            Kind::JetStreamUnavailable => Self::NoJetStream,
            Kind::JetStream(inner) if inner.error_code().0 == 10039 => Self::NoJetStream,
            _ => Self::of_writing(error),
        }
    }
}

/// What is wrong with a queue that cannot be used.
pub(crate) fn unwritable(place: &str, reason: String) -> QueueError {
    QueueError::Unwritable { place: place.to_owned(), reason }
}
