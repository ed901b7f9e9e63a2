//! How many jobs a second a queue gives out, without any nets: `cargo run --example queue_bench -- NATS-SERVER [JOBS]`.
//!
//! For each number of workers a nats-server of its own is started on loopback; each worker is a client with a connection of its
//! own, which takes jobs and finishes them at once. The last row has a queue of 100,000 jobs before the first is taken.

#![allow(clippy::print_stdout)]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use motionflow_engine::queue::{Ending, Job, Needs, Queue, Task};
use motionflow_queue::{Access, Address, open};

/// Jobs that wait in the last row.
const MANY: usize = 100_000;
const PORT: u16 = 24222;
/// What a job of the real program has as its request, in bytes.
const REQUEST: usize = 600;

struct Server {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(program: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.args(["--addr", "127.0.0.1", "--port", &PORT.to_string(), "--jetstream", "--store_dir"]);
        command.arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("nats-server cannot be started")?;
        Ok(Self { child, _folder: folder })
    }

    /// Bytes in memory now.
    fn memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0).context("the system does not tell")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn queue() -> Result<Arc<dyn Queue>> {
    let address = Address::parse(&format!("nats://127.0.0.1:{PORT}"))?;
    Ok(open(&address, &Access { patience: Some(Duration::from_secs(60)), ..Access::default() })?)
}

fn jobs(count: usize) -> Vec<Job> {
    let needs = Needs { model: "none".into(), motion_adapter: None, sha256: None, size: String::new() };
    let request = "#".repeat(REQUEST);
    let job = |number: usize| {
        let task = Task { request: request.clone(), inputs: Vec::new(), requested: None, quick: false };
        let name = format!("job-{number}");
        Job::new(name.clone(), name, task, needs.clone(), number as f64)
    };
    (0..count).map(job).collect()
}

/// Takes and finishes jobs until so many are done in all.
fn work(queue: &Arc<dyn Queue>, left: &std::sync::atomic::AtomicI64) -> Result<()> {
    use std::sync::atomic::Ordering;
    while left.load(Ordering::Relaxed) > 0 {
        if let Some(lease) = queue.take("bench", &mut |_| true, Duration::from_millis(50))? {
            lease.end(Ending::Finished(Vec::new()))?;
            left.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn row(program: &str, workers: usize, count: usize, done: usize) -> Result<()> {
    let server = Server::start(program)?;
    let queue = queue()?;
    let began = Instant::now();
    queue.submit(&jobs(count))?;
    let submitted = count as f64 / began.elapsed().as_secs_f64();
    let queued = server.memory()? / 1e6;
    let clients: Vec<Arc<dyn Queue>> = (0..workers).map(|_| self::queue()).collect::<Result<_>>()?;
    let left = std::sync::atomic::AtomicI64::new(done as i64);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let running: Vec<_> = clients.iter().map(|queue| scope.spawn(|| work(queue, &left))).collect();
        running.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    let rate = done as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let listed = queue.jobs()?.len();
    let listing = began.elapsed().as_secs_f64();
    let memory = server.memory()? / 1e6;
    println!(
        "| {workers} | {count} | {submitted:.0} | {rate:.0} | {queued:.0} | {memory:.0} | {listed} in {listing:.1} s |"
    );
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().context("give the program nats-server")?;
    let count: usize = arguments.next().map_or(Ok(3000), |count| count.parse())?;
    println!(
        "| workers | jobs queued | submitted a second | taken and finished a second | server's memory with all queued, MB | after, MB | listed |"
    );
    println!("|---|---|---|---|---|---|---|");
    for workers in [1, 10, 50, 100, 200] {
        row(&program, workers, count, count)?;
    }
    row(&program, 200, MANY, 10_000)
}
