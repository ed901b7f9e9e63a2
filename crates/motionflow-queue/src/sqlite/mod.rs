//! The side for one machine: records and messages in one `SQLite` file, files beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use motionflow_engine::queue::{QueueError, Result};
use motionflow_engine::source::sha256_at;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::broker::{Broker, Delivery, Object, Record};
use crate::shared::now;

const FILE: &str = "queue.sqlite";
const FILES: &str = "files";
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, made INTEGER NOT NULL, until REAL
);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL, id TEXT NOT NULL, ready REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_line ON messages (line, ready);
CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
";
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(30);
/// How often it is looked for something new.
const LOOK: Duration = Duration::from_millis(100);
/// How long a worker is remembered that says nothing.
const PASSING: f64 = 60.0;

/// The queue in a folder.
#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: Mutex<Connection>,
    folder: PathBuf,
    lease: Duration,
}

impl Sqlite {
    /// Opens the folder, or makes it.
    pub(crate) fn open(folder: &Path, lease: Duration) -> Result<Self> {
        let made = fs::create_dir_all(folder.join(FILES));
        made.map_err(|source| QueueError::File { path: folder.to_owned(), source })?;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(folder.join(FILE))?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(TABLES)?;
            Ok(connection)
        };
        let connection = open().map_err(|error| lost(folder, &error))?;
        Ok(Self { connection: Mutex::new(connection), folder: folder.to_owned(), lease })
    }

    fn locked(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all of it, or nothing.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.locked();
        let did =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let did = work(&transaction)?;
                transaction.commit()?;
                Ok(did)
            });
        did.map_err(|error| lost(&self.folder, &error))
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.locked()).map_err(|error| lost(&self.folder, &error))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(FILES).join(name)
    }

    fn next(&self, lines: &[String]) -> Result<Option<Delivery>> {
        self.write(|connection| {
            let (now, mut first) = (now(), None::<(u64, String)>);
            let mut find = connection.prepare_cached(
                "SELECT number, id FROM messages WHERE line = ?1 AND ready <= ?2 ORDER BY number LIMIT 1",
            )?;
            for line in lines {
                let found =
                    find.query_row(params![line, now], |row| Ok((row.get(0)?, text(row, 1)?))).optional()?;
                if let Some(found) = found
                    && first.as_ref().is_none_or(|first| found.0 < first.0)
                {
                    first = Some(found);
                }
            }
            let Some((number, id)) = first else { return Ok(None) };
            let until = now + self.lease.as_secs_f64();
            connection.execute("UPDATE messages SET ready = ?2 WHERE number = ?1", params![number, until])?;
            Ok(Some(Delivery { id, number, reply: String::new() }))
        })
    }

    fn ready_at(&self, delivery: &Delivery, at: f64) -> Result<()> {
        self.write(|connection| {
            connection
                .execute("UPDATE messages SET ready = ?2 WHERE number = ?1", params![delivery.number, at])
        })
        .map(|_| ())
    }
}

fn lost(folder: &Path, error: &rusqlite::Error) -> QueueError {
    let (place, reason) = (folder.display().to_string(), error.to_string());
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            QueueError::Damaged { place, reason }
        }
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            QueueError::Locked { place, reason }
        }
        _ => QueueError::Unwritable { place, reason },
    }
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("UPDATE counter SET n = n + 1 RETURNING n", [], |row| row.get(0))
}

fn prefixed(prefix: &str) -> String {
    format!("{prefix}*")
}

impl Broker for Sqlite {
    fn get(&self, key: &str) -> Result<Option<Record>> {
        self.read(|connection| {
            let sql = "SELECT key, value, revision FROM records WHERE key = ?1";
            connection.prepare_cached(sql)?.query_row([key], record).optional()
        })
    }

    fn put(&self, key: &str, value: &[u8], revision: u64) -> Result<Option<u64>> {
        self.write(|connection| {
            let next = count(connection)?;
            let changed = if revision == 0 {
                let sql =
                    "INSERT OR IGNORE INTO records (key, value, revision, made) VALUES (?1, ?2, ?3, ?3)";
                connection.prepare_cached(sql)?.execute(params![key, value, next])?
            } else {
                let sql = "UPDATE records SET value = ?2, revision = ?3 WHERE key = ?1 AND revision = ?4";
                connection.prepare_cached(sql)?.execute(params![key, value, next, revision])?
            };
            Ok((changed == 1).then_some(next))
        })
    }

    fn set(&self, key: &str, value: &[u8], passes: bool) -> Result<()> {
        self.write(|connection| {
            let next = count(connection)?;
            let until = passes.then(|| now() + PASSING);
            let sql = "INSERT INTO records (key, value, revision, made, until) VALUES (?1, ?2, ?3, ?3, ?4)
                ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3, until = ?4";
            connection.execute(sql, params![key, value, next, until]).map(|_| ())
        })
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.write(|connection| connection.execute("DELETE FROM records WHERE key = ?1", [key]).map(|_| ()))
    }

    fn all(&self, prefix: &str) -> Result<Vec<Record>> {
        self.read(|connection| {
            let sql = "SELECT key, value, revision FROM records
                WHERE key GLOB ?1 AND (until IS NULL OR until > ?2) ORDER BY made";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![prefixed(prefix), now()], record)?;
            rows.collect()
        })
    }

    fn push(&self, line: &str, ids: &[String]) -> Result<()> {
        self.write(|connection| {
            let mut add =
                connection.prepare_cached("INSERT INTO messages (line, id, ready) VALUES (?1, ?2, 0)")?;
            ids.iter().try_for_each(|id| add.execute(params![line, id]).map(|_| ()))
        })
    }

    fn pull(&self, lines: &[String], wait: Duration) -> Result<Option<Delivery>> {
        let since = Instant::now();
        loop {
            if let Some(delivery) = self.next(lines)? {
                return Ok(Some(delivery));
            }
            if since.elapsed() >= wait {
                return Ok(None);
            }
            thread::sleep(LOOK.min(wait));
        }
    }

    fn has_message(&self, _line: &str, number: u64) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM messages WHERE number = ?1)";
            connection.query_row(sql, [number], |row| row.get(0))
        })
    }

    fn is_sound(&self, line: &str, jobs: usize) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT count(*) = ?2 FROM messages WHERE line = ?1";
            connection.query_row(sql, params![line, jobs], |row| row.get(0))
        })
    }

    fn messages(&self, line: &str) -> Result<Vec<(u64, String)>> {
        self.read(|connection| {
            let sql = "SELECT number, id FROM messages WHERE line = ?1 ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([line], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    fn remove_message(&self, number: u64) -> Result<()> {
        self.write(|connection| {
            connection.execute("DELETE FROM messages WHERE number = ?1", [number]).map(|_| ())
        })
    }

    fn forget(&self, line: &str) -> Result<()> {
        self.write(|connection| {
            connection.execute("DELETE FROM messages WHERE line = ?1", [line]).map(|_| ())
        })
    }

    fn lasts(&self) -> Duration {
        self.lease
    }

    fn extend(&self, delivery: &Delivery) -> Result<()> {
        self.ready_at(delivery, now() + self.lease.as_secs_f64())
    }

    fn acknowledge(&self, delivery: &Delivery) -> Result<()> {
        self.remove_message(delivery.number)
    }

    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<()> {
        self.ready_at(delivery, now() + after.as_secs_f64())
    }

    fn nudge(&self, _id: &str) -> Result<()> {
        Ok(())
    }

    /// By looking: there is nobody to tell.
    fn wait(&self, id: &str, wait: Duration) {
        let revision = || self.get(&format!("job.{id}")).ok().flatten().map(|record| record.revision);
        let (since, first) = (Instant::now(), revision());
        while since.elapsed() < wait && revision() == first {
            thread::sleep(LOOK.min(wait));
        }
    }

    fn has(&self, name: &str, bytes: u64) -> Result<bool> {
        let path = self.file(name);
        let is_there = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes);
        // A damaged one is written anew. Names end with the hash.
        let hash = || sha256_at(&path).ok();
        let is_there = is_there && hash().is_some_and(|hash| name.ends_with(&hash));
        if is_there {
            // As good as new; where its time cannot be set, it may go the sooner.
            let file = fs::File::options().append(true).open(&path);
            let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
        }
        Ok(is_there)
    }

    fn write(&self, name: &str, path: &Path) -> Result<()> {
        let to = self.file(name);
        let folder = self.folder.join(FILES);
        let copy = || -> io::Result<()> {
            let mut passing = tempfile::NamedTempFile::new_in(&folder)?;
            io::copy(&mut fs::File::open(path)?, &mut passing)?;
            passing.as_file().sync_data()?;
            passing.persist(&to).map_err(|error| error.error)?;
            Ok(())
        };
        copy().map_err(|source| QueueError::File { path: to.clone(), source })
    }

    fn read(&self, name: &str, bytes: u64, path: &Path) -> Result<bool> {
        match fs::copy(self.file(name), path) {
            Ok(copied) => Ok(copied == bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(QueueError::File { path: path.to_owned(), source }),
        }
    }

    fn discard(&self, prefix: &str) -> Result<()> {
        for object in self.objects()?.into_iter().filter(|object| object.name.starts_with(prefix)) {
            match fs::remove_file(self.file(&object.name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(QueueError::File { path: self.file(&object.name), source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn objects(&self) -> Result<Vec<Object>> {
        let folder = self.folder.join(FILES);
        let entries = fs::read_dir(&folder).map_err(|source| QueueError::File { path: folder, source })?;
        let object = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let age = metadata.modified().ok().and_then(|when| SystemTime::now().duration_since(when).ok());
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(Object { name, bytes: metadata.len(), age: age.unwrap_or_default() })
        };
        Ok(entries.flatten().filter_map(object).collect())
    }
}

fn record(row: &rusqlite::Row) -> rusqlite::Result<Record> {
    // Also what somebody else has written as a text.
    let value = row.get_ref(1)?.as_bytes_or_null().ok().flatten().unwrap_or_default().to_vec();
    Ok(Record { key: row.get(0)?, value, revision: row.get(2)? })
}

/// Whatever somebody has written there.
fn text(row: &rusqlite::Row, column: usize) -> rusqlite::Result<String> {
    let value = row.get_ref(column)?.as_bytes_or_null().ok().flatten().unwrap_or_default();
    Ok(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_another_program_holds_is_not_full() {
        let place = tempfile::tempdir().unwrap();
        let side = Sqlite::open(place.path(), Duration::from_secs(1)).unwrap();
        side.locked().busy_timeout(Duration::ZERO).unwrap();
        let other = Connection::open(place.path().join(FILE)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = side.put("job.a", b"{}", 0).unwrap_err();
        assert!(matches!(error, QueueError::Locked { .. }) && error.passes(), "{error}");
        other.execute_batch("COMMIT").unwrap();
        assert!(side.put("job.a", b"{}", 0).unwrap().is_some());
    }
}
