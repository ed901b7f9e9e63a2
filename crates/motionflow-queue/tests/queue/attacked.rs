//! What others write into a queue, what is damaged in it, and what happens while it is looked through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use motionflow_engine::queue::{Ending, Held, Place, QueueError, State};
use motionflow_queue::Address;

use crate::{LEASE, LONG, SHORT, Side, job, job_on, take};

impl Side {
    /// Does something with a client of the server, as somebody else would.
    pub(crate) fn as_somebody<T>(&self, work: impl AsyncFnOnce(async_nats::jetstream::Context) -> T) -> T {
        let Address::Nats(address) = &self.address else { panic!("no server") };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(address).await.unwrap();
            work(async_nats::jetstream::new(client)).await
        })
    }

    pub(crate) fn publish(&self, subject: String, payload: &[u8]) {
        self.as_somebody(async |context| {
            context.publish(subject, payload.to_vec().into()).await.unwrap().await.unwrap();
        });
    }

    /// Writes a record past the queue.
    fn write_record(&self, key: &str, value: &str) {
        if let Address::Folder(folder) = &self.address {
            let connection = rusqlite::Connection::open(folder.join("queue.sqlite")).unwrap();
            let sql = "INSERT OR REPLACE INTO records (key, value, revision, made) VALUES (?1, ?2, 1, 1)";
            connection.execute(sql, [key, value]).unwrap();
            return;
        }
        let bucket = match key.split('.').next() {
            Some("line") => "motionflow_lines",
            Some("worker") => "motionflow_workers",
            _ => "motionflow",
        };
        self.publish(format!("$KV.{bucket}.{key}"), value.as_bytes());
    }

    /// How many lines are recorded.
    fn lines(&self) -> u64 {
        match &self.address {
            Address::Folder(folder) => {
                let connection = rusqlite::Connection::open(folder.join("queue.sqlite")).unwrap();
                let sql = "SELECT count(*) FROM records WHERE key GLOB 'line.*'";
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Address::Nats(_) => self.server.as_ref().unwrap().messages("KV_motionflow_lines").unwrap(),
        }
    }
}

pub(crate) fn what_others_write_stops_nothing(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a"), job("b")]).unwrap();
    let line = job("a").needs.line();
    for key in ["job.garb", "line.garb", "cache.garb", "worker.garb", "job.a.b", "job.b"] {
        side.write_record(key, "garbage");
    }
    // A whole job under another's key.
    side.write_record("job.c", &serde_json::to_string(&job("../d")).unwrap());
    for payload in ["no id", "", "../a", "gone", "garb", "a.*"] {
        side.write_message(&line, payload);
    }
    let lease = take(&queue, "one", LONG).unwrap();
    assert_eq!(lease.job().id, "a");
    lease.end(Ending::Finished(Vec::new())).unwrap();
    while take(&queue, "one", SHORT).is_some() {}
    let ids: Vec<String> = queue.jobs().unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!((ids, queue.cached("garb").unwrap()), (vec!["a".to_owned()], None));
    assert!(queue.workers().unwrap().is_empty());
    // What is damaged is in nobody's way.
    queue.submit(&[job("b")]).unwrap();
    assert_eq!(take(&queue, "one", LONG).unwrap().job().id, "b");
    let cleaned = queue.clean(LONG, u64::MAX).unwrap();
    assert_eq!(cleaned.jobs, 3, "job.garb, job.a.b and job.c");
    assert_eq!(side.lines(), 1);
}

pub(crate) fn what_is_no_id_is_no_job(side: &Side) {
    let queue = side.open();
    for id in ["", "a b", "a.b", "*", ">", "../a"] {
        assert!(matches!(queue.job(id), Err(QueueError::NoJob { .. })), "{id}");
        assert!(matches!(queue.cancel(id), Err(QueueError::NoJob { .. })), "{id}");
        assert!(matches!(queue.retry(id), Err(QueueError::NoJob { .. })), "{id}");
    }
}

pub(crate) fn jobs_are_submitted_all_or_none(side: &Side) {
    let queue = side.open();
    let with = |sha256: &str| {
        let mut job = job("a");
        job.needs.sha256 = Some(sha256.to_owned());
        job
    };
    queue.submit(&[with("1")]).unwrap();
    let told = |jobs: &[_]| queue.submit(jobs).unwrap_err().to_string();
    let other = told(&[job("new"), with("2")]);
    assert!(other.contains("\"a\" with another checkpoint"), "{other}");
    let mut settings = with("1");
    settings.task.request = "another".into();
    assert!(told(&[job("new"), settings]).contains("with other settings"));
    assert!(matches!(queue.job("new"), Err(QueueError::NoJob { .. })));
    // Who has no checkpoint cannot say which it is.
    queue.submit(&[job("a"), job("new")]).unwrap();
    assert_eq!(queue.jobs().unwrap().len(), 2);
    let mut ids: Vec<String> = (0..2).map(|_| take(&queue, "one", LONG).unwrap().job().id).collect();
    ids.sort();
    assert_eq!(ids, ["a", "new"]);
}

pub(crate) fn what_is_damaged_is_written_anew(side: &Side) {
    let queue = side.open();
    let (path, to) = (side.file("clip", 600 << 10), side.place.path().join("to"));
    let file = queue.keep_file(&Place::Input, "clip", &path).unwrap();
    let damage = |is_gone: bool| match &side.address {
        Address::Folder(folder) => {
            let there = folder.join("files").join(&file.object);
            let bytes = if is_gone { 9 } else { 600 << 10 };
            std::fs::write(there, vec![7; bytes]).unwrap();
        }
        Address::Nats(_) if is_gone => side.as_somebody(async |context| {
            let files = context.get_stream("motionflow_files").await.unwrap();
            files.purge().filter(format!("motionflow.files.{}.0", file.object)).await.unwrap();
        }),
        Address::Nats(_) => side.publish(format!("motionflow.files.{}.0", file.object), &vec![7; 512 << 10]),
    };
    for is_gone in [true, false] {
        damage(is_gone);
        assert!(matches!(queue.bring_file(&file, &to), Err(QueueError::NoFile { .. })), "{is_gone}");
        queue.keep_file(&Place::Input, "clip", &path).unwrap();
        queue.bring_file(&file, &to).unwrap();
    }
}

pub(crate) fn lines_that_no_job_is_in_go(side: &Side) {
    let (queue, other) = (side.open(), side.open());
    queue.submit(&[job("a"), job_on("b", "large")]).unwrap();
    for _ in 0..2 {
        take(&other, "one", LONG).unwrap().end(Ending::Finished(Vec::new())).unwrap();
    }
    queue.clean(LONG, u64::MAX).unwrap();
    assert_eq!(side.lines(), 2, "their jobs are there");
    queue.clean(Duration::ZERO, 0).unwrap();
    assert_eq!(side.lines(), 0);
    queue.submit(&[job("a")]).unwrap();
    assert_eq!(take(&other, "one", LONG).unwrap().job().id, "a");
}

pub(crate) fn what_a_dead_worker_was_writing_goes(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a")]).unwrap();
    let lease = take(&queue, "dead", LONG).unwrap();
    let step = queue.keep_file(&Place::Kept(&lease.job()), "step", &side.file("step", 40)).unwrap();
    lease.keep(vec![step.clone()]).unwrap();
    queue.keep_file(&Place::Result(&lease.job()), "half", &side.file("half", 600)).unwrap();
    assert_eq!(queue.clean(Duration::ZERO, 0).unwrap().left_bytes, 640, "it may be at work");
    std::thread::sleep(LEASE * 2 + SHORT);
    assert_eq!(queue.clean(Duration::ZERO, 0).unwrap().left_bytes, 40);
    queue.bring_file(&step, &side.place.path().join("to")).unwrap();
}

pub(crate) fn a_clock_that_was_wrong_stops_no_repair(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a")]).unwrap();
    side.lose_messages();
    side.write_record("repaired", "9e12");
    queue.repair(LONG).unwrap();
    assert_eq!(take(&queue, "one", LONG).unwrap().job().id, "a");
}

#[test]
fn a_file_that_is_just_being_written_stays() {
    let side = Side::sqlite();
    let queue = side.open();
    let Address::Folder(folder) = &side.address else { panic!("it is a folder") };
    let passing = folder.join("files/.tmpAbC");
    std::fs::write(&passing, "half").unwrap();
    queue.clean(Duration::ZERO, 0).unwrap();
    assert!(passing.exists());
    let old = std::time::SystemTime::now() - Duration::from_secs(60 * 60 * 2);
    std::fs::File::options().append(true).open(&passing).unwrap().set_modified(old).unwrap();
    queue.clean(Duration::ZERO, 0).unwrap();
    assert!(!passing.exists());
}

#[test]
fn what_is_written_again_while_it_is_listed_is_heard() {
    let Some(side) = Side::jetstream() else { return };
    let queue = side.open();
    let others: Vec<_> = (0..3000).map(|number| job(&format!("job-{number}"))).collect();
    queue.submit(&[job("a")]).unwrap();
    let lease = take(&queue, "one", LONG).unwrap();
    let result = queue.keep_file(&Place::Result(&lease.job()), "result", &side.file("result", 9)).unwrap();
    assert_eq!(lease.end(Ending::Finished(vec![result.clone()])).unwrap(), Held::Yes);
    queue.submit(&others).unwrap();
    let record = serde_json::to_vec(&queue.job("a").unwrap()).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            side.as_somebody(async |context| {
                for number in (0..3000).cycle() {
                    let other = serde_json::to_vec(&others[number]).unwrap();
                    for (id, value) in [("a", record.clone()), (&*others[number].id, other)] {
                        let sent = context.publish(format!("$KV.motionflow.job.{id}"), value.into()).await;
                        sent.unwrap().await.unwrap();
                    }
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        });
        let since = Instant::now();
        let mut missed = 0;
        while since.elapsed() < LEASE * 2 {
            missed += usize::from(!queue.jobs().is_ok_and(|jobs| jobs.len() == 3001));
        }
        let cleaned = queue.clean(LONG * 100, u64::MAX);
        is_over.store(true, Ordering::Relaxed);
        assert_eq!((missed, cleaned.unwrap().files), (0, 0));
    });
    assert_eq!(queue.job("a").unwrap().state, State::Finished);
    queue.bring_file(&result, &side.place.path().join("to")).unwrap();
}
