//! What a person does before a transfer: clips, tokens, looks, masks, tracks, settings.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::{Studio, segment, small, small_with, tree};

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    bytes(value).chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
}

/// A PNG of a white box on black.
fn white_box(size: u32, from: u32) -> Vec<u8> {
    use motionflow_media::image::{GrayImage, ImageFormat, Luma};
    let is_in = |x: u32, y: u32| (from..from + 4).contains(&x) && (2..6).contains(&y);
    let picture = GrayImage::from_fn(size, size, |x, y| Luma([if is_in(x, y) { 255 } else { 0 }]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn clips_are_shown_frame_by_frame_and_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let clips = studio.get("/api/clips").json(200);
    let car =
        clips["clips"].as_array().unwrap().iter().find(|clip| clip["ref"] == "clip:car-arc").unwrap().clone();
    assert_eq!(
        (car["width"].as_u64(), car["source_prompt"].as_str()),
        (Some(128), Some("a [car] on a road"))
    );
    let frames = studio.get("/api/clips/clip:car-arc?width=64&height=32&frames=5&every=2").json(200);
    assert_eq!(
        (frames["frames"].as_u64(), frames["tile_width"].as_u64(), frames["fps"].as_f64()),
        (Some(5), Some(64), Some(4.0))
    );
    assert_eq!((frames["columns"].as_u64(), frames["rows"].as_u64()), (Some(3), Some(2)));
    let sheet = studio.get(frames["sheet"].as_str().unwrap());
    let size = motionflow_media::image::load_from_memory(&sheet.bytes).unwrap();
    assert_eq!((sheet.header("content-type"), size.width(), size.height()), ("image/jpeg", 3 * 64, 2 * 32));
    let frame = studio.get("/api/clips/clip:car-arc/frames/15");
    assert_eq!((frame.status, frame.header("content-type")), (200, "image/png"));
    studio.get("/api/clips/clip:car-arc/frames/16?frames=16").problem(404, "not_found");
    assert_eq!(studio.get(car["poster"].as_str().unwrap()).status, 200);

    let film = fs::read(tree().join("assets/clips/dog-bounce.mp4")).unwrap();
    let clip = studio.upload("/api/uploads?kind=clip&name=my%20dog.mp4", &film).json(201);
    assert_eq!((clip["name"].as_str(), clip["fps"].as_f64()), (Some("my dog.mp4"), Some(8.0)));
    let reference = clip["ref"].as_str().unwrap();
    let ranged = studio.send(
        "GET",
        &format!("/api/clips/{}/file", segment(reference)),
        &[("range", "bytes=4-7")],
        b"",
    );
    assert_eq!((ranged.status, ranged.bytes.as_slice()), (206, &b"ftyp"[..]));
    studio.post("/api/queue/pause", &json!({})).json(200);
    studio.queue("a", &small_with("source.path", reference.into()));
    let id = reference.trim_start_matches("upload:");
    studio.send("DELETE", &format!("/api/uploads/{id}"), &[], b"").problem(409, "busy");
    studio.send("DELETE", "/api/jobs/a", &[], b"");
    assert_eq!(studio.send("DELETE", &format!("/api/uploads/{id}"), &[], b"").status, 204);
    studio.get(&format!("/api/clips/{}", segment(reference))).problem(404, "not_found");
}

#[test]
fn tokens_show_subjects_unknown_words_and_the_domain() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let prompt = json!({ "model": "demo", "prompt": "ä [bear] in the snow", "which": "new" });
    let tokens = studio.post("/api/prompts", &prompt).json(200);
    assert_eq!((tokens["text"].as_str(), tokens["limit"].as_u64()), (Some("ä bear in the snow"), Some(32)));
    let subject = &tokens["subjects"][0];
    assert_eq!(
        (subject["text"].as_str(), subject["start"].as_u64(), subject["end"].as_u64()),
        (Some("bear"), Some(2), Some(6))
    );
    let all = tokens["tokens"].as_array().unwrap();
    assert_eq!(
        (all[0]["special"].as_str(), all.last().unwrap()["special"].as_str()),
        (Some("start"), Some("end"))
    );
    assert!(all.iter().any(|token| token["subject"] == 0));
    assert!(tokens["warnings"].to_string().contains("does not know"), "{}", tokens["warnings"]);
    let broken = json!({ "prompt": "a [bear", "which": "source" });
    assert!(studio.post("/api/prompts", &broken).problem(422, "misuse").contains("a [bear"));
}

#[test]
fn a_look_gives_maps_of_which_the_programs_mask_follows() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let mut request = small();
    request["prompts"]["source_prompt"] = "a [car] on a [road]".into();
    request["settings"] = json!({ "tau": 0.5, "noised_timesteps": [301, 101] });
    let look = studio.post("/api/looks", &json!({ "request": request })).json(202);
    let again = studio.post("/api/looks", &json!({ "request": request })).json(202);
    assert_eq!(look["id"], again["id"]);
    let address = format!("/api/looks/{}", look["id"].as_str().unwrap());
    let since = std::time::Instant::now();
    let look = loop {
        let look = studio.get(&address).json(200);
        if look["state"] != "waiting" && look["state"] != "running" {
            break look;
        }
        assert!(since.elapsed().as_secs() < 20, "{look}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(look["state"], "finished", "{look}");
    let result = &look["result"];
    let size = |key: &str| result[key].as_u64().unwrap() as usize;
    let (frames, places) = (size("frames"), size("map_width") * size("map_height"));
    assert_eq!(
        (frames, result["tau"].as_f64(), result["subjects"].as_array().unwrap().len()),
        (3, Some(0.5), 2)
    );
    for subject in result["subjects"].as_array().unwrap() {
        let layers: Vec<Vec<f32>> =
            subject["layers"].as_array().unwrap().iter().map(|layer| floats(&layer["values"])).collect();
        // As the docs say that a page makes the mask.
        let mut mask = Vec::new();
        for at in 0..frames * places {
            let frame = at / places * places;
            let over = |layer: &&Vec<f32>| {
                let most = layer[frame..frame + places].iter().copied().fold(f32::MIN, f32::max);
                f64::from(layer[at]) > 0.5 * f64::from(most)
            };
            mask.push(u8::from(2 * layers.iter().filter(over).count() >= layers.len()));
        }
        assert_eq!(mask, bytes(&subject["mask"]), "{}", subject["text"]);
    }
    let nothing = json!({ "request": { "source": { "path": "clip:car-arc" } } });
    assert!(studio.post("/api/looks", &nothing).problem(422, "misuse").contains("no source prompt"));
    studio.get("/api/looks/none").problem(404, "not_found");
}

#[test]
fn masks_and_tracks_are_kept_shown_and_lead_a_transfer() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let frames = [Some(white_box(16, 2)), None, Some(white_box(16, 8))]
        .map(|frame| frame.map(|png| STANDARD.encode(png)));
    let mask = studio.post("/api/masks", &json!({ "name": "painted", "frames": frames })).json(201);
    let video = json!({ "width": 32, "height": 32, "frames": 3, "fps": 8 });
    let motion = json!({ "mask": [mask["ref"]], "transform": ["mirror"] });
    let asked = json!({ "motion": motion, "video": video, "subjects": 1, "side": 16 });
    let shown = studio.post("/api/motion/masks", &asked).json(200);
    assert_eq!((shown["width"].as_u64(), &shown["subjects"][0]["empty"]), (Some(16), &json!([1])));
    let values = bytes(&shown["subjects"][0]["masks"]);
    assert_eq!((values.len(), values[3 * 16 + 11] > 200, values[3 * 16 + 3]), (3 * 256, true, 0));

    let keys = json!([{ "frame": 0, "x": 0.2, "y": 0.5, "width": 0.3, "height": 0.4 },
                      { "frame": 2, "x": 0.8, "y": 0.5, "width": 0.3, "height": 0.4 }]);
    let track = studio
        .post("/api/tracks", &json!({ "name": "drawn", "track": { "shape": "box", "keys": keys } }))
        .json(201);
    let back = studio.get(&format!("/api/motion/{}", segment(track["ref"].as_str().unwrap()))).json(200);
    assert_eq!((back["shape"].as_str(), back["keys"][1]["x"].as_f64()), (Some("box"), Some(0.8)));
    let followed = json!({ "motion": { "track": [track["ref"]] }, "video": video, "shape": "ellipse" });
    let followed = studio.post("/api/motion/track", &followed).json(200);
    assert!(followed["keys"][0]["x"].as_f64().is_some_and(|x| (x - 0.2).abs() < 0.05), "{followed}");
    let wrong = json!({ "name": "wrong", "track": { "keys": [] } });
    studio.post("/api/tracks", &wrong).problem(422, "unreadable");

    let mut request = small();
    request["prompts"] = json!({ "prompt": "a [panda] in the snow" });
    request["motion"] = json!({ "track": [track["ref"]] });
    request["source"] = json!({});
    request["settings"]["init"] = "noise".into();
    studio.queue("led", &request);
    assert_eq!(studio.wait_for("led", "finished")["state"], "finished");
    let watch = studio.get("/api/jobs/led/watch").json(200);
    assert_eq!(
        (watch["masks"]["subjects"][0]["text"].as_str(), watch["preview"]["step"].as_u64()),
        (Some("panda"), Some(3))
    );
}

#[test]
fn settings_have_groups_presets_files_and_an_estimate() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let groups = studio.get("/api/settings?model=demo").json(200);
    let all: Vec<Value> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["settings"].as_array().unwrap().clone())
        .collect();
    let setting = |path: &str| all.iter().find(|setting| setting["path"] == path).unwrap();
    let tau = setting("settings.tau");
    assert_eq!(
        (tau["type"].as_str(), tau["value"].as_f64(), tau["paper"].as_str()),
        (Some("number"), Some(0.4), Some("0.4"))
    );
    assert_eq!(
        (setting("video.width")["value"].as_u64(), setting("settings.init")["type"].as_str()),
        (Some(128), Some("choice"))
    );
    assert!(studio.get("/api/settings/schema").json(200)["properties"]["settings"].is_object());

    let request = json!({ "request": small() });
    studio.put("/api/presets/quick", &request).json(201);
    studio.put("/api/presets/quick", &request).json(200);
    assert_eq!(
        studio.get("/api/presets").json(200)["presets"],
        json!([{ "name": "quick", "request": small() }])
    );
    assert_eq!(studio.send("DELETE", "/api/presets/quick", &[], b"").status, 204);

    let file = studio.post("/api/settings/write", &request);
    assert!(String::from_utf8_lossy(&file.bytes).contains("[settings]"));
    let restored = studio.upload("/api/settings/read?name=mine.toml", &file.bytes).json(200);
    assert_eq!((&restored["request"], &restored["missing"]), (&small(), &json!([])));

    let plan = studio.post("/api/estimate", &request).json(200);
    assert!(
        plan["seconds"].as_f64() > Some(0.0) && plan["peak_memory_bytes"].as_u64() > Some(1 << 20),
        "{plan}"
    );
    assert_eq!((plan["refusal"].as_str(), plan["resolved"]["settings"]["steps"].as_u64()), (None, Some(3)));
    let absurd = json!({ "request": small_with("settings.tau", 2.0.into()) });
    assert!(studio.post("/api/estimate", &absurd).problem(422, "misuse").contains("--tau is 2"));
    let unknown = json!({ "request": small_with("settings.guidance_scal", 5.into()) });
    assert!(
        studio
            .post("/api/estimate", &unknown)
            .problem(422, "misuse")
            .contains("did you mean \"guidance_scale\"?")
    );
}
