//! The gallery: run folders over HTTP.

use std::fs;

use serde_json::json;

use crate::server::{Studio, segment, small, tree};

#[test]
fn a_run_is_listed_shown_measured_restored_downloaded_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    studio.queue("a", &small());
    assert_eq!(studio.wait_for("a", "finished")["state"], "finished");
    let runs = studio.get("/api/runs").json(200);
    let run = &runs["runs"][0];
    assert_eq!(
        (run["name"].as_str(), run["job"].as_str(), run["command"].as_str()),
        (Some("a-panda-in-the-snow"), Some("a"), Some("transfer"))
    );
    let address = "/api/runs/a-panda-in-the-snow";
    let run = studio.get(address).json(200);
    assert_eq!(
        (run["record"]["settings"]["steps"].as_u64(), run["state"].as_str()),
        (Some(3), Some("finished"))
    );
    assert!(run["history"]["steps"].as_array().is_some_and(|steps| !steps.is_empty()));
    assert!(run["files"].as_array().unwrap().contains(&json!("masks/car/0001.png")));

    let whole = studio.get(&format!("{address}/files/result.mp4"));
    assert_eq!((whole.status, whole.header("content-type")), (200, "video/mp4"));
    assert!(whole.header("content-security-policy").contains("sandbox"));
    assert_eq!(whole.bytes, fs::read(folder.path().join("a-panda-in-the-snow/result.mp4")).unwrap());
    let part = studio.send("GET", &format!("{address}/files/result.mp4"), &[("range", "bytes=0-9")], b"");
    assert_eq!((part.status, part.bytes.as_slice()), (206, &whole.bytes[..10]));
    for what in ["source", "mask", "result"] {
        let frames = studio.get(&format!("{address}/frames/{what}")).json(200);
        assert_eq!(frames["frames"], 3, "{what}");
        assert_eq!(studio.get(frames["sheet"].as_str().unwrap()).header("content-type"), "image/jpeg");
    }
    let figures = studio.get(&format!("{address}/figures"));
    // A result of random weights may have no point that can be followed; then no figure is there, and that is said.
    match figures.status {
        200 => assert!(!figures.json(200)["figures"].as_array().unwrap().is_empty()),
        _ => assert!(figures.problem(500, "failed").contains("no figure could be measured")),
    }

    // "Use these settings", and a result that is dropped on the page.
    let restored = studio.get(&format!("{address}/request")).json(200);
    assert_eq!(
        (restored["request"]["source"]["path"].as_str(), &restored["missing"]),
        (Some("clip:car-arc"), &json!([]))
    );
    let dropped = studio.upload("/api/settings/read?name=result.mp4", &whole.bytes).json(200);
    assert_eq!(dropped, restored, "the run is here, and knows its paths");
    // One whose run is not here names a file, which is known by its content.
    let record = fs::read_to_string(folder.path().join("a-panda-in-the-snow/run.toml")).unwrap();
    let clip = tree().join("assets/clips/car-arc.mp4").canonicalize().unwrap();
    assert!(record.contains(clip.to_str().unwrap()));
    let elsewhere = record.replace(clip.to_str().unwrap(), "my-car.mp4");
    let dropped = studio.upload("/api/settings/read?name=run.toml", elsewhere.as_bytes()).json(200);
    assert_eq!(dropped, restored);
    let again = studio.put("/api/jobs/again", &json!({ "request": restored["request"] })).json(201);
    assert_eq!(studio.wait_for("again", "finished")["state"], "finished");
    let other = folder.path().join(again["name"].as_str().unwrap()).join("result.gif");
    assert!(
        fs::read(other).unwrap() == fs::read(folder.path().join("a-panda-in-the-snow/result.gif")).unwrap()
    );

    let zip = studio.get(&format!("{address}/zip"));
    assert_eq!(zip.header("content-type"), "application/zip");
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip.bytes)).unwrap();
    assert!(zip.by_name("a-panda-in-the-snow/run.toml").is_ok());
    assert_eq!(studio.send("DELETE", address, &[], b"").status, 204);
    assert!(!folder.path().join("a-panda-in-the-snow").exists());
    studio.get(address).problem(404, "not_found");
}

#[test]
fn reports_are_tables_of_their_transfers() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("ablation");
    fs::create_dir_all(&report).unwrap();
    for name in ["results.json", "report.html"] {
        fs::copy(tree().join("experiments/ablation/report").join(name), report.join(name)).unwrap();
    }
    let studio = Studio::start(folder.path());
    let reports = studio.get("/api/reports").json(200);
    assert_eq!(
        (reports["reports"][0]["name"].as_str(), reports["reports"][0]["kind"].as_str()),
        (Some("ablation"), Some("suite"))
    );
    let report = studio.get("/api/reports/ablation").json(200);
    let row = &report["rows"][0];
    assert!(row["values"]["mask_iou"].as_f64().is_some() && row["run"].is_null(), "{row}");
    assert!(report["columns"].as_array().unwrap().contains(&json!("mask_iou")));
    let html = studio.get(report["html"].as_str().unwrap());
    assert_eq!((html.status, html.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(html.header("content-security-policy").starts_with("sandbox; default-src 'none'"));
    let disk = studio.get("/api/disk").json(200);
    assert!(disk["runs_bytes"].as_u64() > Some(1000) && disk["free_bytes"].as_u64() > Some(0), "{disk}");
    assert_eq!(studio.get(&format!("/api/runs/{}/files/results.json", segment("ablation"))).status, 200);
}
