//! Messages that a crash loses or brings back.

use std::time::Duration;

use motionflow_engine::queue::{Ending, Held, Job, State};
use motionflow_queue::Address;

use crate::{LONG, SHORT, Side, job, take};

impl Side {
    /// As a crash might: the records stay.
    pub(crate) fn lose_messages(&self) {
        match &self.address {
            Address::Folder(folder) => {
                let connection = rusqlite::Connection::open(folder.join("queue.sqlite")).unwrap();
                connection.execute("DELETE FROM messages", []).unwrap();
            }
            Address::Nats(_) => self.as_somebody(async |context| {
                context.get_stream("motionflow_jobs").await.unwrap().purge().await.unwrap();
            }),
        }
    }

    /// The ids of the messages.
    pub(crate) fn messages(&self) -> Vec<String> {
        match &self.address {
            Address::Folder(folder) => {
                let connection = rusqlite::Connection::open(folder.join("queue.sqlite")).unwrap();
                let mut statement = connection.prepare("SELECT id FROM messages").unwrap();
                let ids = statement.query_map([], |row| row.get(0)).unwrap();
                ids.map(Result::unwrap).collect()
            }
            Address::Nats(_) => self.as_somebody(async |context| {
                let jobs = context.get_stream("motionflow_jobs").await.unwrap();
                let (mut ids, mut from) = (Vec::new(), 1);
                while let Ok(message) = jobs.get_first_raw_message_by_subject("motionflow.jobs.*", from).await
                {
                    from = message.sequence + 1;
                    ids.push(String::from_utf8(message.payload.to_vec()).unwrap());
                }
                ids
            }),
        }
    }

    /// Puts a message into a line past the queue.
    pub(crate) fn write_message(&self, line: &str, payload: &str) {
        if let Address::Folder(folder) = &self.address {
            let connection = rusqlite::Connection::open(folder.join("queue.sqlite")).unwrap();
            let sql = "INSERT INTO messages (line, id, ready) VALUES (?1, ?2, 0)";
            connection.execute(sql, [line, payload]).unwrap();
            return;
        }
        self.publish(format!("motionflow.jobs.{line}"), payload.as_bytes());
    }
}

pub(crate) fn jobs_whose_messages_are_lost_are_told_again(side: &Side) {
    let (queue, other) = (side.open(), side.open());
    queue.submit(&[job("runs"), job("dies"), job("waits")]).unwrap();
    let runs = take(&queue, "one", LONG).unwrap();
    let _dies = take(&queue, "dead", LONG).unwrap();
    side.lose_messages();
    runs.extend().unwrap();
    assert!(take(&other, "two", SHORT).is_none());
    other.repair(Duration::ZERO).unwrap();
    other.repair(LONG).unwrap();
    let mut taken: Vec<Job> =
        std::iter::from_fn(|| take(&other, "two", SHORT)).map(|lease| lease.job()).collect();
    taken.sort_by(|one, other| one.id.cmp(&other.id));
    // All of them, for nobody can know which worker is dead; whose lease was taken changes nothing.
    let ids: Vec<&str> = taken.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["dies", "runs", "waits"]);
    assert_eq!(runs.end(Ending::Finished(Vec::new())).unwrap(), Held::Lost);
}

pub(crate) fn a_lost_message_is_missed_beside_one_too_many(side: &Side) {
    let (queue, line) = (side.open(), job("a").needs.line());
    queue.submit(&[job("a"), job("b")]).unwrap();
    side.lose_messages();
    side.write_message(&line, "a");
    side.write_message(&line, "a");
    queue.repair(Duration::ZERO).unwrap();
    let mut ids = side.messages();
    ids.sort();
    assert_eq!(ids, ["a", "a", "b"]);
    let (_one, _other) = (take(&queue, "one", LONG).unwrap(), take(&queue, "two", LONG).unwrap());
    assert!(queue.jobs().unwrap().iter().all(|job| job.state == State::Running));
}

pub(crate) fn messages_of_jobs_that_are_over_go(side: &Side) {
    let (queue, line) = (side.open(), job("over").needs.line());
    queue.submit(&[job("over"), job("runs"), job("waits")]).unwrap();
    take(&queue, "one", LONG).unwrap().end(Ending::Finished(Vec::new())).unwrap();
    let runs = take(&queue, "two", LONG).unwrap();
    side.write_message(&line, "over");
    side.write_message(&line, "no job");
    queue.repair(Duration::ZERO).unwrap();
    let mut ids = side.messages();
    ids.sort();
    assert_eq!(ids, ["runs", "waits"]);
    assert_eq!(runs.extend().unwrap(), Held::Yes);
    runs.end(Ending::Finished(Vec::new())).unwrap();
    assert_eq!(take(&queue, "two", LONG).unwrap().job().id, "waits");
}
