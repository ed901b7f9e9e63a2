//! What a side of the queue has to have.

use std::path::Path;
use std::time::Duration;

use motionflow_engine::queue::Result;

/// A record with its revision, which is another one after each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) revision: u64,
}

/// A message that is to be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Of the job.
    pub(crate) id: String,
    /// The same for each delivery of one message.
    pub(crate) number: u64,
    /// Where it is acknowledged.
    pub(crate) reply: String,
}

/// A file as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Names with dots between them.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Since it was last written or looked for.
    pub(crate) age: Duration,
}

/// A side of the queue.
pub(crate) trait Broker: Send + Sync + 'static {
    fn get(&self, key: &str) -> Result<Option<Record>>;
    /// Writes where the revision is still this one; 0 where there must be no record yet. Returns the new revision, none where
    /// somebody else was first.
    fn put(&self, key: &str, value: &[u8], revision: u64) -> Result<Option<u64>>;
    /// Writes whatever is there. The record goes by itself after some time where `passes`.
    fn set(&self, key: &str, value: &[u8], passes: bool) -> Result<()>;
    fn remove(&self, key: &str) -> Result<()>;
    /// All whose keys begin so, in the order of their first writing.
    fn all(&self, prefix: &str) -> Result<Vec<Record>>;

    /// Puts messages with these ids into a line.
    fn push(&self, line: &str, ids: &[String]) -> Result<()>;
    /// The next message of one of the lines.
    fn pull(&self, lines: &[String], wait: Duration) -> Result<Option<Delivery>>;
    /// Whether a message is still there.
    fn has_message(&self, line: &str, number: u64) -> Result<bool>;
    /// Whether a line has as many messages as jobs, and delivers all of them.
    fn is_sound(&self, line: &str, jobs: usize) -> Result<bool>;
    /// The numbers and ids of a line's messages; those that it will deliver to nobody are removed.
    fn messages(&self, line: &str) -> Result<Vec<(u64, String)>>;
    /// Removes a message, also one that was delivered to somebody.
    fn remove_message(&self, number: u64) -> Result<()>;
    /// Lets go of a line that no job is in.
    fn forget(&self, line: &str) -> Result<()>;
    /// How long a message may stay unacknowledged.
    fn lasts(&self) -> Duration;
    fn extend(&self, delivery: &Delivery) -> Result<()>;
    fn acknowledge(&self, delivery: &Delivery) -> Result<()>;
    /// Lets it be delivered again after a while.
    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<()>;
    /// Tells whoever waits with this id.
    fn nudge(&self, id: &str) -> Result<()>;
    /// Waits for a nudge.
    fn wait(&self, id: &str, wait: Duration);

    /// For how long it has been out of reach.
    fn away(&self) -> Option<Duration> {
        None
    }

    /// Whether the whole object is there. If so, it is as good as written now.
    fn has(&self, name: &str, bytes: u64) -> Result<bool>;
    fn write(&self, name: &str, path: &Path) -> Result<()>;
    /// False where it is not there whole.
    fn read(&self, name: &str, bytes: u64, path: &Path) -> Result<bool>;
    /// Removes all objects whose names begin so.
    fn discard(&self, prefix: &str) -> Result<()>;
    fn objects(&self) -> Result<Vec<Object>>;
}
