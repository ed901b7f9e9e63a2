//! A nats-server for a test, on a port and with a folder of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server. It ends with this.
pub(crate) struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

/// Whether tests with a server can run here. Where `MOTIONFLOW_NATS` says so, they must.
#[allow(clippy::print_stderr, reason = "why a test is skipped")]
pub(crate) fn is_here() -> bool {
    let found = Command::new("nats-server").arg("--version").output().is_ok();
    assert!(found || std::env::var_os("MOTIONFLOW_NATS").is_none(), "nats-server is not installed");
    if !found {
        eprintln!("skipped: nats-server is not installed (Debian: apt-get install nats-server)");
    }
    found
}

impl Server {
    /// Starts one, with these options besides; none where it is not installed.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        if !is_here() {
            return None;
        }
        let options = [&["--jetstream"], options].concat();
        Some(Self::launched(&options))
    }

    /// Starts one that keeps nothing.
    pub(crate) fn start_without_jetstream() -> Self {
        Self::launched(&[])
    }

    fn launched(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let child = launch(folder.path(), -1, &options);
        let port = port(folder.path(), &child);
        Self { child, port, folder, options }
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many messages a stream of it has. None where it does not answer: a server 2.9 may be long about it.
    pub(crate) fn messages(&self, stream: &str) -> Option<u64> {
        use std::io::{Read, Write};
        let ports =
            std::fs::read_to_string(self.folder.path().join(format!("nats-server_{}.ports", self.id())));
        let port = after(&ports.unwrap(), "http://127.0.0.1:").unwrap();
        let mut monitor = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        monitor.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        monitor.write_all(b"GET /jsz?streams=1 HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        monitor.read_to_string(&mut text).ok()?;
        let own = text.split(&format!("\"name\": \"{stream}\"")).nth(1).unwrap();
        let digits = own.split("\"messages\": ").nth(1).unwrap().split(',').next().unwrap();
        Some(digits.parse().unwrap())
    }

    /// Ends it by force.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, on the same port and with what it has kept.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(self.folder.path(), i32::from(self.port), &self.options);
        wait_for("the server", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(folder: &Path, port: i32, options: &[String]) -> Child {
    Command::new("nats-server")
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .arg("--ports_file_dir")
        .arg(folder)
        .args(["--http_port", "-1", "--store_dir"])
        .arg(folder.join("store"))
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn port(folder: &Path, child: &Child) -> u16 {
    let file = folder.join(format!("nats-server_{}.ports", child.id()));
    let mut port = None;
    wait_for("the server's port", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        port = after(&text, "://127.0.0.1:");
        port.is_some()
    });
    port.unwrap()
}

/// The number behind a text.
fn after(text: &str, what: &str) -> Option<u16> {
    let rest = text.split(what).nth(1)?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(120), "{what}: never");
        std::thread::sleep(Duration::from_millis(20));
    }
}
