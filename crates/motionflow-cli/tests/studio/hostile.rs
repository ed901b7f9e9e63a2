//! Requests that mean harm, or nothing: each is refused, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Studio, small, small_with, tree};

const JSON: (&str, &str) = ("content-type", "application/json");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");
const TOML: (&str, &str) = ("content-type", "application/toml");

/// A request, and how it is refused.
struct Row {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn row(
    (method, path): (&'static str, &str),
    headers: &[(&'static str, &str)],
    body: impl AsRef<[u8]>,
    (status, code): (u16, &'static str),
) -> Row {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Row { method, path: path.to_owned(), headers, body: body.as_ref().to_vec(), status, code }
}

/// A job of this request, put under an id that is free.
fn put(request: &Value, refusal: (u16, &'static str)) -> Row {
    row(("PUT", "/api/jobs/x"), &[JSON], json!({ "request": request }).to_string(), refusal)
}

/// A job under a name.
fn named(name: &str, refusal: (u16, &'static str)) -> Row {
    let body = json!({ "request": small(), "name": name }).to_string();
    row(("PUT", "/api/jobs/x"), &[JSON], body, refusal)
}

/// Who asks.
fn strangers(host: &str) -> Vec<Row> {
    let good = json!({ "request": small() }).to_string();
    let evil = format!("evil.example:{}", host.rsplit(':').next().unwrap());
    let of = |origin: &str| row(("PUT", "/api/jobs/x"), &[JSON, ("origin", origin)], &good, (403, "origin"));
    let cross = ("sec-fetch-site", "cross-site");
    vec![
        row(("GET", "/api/health"), &[("host", &evil)], "", (403, "host")),
        row(("GET", "/"), &[("host", "127.0.0.1:1")], "", (403, "host")),
        of("http://evil.example"),
        of("null"),
        row(("POST", "/api/queue/pause"), &[JSON, cross], "{}", (403, "origin")),
    ]
}

/// How it is sent: what a form of another site could send is refused, too.
fn ways() -> Vec<Row> {
    let good = json!({ "request": small() }).to_string();
    let of =
        |kind: &str| row(("PUT", "/api/jobs/x"), &[("content-type", kind)], &good, (415, "content_type"));
    let upload = "/api/uploads?kind=clip&name=a.mp4";
    vec![
        row(("PUT", "/api/jobs/x"), &[], &good, (415, "content_type")),
        of("text/plain"),
        of("application/x-www-form-urlencoded"),
        row(("POST", upload), &[("content-type", "multipart/form-data")], "x", (415, "content_type")),
        row(("PATCH", "/api/jobs/x"), &[JSON], &good, (405, "method")),
        row(("DELETE", "/api/jobs"), &[], "", (405, "method")),
        row(("GET", "/api/nothing"), &[], "", (404, "not_found")),
        row(("GET", "/api/jobs?state=all"), &[], "", (400, "malformed")),
        row(("GET", "/api/jobs?evil=1"), &[], "", (400, "malformed")),
        row(("GET", "/api/events?after=x"), &[], "", (400, "malformed")),
    ]
}

/// What is sent.
fn contents() -> Vec<Row> {
    let malformed = |body: &str| row(("PUT", "/api/jobs/x"), &[JSON], body, (400, "malformed"));
    let under = |path: &str| {
        let body = json!({ "request": small() }).to_string();
        row(("PUT", path), &[JSON], body, (400, "malformed"))
    };
    let mut elsewhere = small();
    elsewhere["output"] = json!({ "folder": "/tmp/elsewhere" });
    let comparison = r#"{"title":"x","a":{"label":"a"},"b":{"label":"b"}}"#;
    vec![
        malformed("{"),
        malformed(""),
        malformed(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        malformed(r#"{"request":[]}"#),
        malformed(&json!({ "request": small(), "shell": "rm -rf" }).to_string()),
        under("/api/jobs/x%2F..%2Fy"),
        under(&format!("/api/jobs/{}", "x".repeat(70))),
        put(&small_with("prompts.prompt", "no subject".into()), (422, "misuse")),
        put(&small_with("video.width", 1_000_000.into()), (422, "misuse")),
        put(&elsewhere, (422, "misuse")),
        row(("PUT", "/api/comparisons/a%2Fb"), &[JSON], comparison, (400, "malformed")),
        row(("POST", "/api/queue/import"), &[TOML], "x = 1", (422, "misuse")),
    ]
}

/// Where it leads. In the runs folder are `kept`, and links out of it.
fn places(outside: &Path) -> Vec<Row> {
    let missing = |path: &str| put(&small_with("source.path", path.into()), (422, "missing"));
    let mut model = small();
    model["model"] = json!({ "name": outside });
    let get = |path: &str| row(("GET", path), &[], "", (404, "not_found"));
    let delete = |path: &str| row(("DELETE", path), &[], "", (404, "not_found"));
    let import = "[[job]]\nname = \"a\"\n[job.source]\npath = \"/etc/passwd\"";
    vec![
        missing("/etc/passwd"),
        missing("run:../secret.mp4"),
        missing("run:out/secret.mp4"),
        put(&model, (422, "missing")),
        named("../elsewhere", (422, "misuse")),
        named(".studio", (422, "misuse")),
        named("kept", (409, "exists")),
        get("/api/runs/..%2F"),
        get("/api/runs/.studio/files/queue.sqlite"),
        get("/api/runs/kept/files/..%2F..%2Fsecret.mp4"),
        get("/api/runs/kept/files/%2Fetc%2Fpasswd"),
        get("/api/runs/kept/files/out/secret.mp4"),
        get("/api/runs/out/files/secret.mp4"),
        get("/api/clips/run%3Aout%2Fsecret.mp4"),
        get("/api/clips/%2Fetc%2Fpasswd/file"),
        delete("/api/runs/out"),
        delete("/api/runs/.studio"),
        delete("/api/runs/kept%2Fmasks"),
        delete("/api/uploads/.."),
        delete("/api/uploads/..%2F..%2Fkept"),
        row(("DELETE", "/api/presets/..%2Fqueue"), &[], "", (422, "misuse")),
        row(("POST", "/api/queue/import"), &[TOML], import, (422, "missing")),
    ]
}

/// Files that are none. Uploads may have 1 MiB.
fn broken_files() -> Vec<Row> {
    let upload = |kind: &str, name: &str, body: &[u8], refusal: (u16, &'static str)| {
        row(("POST", &format!("/api/uploads?kind={kind}&name={name}")), &[BYTES], body, refusal)
    };
    let settings = |name: &str, body: &str| {
        row(("POST", &format!("/api/settings/read?name={name}")), &[BYTES], body, (422, "unreadable"))
    };
    let unreadable = (422, "unreadable");
    let png = r#"{"name":"x","frames":["aGVsbG8="]}"#;
    let endless = r#"{"name":"x","track":{"keys":[{"frame":0,"x":1e999,"y":0,"width":1,"height":1}]}}"#;
    vec![
        upload("clip", "a.mp4", b"this is no film", unreadable),
        upload("clip", "a.mp4", b"", unreadable),
        upload("clip", "a.m3u8", b"#EXTM3U\nhttp://169.254.169.254/x", unreadable),
        upload("track", "a.json", b"{}", (400, "malformed")),
        upload("clip", "a.mp4", &vec![0; (1 << 20) + 1], (413, "too_large")),
        row(("POST", "/api/masks"), &[JSON], png, unreadable),
        row(("POST", "/api/tracks"), &[JSON], endless, (400, "malformed")),
        settings("a.toml", "[program]\nshell = 1"),
        settings("a.mp4", "x"),
    ]
}

/// Every file below a folder with its size, but for what the queue's file has beside it.
fn files(folder: &Path, all: &mut BTreeMap<String, u64>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, all);
        } else if !path.display().to_string().contains("queue.sqlite") {
            all.insert(path.display().to_string(), entry.metadata().unwrap().len());
        }
    }
}

#[test]
fn hostile_requests_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    fs::copy(tree().join("assets/clips/car-arc.mp4"), folder.path().join("secret.mp4")).unwrap();
    let studio = Studio::start_with(&runs, &["--max-upload", "1"]);
    fs::create_dir_all(runs.join("kept/masks")).unwrap();
    fs::write(runs.join("kept/run.toml"), "[prompts]\nprompt = \"<script>alert(1)</script>\"\n").unwrap();
    std::os::unix::fs::symlink(folder.path(), runs.join("kept/out")).unwrap();
    std::os::unix::fs::symlink(folder.path(), runs.join("out")).unwrap();
    let state = || {
        let mut all = BTreeMap::new();
        files(&runs.join(".studio"), &mut all);
        (all, studio.get("/api/jobs").json(200)["jobs"].clone(), studio.get("/api/runs").json(200))
    };
    let before = state();
    let place = folder.path().display().to_string();
    let tables = [strangers(&studio.host()), ways(), contents(), places(folder.path()), broken_files()];
    for Row { method, path, headers, body, status, code } in tables.into_iter().flatten() {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = studio.send(method, &path, &headers, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.bytes));
        let told = answer.problem(status, code);
        // No path of the machine but one that was said.
        assert!(String::from_utf8_lossy(&body).contains(&place) || !told.contains(&place), "{told}");
    }
    assert_eq!(before, state());

    // A prompt is text, never HTML: it leaves as JSON alone, and nothing is sniffed.
    let shown = studio.get("/api/runs/kept");
    let sniffed = shown.header("x-content-type-options");
    assert_eq!((shown.header("content-type"), sniffed), ("application/json", "nosniff"));
    let page = studio.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn beyond_this_machine_a_token_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start_with(folder.path(), &["--host", "0.0.0.0"]);
    let token = studio.url.rsplit("token=").next().unwrap().to_owned();
    assert_eq!(token.len(), 32);
    for headers in [&[][..], &[("authorization", "Bearer 0123")], &[("cookie", "motionflow_token=x")]] {
        studio.send("GET", "/api/health", headers, b"").problem(401, "token");
        studio.send("GET", "/", headers, b"").problem(401, "token");
    }
    studio.send("GET", "/?token=x", &[], b"").problem(401, "token");
    let bearer = format!("Bearer {token}");
    assert_eq!(studio.send("GET", "/api/health", &[("authorization", &bearer)], b"").status, 200);
    let entered = studio.get(&format!("/?token={token}"));
    assert_eq!((entered.status, entered.header("location")), (303, "/"));
    let cookie = entered.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(studio.send("GET", "/", &[("cookie", cookie)], b"").status, 200);
    studio
        .send("GET", "/api/health", &[("cookie", cookie), ("host", "evil.example")], b"")
        .problem(403, "host");
}

#[test]
fn a_request_that_never_ends_its_head_is_let_go() {
    let runs = tempfile::tempdir().unwrap();
    let studio = Studio::start(runs.path());
    let mut stream = TcpStream::connect(studio.host()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET /api/health HTTP/1.1\r\nhost: ").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    studio.get("/api/health").json(200);
}
