//! Requests that mean harm, or nothing: each is refused, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::server::{Studio, small, small_with, tree};

type Headers<'a> = &'a [(&'a str, &'a str)];
const JSON: (&str, &str) = ("content-type", "application/json");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

/// Every file below a folder with its size, but for what SQLite keeps beside its file.
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

fn job(request: &Value) -> String {
    json!({ "request": request }).to_string()
}

#[test]
fn hostile_requests_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    fs::write(folder.path().join("secret.mp4"), fs::read(tree().join("assets/clips/car-arc.mp4")).unwrap())
        .unwrap();
    let studio = Studio::start_with(&runs, &["--max-upload", "1"]);
    fs::create_dir_all(runs.join("kept/masks")).unwrap();
    fs::write(runs.join("kept/run.toml"), "[prompts]\nprompt = \"<script>alert(1)</script>\"\n").unwrap();
    std::os::unix::fs::symlink(folder.path(), runs.join("kept/out")).unwrap();
    std::os::unix::fs::symlink(folder.path(), runs.join("out")).unwrap();
    let before = || {
        let mut all = BTreeMap::new();
        files(&runs.join(".studio"), &mut all);
        (all, studio.get("/api/jobs").json(200)["jobs"].clone(), studio.get("/api/runs").json(200))
    };
    let was = before();

    let host = studio.host();
    let port = host.rsplit(':').next().unwrap().to_owned();
    let evil = format!("evil.example:{port}");
    let evil = [("host", evil.as_str())];
    let long = format!("/api/jobs/{}", "x".repeat(70));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let absolute = job(&small_with("source.path", "/etc/passwd".into()));
    let file = job(&small_with("source.path", "run:../secret.mp4".into()));
    let linked = job(&small_with("source.path", "run:out/secret.mp4".into()));
    let model = job(&small_with("prompts.prompt", "x".into())
        .as_object()
        .map(|all| {
            let mut all = all.clone();
            all.insert("model".into(), json!({ "name": folder.path().display().to_string() }));
            Value::Object(all)
        })
        .unwrap());
    let mut elsewhere = small();
    elsewhere["output"] = json!({ "folder": "/tmp/elsewhere" });
    let elsewhere = job(&elsewhere);
    let named = json!({ "request": small(), "name": "../elsewhere" }).to_string();
    let hidden = json!({ "request": small(), "name": ".studio" }).to_string();
    let kept = json!({ "request": small(), "name": "kept" }).to_string();
    let subjects = job(&small_with("prompts.prompt", "no subject".into()));
    let absurd = job(&small_with("video.width", 1_000_000.into()));
    let good = job(&small());
    let unknown = json!({ "request": small(), "shell": "rm -rf" }).to_string();
    let png = json!({ "name": "x", "frames": ["aGVsbG8="] }).to_string();
    let tracks =
        "{\"name\":\"x\",\"track\":{\"keys\":[{\"frame\":0,\"x\":1e999,\"y\":0,\"width\":1,\"height\":1}]}}";
    let large = vec![0_u8; (1 << 20) + 1];

    let table: Vec<(&str, &str, Headers, &[u8], u16, &str)> = vec![
        // Who asks.
        ("GET", "/api/health", &evil, b"", 403, "host"),
        ("GET", "/", &[("host", "127.0.0.1:1")], b"", 403, "host"),
        ("PUT", "/api/jobs/x", &[JSON, ("origin", "http://evil.example")], good.as_bytes(), 403, "origin"),
        ("PUT", "/api/jobs/x", &[JSON, ("origin", "null")], good.as_bytes(), 403, "origin"),
        ("POST", "/api/queue/pause", &[JSON, ("sec-fetch-site", "cross-site")], b"{}", 403, "origin"),
        // How it is sent: what a form of another site could send is refused, too.
        ("PUT", "/api/jobs/x", &[], good.as_bytes(), 415, "content_type"),
        ("PUT", "/api/jobs/x", &[("content-type", "text/plain")], good.as_bytes(), 415, "content_type"),
        (
            "POST",
            "/api/queue/pause",
            &[("content-type", "application/x-www-form-urlencoded")],
            b"a=b",
            415,
            "content_type",
        ),
        (
            "POST",
            "/api/uploads?kind=clip&name=a.mp4",
            &[("content-type", "multipart/form-data")],
            b"x",
            415,
            "content_type",
        ),
        ("PATCH", "/api/jobs/x", &[JSON], good.as_bytes(), 405, "method"),
        ("DELETE", "/api/jobs", &[], b"", 405, "method"),
        ("GET", "/api/nothing", &[], b"", 404, "not_found"),
        // What is sent.
        ("PUT", "/api/jobs/x", &[JSON], b"{", 400, "malformed"),
        ("PUT", "/api/jobs/x", &[JSON], b"", 400, "malformed"),
        ("PUT", "/api/jobs/x", &[JSON], deep.as_bytes(), 400, "malformed"),
        ("PUT", "/api/jobs/x", &[JSON], b"{\"request\":[]}", 400, "malformed"),
        ("PUT", "/api/jobs/x", &[JSON], unknown.as_bytes(), 400, "malformed"),
        ("PUT", "/api/jobs/x", &[JSON], subjects.as_bytes(), 422, "misuse"),
        ("PUT", "/api/jobs/x", &[JSON], absurd.as_bytes(), 422, "misuse"),
        ("PUT", "/api/jobs/x%2F..%2Fy", &[JSON], good.as_bytes(), 400, "malformed"),
        ("PUT", &long, &[JSON], good.as_bytes(), 400, "malformed"),
        ("GET", "/api/jobs?state=all", &[], b"", 400, "malformed"),
        ("GET", "/api/jobs?evil=1", &[], b"", 400, "malformed"),
        ("GET", "/api/events?after=x", &[], b"", 400, "malformed"),
        // Where it leads.
        ("PUT", "/api/jobs/x", &[JSON], absolute.as_bytes(), 422, "missing"),
        ("PUT", "/api/jobs/x", &[JSON], file.as_bytes(), 422, "missing"),
        ("PUT", "/api/jobs/x", &[JSON], linked.as_bytes(), 422, "missing"),
        ("PUT", "/api/jobs/x", &[JSON], model.as_bytes(), 422, "missing"),
        ("PUT", "/api/jobs/x", &[JSON], elsewhere.as_bytes(), 422, "misuse"),
        ("PUT", "/api/jobs/x", &[JSON], named.as_bytes(), 422, "misuse"),
        ("PUT", "/api/jobs/x", &[JSON], hidden.as_bytes(), 422, "misuse"),
        ("PUT", "/api/jobs/x", &[JSON], kept.as_bytes(), 409, "exists"),
        ("GET", "/api/runs/..%2F", &[], b"", 404, "not_found"),
        ("GET", "/api/runs/.studio/files/queue.sqlite", &[], b"", 404, "not_found"),
        ("GET", "/api/runs/kept/files/..%2F..%2Fsecret.mp4", &[], b"", 404, "not_found"),
        ("GET", "/api/runs/kept/files/%2Fetc%2Fpasswd", &[], b"", 404, "not_found"),
        ("GET", "/api/runs/kept/files/out/secret.mp4", &[], b"", 404, "not_found"),
        ("GET", "/api/runs/out/files/secret.mp4", &[], b"", 404, "not_found"),
        ("GET", "/api/clips/run%3Aout%2Fsecret.mp4", &[], b"", 404, "not_found"),
        ("GET", "/api/clips/%2Fetc%2Fpasswd/file", &[], b"", 404, "not_found"),
        ("DELETE", "/api/runs/out", &[], b"", 404, "not_found"),
        ("DELETE", "/api/runs/.studio", &[], b"", 404, "not_found"),
        ("DELETE", "/api/runs/kept%2Fmasks", &[], b"", 404, "not_found"),
        ("DELETE", "/api/uploads/..", &[], b"", 404, "not_found"),
        ("DELETE", "/api/uploads/..%2F..%2Fkept", &[], b"", 404, "not_found"),
        ("DELETE", "/api/presets/..%2Fqueue", &[], b"", 422, "misuse"),
        (
            "PUT",
            "/api/comparisons/a%2Fb",
            &[JSON],
            b"{\"title\":\"x\",\"a\":{\"label\":\"a\"},\"b\":{\"label\":\"b\"}}",
            400,
            "malformed",
        ),
        // Files.
        ("POST", "/api/uploads?kind=clip&name=a.mp4", &[BYTES], b"this is no film", 422, "unreadable"),
        ("POST", "/api/uploads?kind=clip&name=a.mp4", &[BYTES], b"", 422, "unreadable"),
        (
            "POST",
            "/api/uploads?kind=clip&name=a.m3u8",
            &[BYTES],
            b"#EXTM3U\nhttp://169.254.169.254/x",
            422,
            "unreadable",
        ),
        ("POST", "/api/uploads?kind=track&name=a.json", &[BYTES], b"{}", 400, "malformed"),
        ("POST", "/api/uploads?kind=clip&name=a.mp4", &[BYTES], &large, 413, "too_large"),
        ("POST", "/api/masks", &[JSON], png.as_bytes(), 422, "unreadable"),
        ("POST", "/api/tracks", &[JSON], tracks.as_bytes(), 400, "malformed"),
        ("POST", "/api/settings/read?name=a.toml", &[BYTES], b"[program]\nshell = 1", 422, "unreadable"),
        ("POST", "/api/settings/read?name=a.mp4", &[BYTES], b"x", 422, "unreadable"),
        (
            "POST",
            "/api/queue/import",
            &[("content-type", "application/toml")],
            b"[[job]]\nname = \"a\"\n[job.source]\npath = \"/etc/passwd\"",
            422,
            "missing",
        ),
        ("POST", "/api/queue/import", &[("content-type", "application/toml")], b"x = 1", 422, "misuse"),
    ];
    for (method, path, headers, body, status, code) in table {
        let answer = studio.send(method, path, headers, body);
        assert_eq!(
            answer.status,
            status,
            "{method} {path} {headers:?}: {}",
            String::from_utf8_lossy(&answer.bytes)
        );
        let told = answer.problem(status, code);
        // No path of the machine but one that was said.
        let place = folder.path().display().to_string();
        assert!(String::from_utf8_lossy(body).contains(&place) || !told.contains(&place), "{told}");
    }
    assert_eq!(was, before());

    // A prompt is text, never HTML: it leaves as JSON alone, and nothing is sniffed.
    let shown = studio.get("/api/runs/kept");
    assert_eq!(
        (shown.header("content-type"), shown.header("x-content-type-options")),
        ("application/json", "nosniff")
    );
    let page = studio.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    // An upload that is larger than it says, and one whose sender goes away, leave nothing.
    assert!(fs::read_dir(runs.join(".studio/incoming")).unwrap().next().is_none());
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
