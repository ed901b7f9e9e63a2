//! A studio on a free port, and a small client.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// So long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(40);

/// The root of the source tree.
pub(crate) fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A checkpoint of random weights; videos of even sides, 8 pixels or more.
pub(crate) fn tiny_model() -> String {
    tree().join("crates/motionflow/tests/cases/tiny/model").display().to_string()
}

/// The program, its surroundings set so that runs are alike everywhere.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motionflow"));
    command.env("OMP_WAIT_POLICY", "PASSIVE").env_remove("MOTIONFLOW_MODELS");
    command.env("MOTIONFLOW_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-cache"));
    command.env("MOTIONFLOW_CACHE_LIMIT", "0");
    command
}

/// A studio that is stopped when it is dropped.
pub(crate) struct Studio {
    process: Child,
    pub(crate) url: String,
    agent: ureq::Agent,
}

impl Drop for Studio {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The answer as JSON; it must have this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { serde_json::from_slice(&self.bytes).unwrap() }
    }

    /// It must be a problem of this kind; gives its message.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let problem = self.json(status);
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(status.into())),
            "{problem}"
        );
        problem["detail"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Studio {
    /// A studio whose runs are in this folder.
    pub(crate) fn start(runs: &Path) -> Self {
        Self::start_with(runs, &[])
    }

    pub(crate) fn start_with(runs: &Path, flags: &[&str]) -> Self {
        let model = tiny_model();
        Self::of(runs, &[&["--threads", "1", "--model", &model], flags].concat())
    }

    /// A studio of the shipped checkpoint, on all cores.
    pub(crate) fn of_the_demo(runs: &Path) -> Self {
        Self::of(runs, &[])
    }

    fn of(runs: &Path, flags: &[&str]) -> Self {
        let mut command = program();
        command.args(["studio", "--port", "0", "--json", "--device", "cpu"]);
        command.arg("--runs").arg(runs).args(flags);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let url = lines.find_map(|line| line["row"]["url"].as_str().map(str::to_owned)).unwrap();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE));
        Self { process, url: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        let address = self.url.trim_start_matches("http://");
        address.split('/').next().unwrap().to_owned()
    }

    /// Any request.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.host()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.agent.run(request.body(body).unwrap()).unwrap();
        let (parts, body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn with_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_json("POST", path, body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answer {
        self.with_json("PUT", path, body)
    }

    /// Uploads a file; gives the answer.
    pub(crate) fn upload(&self, path: &str, bytes: &[u8]) -> Answer {
        self.send("POST", path, &[("content-type", "application/octet-stream")], bytes)
    }

    /// Puts a job of these settings into the queue.
    #[track_caller]
    pub(crate) fn queue(&self, id: &str, request: &Value) -> Value {
        self.put(&format!("/api/jobs/{id}"), &json!({ "request": request })).json(201)
    }

    pub(crate) fn job(&self, id: &str) -> Value {
        self.get(&format!("/api/jobs/{id}")).json(200)
    }

    /// Waits until a job is so.
    #[track_caller]
    pub(crate) fn wait(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let job = self.job(id);
            if is_so(&job) {
                return job;
            }
            assert!(since.elapsed() < PATIENCE, "{job}");
            thread::sleep(Duration::from_millis(15));
        }
    }

    /// Waits until a job is in this state.
    #[track_caller]
    pub(crate) fn wait_for(&self, id: &str, state: &str) -> Value {
        self.wait(id, |job| job["state"] == state || (job["state"] == "failed" && state == "finished"))
    }

    /// The stream of events from a number on, or from now on.
    pub(crate) fn events(&self, query: &str, last: Option<&str>) -> Events {
        let mut request = self.agent.get(format!("http://{}/api/events{query}", self.host()));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Events(BufReader::new(Box::new(request.call().unwrap().into_body().into_reader())))
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream of events.
pub(crate) struct Events(BufReader<Box<dyn Read + Send>>);

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: 0, name: String::new(), data: Value::Null };
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ").or(line.trim_end().split_once(':')) {
                Some(("id", id)) => event.id = id.parse().unwrap(),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                None if !event.name.is_empty() => return Some(event),
                _ => {}
            }
        }
    }
}

/// A short transfer on the tiny checkpoint.
pub(crate) fn small() -> Value {
    json!({
        "prompts": { "source_prompt": "a [car] on a road", "prompt": "a [panda] in the snow" },
        "source": { "path": "clip:car-arc" },
        "video": { "width": 24, "height": 16, "frames": 3 },
        "settings": { "steps": 3, "guided_steps": 2 },
    })
}

/// The same with other settings.
pub(crate) fn small_with(pointer: &str, value: Value) -> Value {
    let mut request = small();
    let (table, key) = pointer.split_once('.').unwrap();
    request[table][key] = value;
    request
}

/// Asserts that two run folders have the same results, byte for byte.
#[track_caller]
pub(crate) fn same_results(one: &Path, other: &Path) {
    for name in
        ["result.mp4", "result.gif", "compare.mp4", "masks.mp4", "contact-sheet.png", "loss.svg", "run.toml"]
    {
        let [one, other] = [one, other].map(|folder| fs::read(folder.join(name)).unwrap());
        assert!(one == other, "{name} differs");
    }
}

/// Adds the address of a segment.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| {
        if byte.is_ascii_alphanumeric() {
            all + &char::from(byte).to_string()
        } else {
            all + &format!("%{byte:02X}")
        }
    })
}
