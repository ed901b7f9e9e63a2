//! Blind comparisons.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::server::{Studio, tree};

/// Two folders of results that are clips.
fn results(runs: &Path, side: &str, clip: &str) {
    for name in ["one", "two", "three"] {
        let folder = runs.join(side).join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(tree().join("assets/clips").join(clip), folder.join("result.mp4")).unwrap();
        fs::write(folder.join("run.toml"), "[prompts]\nprompt = \"a [dog]\"\n").unwrap();
    }
}

#[test]
fn votes_become_a_preference_with_its_interval() {
    let folder = tempfile::tempdir().unwrap();
    results(folder.path(), "ours", "dog-bounce.mp4");
    results(folder.path(), "theirs", "car-arc.mp4");
    let studio = Studio::start(folder.path());
    let asked = json!({ "title": "ours or theirs", "a": { "label": "ours", "folder": "ours" }, "b": { "label": "theirs", "folder": "theirs" } });
    let made = studio.put("/api/comparisons/c", &asked).json(201);
    assert_eq!(
        (made["pairs"].as_u64(), &made["questions"]),
        (Some(3), &json!(["motion", "prompt", "quality"]))
    );
    studio.put("/api/comparisons/c", &asked).json(200);
    studio.send("DELETE", "/api/runs/ours%2Fone", &[], b"").problem(409, "busy");
    // The frames of a result are copied as they are, and what it says of itself is not.
    let ours = fs::read(tree().join("assets/clips/dog-bounce.mp4")).unwrap();
    let frames = &ours[ours.len() / 2..][..64];
    let mut seen = BTreeSet::new();
    for voter in ["ann", "bob"] {
        for number in 0..3 {
            let address = format!("/api/comparisons/c/next?voter={voter}");
            let pair = studio.get(&address).json(200);
            assert_eq!(pair, studio.get(&address).json(200));
            assert_eq!(
                (pair["done"].as_u64(), pair["of"].as_u64(), pair["prompt"].as_str()),
                (Some(number), Some(3), Some("a dog"))
            );
            // Nothing in an address tells which it is.
            assert!(!pair.to_string().contains("ours") && !pair.to_string().contains("theirs"));
            let left = studio.get(pair["left"].as_str().unwrap());
            assert_eq!(left.header("content-type"), "video/mp4");
            let is_ours = left.bytes.windows(frames.len()).any(|bytes| bytes == frames);
            seen.insert(is_ours);
            let ours = if is_ours { "left" } else { "right" };
            let vote = json!({ "voter": voter, "pair": pair["pair"], "answers": { "motion": ours, "prompt": "same", "quality": "left" } });
            studio.post("/api/comparisons/c/votes", &vote).json(201);
            studio.post("/api/comparisons/c/votes", &vote).problem(409, "voted");
        }
        let after = studio.get(&format!("/api/comparisons/c/next?voter={voter}")).json(200);
        assert_eq!((after["pair"].as_str(), after["done"].as_u64()), (None, Some(3)));
    }
    let result = studio.get("/api/comparisons/c/result").json(200);
    let [motion, prompt] = [&result["questions"][0], &result["questions"][1]];
    assert_eq!(
        (result["voters"].as_u64(), motion["a"].as_u64(), motion["preference"].as_f64()),
        (Some(2), Some(6), Some(1.0))
    );
    // Wilson's interval of 6 of 6.
    assert!((motion["low"].as_f64().unwrap() - 0.6097).abs() < 1e-4, "{motion}");
    assert_eq!((prompt["same"].as_u64(), prompt["preference"].as_f64()), (Some(6), Some(0.5)));
    let half = json!({ "voter": "eve", "pair": "p1", "answers": { "motion": "left" } });
    studio.post("/api/comparisons/c/votes", &half).problem(422, "misuse");
    assert_eq!(studio.send("DELETE", "/api/comparisons/c", &[], b"").status, 204);
}
