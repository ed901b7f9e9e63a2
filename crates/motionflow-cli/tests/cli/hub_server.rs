//! A model hub of one repository on loopback, with a store for its large files on another port, as the real one has.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::common::{Place, program, tiny_model};

/// What `main` stands for.
pub(crate) const MAIN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// What the tag `v1` stands for.
pub(crate) const TAGGED: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

pub(crate) const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Whether it came to the store rather than to the hub.
    pub(crate) at_store: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
}

/// How often the connection breaks off in the middle of the UNet's weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cut {
    Never,
    Once,
    Always,
}

/// What the hub holds, and how it behaves.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub(crate) id: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The authorization without which nothing is given out.
    pub(crate) token: Option<String>,
    pub(crate) cut: Cut,
    /// Send whole files, whatever range is requested.
    pub(crate) ignores_ranges: bool,
    /// Send the UNet's weights with a wrong byte.
    pub(crate) corrupt: bool,
    /// Announce the UNet's weights with this size.
    pub(crate) announced: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Hub {
    endpoint: String,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hub {
    /// Serves the tiny checkpoint as this repository, beside files that nobody needs.
    pub(crate) fn serving(id: &str) -> Self {
        Self::serving_folder(id, Path::new(&tiny_model()))
    }

    /// Serves what lies in a folder as this repository, beside files that nobody needs.
    pub(crate) fn serving_folder(id: &str, folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(folder, "", &mut files);
        for other in ["README.md", ".gitattributes", "zs2/text2video_pytorch_model.pth"] {
            files.insert(other.to_owned(), b"not needed".to_vec());
        }
        let behaviour = Behaviour {
            id: id.to_owned(),
            files,
            token: None,
            cut: Cut::Never,
            ignores_ranges: false,
            corrupt: false,
            announced: None,
        };
        let behaviour = Arc::new(Mutex::new(behaviour));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let [hub, store] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [endpoint, store_url] =
            [&hub, &store].map(|listener| format!("http://{}", listener.local_addr().unwrap()));
        for (listener, at_store) in [(hub, false), (store, true)] {
            let (behaviour, requests, store_url) = (behaviour.clone(), requests.clone(), store_url.clone());
            std::thread::spawn(move || {
                for connection in listener.incoming().flatten() {
                    let (behaviour, requests, store) =
                        (behaviour.clone(), requests.clone(), store_url.clone());
                    std::thread::spawn(move || answer(&connection, at_store, &store, &behaviour, &requests));
                }
            });
        }
        Self { endpoint, behaviour, requests }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// The program with this hub and a home in the place.
    pub(crate) fn program(&self, place: &Place, arguments: &[&str]) -> Command {
        let mut command = program_with_hub(&self.endpoint, place);
        command.args(arguments);
        command
    }
}

/// The program with a hub at this address, a home in the place, and nothing of the machine's own.
pub(crate) fn program_with_hub(endpoint: &str, place: &Place) -> Command {
    let mut command = program();
    for variable in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
    ] {
        command.env_remove(variable);
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hf")).env("NO_PROXY", "*");
    command
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Weights are large files.
fn is_large(name: &str) -> bool {
    name.contains("model.")
}

/// A head without a body.
fn head(status: &str, headers: &[(&str, String)]) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let mut lines: Vec<String> = lines.collect();
    lines.insert(0, format!("HTTP/1.1 {status}\r\nConnection: close"));
    lines.join("\r\n") + "\r\n"
}

fn answer(
    connection: &TcpStream,
    at_store: bool,
    store: &str,
    behaviour: &Mutex<Behaviour>,
    requests: &Mutex<Vec<Request>>,
) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let fields: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let field = |name: &str| {
        let named = fields.iter().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        named.map(|line| line[name.len() + 1..].trim().to_owned())
    };
    let mut words = first.split(' ').map(str::to_owned);
    let request = Request {
        at_store,
        method: words.next().unwrap(),
        path: words.next().unwrap(),
        range: field("range"),
        token: field("authorization"),
    };
    requests.lock().unwrap().push(request.clone());
    let mut state = behaviour.lock().unwrap();
    let seen = state.clone();
    if request.path.ends_with(UNET) && at_store && state.cut == Cut::Once {
        state.cut = Cut::Never;
    }
    drop(state);
    let (head, body) = response(&request, store, &seen);
    let mut out = connection;
    let _ = out.write_all(head.as_bytes());
    let _ = out.write_all(&body);
    let _ = connection.shutdown(std::net::Shutdown::Write);
}

/// The head and as much of a body as is really sent.
fn response(request: &Request, store: &str, hub: &Behaviour) -> (String, Vec<u8>) {
    let empty = |head: String| (format!("{head}Content-Length: 0\r\n\r\n"), Vec::new());
    let error = |status, code: &str| empty(head(status, &[("X-Error-Code", code.to_owned())]));
    if let Some(name) = request.path.strip_prefix("/cdn/") {
        return bytes_of(request, hub, name);
    }
    if hub.token.is_some() && request.token != hub.token {
        return error("401 Unauthorized", "RepoNotFound");
    }
    let (api, files) = (format!("/api/models/{}/revision/", hub.id), format!("/{}/resolve/", hub.id));
    if let Some(revision) = request.path.strip_prefix(&api) {
        let commit = match revision {
            "main" | MAIN => MAIN,
            "v1" => TAGGED,
            _ => return error("404 Not Found", "RevisionNotFound"),
        };
        let siblings: Vec<_> = hub.files.keys().map(|name| json!({"rfilename": name})).collect();
        let body = json!({"sha": commit, "siblings": siblings, "private": false}).to_string();
        return (format!("{}Content-Length: {}\r\n\r\n", head("200 OK", &[]), body.len()), body.into());
    }
    if let Some(name) = request.path.strip_prefix("/api/resolve-cache/") {
        return bytes_of(request, hub, name);
    }
    let Some((commit, name)) = request.path.strip_prefix(&files).and_then(|path| path.split_once('/')) else {
        return error("404 Not Found", "RepoNotFound");
    };
    let Some(bytes) = hub.files.get(name) else { return error("404 Not Found", "EntryNotFound") };
    let commit = ("X-Repo-Commit", commit.to_owned());
    if is_large(name) {
        let size = hub.announced.filter(|_| name == UNET).unwrap_or(bytes.len() as u64);
        let etag = ("X-Linked-Etag", format!("\"{}\"", sha256(bytes)));
        let location = ("Location", format!("{store}/cdn/{name}"));
        empty(head("302 Found", &[commit, etag, ("X-Linked-Size", size.to_string()), location]))
    } else {
        let location = ("Location", format!("/api/resolve-cache/{name}"));
        empty(head("307 Temporary Redirect", &[commit, location]))
    }
}

fn bytes_of(request: &Request, hub: &Behaviour, name: &str) -> (String, Vec<u8>) {
    let mut bytes = hub.files[name].clone();
    let etag = ("ETag", format!("\"{}\"", &sha256(&bytes)[..40]));
    if hub.corrupt && name == UNET {
        *bytes.last_mut().unwrap() ^= 1;
    }
    let total = bytes.len();
    let from = request.range.as_ref().filter(|_| !hub.ignores_ranges);
    let from = from.map(|range| range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap());
    let mut body = bytes.split_off(from.unwrap_or(0));
    let length = ("Content-Length", body.len().to_string());
    let head = match from {
        Some(from) => {
            let range = ("Content-Range", format!("bytes {from}-{}/{total}", total - 1));
            head("206 Partial Content", &[etag, length, range])
        }
        None => head("200 OK", &[etag, length]),
    };
    if request.method == "HEAD" {
        body.clear();
    } else if name == UNET && hub.cut != Cut::Never {
        body.truncate(if from.is_some() { 0 } else { total / 2 });
    }
    (format!("{head}\r\n"), body)
}
