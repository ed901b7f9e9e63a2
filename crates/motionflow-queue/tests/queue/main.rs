//! One suite of tests over both sides of the queue.

#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests may panic, and are for other tests, too")]

mod attacked;
mod messages;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use motionflow_engine::queue::{
    Cleaned, Ending, Held, Input, Job, Lease, Needs, Place, Queue, QueueError, State, Task, Worker,
};
use motionflow_queue::{Access, Address, open};

use attacked::*;
use messages::*;
use server::Server;

const LEASE: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// A side of the queue, empty.
struct Side {
    address: Address,
    place: tempfile::TempDir,
    server: Option<Server>,
}

impl Side {
    fn sqlite() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { address: Address::Folder(place.path().join("queue")), place, server: None }
    }

    fn jetstream() -> Option<Self> {
        let server = Server::start(&[])?;
        let address = Address::parse(&server.address()).unwrap();
        Some(Self { address, place: tempfile::tempdir().unwrap(), server: Some(server) })
    }

    /// As another process would open it.
    fn open(&self) -> Arc<dyn Queue> {
        open(&self.address, &Access { lease: LEASE, ..Access::default() }).unwrap()
    }

    fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.place.path().join(name);
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 ^ name.len() as u8).collect();
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// Does a test on both sides.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test(&super::Side::sqlite()); })*
        }
        mod jetstream {
            $(#[test] fn $test() {
                if let Some(side) = super::Side::jetstream() { super::$test(&side); }
            })*
        }
    };
}

on_both!(
    jobs_go_in_their_order_and_once,
    a_silent_worker_loses_its_job_and_changes_nothing,
    a_lease_that_is_extended_holds,
    what_is_given_back_goes_on_at_once,
    what_kills_its_workers_is_given_up,
    a_step_that_is_kept_is_no_sign_of_death,
    cancelling,
    a_worker_is_told_of_a_cancelled_job_at_once,
    trying_again,
    submitting_twice_changes_nothing,
    workers_pass_over_what_they_cannot_do,
    files_of_every_size,
    a_damaged_file_is_noticed,
    nothing_is_left_of_what_is_over,
    what_a_waiting_job_needs_stays,
    many_workers_take_each_job_once,
    jobs_whose_messages_are_lost_are_told_again,
    a_lost_message_is_missed_beside_one_too_many,
    messages_of_jobs_that_are_over_go,
    the_shared_cache_and_the_workers,
    what_others_write_stops_nothing,
    what_is_no_id_is_no_job,
    jobs_are_submitted_all_or_none,
    what_is_damaged_is_written_anew,
    lines_that_no_job_is_in_go,
    what_a_dead_worker_was_writing_goes,
    a_clock_that_was_wrong_stops_no_repair,
);

fn needs(model: &str) -> Needs {
    Needs { model: model.into(), motion_adapter: None, sha256: None, size: String::new() }
}

fn job(id: &str) -> Job {
    job_on(id, "tiny")
}

fn job_on(id: &str, model: &str) -> Job {
    let task = Task { request: format!("# {id}"), inputs: Vec::new(), requested: None, quick: false };
    let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    Job::new(id.into(), id.into(), task, needs(model), created)
}

fn take(queue: &Arc<dyn Queue>, worker: &str, wait: Duration) -> Option<Box<dyn Lease>> {
    // Lines are looked for now and then.
    let since = std::time::Instant::now();
    loop {
        let taken = queue.take(worker, &mut |_| true, SHORT).unwrap();
        if taken.is_some() || since.elapsed() >= wait {
            return taken;
        }
    }
}

fn jobs_go_in_their_order_and_once(side: &Side) {
    let queue = side.open();
    let jobs: Vec<Job> = (0..5).map(|number| job(&format!("job-{number}"))).collect();
    queue.submit(&jobs).unwrap();
    for number in 0..5 {
        let lease = take(&queue, "one", LONG).unwrap();
        assert_eq!(lease.job().id, format!("job-{number}"));
        assert_eq!(lease.end(Ending::Finished(Vec::new())).unwrap(), Held::Yes);
    }
    assert!(take(&queue, "one", SHORT).is_none());
    let listed = side.open().jobs().unwrap();
    assert_eq!(
        listed.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(),
        jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>()
    );
    assert!(listed.iter().all(|job| job.state == State::Finished && job.takes == 1));
}

fn a_silent_worker_loses_its_job_and_changes_nothing(side: &Side) {
    let (one, other) = (side.open(), side.open());
    one.submit(&[job("a")]).unwrap();
    let silent = take(&one, "silent", LONG).unwrap();
    let file = side.file("step", 10);
    let kept = one.keep_file(&Place::Kept(&silent.job()), "step", &file).unwrap();
    assert_eq!(silent.keep(vec![kept.clone()]).unwrap(), Held::Yes);
    let next = take(&other, "next", LONG).unwrap();
    assert_eq!((next.job().kept, next.job().takes), (vec![kept.clone()], 2));
    // It comes back.
    let late = one.keep_file(&Place::Result(&silent.job()), "late", &side.file("late", 11)).unwrap();
    assert_eq!(silent.extend().unwrap(), Held::Lost);
    assert_eq!(silent.keep(vec![late.clone()]).unwrap(), Held::Lost);
    assert_eq!(silent.end(Ending::Failed("late".into())).unwrap(), Held::Lost);
    assert_eq!(silent.end(Ending::GivenBack).unwrap(), Held::Lost);
    assert!(one.bring_file(&late, &side.place.path().join("out")).is_err(), "what it wrote is gone");
    one.bring_file(&kept, &side.place.path().join("out")).unwrap();
    assert!(take(&one, "third", SHORT).is_none(), "nobody else gets it by that");
    let result = other.keep_file(&Place::Result(&next.job()), "result", &file).unwrap();
    assert_eq!(next.end(Ending::Finished(vec![result.clone()])).unwrap(), Held::Yes);
    assert_eq!(silent.end(Ending::Finished(vec![late])).unwrap(), Held::Lost);
    let job = one.job("a").unwrap();
    assert_eq!((job.state, job.result, job.worker.as_deref()), (State::Finished, vec![result], Some("next")));
}

fn a_lease_that_is_extended_holds(side: &Side) {
    let (one, other) = (side.open(), side.open());
    one.submit(&[job("a")]).unwrap();
    let lease = take(&one, "one", LONG).unwrap();
    for _ in 0..8 {
        std::thread::sleep(LEASE / 3);
        assert_eq!(lease.extend().unwrap(), Held::Yes);
        assert!(other.take("other", &mut |_| true, Duration::ZERO).unwrap().is_none());
    }
    assert_eq!(lease.end(Ending::Finished(Vec::new())).unwrap(), Held::Yes);
    assert_eq!(other.job("a").unwrap().takes, 1);
}

fn what_is_given_back_goes_on_at_once(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a")]).unwrap();
    for takes in 1..=8 {
        let lease = take(&queue, "one", LONG).unwrap();
        assert_eq!((lease.job().takes, lease.job().deaths), (takes, 0));
        assert_eq!(lease.end(Ending::GivenBack).unwrap(), Held::Yes);
        assert_eq!(lease.end(Ending::Finished(Vec::new())).unwrap(), Held::Lost);
    }
    assert_eq!(queue.job("a").unwrap().state, State::Queued);
}

fn what_kills_its_workers_is_given_up(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("poisoned"), job("good")]).unwrap();
    let mut deaths = 0;
    while queue.job("poisoned").unwrap().state != State::Dead {
        let Some(lease) = take(&queue, "victim", SHORT) else { continue };
        if lease.job().id == "good" {
            lease.end(Ending::Finished(Vec::new())).unwrap();
        } else {
            deaths += 1;
        }
        assert!(deaths < 9, "it is given up");
    }
    let job = queue.job("poisoned").unwrap();
    assert_eq!(deaths, 4);
    assert!(job.error.unwrap().contains("the last one was victim"));
    assert_eq!(queue.job("good").unwrap().state, State::Finished);
    assert!(take(&queue, "victim", LEASE * 2).is_none());
}

fn a_step_that_is_kept_is_no_sign_of_death(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a")]).unwrap();
    for number in 0..6 {
        let lease = take(&queue, "one", LONG).unwrap();
        assert!(lease.job().deaths <= 1);
        let step = side.file(&format!("step-{number}"), 5 + number);
        let step = queue.keep_file(&Place::Kept(&lease.job()), "step", &step).unwrap();
        lease.keep(vec![step]).unwrap();
    }
    assert_eq!(queue.job("a").unwrap().state, State::Running);
}

fn cancelling(side: &Side) {
    let (queue, other) = (side.open(), side.open());
    queue.submit(&[job("waits"), job("runs")]).unwrap();
    assert_eq!(other.cancel("waits").unwrap().state, State::Cancelled);
    let lease = take(&queue, "one", LONG).unwrap();
    assert_eq!(lease.job().id, "runs");
    other.cancel("runs").unwrap();
    assert_eq!(lease.extend().unwrap(), Held::Cancelled);
    assert_eq!(lease.keep(Vec::new()).unwrap(), Held::Cancelled);
    // A worker that stops meanwhile does not give it to another one.
    assert_eq!(lease.end(Ending::GivenBack).unwrap(), Held::Cancelled);
    assert_eq!(queue.job("runs").unwrap().state, State::Cancelled);
    assert!(matches!(queue.cancel("runs"), Err(QueueError::IsOver { .. })));
    assert!(matches!(queue.cancel("none"), Err(QueueError::NoJob { .. })));
    assert!(take(&queue, "one", LEASE * 2).is_none());
    // One whose worker is dead is cancelled when its lease ends.
    queue.submit(&[job("left")]).unwrap();
    let _dead = take(&queue, "one", LONG).unwrap();
    queue.cancel("left").unwrap();
    assert!(take(&queue, "two", LEASE * 3).is_none());
    assert_eq!(queue.job("left").unwrap().state, State::Cancelled);
}

fn a_worker_is_told_of_a_cancelled_job_at_once(side: &Side) {
    let (queue, other) = (side.open(), side.open());
    queue.submit(&[job("a")]).unwrap();
    let lease = take(&queue, "one", LONG).unwrap();
    let waiting = std::thread::spawn(move || {
        lease.wait(LONG * 6);
        lease.extend().unwrap()
    });
    std::thread::sleep(SHORT);
    other.cancel("a").unwrap();
    assert_eq!(waiting.join().unwrap(), Held::Cancelled);
}

fn trying_again(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a")]).unwrap();
    assert!(matches!(
        take(&queue, "one", LONG).map(|lease| lease.end(Ending::Failed("why".into()))),
        Some(Ok(Held::Yes))
    ));
    assert_eq!(queue.job("a").unwrap().error.as_deref(), Some("why"));
    assert_eq!(queue.retry("a").unwrap().state, State::Queued);
    let lease = take(&queue, "one", LONG).unwrap();
    assert!(lease.job().error.is_none());
    assert!(matches!(queue.retry("a"), Err(QueueError::NotOver { .. })));
    lease.end(Ending::Finished(Vec::new())).unwrap();
    assert!(matches!(queue.retry("a"), Err(QueueError::NotOver { .. })));
}

fn submitting_twice_changes_nothing(side: &Side) {
    let queue = side.open();
    let jobs = [job("a"), job("b")];
    queue.submit(&jobs).unwrap();
    queue.submit(&jobs).unwrap();
    let one = take(&queue, "one", LONG).unwrap();
    queue.submit(&jobs).unwrap();
    let two = take(&queue, "two", LONG).unwrap();
    assert!(one.job().id == "a" && two.job().id == "b");
    assert!(take(&queue, "three", SHORT).is_none(), "no job has two workers");
    for lease in [one, two] {
        assert_eq!(lease.end(Ending::Finished(Vec::new())).unwrap(), Held::Yes);
    }
    queue.submit(&jobs).unwrap();
    assert!(take(&queue, "one", LEASE * 2).is_none());
    let mut other = job("a");
    other.task.request = "another".into();
    assert!(matches!(queue.submit(&[other]), Err(QueueError::OtherJob { .. })));
}

fn workers_pass_over_what_they_cannot_do(side: &Side) {
    let queue = side.open();
    let jobs: Vec<Job> = (0..20).map(|number| job_on(&format!("large-{number}"), "large")).collect();
    queue.submit(&jobs).unwrap();
    queue.submit(&[job("small")]).unwrap();
    let small = queue.take("one", &mut |needs| needs.model == "tiny", LONG).unwrap().unwrap();
    assert_eq!(small.job().id, "small");
    assert!(queue.take("one", &mut |needs| needs.model == "tiny", SHORT).unwrap().is_none());
    let large = queue.take("two", &mut |needs| needs.model == "large", LONG).unwrap().unwrap();
    assert_eq!(large.job().id, "large-0");
    // One that takes it and sees that it cannot leaves it to others.
    assert_eq!(large.end(Ending::Unable).unwrap(), Held::Yes);
    let job = queue.job("large-0").unwrap();
    assert_eq!((job.state, job.takes, job.deaths), (State::Queued, 0, 0));
}

fn files_of_every_size(side: &Side) {
    let (queue, other) = (side.open(), side.open());
    for bytes in [0, 1, (512 << 10) - 1, 512 << 10, (512 << 10) + 1, 7 << 20] {
        let path = side.file(&format!("file-{bytes}"), bytes);
        let file = queue.keep_file(&Place::Input, "clip.mp4", &path).unwrap();
        assert_eq!(queue.keep_file(&Place::Input, "clip.mp4", &path).unwrap(), file);
        let brought = side.place.path().join("in/here");
        other.bring_file(&file, &brought).unwrap();
        assert!(std::fs::read(&brought).unwrap() == std::fs::read(&path).unwrap(), "{bytes}");
    }
}

fn a_damaged_file_is_noticed(side: &Side) {
    let queue = side.open();
    let file = queue.keep_file(&Place::Input, "a", &side.file("a", 1000)).unwrap();
    let other = queue.keep_file(&Place::Input, "b", &side.file("bb", 1000)).unwrap();
    let wrong = motionflow_engine::queue::FileRef { object: other.object, ..file.clone() };
    let to = side.place.path().join("to");
    assert!(matches!(queue.bring_file(&wrong, &to), Err(QueueError::NoFile { .. })));
    let outside = motionflow_engine::queue::FileRef { object: "../queue.sqlite".into(), ..file.clone() };
    assert!(matches!(queue.bring_file(&outside, &to), Err(QueueError::NoFile { .. })));
    let short = motionflow_engine::queue::FileRef { object: "input.none".into(), ..file };
    assert!(matches!(queue.bring_file(&short, &to), Err(QueueError::NoFile { .. })) && !to.exists());
}

fn nothing_is_left_of_what_is_over(side: &Side) {
    let queue = side.open();
    queue.submit(&[job("a"), job("b")]).unwrap();
    for _ in 0..2 {
        let lease = take(&queue, "one", LONG).unwrap();
        let step =
            queue.keep_file(&Place::Kept(&lease.job()), "step", &side.file("step", 600 << 10)).unwrap();
        lease.keep(vec![step]).unwrap();
        let result = queue.keep_file(&Place::Result(&lease.job()), "result", &side.file("r", 100)).unwrap();
        // A worker that died left this.
        queue.keep_file(&Place::Result(&lease.job()), "lost", &side.file("lost", 50)).unwrap();
        lease.end(Ending::Finished(vec![result])).unwrap();
    }
    let day = Duration::from_secs(60 * 60 * 24);
    let cleaned = queue.clean(day, u64::MAX).unwrap();
    assert_eq!(cleaned, Cleaned { jobs: 0, files: 2, bytes: 100, left_bytes: 200 }, "the results are left");
    assert_eq!(queue.clean(day, u64::MAX).unwrap(), Cleaned { left_bytes: 200, ..Cleaned::default() });
    // The oldest goes where there are too many bytes, all where they are too old.
    let cleaned = queue.clean(day, 150).unwrap();
    assert_eq!((cleaned.jobs, cleaned.left_bytes), (1, 100));
    assert!(matches!(queue.job("a"), Err(QueueError::NoJob { .. })));
    assert_eq!(queue.clean(Duration::ZERO, u64::MAX).unwrap().jobs, 1);
    assert!(queue.jobs().unwrap().is_empty());
    assert_eq!(queue.clean(Duration::ZERO, 0).unwrap(), Cleaned::default());
    // The name is free again.
    queue.submit(&[job("a")]).unwrap();
    assert_eq!(take(&queue, "one", LONG).unwrap().job().id, "a");
}

fn what_a_waiting_job_needs_stays(side: &Side) {
    let queue = side.open();
    let inner = queue.keep_file(&Place::Input, "1.png", &side.file("1.png", 30)).unwrap();
    let list = side.place.path().join("list");
    std::fs::write(&list, serde_json::to_vec(&[&inner]).unwrap()).unwrap();
    let list = queue.keep_file(&Place::Input, "frames", &list).unwrap();
    let mut waits = job("waits");
    waits.task.inputs = vec![Input { path: "/frames".into(), file: list.clone(), is_folder: true }];
    queue.submit(&[waits, job("runs")]).unwrap();
    let (_first, lease) = (take(&queue, "one", LONG).unwrap(), take(&queue, "two", LONG).unwrap());
    let writing = queue.keep_file(&Place::Kept(&lease.job()), "step", &side.file("step", 40)).unwrap();
    queue.clean(Duration::ZERO, 0).unwrap();
    for file in [inner, list, writing] {
        queue.bring_file(&file, &side.place.path().join("here")).unwrap();
    }
}

fn many_workers_take_each_job_once(side: &Side) {
    let queue = side.open();
    let jobs: Vec<Job> = (0..60).map(|number| job(&format!("job-{number}"))).collect();
    queue.submit(&jobs).unwrap();
    let workers: Vec<_> = (0..4)
        .map(|number| {
            let queue = side.open();
            std::thread::spawn(move || {
                let mut did = 0;
                while let Some(lease) = take(&queue, &format!("worker-{number}"), SHORT) {
                    did += usize::from(lease.end(Ending::Finished(Vec::new())).unwrap() == Held::Yes);
                }
                did
            })
        })
        .collect();
    let did: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(did, 60);
    assert!(queue.jobs().unwrap().iter().all(|job| job.state == State::Finished && job.takes == 1));
}

fn the_shared_cache_and_the_workers(side: &Side) {
    let queue = side.open();
    let file = queue.keep_file(&Place::Cache, "inversion", &side.file("inversion", 99)).unwrap();
    assert_eq!(queue.cached("key").unwrap(), None);
    queue.cache("key", std::slice::from_ref(&file)).unwrap();
    assert_eq!(side.open().cached("key").unwrap(), Some(vec![file]));
    let worker = |name: &str, job: Option<&str>| Worker {
        name: name.into(),
        device: "cpu".into(),
        job: job.map(Into::into),
        unable: vec![("wan".into(), "not here".into())],
        seen: 1.0,
    };
    queue.announce(&worker("b", None)).unwrap();
    queue.announce(&worker("a", None)).unwrap();
    queue.announce(&worker("b", Some("job"))).unwrap();
    assert_eq!(side.open().workers().unwrap(), [worker("a", None), worker("b", Some("job"))]);
}

#[test]
fn a_server_that_is_away_for_a_while_loses_nothing() {
    let Some(mut side) = Side::jetstream() else { return };
    let queue = side.open();
    queue.submit(&[job("a"), job("b")]).unwrap();
    let lease = take(&queue, "one", LONG).unwrap();
    let server = side.server.as_mut().unwrap();
    server.kill();
    let ending = std::thread::spawn(move || lease.end(Ending::Finished(Vec::new())).unwrap());
    std::thread::sleep(LEASE * 2);
    assert!(queue.away().is_some());
    server.start_again();
    assert_eq!(ending.join().unwrap(), Held::Yes);
    assert!(queue.away().is_none());
    assert_eq!(queue.job("a").unwrap().state, State::Finished);
    assert_eq!(take(&queue, "one", LONG).unwrap().job().id, "b");
}

#[test]
fn what_is_wrong_with_a_server_is_told() {
    let quick = Access { patience: Some(Duration::ZERO), ..Access::default() };
    let told = |address: &str| match open(&Address::parse(address).unwrap(), &quick) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let nobody = told("nats://me:secret@127.0.0.1:1");
    assert!(nobody.starts_with("nats://127.0.0.1:1: the queue cannot be reached"), "{nobody}");
    let Some(server) = Server::start(&["--user", "me", "--pass", "secret"]) else { return };
    let refused = told(&server.address());
    assert!(refused.contains("does not let this program in"), "{refused}");
    let refused = told(&format!("nats://me:wrong@127.0.0.1:{}", server.port()));
    assert!(refused.contains("does not let this program in") && !refused.contains("wrong"), "{refused}");
    assert_eq!(told(&format!("nats://me:secret@127.0.0.1:{}", server.port())), "");
    let access = Access { user: Some("me".into()), password: Some("secret".into()), ..quick.clone() };
    assert!(open(&Address::parse(&server.address()).unwrap(), &access).is_ok());
    assert!(server.id() > 0);
}

#[test]
fn an_nkey_lets_in() {
    let place = tempfile::tempdir().unwrap();
    let user = nkeys::KeyPair::new_user();
    let (config, seed) = (place.path().join("nats.conf"), place.path().join("user.nk"));
    let users = format!("authorization {{ users: [ {{ nkey: {:?} }} ] }}\n", user.public_key());
    std::fs::write(&config, users).unwrap();
    std::fs::write(&seed, user.seed().unwrap()).unwrap();
    let Some(server) = Server::start(&["--config", config.to_str().unwrap()]) else { return };
    let address = Address::parse(&server.address()).unwrap();
    let quick = Access { patience: Some(Duration::ZERO), ..Access::default() };
    assert!(matches!(open(&address, &quick).unwrap_err(), QueueError::Refused { .. }));
    let with = |nkey: PathBuf| open(&address, &Access { nkey: Some(nkey), ..quick.clone() });
    with(seed).unwrap();
    let another = place.path().join("another.nk");
    std::fs::write(&another, nkeys::KeyPair::new_user().seed().unwrap()).unwrap();
    assert!(matches!(with(another).unwrap_err(), QueueError::Refused { .. }));
    std::fs::write(&config, "no seed").unwrap();
    assert!(matches!(with(config).unwrap_err(), QueueError::Credentials { .. }));
}

#[test]
fn tls_is_checked_with_the_authority_that_is_given() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        let made = std::process::Command::new("openssl").args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let names = "subjectAltName=IP:127.0.0.1";
    for name in ["ca", "other"] {
        let (key, certificate) = (at(&format!("{name}.key")), at(&format!("{name}.pem")));
        let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"];
        openssl(&[&made[..], &["-keyout", &key, "-out", &certificate]].concat());
    }
    let (key, request, certificate) = (at("server.key"), at("server.csr"), at("server.pem"));
    let asked = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-addext", names];
    openssl(&[&asked[..], &["-keyout", &key, "-out", &request]].concat());
    let signed = ["x509", "-req", "-days", "2", "-copy_extensions", "copy", "-CAcreateserial"];
    let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
    openssl(&[&signed[..], &["-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-out", &certificate]].concat());
    let Some(server) = Server::start(&["--tls", "--tlscert", &certificate, "--tlskey", &key]) else { return };
    let address = Address::parse(&format!("tls://127.0.0.1:{}", server.port())).unwrap();
    let quick = Access { patience: Some(Duration::ZERO), ..Access::default() };
    let with = |ca: &str| open(&address, &Access { tls_ca: Some(at(ca).into()), ..quick.clone() });
    assert!(open(&address, &quick).is_err() && with("other.pem").is_err());
    with("ca.pem").unwrap().submit(&[job("a")]).unwrap();
}
