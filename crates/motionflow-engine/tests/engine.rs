//! The engine as another program uses it: without a command line, from threads, one run after another.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

#[allow(dead_code, reason = "its main is its own")]
#[path = "../examples/transfer.rs"]
mod example;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use motionflow_engine::cancel::CancelToken;
use motionflow_engine::engine::Engine;
use motionflow_engine::error::ErrorKind;
use motionflow_engine::event::Event;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::Request;
use motionflow_engine::runs::open::OpenRun;
use motionflow_engine::runs::transfer::TransferOptions;

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A short transfer on the tiny checkpoint, without the user's cache.
fn request(folder: PathBuf) -> Request {
    let mut request = Request::default();
    request.source.path = Some(tree().join("assets/clips/car-arc.mp4"));
    request.prompts.source_prompt = Some("a [car] on a road".to_owned());
    request.prompts.new.prompt = Some("a [panda] in the snow".to_owned());
    let model = tree().join("crates/motionflow/tests/cases/tiny/model");
    request.model.chosen.name = Some(model.to_str().unwrap().to_owned());
    (request.video.size.width, request.video.size.height, request.video.size.frames) =
        (Some(24), Some(16), Some(3));
    (request.settings.steps.steps, request.settings.guidance.guided_steps) = (Some(2), Some(1));
    request.program.resources.threads = Some(1);
    request.program.cache = Some(false);
    request.output.folder = Some(folder);
    request
}

/// What a run tells: the names of events, as `--json` has them, and those that it does not have.
fn listening(events: &Arc<Mutex<Vec<String>>>, cancel: &CancelToken) -> Progress {
    let events = Arc::clone(events);
    let observer = move |event: &Event<'_>| {
        let name = match event {
            Event::Waiting { .. } => "waiting".to_owned(),
            Event::Stage { stage, .. } => format!("stage {stage}"),
            Event::Finished { .. } => "finished".to_owned(),
            _ => return,
        };
        events.lock().unwrap().push(name);
    };
    Progress::new(Arc::new(observer), cancel.clone())
}

fn transfer(engine: &Engine, folder: PathBuf, progress: &mut Progress) -> anyhow::Result<()> {
    let run = OpenRun::claim(request(folder), progress)?;
    engine.transfer(run, &TransferOptions::default(), progress)
}

#[test]
fn the_example_makes_a_run_folder() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    example::transfer(request(out.clone())).unwrap();
    assert!(out.join("result.mp4").is_file() && out.join("run.toml").is_file());
}

#[test]
fn runs_from_threads_wait_for_each_other_and_share_what_is_loaded() {
    let place = tempfile::tempdir().unwrap();
    let engine = Engine::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let alone = listening(&events, &CancelToken::default());
    // The device is taken until both runs have come to it.
    let resources = request(PathBuf::new()).program.resources;
    thread::scope(|scope| {
        let mut alone = alone;
        engine
            .on_device(&resources, &mut alone, |_, _, _| {
                for name in ["one", "two"] {
                    let (engine, events) = (&engine, &events);
                    let folder = place.path().join(name);
                    scope.spawn(move || {
                        transfer(engine, folder, &mut listening(events, &CancelToken::default())).unwrap();
                    });
                }
                while events.lock().unwrap().len() < 2 {
                    thread::yield_now();
                }
                Ok(())
            })
            .unwrap();
    });
    let events = events.lock().unwrap();
    assert_eq!(events.iter().filter(|event| *event == "waiting").count(), 2, "{events:?}");
    assert_eq!(events.iter().filter(|event| *event == "finished").count(), 2, "{events:?}");
    assert_eq!(events.iter().filter(|event| *event == "stage load").count(), 1, "{events:?}");
    let [one, two] =
        ["one", "two"].map(|name| std::fs::read(place.path().join(name).join("result.mp4")).unwrap());
    assert!(one == two, "the same request gives the same bytes");
}

#[test]
fn checkpoints_stay_loaded_when_others_are_used() {
    let place = tempfile::tempdir().unwrap();
    let (engine, events) = (Engine::new(), Arc::default());
    let mut progress = listening(&events, &CancelToken::default());
    for (index, case) in ["tiny", "tiny-odd-words", "tiny"].into_iter().enumerate() {
        let mut request = request(place.path().join(index.to_string()));
        let model = tree().join("crates/motionflow/tests/cases").join(case).join("model");
        request.model.chosen.name = Some(model.to_str().unwrap().to_owned());
        let run = OpenRun::claim(request, &progress).unwrap();
        engine.transfer(run, &TransferOptions::default(), &mut progress).unwrap();
    }
    let events = events.lock().unwrap();
    assert_eq!(events.iter().filter(|event| *event == "finished").count(), 3, "{events:?}");
    assert_eq!(events.iter().filter(|event| *event == "stage load").count(), 2, "{events:?}");
}

#[test]
fn a_run_that_waits_can_be_cancelled() {
    let place = tempfile::tempdir().unwrap();
    let (engine, cancel) = (Engine::new(), CancelToken::default());
    let events = Arc::new(Mutex::new(Vec::new()));
    let resources = request(PathBuf::new()).program.resources;
    let waiting = || {
        thread::scope(|scope| {
            let run =
                scope.spawn(|| transfer(&engine, place.path().join("out"), &mut listening(&events, &cancel)));
            while events.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            cancel.cancel();
            ErrorKind::of(&run.join().unwrap().unwrap_err())
        })
    };
    let mut alone = Progress::silent();
    let kind = engine.on_device(&resources, &mut alone, |_, _, _| Ok(waiting())).unwrap();
    assert_eq!((kind, &events.lock().unwrap()[..]), (ErrorKind::Stopped, &["waiting".to_owned()][..]));
}

#[test]
fn errors_have_a_kind_and_a_cancelled_run_stops() {
    let place = tempfile::tempdir().unwrap();
    let engine = Engine::new();
    let cancel = CancelToken::default();
    let events = Arc::default();
    let mut progress = listening(&events, &cancel);
    let kind = |request: Request, progress: &mut Progress| {
        let run = OpenRun::claim(request, progress);
        let done = run.and_then(|run| engine.transfer(run, &TransferOptions::default(), progress));
        ErrorKind::of(&done.unwrap_err())
    };
    let mut missing = request(place.path().join("a"));
    missing.source.path = Some(place.path().join("nothing.mp4"));
    assert_eq!(kind(missing, &mut progress), ErrorKind::Missing);
    let mut misuse = request(place.path().join("b"));
    misuse.settings.masks.tau = Some(7.0);
    assert_eq!(kind(misuse, &mut progress), ErrorKind::Misuse);
    cancel.cancel();
    assert_eq!(kind(request(place.path().join("c")), &mut progress), ErrorKind::Stopped);
    assert!(!place.path().join("c/run.toml").exists());
}
