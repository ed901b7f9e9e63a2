//! `worker`, `submit` and `queue` over both sides of the queue, with a real nats-server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Outcome, Place, SMALL, car, copy, ffmpeg, program, run, same_results, text, tiny_model};
use crate::nats::{Server, wait_for};

/// A queue, and the folder in which its workers work.
pub(crate) struct Cluster {
    pub(crate) place: Place,
    pub(crate) address: String,
    pub(crate) lease: &'static str,
}

impl Cluster {
    pub(crate) fn new(address: String) -> Self {
        Self { place: Place::new(), address, lease: "2" }
    }

    fn folder() -> Self {
        let mut cluster = Self::new(String::new());
        cluster.address = cluster.place.text("queue");
        cluster
    }

    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut program = program();
        program.args(command).args(["--queue", &self.address, "--lease", self.lease]);
        program
    }

    /// What a line of JSON a job, or of another table, says.
    pub(crate) fn rows(&self, command: &[&str], of: &str) -> Vec<Value> {
        let outcome = run(self.command(command).arg("--json")).ok();
        let rows = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter(|row| row["event"] == "row" && row["of"] == of).map(|row| row["row"].clone()).collect()
    }

    pub(crate) fn jobs(&self) -> Vec<Value> {
        self.rows(&["queue", "list"], "job")
    }

    fn state(&self, id: &str) -> String {
        let jobs = self.jobs();
        let job = jobs.iter().find(|job| job["id"] == id).unwrap();
        job["state"].as_str().unwrap().to_owned()
    }

    /// Submits a transfer of a source with a model.
    fn submit_of(&self, name: &str, source: &str, model: &str, flags: &[&str]) -> Outcome {
        let mut command = self.command(&["submit", "--name", name]);
        run(command.args(transfer_of(source, model)).args(flags))
    }

    pub(crate) fn submit(&self, name: &str, flags: &[&str]) -> Outcome {
        self.submit_of(name, &car(), &tiny_model(), &[&SMALL[..], &["--guided-steps", "2"], flags].concat())
    }

    pub(crate) fn worker(&self, flags: &[&str]) -> Command {
        let mut command = self.command(&["worker", "--threads", "1", "--work", &self.place.text("work")]);
        command.args(flags);
        command
    }

    fn work(&self) -> Outcome {
        run(&mut self.worker(&["--until-empty"])).ok()
    }

    fn fetch(&self) -> Outcome {
        run(&mut self.command(&["queue", "fetch", "-o", &self.place.text("got")]))
    }
}

/// A worker that runs on, and what it says.
pub(crate) struct Running {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn begin(command: &mut Command, log: PathBuf) -> Self {
        let file = fs::File::options().append(true).create(true).open(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    pub(crate) fn send(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The flags of a transfer of a source with a model.
fn transfer_of(source: &str, model: &str) -> Vec<String> {
    let flags = ["--source", source, "--model", model, "--source-prompt", "a [car] on a road"];
    flags.into_iter().chain(["--prompt", "a [panda] in the snow"]).map(str::to_owned).collect()
}

/// Does a test over both sides.
fn on_both(test: impl Fn(&Cluster)) {
    test(&Cluster::folder());
    if let Some(server) = Server::start(&[]) {
        test(&Cluster::new(server.address()));
    }
}

#[test]
fn a_job_has_the_bytes_of_a_run_on_one_machine() {
    on_both(|cluster| {
        cluster.submit("panda", &[]).ok();
        cluster.submit("inversion none", &["--tau", "0"]).ok();
        assert_eq!(cluster.state("panda"), "queued");
        cluster.work();
        cluster.fetch().ok();
        cluster.place.transfer(&[]).ok();
        let got = cluster.place.path("got/panda");
        same_results(&cluster.place.path("out"), &got);
        assert_eq!(
            fs::read_dir(got.join("masks")).unwrap().count(),
            fs::read_dir(cluster.place.path("out/masks")).unwrap().count()
        );
        assert!(cluster.place.path("got/inversion none/result.mp4").exists());
        assert!(!got.join(".unfinished").exists() && cluster.place.names("work").is_empty());
        // Again: what is there already stays, and what is not that job's result is told.
        cluster.fetch().ok();
        fs::write(got.join("run.json"), "{}").unwrap();
        let again = cluster.fetch();
        assert!(again.stderr.contains("holds another run") && again.stderr.contains("1 of 2 jobs failed"));
        cluster.submit("../panda", &[]).fails(2, &["--name ../panda: must do for a folder"]);
        // A folder of pictures goes along, too.
        let frames = cluster.place.path("frames");
        fs::create_dir(&frames).unwrap();
        let ffmpeg = ffmpeg();
        let mut split = Command::new(ffmpeg.program());
        assert!(
            split
                .args(["-v", "error", "-i", &car()])
                .arg(frames.join("%02d.png"))
                .status()
                .unwrap()
                .success()
        );
        cluster.submit_of("frames", &text(&frames), &tiny_model(), &SMALL).ok();
        cluster.work();
        run(&mut cluster.command(&["queue", "fetch", "frames", "-o", &cluster.place.text("got")])).ok();
        let mut own = program();
        own.arg("transfer").args(transfer_of(&text(&frames), &tiny_model())).args(SMALL);
        run(own.args(["-o", &cluster.place.text("own")])).ok();
        same_results(&cluster.place.path("own"), &cluster.place.path("got/frames"));
    });
}

#[test]
fn a_worker_that_is_asked_to_stop_gives_its_job_back() {
    on_both(|cluster| {
        let long = [&SMALL[..6], &["--steps", "60", "--guided-steps", "10", "--threads", "1"]].concat();
        cluster.submit_of("long", &car(), &tiny_model(), &long).ok();
        let mut worker =
            Running::begin(&mut cluster.worker(&["--keep-every", "0"]), cluster.place.path("log"));
        wait_for("a first step", || worker.said().contains("invert") || cluster.state("long") == "running");
        std::thread::sleep(Duration::from_millis(700));
        worker.send("TERM");
        assert_eq!(worker.child.wait().unwrap().code(), Some(130), "{}", worker.said());
        assert_eq!(cluster.state("long"), "queued", "{}", worker.said());
        let next = cluster.work();
        assert!(next.stderr.contains("job long: goes on"), "{}", next.stderr);
        cluster.fetch().ok();
        let mut whole = program();
        whole.arg("transfer").args(transfer_of(&car(), &tiny_model())).args(&long);
        run(whole.args(["-o", &cluster.place.text("out")])).ok();
        same_results(&cluster.place.path("out"), &cluster.place.path("got/long"));
    });
}

#[test]
fn a_cancelled_job_stops_within_a_step_and_can_be_tried_again() {
    on_both(|cluster| {
        let endless = [&SMALL[..6], &["--steps", "900", "--guided-steps", "800", "--threads", "1"]].concat();
        cluster.submit_of("endless", &car(), &tiny_model(), &endless).ok();
        let worker = Running::begin(&mut cluster.worker(&[]), cluster.place.path("log"));
        wait_for("a worker", || cluster.state("endless") == "running");
        std::thread::sleep(Duration::from_millis(500));
        let told = run(&mut cluster.command(&["queue", "cancel", "endless"])).ok();
        assert!(told.stdout.contains("stops after its step"), "{}", told.stdout);
        wait_for("the end of the job", || cluster.state("endless") == "cancelled");
        wait_for("a word of it", || worker.said().contains("job endless: cancelled"));
        drop(worker);
        run(&mut cluster.command(&["queue", "cancel", "endless"])).fails(2, &["is cancelled already"]);
        run(&mut cluster.command(&["queue", "retry", "endless"])).ok();
        assert_eq!(cluster.state("endless"), "queued");
        run(&mut cluster.command(&["queue", "cancel", "endless"])).ok();
        run(&mut cluster.command(&["queue", "fetch", "endless"]))
            .fails(2, &["is cancelled, so it has no result"]);
        run(&mut cluster.command(&["queue", "cancel", "none"])).fails(2, &["there is no job \"none\""]);
    });
}

#[test]
fn what_a_worker_cannot_do_it_leaves_to_others() {
    on_both(|cluster| {
        let model = cluster.place.copied_model();
        cluster.submit_of("elsewhere", &car(), &text(&model), &SMALL).ok();
        cluster.submit("here", &[]).ok();
        fs::rename(&model, cluster.place.path("away")).unwrap();
        cluster.work();
        assert_eq!((cluster.state("here"), cluster.state("elsewhere")), ("finished".into(), "queued".into()));
        let status = run(&mut cluster.command(&["queue", "status"])).ok();
        assert!(
            status.stdout.contains("to others: the checkpoint") && status.stdout.contains("is not here"),
            "{}",
            status.stdout
        );
        // Nor does it begin what does not fit into its memory.
        let large = ["--width", "512", "--height", "512", "--frames", "16", "--threads", "1"];
        cluster.submit_of("large", &car(), &tiny_model(), &large).ok();
        let worker = cluster.work();
        assert!(worker.stderr.contains("job large: is left to others"), "{}", worker.stderr);
        assert_eq!(cluster.state("large"), "queued");
        let status = run(&mut cluster.command(&["queue", "status"])).ok();
        assert!(status.stdout.contains("memory"), "{}", status.stdout);
        // Another checkpoint of that name is not taken for it.
        copy(&cluster.place.path("away"), &model);
        let config = model.join("scheduler/scheduler_config.json");
        fs::write(&config, fs::read_to_string(&config).unwrap() + "\n").unwrap();
        cluster.work();
        assert_eq!(cluster.state("elsewhere"), "queued");
        fs::remove_dir_all(&model).unwrap();
        fs::rename(cluster.place.path("away"), &model).unwrap();
        cluster.work();
        assert_eq!(cluster.state("elsewhere"), "finished");
    });
}

#[test]
fn a_job_that_kills_its_workers_ends_as_dead_and_harms_no_other() {
    let Some(server) = Server::start(&[]) else { return };
    let cluster = Cluster { lease: "1", ..Cluster::new(server.address()) };
    let poison = cluster.place.path("poison.mp4");
    fs::copy(car(), &poison).unwrap();
    cluster.submit_of("poisoned", &text(&poison), &tiny_model(), &SMALL).ok();
    cluster.submit("good", &[]).ok();
    let script = cluster.place.path("ffmpeg");
    let real = text(&std::path::absolute(ffmpeg().program()).unwrap());
    fs::write(
        &script,
        format!("#!/bin/sh\ncase \"$*\" in *poison*) kill -9 $PPID;; esac\nexec {real} \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut deaths = 0;
    let since = Instant::now();
    while cluster.state("poisoned") != "dead" {
        let outcome = run(cluster.worker(&["--until-empty"]).env("MOTIONFLOW_FFMPEG", &script));
        deaths += usize::from(outcome.code == -1);
        assert!(since.elapsed() < Duration::from_secs(120), "{}", outcome.stderr);
    }
    assert_eq!((deaths, cluster.state("good")), (4, "finished".to_owned()));
    let list = run(&mut cluster.command(&["queue", "list", "--state", "dead"])).ok();
    assert!(list.stdout.contains("4 workers in a row ended without a word"), "{}", list.stdout);
    run(&mut cluster.command(&["queue", "fetch", "poisoned"])).fails(2, &["is dead, so it has no result"]);
}

#[test]
fn a_file_of_jobs_is_submitted_as_a_batch_is_made() {
    on_both(|cluster| {
        let file = cluster.place.path("jobs.toml");
        fs::write(&file, jobs_file(3)).unwrap();
        run(&mut cluster.command(&["submit", &text(&file)])).ok();
        run(&mut cluster.command(&["submit", &text(&file)])).ok();
        run(&mut cluster.command(&["submit", &text(&file), "--seed", "3"]))
            .fails(2, &["leave out the settings"]);
        let mut two = cluster.worker(&["--device", "cpu,cpu", "--until-empty"]);
        run(&mut two).ok();
        cluster.fetch().ok();
        run(program().args(["batch", &text(&file), "-o", &cluster.place.text("batch")])).ok();
        for job in ["job-0", "job-1", "job-2"] {
            same_results(&cluster.place.path("batch").join(job), &cluster.place.path("got").join(job));
        }
        // The results are those of the batch: nothing is left to be done.
        let again = run(program().args(["batch", &text(&file), "-o", &cluster.place.text("got")])).ok();
        assert_eq!(again.stdout.matches("done before").count(), 3, "{}", again.stdout);
        fs::write(&file, jobs_file(3).replace("snow 0", "rain")).unwrap();
        run(&mut cluster.command(&["submit", &text(&file)])).fails(2, &["another job \"job-0\""]);
        let cleaned = cluster.rows(&["queue", "clean", "--older-than", "0"], "cleaned");
        assert_eq!(
            (cleaned[0]["jobs"].as_u64(), cleaned[0]["left_bytes"].as_u64() < Some(1 << 20)),
            (Some(3), true)
        );
        assert!(cluster.jobs().is_empty());
    });
}

/// A file of so many small jobs.
pub(crate) fn jobs_file(count: usize) -> String {
    use std::fmt::Write;
    let mut file = format!(
        "[defaults]\nsource.path = {:?}\nprompts.source_prompt = \"a [car] on a road\"\nmodel.name = {:?}\n\
         video = {{ width = 24, height = 16, frames = 3 }}\nsettings = {{ steps = 3, guided_steps = 2 }}\nprogram.threads = 1\n",
        car(),
        tiny_model()
    );
    for number in 0..count {
        let _ = write!(
            file,
            "[[job]]\nname = \"job-{number}\"\nprompts.prompt = \"a [panda] in the snow {number}\"\nsettings.seed = {number}\n"
        );
    }
    file
}

/// Asserts that results are the same, byte for byte.
#[track_caller]
pub(crate) fn same_files(one: &Path, other: &Path) {
    for name in ["result.mp4", "result.gif", "contact-sheet.png", "run.toml", "asked.toml"] {
        let [one, other] = [one, other].map(|folder| fs::read(folder.join(name)).unwrap());
        assert!(one == other, "{name} differs");
    }
}

/// Messages about a queue that need no server.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let cluster = Cluster { address: place.text("queue"), ..Cluster::new(String::new()) };
    let command = |arguments: &[&str]| run(&mut cluster.command(arguments));
    let elsewhere = |address: &str, flags: &[&str]| {
        run(program().args(["queue", "status", "--queue", address]).args(flags))
    };
    let mut outcomes = vec![
        run(program().args(["queue", "status"])),
        elsewhere("redis://host", &[]),
        elsewhere("nats://127.0.0.1:9", &[]),
        elsewhere("nats://127.0.0.1:9", &["--creds", &place.text("none")]),
        command(&["queue", "cancel", "none"]),
        command(&["queue", "clean", "--limit", "much"]),
        command(&["queue", "clean", "--older-than=-1"]),
        command(&["submit", "--prompt", "a [cat]", "--output", "out"]),
        command(&["submit", "jobs.toml", "--prompt", "a [cat]"]),
        command(&["submit", "--source", &place.text("none.mp4"), "--model", &place.text("none")]),
        command(&["worker", "--work", &car()]),
        command(&["worker", "--work", &car(), "--device", "cpu,cpu"]),
    ];
    cluster.submit("job", &[]).ok();
    outcomes.extend([
        cluster.submit("job", &["--seed", "7"]),
        command(&["queue", "fetch", "job"]),
        command(&["queue", "fetch", "job", "job"]),
        command(&["queue", "cancel", "job"]).ok(),
        command(&["queue", "cancel", "job"]),
        command(&["queue", "retry", "job"]).ok(),
    ]);
    cluster.work();
    let got = place.text("got");
    outcomes.push(command(&["queue", "retry", "job"]));
    outcomes.push(command(&["queue", "fetch", "-o", &got]).ok());
    fs::write(place.path("got/job/run.json"), "{}").unwrap();
    outcomes.push(command(&["queue", "fetch", "-o", &got]));
    outcomes.push(cluster.submit("a/b", &[]));
    outcomes.push(elsewhere("localhost:4222", &[]));
    fs::remove_dir_all(place.path("queue/files")).unwrap();
    outcomes.push(command(&["queue", "fetch", "-o", &place.text("again")]));
    // A worker that is asked to stop.
    let mut worker = Running::begin(&mut cluster.worker(&[]), place.path("log"));
    // The one before is still listed; names have the process.
    let process = format!("-{}-", worker.child.id());
    let is_it = |row: &Value| row["name"].as_str().unwrap().contains(&process);
    wait_for("this worker", || cluster.rows(&["queue", "status"], "worker").iter().any(is_it));
    worker.send("INT");
    let code = worker.child.wait().unwrap().code().unwrap();
    outcomes.push(Outcome { code, stdout: String::new(), stderr: worker.said() });
    fs::write(place.path("queue/queue.sqlite"), "nothing of that kind".repeat(99)).unwrap();
    outcomes.push(command(&["queue", "list"]));
    outcomes
}

#[test]
fn what_a_server_refuses_is_told() {
    let Some(closed) = Server::start(&["--user", "me", "--pass", "secret"]) else { return };
    let status = |address: &str| run(program().args(["queue", "status", "--queue", address]));
    status(&closed.address()).fails(1, &["does not let this program in"]);
    let address = format!("nats://me:secret@127.0.0.1:{}", closed.port());
    status(&address).ok();
    let wrong = status(&address.replace("secret", "wrong")).fails(1, &["does not let this program in"]);
    assert!(!wrong.stderr.contains("wrong"), "{}", wrong.stderr);
    let mut named = program();
    named.args(["queue", "status", "--queue", &closed.address()]);
    run(named.env("NATS_USER", "me").env("NATS_PASSWORD", "secret")).ok();
    let plain = Server::start_without_jetstream();
    status(&plain.address()).fails(1, &["the server has no JetStream"]);
    // One with little room.
    let place = Place::new();
    let file = place.path("nats.conf");
    fs::write(&file, "jetstream { max_file_store: 1MB }\n").unwrap();
    let small = Server::start(&["--config", &text(&file)]).unwrap();
    let cluster = Cluster::new(small.address());
    let source = cluster.place.path("large.mp4");
    fs::write(&source, vec![7; 3 << 20]).unwrap();
    cluster
        .submit_of("large", &text(&source), &cluster.place.text("none"), &[])
        .fails(1, &["the queue cannot be written to"]);
}

#[test]
fn a_sweep_over_a_queue_is_that_of_one_machine() {
    on_both(|cluster| {
        let place = &cluster.place;
        let settings = place.path("transfer.toml");
        fs::write(&settings, jobs_file(0).replace("[defaults]\n", "prompts.prompt = \"a [panda]\"\n"))
            .unwrap();
        let sweep = |output: &str| {
            let output = place.text(output);
            let mut sweep =
                cluster.command(&["sweep", &text(&settings), "--set", "seed=1,2", "--set", "tau=0.3,0.5"]);
            sweep.args(["-o", &output, "--threads", "1"]);
            sweep
        };
        let worker = Running::begin(&mut cluster.worker(&[]), place.path("log"));
        run(&mut sweep("spread")).ok();
        drop(worker);
        let mut here = program();
        here.args([
            "sweep",
            &text(&settings),
            "--set",
            "seed=1,2",
            "--set",
            "tau=0.3,0.5",
            "-o",
            &place.text("here"),
        ]);
        run(here.args(["--threads", "1"])).ok();
        for name in ["table.md", "grid.png"] {
            let [one, other] =
                ["spread", "here"].map(|folder| fs::read(place.path(folder).join(name)).unwrap());
            assert!(name != "grid.png" || one == other, "{name} differs");
        }
        let cells = place.names("spread/cells");
        assert!(cells == place.names("here/cells") && cells.len() == 4, "{cells:?}");
        for cell in cells {
            for name in ["result.mp4", "run.toml", "asked.toml"] {
                let [one, other] = ["spread", "here"]
                    .map(|folder| fs::read(place.path(folder).join("cells").join(&cell).join(name)));
                assert!(one.unwrap() == other.unwrap(), "{cell}: {name} differs");
            }
        }
        // Where a transfer failed, the others are there, and which it was is told.
        run(&mut cluster.command(&["queue", "clean", "--older-than", "0"])).ok();
        let mut again = sweep("again");
        let again = Running::begin(&mut again, place.path("again.log"));
        wait_for("the jobs", || cluster.jobs().len() == 4);
        let first = cluster.jobs()[0]["id"].as_str().unwrap().to_owned();
        run(&mut cluster.command(&["queue", "cancel", &first])).ok();
        cluster.work();
        let mut again = again;
        assert_eq!(again.child.wait().unwrap().code(), Some(1));
        assert!(again.said().contains("1 of 4 transfers have no result"), "{}", again.said());
        assert_eq!(place.names("again/cells").len(), 3);
    });
}

#[test]
fn a_job_reads_only_what_came_with_it() {
    let cluster = Cluster::folder();
    cluster.submit("other", &[]).ok();
    let other = cluster.place.path("other.mp4");
    fs::copy(car(), &other).unwrap();
    let queue = rusqlite::Connection::open(cluster.place.path("queue/queue.sqlite")).unwrap();
    let changed = queue.execute(
        "UPDATE records SET value = CAST(replace(CAST(value AS TEXT), ?1, ?2) AS BLOB) WHERE key = 'job.other'",
        [car(), text(&other)].map(|path| format!("path = \\\"{path}")),
    );
    assert_eq!(changed.unwrap(), 1);
    drop(queue);
    cluster.work();
    let job = cluster.jobs().pop().unwrap();
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("it did not come with the job"), "{job}");
}

#[test]
fn an_inversion_is_made_once_for_all_workers() {
    on_both(|cluster| {
        let with_cache = |worker: &str| {
            let mut command = cluster.worker(&["--until-empty"]);
            command.env("MOTIONFLOW_CACHE", cluster.place.path(worker)).env_remove("MOTIONFLOW_CACHE_LIMIT");
            run(&mut command).ok()
        };
        cluster.submit("one", &[]).ok();
        assert!(!with_cache("first").stderr.contains("taken from the cache"));
        cluster.submit("two", &["--seed", "5"]).ok();
        let second = with_cache("second");
        assert!(second.stderr.contains("taken from the cache"), "{}", second.stderr);
        cluster.fetch().ok();
        cluster.place.transfer(&["--seed", "5"]).ok();
        same_results(&cluster.place.path("out"), &cluster.place.path("got/two"));
    });
}

#[test]
fn workers_and_who_waits_for_them_can_be_stopped() {
    let cluster = Cluster::folder();
    let flags = ["--device", "cpu,cpu"];
    let mut two = Running::begin(&mut cluster.worker(&flags), cluster.place.path("two"));
    wait_for("two workers", || cluster.rows(&["queue", "status"], "worker").len() == 2);
    two.send("TERM");
    assert_eq!(two.child.wait().unwrap().code(), Some(130), "{}", two.said());
    assert!(two.said().contains("stopped; jobs that were at work are given back"), "{}", two.said());
    cluster.submit("waits", &[]).ok();
    let mut fetch = cluster.command(&["queue", "fetch", "waits", "--wait"]);
    let mut waiting = Running::begin(&mut fetch, cluster.place.path("waiting"));
    std::thread::sleep(Duration::from_secs(1));
    waiting.send("TERM");
    assert_eq!(waiting.child.wait().unwrap().code(), Some(130), "{}", waiting.said());
    assert!(waiting.said().contains("stopped; the jobs go on"), "{}", waiting.said());
}
