//! The queue on disk: one `SQLite` file in the runs folder. It has what is asked for and what became of it; results are in
//! run folders.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the tables.
const VERSION: i64 = 1;
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    place INTEGER NOT NULL,
    request TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    seconds REAL,
    error TEXT,
    warnings TEXT NOT NULL DEFAULT '[]',
    begun TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_place ON jobs (state, place);
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
";
const COLUMNS: &str =
    "id, name, state, place, request, created, started, finished, seconds, error, warnings, begun";

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running,
    /// Its run folder is whole.
    Finished,
    /// It ended with an error.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "queued" => Self::Queued,
            "running" => Self::Running,
            "finished" => Self::Finished,
            "cancelled" => Self::Cancelled,
            _ => Self::Failed,
        }
    }

    /// Whether nothing more happens by itself.
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A job as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) id: String,
    /// Of its run folder.
    pub(crate) name: String,
    pub(crate) state: State,
    /// Smaller is earlier.
    pub(crate) place: i64,
    /// JSON, with references.
    pub(crate) request: String,
    /// Seconds since 1970.
    pub(crate) created: f64,
    pub(crate) started: Option<f64>,
    pub(crate) finished: Option<f64>,
    /// Of work.
    pub(crate) seconds: Option<f64>,
    /// JSON of a problem.
    pub(crate) error: Option<String>,
    /// JSON.
    pub(crate) warnings: String,
    /// The request whose run its run folder may have something of.
    pub(crate) begun: Option<String>,
}

impl Kept {
    fn of(row: &Row) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            state: State::read(&row.get::<_, String>(2)?),
            place: row.get(3)?,
            request: row.get(4)?,
            created: row.get(5)?,
            started: row.get(6)?,
            finished: row.get(7)?,
            seconds: row.get(8)?,
            error: row.get(9)?,
            warnings: row.get(10)?,
            begun: row.get(11)?,
        })
    }
}

type Result<T> = rusqlite::Result<T>;

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue(Mutex<Connection>);

impl Queue {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn locked(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &str) -> Result<Option<Kept>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
        self.locked().prepare_cached(&sql)?.query_row([id], Kept::of).optional()
    }

    /// All jobs: the running one, those that wait in their order, then those that are over, the newest first.
    pub(crate) fn all(&self) -> Result<Vec<Kept>> {
        self.some("1 = 1")
    }

    /// Those that wait, in their order.
    pub(crate) fn queued(&self) -> Result<Vec<Kept>> {
        self.some("state = 'queued'")
    }

    /// Those that are at work, or were when the program ended.
    pub(crate) fn running(&self) -> Result<Vec<Kept>> {
        self.some("state = 'running'")
    }

    fn some(&self, which: &str) -> Result<Vec<Kept>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE {which} ORDER BY
                CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END,
                CASE state WHEN 'queued' THEN place ELSE 0 END, finished DESC, created DESC"
        );
        let connection = self.locked();
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], Kept::of)?;
        rows.collect()
    }

    /// The ids of those that wait, in their order.
    pub(crate) fn order(&self) -> Result<Vec<String>> {
        let connection = self.locked();
        let mut statement =
            connection.prepare_cached("SELECT id FROM jobs WHERE state = 'queued' ORDER BY place")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    }

    pub(crate) fn count(&self) -> Result<usize> {
        let count: i64 = self.locked().query_row("SELECT count(*) FROM jobs", [], |row| row.get(0))?;
        Ok(count as usize)
    }

    /// Whether a job has this name.
    pub(crate) fn has_name(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE name = ?1 COLLATE NOCASE)";
        self.locked().prepare_cached(sql)?.query_row([name], |row| row.get(0))
    }

    /// The job whose run folder has this name.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Kept>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE name = ?1");
        self.locked().prepare_cached(&sql)?.query_row([name], Kept::of).optional()
    }

    /// Adds jobs that wait, behind all others; all of them or none.
    pub(crate) fn add(&self, jobs: &[Kept]) -> Result<()> {
        let mut connection = self.locked();
        let transaction = connection.transaction()?;
        let last: i64 =
            transaction.query_row("SELECT coalesce(max(place), 0) FROM jobs", [], |row| row.get(0))?;
        for (index, job) in jobs.iter().enumerate() {
            write(&transaction, &Kept { place: last + 1 + index as i64, ..job.clone() })?;
        }
        transaction.commit()
    }

    /// Keeps a job as it is now.
    pub(crate) fn put(&self, job: &Kept) -> Result<()> {
        write(&self.locked(), job)
    }

    /// Lets those that wait be in this order.
    pub(crate) fn reorder(&self, ids: &[String]) -> Result<()> {
        let mut connection = self.locked();
        let transaction = connection.transaction()?;
        for (place, id) in ids.iter().enumerate() {
            transaction.execute("UPDATE jobs SET place = ?2 WHERE id = ?1", params![id, place as i64])?;
        }
        transaction.commit()
    }

    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        self.locked().execute("DELETE FROM jobs WHERE id = ?1", [id]).map(|_| ())
    }

    pub(crate) fn is_paused(&self) -> Result<bool> {
        let sql = "SELECT value FROM settings WHERE key = 'paused'";
        let value: Option<String> = self.locked().query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(value.as_deref() == Some("true"))
    }

    pub(crate) fn pause(&self, is_paused: bool) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO settings (key, value) VALUES ('paused', ?1)";
        self.locked().execute(sql, [is_paused.to_string()]).map(|_| ())
    }
}

fn write(connection: &Connection, job: &Kept) -> Result<()> {
    let sql = format!(
        "INSERT INTO jobs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            ON CONFLICT (id) DO UPDATE SET name = ?2, state = ?3, place = ?4, request = ?5, created = ?6, started = ?7,
                finished = ?8, seconds = ?9, error = ?10, warnings = ?11, begun = ?12"
    );
    let Kept { id, name, state, place, request, created, started, finished, seconds, error, warnings, begun } =
        job;
    let values = params![
        id,
        name,
        state.text(),
        place,
        request,
        created,
        started,
        finished,
        seconds,
        error,
        warnings,
        begun
    ];
    connection.prepare_cached(&sql)?.execute(values).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Kept {
        Kept {
            id: id.to_owned(),
            name: format!("run-{id}"),
            state: State::Queued,
            place: 0,
            request: "{}".to_owned(),
            created: 1.0,
            started: None,
            finished: None,
            seconds: None,
            error: None,
            warnings: "[]".to_owned(),
            begun: None,
        }
    }

    #[test]
    fn jobs_keep_their_order_and_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.sqlite");
        let queue = Queue::open(&path).unwrap();
        queue.add(&["a", "b", "c"].map(job)).unwrap();
        queue.reorder(&["c", "a", "b"].map(str::to_owned)).unwrap();
        queue
            .put(&Kept {
                state: State::Running,
                begun: Some("{}".to_owned()),
                ..queue.get("a").unwrap().unwrap()
            })
            .unwrap();
        queue.pause(true).unwrap();
        // All or none.
        assert!(queue.add(&[job("d"), Kept { id: "e".into(), ..job("d") }]).is_err());
        drop(queue);
        let queue = Queue::open(&path).unwrap();
        let ids: Vec<String> = queue.all().unwrap().into_iter().map(|job| job.id).collect();
        assert_eq!(ids, ["a", "c", "b"]);
        assert!(queue.is_paused().unwrap() && queue.running().unwrap()[0].begun.is_some());
    }
}
