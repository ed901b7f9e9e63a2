//! A cluster whose workers are killed, paused and cut off at random, and whose server is killed, too.
//!
//! `MOTIONFLOW_CHAOS_JOBS`, `MOTIONFLOW_CHAOS_WORKERS` and `MOTIONFLOW_CHAOS_STEPS` make it larger: docs/clusters.md says what 300 jobs gave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Running, jobs_file, same_files};
use crate::common::{program, run, text};
use crate::nats::{Server, wait_for};

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Whether a job at work may have lost two workers in a row: four make it dead, as is meant.
fn is_close_to_dead(jobs: &[Value]) -> bool {
    jobs.iter().any(|job| job["state"] == "running" && job["takes"].as_u64().is_some_and(|takes| takes > 2))
}

#[test]
fn whatever_dies_each_job_is_finished_once_with_the_same_bytes() {
    let Some(mut server) = Server::start(&[]) else { return };
    let (count, workers) = (number("MOTIONFLOW_CHAOS_JOBS", 12), number("MOTIONFLOW_CHAOS_WORKERS", 2));
    let cluster = Cluster::new(server.address());
    let file = cluster.place.path("jobs.toml");
    let steps = format!("steps = {}, guided_steps = 2", number("MOTIONFLOW_CHAOS_STEPS", 3));
    std::fs::write(&file, jobs_file(count).replace("steps = 3, guided_steps = 2", &steps)).unwrap();
    run(&mut cluster.command(&["submit", &text(&file)])).ok();
    let logs =
        (0..workers).map(|worker| cluster.place.path(&format!("log-{worker}"))).collect::<Vec<PathBuf>>();
    let begin =
        |worker: usize| Running::begin(&mut cluster.worker(&["--keep-every", "0"]), logs[worker].clone());
    let mut running: Vec<Running> = (0..workers).map(begin).collect();
    let (mut dice, mut restarts, since) = (Dice(7), 0, Instant::now());
    let (mut kills, mut pauses) = (0, 0);
    loop {
        std::thread::sleep(Duration::from_millis(700 + 100 * dice.roll(10) as u64));
        let jobs = cluster.jobs();
        let done = jobs.iter().filter(|job| job["state"] == "finished").count();
        let lost: Vec<_> =
            jobs.iter().filter(|job| job["state"] == "failed" || job["state"] == "dead").collect();
        assert!(lost.is_empty(), "{lost:?}");
        if done == count && restarts == 2 {
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60 + 20 * count as u64),
            "{done} of {count} are finished"
        );
        if restarts < 2 && done * 3 >= count * (restarts + 1) && !is_close_to_dead(&jobs) {
            server.kill();
            std::thread::sleep(Duration::from_millis(500 * dice.roll(8) as u64));
            server.start_again();
            restarts += 1;
        }
        let worker = dice.roll(workers);
        match dice.roll(4) {
            _ if is_close_to_dead(&cluster.jobs()) => {}
            0 | 1 => {
                running[worker].send("KILL");
                running[worker] = begin(worker);
                kills += 1;
            }
            2 => {
                running[worker].send("STOP");
                std::thread::sleep(Duration::from_millis(2500));
                running[worker].send("CONT");
                pauses += 1;
            }
            _ => {}
        }
    }
    let seconds = since.elapsed().as_secs_f64();
    // Who finished a job may have died before it acknowledged that.
    wait_for("the last acknowledgement", || server.messages("motionflow_jobs") == Some(0));
    for worker in &mut running {
        worker.send("TERM");
        assert_eq!(worker.child.wait().unwrap().code(), Some(130));
    }
    let said: String = logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect();
    for job in 0..count {
        assert!(said.matches(&format!("job job-{job}: finished\n")).count() <= 1, "job-{job}");
    }
    run(&mut cluster.command(&["queue", "fetch", "-o", &cluster.place.text("got")])).ok();
    run(program().args(["batch", &text(&file), "-q", "-o", &cluster.place.text("batch")])).ok();
    let mut bytes = std::fs::metadata(crate::common::car()).unwrap().len();
    for job in 0..count {
        let [one, other] =
            ["batch", "got"].map(|folder| cluster.place.path(folder).join(format!("job-{job}")));
        same_files(&one, &other);
        bytes += size_of(&other);
    }
    // What is left are the results and the source, and no message.
    let clean =
        |options: &[&str]| cluster.rows(&[&["queue", "clean"], options].concat(), "cleaned").pop().unwrap();
    let first = clean(&[]);
    let left = clean(&[]);
    assert!(left["files"] == 0 && left["left_bytes"].as_u64().unwrap() <= bytes, "{left} {bytes}");
    let takes: u64 = cluster.jobs().iter().map(|job| job["takes"].as_u64().unwrap()).sum();
    println!(
        "{count} jobs, {workers} workers: {seconds:.0} s, {kills} killed, {pauses} paused, {restarts} restarts of the \
         server, {takes} takes; {} files of dead workers swept",
        first["files"]
    );
}

fn size_of(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size_of(&path) } else { path.metadata().unwrap().len() }).sum()
}

/// Between a worker and the server; what is cut is dropped without a word.
struct Proxy {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Proxy {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, is_cut) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to) in [(client, forth), (server, back)] {
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || pass(from, to, &cut));
                }
            }
        });
        Self { port: own, is_cut }
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

/// Bytes that come while it is cut are lost, and with them the connection, once it is whole again.
fn pass(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let (mut bytes, mut lost) = ([0; 1 << 14], false);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        lost |= cut.load(Ordering::Relaxed);
        if lost && !cut.load(Ordering::Relaxed) {
            break;
        }
        if !lost && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_worker_that_is_cut_off_loses_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let cluster = Cluster::new(server.address());
    let file = cluster.place.path("jobs.toml");
    std::fs::write(
        &file,
        jobs_file(2).replace("steps = 3, guided_steps = 2", "steps = 150, guided_steps = 40"),
    )
    .unwrap();
    run(program().args(["batch", &text(&file), "-q", "-o", &cluster.place.text("batch")])).ok();
    let proxy = Proxy::to(server.port());
    let beyond =
        Cluster { address: format!("nats://127.0.0.1:{}", proxy.port), ..Cluster::new(String::new()) };
    let state = |id: usize| cluster.jobs()[id]["state"].as_str().unwrap().to_owned();
    let takes = |id: usize| cluster.jobs()[id]["takes"].as_u64().unwrap();
    let cut_off = Running::begin(&mut beyond.worker(&["--keep-every", "0"]), cluster.place.path("log"));
    run(&mut cluster.command(&["submit", &text(&file)])).ok();
    wait_for("a worker", || state(0) == "running" || state(1) == "running");
    proxy.cut(true);
    // Longer than its lease: another worker does all, also what the first one had.
    std::thread::sleep(Duration::from_secs(5));
    run(&mut cluster.worker(&["--until-empty", "--keep-every", "0"])).ok();
    assert_eq!((state(0), state(1)), ("finished".into(), "finished".into()));
    assert_eq!(takes(0) + takes(1), 3);
    proxy.cut(false);
    let log = || std::fs::read_to_string(cluster.place.path("log")).unwrap();
    wait_for("a word of the first worker", || log().contains("another worker has it by now"));
    cut_off.send("TERM");
    run(&mut cluster.command(&["queue", "fetch", "-o", &cluster.place.text("got")])).ok();
    for job in ["job-0", "job-1"] {
        same_files(&cluster.place.path("batch").join(job), &cluster.place.path("got").join(job));
    }
}
