//! Every row of docs/errors.md, provoked.

// Some ways to break things are Linux's own.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use motionflow_media::picture;

use crate::common::{Outcome, Place, SMALL, car, ffmpeg, motionflow, program, run, text, tiny_model, tree};
use crate::error_table::{Row, errors_in, row_of, rows, warnings_in};
use crate::eval::npz;
use crate::hub_server::{Cut, Hub, program_with_hub, sha256};

/// Rows that nothing from outside brings about, by the beginning of their messages.
const UNPROVOKED: [(&str, &str); 35] = [
    ("… of … transfers have no result", "takes a sweep and a queue; cluster.rs has both"),
    ("stopped; the jobs go on, and the same", "the same"),
    ("…: the server does not let this program in", "takes a nats-server; cluster.rs starts one"),
    ("…: the server has no JetStream", "the same"),
    ("…: the queue cannot be written to", "the same"),
    ("…: another program has held the queue's", "takes half a minute; motionflow-queue tests it"),
    ("stopped; jobs that were at work", "takes workers; cluster.rs stops some"),
    ("stopped; the jobs go on, and can", "the same"),
    ("--device …: there is no CUDA device", "takes a machine with CUDA"),
    ("…: cannot be written; set HF_HOME", "takes a disk that fills up in a download"),
    ("this should not have happened", "a fault in the program; failure.rs tests how it is told"),
    ("the run's record cannot", "every setting that passes the checks can be written"),
    (
        "the text cannot be encoded",
        "takes a tokenizer of odd files; motionflow's tests/tokenizer.rs makes one",
    ),
    ("the program cannot listen", "the system would have to refuse a signal handler"),
    ("the tokenizer makes no token", "CLIP's tokenizer makes one of every sign; prompt.rs tests it"),
    ("there is no home folder to keep", "process.rs takes the home away"),
    ("there is no home folder for the cache", "the same"),
    ("--…: a path that is not UTF-8", "process.rs gives some"),
    ("stopped; nothing was kept", "process.rs stops a run so"),
    ("stopped; the same command goes on with", "takes a download that is stopped in its middle"),
    ("standard output cannot be written to", "process.rs fills it up"),
    ("…: the disk is full", "process.rs has one"),
    ("…: your disk quota", "takes a quota; motionflow-media's system.rs tests it"),
    ("…: the file is larger", "process.rs sets a limit"),
    ("…: the file system is read-only", "takes one; motionflow-media's system.rs tests it"),
    ("…: too many files are open;", "process.rs sets a limit"),
    ("…: too many files are open on this machine", "motionflow-media's system.rs tests it"),
    ("…the system refuses another thread", "takes a limit that root does not have; failure.rs tests it"),
    ("the mask of \"…\" covers only", "depends on the model; diagnostics.rs tests it"),
    ("the mask of \"…\" jumps", "depends on the model; diagnostics.rs tests it"),
    ("the text encoder does not know", "depends on the vocabulary; prompt.rs tests it"),
    ("out of memory on …: end other programs", "takes a limit between two needs; out_of_memory.rs sets one"),
    ("some steps of this run", "takes a run that is stopped and resumed; resume.rs has one"),
    ("…: this checkpoint does not know", "takes the shipped checkpoint; domain.rs has one"),
    ("the cached inversion was damaged", "takes two runs; inversions_once.rs makes them"),
];

/// A reading of it fails.
const UNREADABLE: &str = "/proc/self/mem";
/// Nothing listens here.
const NOWHERE: &str = "http://127.0.0.1:9";
const ID: &str = "someone/tiny-video";

#[test]
fn every_row_can_be_provoked_and_every_message_has_its_row() {
    let topics: [fn(&Place) -> Vec<Outcome>; 25] = [
        studio,
        command_line,
        settings_files,
        prompts,
        sources,
        crate::films::provoked,
        checkpoints,
        crate::animatediff::provoked,
        crate::wan::provoked,
        hub,
        hub_troubles,
        hub_disk,
        output_folders,
        stopped,
        resumed,
        inversions,
        computing,
        batch,
        figures,
        suites,
        sweeps,
        other_commands,
        crate::results::provoked,
        crate::given_motion::provoked,
        crate::cluster::provoked,
    ];
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let running = topics.map(|topic| scope.spawn(move || topic(&Place::new())));
        running.into_iter().flat_map(|topic| topic.join().unwrap()).collect()
    });
    let outcomes = outcomes.into_iter().chain(crate::values::provoked(&Place::new()));
    let outcomes: Vec<Outcome> = outcomes.chain(crate::checkpoints::provoked(&Place::new())).collect();
    let mut provoked: Vec<&Row> = Vec::new();
    let mut without_row: Vec<String> = Vec::new();
    for outcome in &outcomes {
        let (rows, missing) = rows_of(outcome);
        provoked.extend(rows);
        without_row.extend(missing);
    }
    assert!(without_row.is_empty(), "no row of docs/errors.md fits:\n{}", without_row.join("\n"));
    let is_unprovoked = |row: &Row| UNPROVOKED.iter().any(|(start, _)| row.message.starts_with(start));
    let idle: Vec<&Row> =
        rows().iter().filter(|row| !provoked.contains(row) && !is_unprovoked(row)).collect();
    assert!(idle.is_empty(), "nothing here provokes these rows of docs/errors.md:\n{idle:#?}");
    for (start, _) in UNPROVOKED {
        assert!(rows().iter().any(|row| row.message.starts_with(start)), "there is no row \"{start}…\"");
        // A mask of random weights may or may not give cause for a warning.
        let is_provoked = |row: &&Row| row.code.is_some() && row.message.starts_with(start);
        assert!(!provoked.iter().any(is_provoked), "\"{start}…\" was provoked");
    }
}

#[test]
fn every_row_says_something_and_none_is_there_twice() {
    for (index, row) in rows().iter().enumerate() {
        assert!(row.letters() >= 8, "{row:?}");
        assert!(!rows()[..index].contains(row), "{row:?}");
    }
}

/// The rows of all that a run said, and messages that have none.
fn rows_of(outcome: &Outcome) -> (Vec<&'static Row>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut look =
        |message: &str, codes: &[Option<i32>]| match codes.iter().find_map(|code| row_of(message, *code)) {
            Some(row) => found.push(row),
            None => missing.push(format!("{codes:?} {message}")),
        };
    let mut errors = errors_in(&outcome.stderr);
    // The last one ends the program; those before it ended jobs of a batch.
    if let Some(last) = errors.pop() {
        look(last, &[Some(outcome.code)]);
    } else if outcome.code == 130 {
        let last = outcome.stderr.rfind("stopped; ").map_or("", |at| &outcome.stderr[at..]);
        look(last.trim_end(), &[Some(130)]);
    } else {
        assert_eq!(outcome.code, 0, "ended without a message: {outcome:?}");
    }
    for error in errors {
        look(error.lines().next().unwrap_or_default(), &[Some(1), Some(2)]);
    }
    for warning in warnings_in(&outcome.stderr) {
        look(warning, &[None]);
    }
    (found, missing)
}

/// A short transfer with other values for some flags; none where the value is empty.
fn transfer(place: &Place, changes: &[(&str, &str)]) -> Command {
    let (car, output, model) = (car(), place.text("out"), tiny_model());
    let mut flags: BTreeMap<&str, &str> = [
        ("--source", car.as_str()),
        ("--source-prompt", "a [car] on a road"),
        ("--prompt", "a [panda] in the snow"),
        ("--output", &output),
        ("--model", &model),
        ("--guided-steps", "1"),
    ]
    .into();
    flags.extend(SMALL.chunks(2).map(|pair| (pair[0], pair[1])));
    flags.extend(changes.iter().copied());
    let mut command = program();
    command.arg("transfer");
    for (flag, value) in flags.into_iter().filter(|(_, value)| !value.is_empty()) {
        command.arg(format!("{flag}={value}"));
    }
    command
}

fn with(place: &Place, changes: &[(&str, &str)]) -> Outcome {
    run(&mut transfer(place, changes))
}

fn generate(place: &Place, flags: &[&str]) -> Command {
    let mut command = program();
    command.args(["generate", "-p", "a panda", "-o", &place.text("out"), "--threads", "1"]);
    command.args(flags);
    command
}

fn file(place: &Place, name: &str, content: &str) -> String {
    let path = place.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    text(&path)
}

fn command_line(place: &Place) -> Vec<Outcome> {
    let mut not_utf8 = program();
    not_utf8.args(["generate", "--prompt"]).arg(OsStr::from_bytes(b"a \xff"));
    vec![
        motionflow(&["transfer", "--cfgscale", "3"]),
        motionflow(&["transform"]),
        motionflow(&["transfer", "--fit", "squeeze"]),
        motionflow(&["transfer", "--seed", "18446744073709551615"]),
        motionflow(&["transfer", "--prompt"]),
        motionflow(&["transfer", "--force=yes"]),
        motionflow(&["transfer", "--step-size", "1", "--step-norm", "1"]),
        motionflow(&["transfer", "--inversion", "inv", "--steps", "3"]),
        motionflow(&["transfer", "--tau", "0.1", "--tau", "0.2"]),
        motionflow(&["show"]),
        run(&mut not_utf8),
        with(place, &[("--tau", "1")]),
        with(place, &[("--start", "-1")]),
        with(place, &[("--fps", "0")]),
        with(place, &[("--threads", "0")]),
        with(place, &[("--guidance-layers", "up_blocks.9")]),
        with(
            place,
            &[
                ("--subject-map", "end"),
                ("--source-prompt", "a [car] and a [dog]"),
                ("--prompt", "a [panda] and a [cat]"),
            ],
        ),
        with(place, &[("--device", "cuda:99")]),
        with(place, &[("--prompt", "")]),
        with(place, &[("--source", "")]),
        with(place, &[("--source-prompt", "")]),
    ]
}

fn settings_files(place: &Place) -> Vec<Outcome> {
    let config = |name: &str, content: &str| {
        let file = file(place, name, content);
        motionflow(&["transfer", "--config", &file])
    };
    let empty = file(place, "empty.toml", "");
    let given = file(place, "given.toml", "source.inversion = \"inv\"\nprompts.prompt = \"a [panda]\"");
    let mut not_utf8 = program();
    not_utf8.args(["transfer", "--config", &empty, "--source"]).arg(OsStr::from_bytes(b"\xff.mp4"));
    vec![
        motionflow(&["transfer", "--config", &place.text("none.toml")]),
        motionflow(&["transfer", "--config", &place.text("")]),
        config("broken.toml", "[video"),
        config("unknown.toml", "[settings]\ntao = 1"),
        config("name.toml", "source.fit = \"squeeze\""),
        config("range.toml", "settings.steps = -1"),
        config("type.toml", "settings.tau = \"high\""),
        motionflow(&["transfer", "--config", &given, "--steps", "4"]),
        run(&mut not_utf8),
    ]
}

fn prompts(place: &Place) -> Vec<Outcome> {
    let pair = |source, prompt| with(place, &[("--source-prompt", source), ("--prompt", prompt)]);
    let long = format!("{} and a [panda]", "a very long street ".repeat(25));
    let mut outcomes = vec![
        pair("a [car", "a [panda]"),
        pair("a [car]", "a panda]"),
        pair("a [red [car]]", "a [panda]"),
        pair("a [ ]", "a [panda]"),
        pair("a car", "a [panda]"),
        pair("a [car]", "a panda"),
        pair("a [dog] and a [car]", "a [panda]"),
        pair("a [car]", &long),
    ];
    let long = format!("a [qzx] {}", "a very long street ".repeat(25));
    outcomes.push(run(transfer(place, &[("--prompt", &long)]).arg("--dry-run")));
    outcomes
}

fn sources(place: &Place) -> Vec<Outcome> {
    fs::create_dir(place.path("empty")).unwrap();
    let frame = motionflow_media::image::RgbImage::new(32, 32);
    let small = motionflow_media::image::RgbImage::new(16, 16);
    for folder in ["damaged", "mixed"] {
        fs::create_dir(place.path(folder)).unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            picture::write_png(&place.path(&format!("{folder}/{name}")), &frame).unwrap();
        }
    }
    fs::write(place.path("damaged/b.png"), "no image").unwrap();
    picture::write_png(&place.path("mixed/b.png"), &small).unwrap();
    let no_frames = file(place, "none.y4m", "YUV4MPEG2 W32 H32 F8:1 Ip C420jpeg\n");
    let no_video = file(place, "notes.mp4", "this is a text");
    vec![
        with(place, &[("--source", &place.text("nowhere.mp4"))]),
        with(place, &[("--source", UNREADABLE)]),
        with(place, &[("--source", &no_video)]),
        with(place, &[("--source", &no_frames)]),
        with(place, &[("--source", &place.text("empty"))]),
        with(place, &[("--source", &place.text("damaged"))]),
        with(place, &[("--source", &place.text("mixed"))]),
        with(place, &[("--every", "8")]),
    ]
}

fn checkpoints(place: &Place) -> Vec<Outcome> {
    let unet = "unet/diffusion_pytorch_model.safetensors";
    let broken = |damage: &dyn Fn(&Path)| {
        let place = Place::new();
        let model = place.copied_model();
        damage(&model);
        with(&place, &[("--model", &text(&model))])
    };
    let replaced = |name: &'static str, from: &'static str, to: &'static str| {
        broken(&|model: &Path| {
            let whole = fs::read_to_string(model.join(name)).unwrap();
            assert!(whole.contains(from), "{name} has no {from}");
            fs::write(model.join(name), whole.replace(from, to)).unwrap();
        })
    };
    vec![
        with(place, &[("--model", "nonesuch")]),
        with(place, &[("--model", &place.text("nowhere"))]),
        with(place, &[("--revision", "v1")]),
        broken(&|model| fs::remove_file(model.join(unet)).unwrap()),
        broken(&|model| {
            fs::remove_file(model.join("unet/config.json")).unwrap();
            symlink(UNREADABLE, model.join("unet/config.json")).unwrap();
        }),
        broken(&|model| fs::write(model.join("unet/config.json"), "{").unwrap()),
        replaced("model_index.json", "TextToVideoSDPipeline", "StableDiffusionPipeline"),
        replaced("unet/config.json", "\"silu\"", "\"gelu\""),
        broken(&|model| fs::write(model.join(unet), "short").unwrap()),
        broken(&|model| {
            fs::remove_file(model.join(unet)).unwrap();
            let hostile = tree().join("crates/motionflow/tests/data/checkpoint/calls_system.bin");
            fs::copy(hostile, model.join("unet/diffusion_pytorch_model.bin")).unwrap();
        }),
        broken(&|model| {
            fs::copy(model.join("vae/diffusion_pytorch_model.safetensors"), model.join(unet)).unwrap();
        }),
        replaced("tokenizer/tokenizer_config.json", "77", "99"),
        broken(&|model| fs::write(model.join("tokenizer/vocab.json"), "{").unwrap()),
        broken(&|model| fs::write(model.join("tokenizer/vocab.json"), "{}").unwrap()),
        with(place, &[("--width", "25")]),
    ]
}

fn figures(place: &Place) -> Vec<Outcome> {
    let clip = |clip: &str| {
        run(program().args(["eval", "--source", &car(), "--result", &car(), "-p", "a [car]", "--clip", clip]))
    };
    let good = place.path("good.npz");
    npz(&good, &[("tracks", "|u1", "(2, 1, 2)", &[1, 2, 3, 4])]);
    let tracks = |name: &str, arrays: &[(&str, &str, &str, &[u8])]| {
        let path = place.path(name);
        if !arrays.is_empty() {
            npz(&path, arrays);
        }
        let mut command = program();
        command.args(["eval", "--source", &car(), "--result", &car(), "-p", "a [car]", "--clip", "none"]);
        run(command.arg("--source-tracks").arg(&good).arg("--result-tracks").arg(path))
    };
    fs::write(place.path("text.npz"), "no archive").unwrap();
    let bus = text(&tree().join("experiments/clips/bus-right.npz"));
    let coarse = place.path("coarse.npz");
    npz(&coarse, &[("centres", "|u1", "(1, 1, 2)", &[0; 2]), ("masks", "|u1", "(1, 1, 2, 2)", &[0; 4])]);
    let detector = |detector: &str, prompt: &str, result: &str, truth: &str| {
        let mut command = program();
        command.args(["eval", "--source", &car(), "--result", result, "-p", prompt, "--clip", "none"]);
        run(command.args(["--truth", truth, "--detector", detector]))
    };
    fs::create_dir(place.path("clip")).unwrap();
    fs::copy(tree().join("models/demo-clip/config.json"), place.path("clip/config.json")).unwrap();
    let hub = Hub::serving(ID);
    let other = ["eval", "--source", &car(), "--result", &car(), "-p", "a [car]", "--clip", ID];
    let mut offline = program_with_hub(NOWHERE, place);
    offline.args(["eval", "--source", &car(), "-p", "a [car]", "--result"]);
    vec![
        clip("nonesuch"),
        clip(&place.text("nowhere")),
        clip(&place.text("clip")),
        run(&mut hub.program(place, &other)),
        run(offline.arg(tree().join("assets/clips/boat-weave.mp4"))),
        detector("nonesuch", "a [bus]", &car(), &bus),
        detector(&place.text("nowhere"), "a [bus]", &car(), &bus),
        detector(&place.text("clip"), "a [bus]", &car(), &bus),
        detector("demo-detector", "a [zebrafish]", &car(), &bus),
        detector("demo-detector", "a bus", &car(), &bus),
        detector("demo-detector", "a [bus]", &car(), &text(&coarse)),
        detector("demo-detector", "a [bus]", &text(&wide(place)), &bus),
        detector("demo-detector", "a [bus]", &car(), &place.text("text.npz")),
        tracks("none.npz", &[]),
        tracks("text.npz", &[]),
        tracks("other.npz", &[("points", "<f4", "(1,)", &[0; 4])]),
        tracks("turned.npz", &[("tracks", "|u1", "(2, 2, 1)", &[0; 4])]),
        tracks("short.npz", &[("tracks", "|u1", "(1, 1, 2)", &[0; 2])]),
        motionflow(&[
            "eval",
            "--source",
            &car(),
            "--result",
            &text(&wide(place)),
            "-p",
            "a car",
            "--clip",
            "none",
        ]),
    ]
}

/// A video of one frame, wider than high.
fn wide(place: &Place) -> PathBuf {
    let path = place.path("wide.png");
    picture::write_png(&path, &motionflow_media::image::RgbImage::new(48, 32)).unwrap();
    path
}

fn hub(place: &Place) -> Vec<Outcome> {
    let hub = Hub::serving(ID);
    let fetch = |arguments: &[&str]| {
        run(hub.program(place, &["models", "fetch"]).args(arguments).env("HF_HOME", place.path("home")))
    };
    let mut outcomes = vec![
        fetch(&["tiny"]),
        fetch(&[ID, "--revision", "../x"]),
        fetch(&[ID, "--revision", "v9"]),
        fetch(&["someone/else"]),
        run(program_with_hub(NOWHERE, place).args(["models", "fetch", ID])),
        run(program_with_hub(NOWHERE, place)
            .env("HF_HUB_OFFLINE", "1")
            .args(["generate", "-p", "a", "-m", ID])),
        fetch(&[ID]).ok(),
    ];
    let known = || program_with_hub(NOWHERE, place);
    outcomes.push(run(known().args(["models", "fetch", ID]).env("HF_HOME", place.path("home"))));
    let index =
        String::from_utf8(fs::read(Path::new(&tiny_model()).join("model_index.json")).unwrap()).unwrap();
    hub.change(|hub| {
        let other = index.replace("TextToVideoSDPipeline", "StableDiffusionPipeline");
        hub.files.insert("model_index.json".into(), other.into_bytes());
    });
    outcomes.push(run(&mut hub.program(place, &["models", "fetch", ID])));
    hub.change(|hub| hub.files.retain(|name, _| !name.starts_with("unet/")));
    outcomes.push(run(&mut hub.program(place, &["models", "fetch", ID])));
    hub.change(|hub| hub.token = Some("Bearer hf_secret".into()));
    outcomes.push(run(&mut hub.program(place, &["models", "fetch", ID])));
    outcomes
}

/// A server that gives everyone this answer.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    endpoint
}

fn hub_troubles(place: &Place) -> Vec<Outcome> {
    let fetch = |endpoint: &str| run(program_with_hub(endpoint, place).args(["models", "fetch", ID]));
    let served = |change: fn(&mut crate::hub_server::Behaviour)| {
        let (hub, place) = (Hub::serving(ID), Place::new());
        hub.change(change);
        run(&mut hub.program(&place, &["models", "fetch", ID]))
    };
    vec![
        fetch(&answering("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
        fetch(&answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")),
        served(|hub| hub.cut = Cut::Always),
        served(|hub| hub.corrupt = true),
        served(|hub| hub.announced = Some(1 << 60)),
    ]
}

fn hub_disk(place: &Place) -> Vec<Outcome> {
    let hub = Hub::serving(ID);
    let index = fs::read(Path::new(&tiny_model()).join("model_index.json")).unwrap();
    let name = &sha256(&index)[..40];
    let repository = format!("models--{}", ID.replace('/', "--"));
    // Folders where files should be. One that is full is as long as the file, as it seems.
    fs::create_dir_all(place.path(&format!("locked/hub/.locks/{repository}/{name}.lock"))).unwrap();
    let partial = place.path(&format!("partial/hub/{repository}/blobs/{name}.incomplete"));
    fs::create_dir_all(&partial).unwrap();
    (0..100).for_each(|index| fs::write(partial.join(format!("{index:060}")), "").unwrap());
    file(place, "file", "mine");
    let fetch =
        |home: &str| run(hub.program(place, &["models", "fetch", ID]).env("HF_HOME", place.path(home)));
    vec![fetch("file"), fetch("locked"), fetch("partial")]
}

fn output_folders(place: &Place) -> Vec<Outcome> {
    let mine = file(place, "file", "mine");
    file(place, "made/run.toml", "");
    file(place, "mine/result.mp4", "mine");
    file(place, "stopped/.unfinished/run.toml", "");
    file(place, "stopped/.unfinished/inversion-0001.safetensors", "");
    file(place, "busy/.unfinished/run.toml", "");
    let lock = fs::File::create(place.path("busy/.unfinished/lock")).unwrap();
    lock.lock().unwrap();
    let failing = file(
        place,
        "ffmpeg",
        &format!(
            "#!/bin/sh\ncase \"$*\" in *libx264*) echo no room >&2; exit 1;; esac\nexec '{}' \"$@\"\n",
            ffmpeg().program().display()
        ),
    );
    fs::set_permissions(&failing, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(place.path("man/motionflow.1")).unwrap();
    vec![
        with(place, &[("--output", &mine)]),
        with(place, &[("--output", &place.text("made"))]),
        with(place, &[("--output", &place.text("mine"))]),
        with(place, &[("--output", &place.text("stopped"))]),
        motionflow(&["transfer", "--resume", &place.text("busy")]),
        with(place, &[("--output", "/proc/motionflow")]),
        motionflow(&["man", &place.text("man")]),
        run(generate(place, &["--model", &tiny_model(), "--steps", "1"])
            .args(["-W", "8", "-H", "8", "--frames", "2"])
            .env("MOTIONFLOW_FFMPEG", &failing)),
    ]
}

/// Starts a command, and interrupts it once a file is there.
fn interrupted(command: &mut Command, once: &Path) -> Outcome {
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..60_000 {
        if once.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let sent = Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = running.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn stopped(place: &Place) -> Vec<Outcome> {
    let step = |folder: &str| place.path(folder).join(".unfinished/inversion-0001.safetensors");
    let jobs = format!(
        "[[job]]\nname = \"a\"\nsource.path = \"{}\"\nprompts.source_prompt = \"a [car]\"\nprompts.prompt = \"a [panda]\"\n\
         model.name = \"{}\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\nsettings.steps = 200\n",
        car(),
        tiny_model()
    );
    let (jobs, output) = (file(place, "jobs.toml", &jobs), place.text("batch"));
    vec![
        interrupted(&mut transfer(place, &[("--steps", "200")]), &step("out")),
        interrupted(program().args(["batch", &jobs, "-o", &output, "--threads", "1"]), &step("batch/a")),
    ]
}

fn resumed(place: &Place) -> Vec<Outcome> {
    let request = format!(
        "[prompts]\nsource_prompt = \"a [car]\"\nprompt = \"a [panda]\"\n[model]\nname = \"{}\"\n\
         [video]\nwidth = 24\nheight = 16\nframes = 3\n[source]\npath = \"{}\"\nframes_sha256 = \"0\"\n",
        tiny_model(),
        car()
    );
    file(place, "other/.unfinished/run.toml", "program.command = \"invert\"");
    file(place, "changed/.unfinished/run.toml", &request);
    let record = file(place, "run.toml", &request);
    file(
        place,
        "advised/.unfinished/run.toml",
        &request.replace("frames_sha256 = \"0\"", "[settings]\nsteps = 1"),
    );
    file(place, "advised/.unfinished/recommended.toml", "negative_prompt = \"blurry\"");
    let resume = |folder: &str, more: &[&str]| {
        let folder = place.text(folder);
        motionflow(&[&["transfer", "--resume", &folder], more].concat())
    };
    // With τ = 0 the mask is everywhere, and a step of 0 changes nothing.
    let flags =
        ["--tau", "0", "--step-size", "0", "--updates-per-step", "4", "--steps", "1", "--guided-steps", "1"];
    let again = ["transfer", "--config", &record, "-o", &place.text("again"), "--threads", "1"];
    let no_cache = file(place, "cache", "a file");
    vec![
        resume("out", &["--tau", "0.3"]),
        resume("out", &[]),
        resume("other", &[]),
        resume("changed", &[]),
        resume("advised", &["--memory", "low"]).ok(),
        run(program()
            .args(again)
            .args(flags)
            .env("MOTIONFLOW_CACHE", no_cache)
            .env_remove("MOTIONFLOW_CACHE_LIMIT"))
        .ok(),
    ]
}

fn inversions(place: &Place) -> Vec<Outcome> {
    let mut invert = program();
    let (model, folder) = (tiny_model(), place.text("inv"));
    invert.args([
        "invert",
        "--source",
        &car(),
        "--source-prompt",
        "a [car]",
        "-o",
        &folder,
        "--model",
        &model,
    ]);
    let mut outcomes = vec![run(invert.args(SMALL)).ok()];
    let reuse = |model: &str| {
        let mut command = program();
        command.args(["transfer", "--inversion", &folder, "--prompt", "a [panda]", "--model", model]);
        run(command.args(["-o", &place.text("out"), "--threads", "1"]))
    };
    let mut choosing = program();
    choosing.args(["transfer", "--inversion", &folder, "--prompt", "a [panda]", "--model", &model]);
    outcomes.push(run(choosing.args(["--guidance-layers", "auto", "-o", &place.text("out")])));
    let other = place.copied_model();
    fs::write(
        other.join("vae/config.json"),
        fs::read_to_string(other.join("vae/config.json")).unwrap() + " ",
    )
    .unwrap();
    outcomes.push(reuse(&text(&other)));
    let (record, tensors) = (place.path("inv/inversion.toml"), place.path("inv/inversion.safetensors"));
    let whole = fs::read_to_string(&record).unwrap();
    let before = sha256(&fs::read(&tensors).unwrap());
    fs::copy(Path::new(&model).join("vae/diffusion_pytorch_model.safetensors"), &tensors).unwrap();
    outcomes.push(reuse(&model));
    fs::write(&record, whole.replace(&before, &sha256(&fs::read(&tensors).unwrap()))).unwrap();
    outcomes.push(reuse(&model));
    fs::write(&record, "steps = 3").unwrap();
    outcomes.push(reuse(&model));
    fs::remove_file(&record).unwrap();
    outcomes.push(reuse(&model));
    outcomes
}

fn computing(place: &Place) -> Vec<Outcome> {
    let model = place.copied_model();
    let weights = model.join("unet/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    let small = ["-W", "8", "-H", "8", "--frames", "2", "--steps", "2"];
    let huge = ["-W", "8192", "-H", "8192", "--frames", "10000"];
    let tiny = tiny_model();
    // Outside of the source tree the program finds no ffmpeg of the tree.
    let elsewhere = place.path("motionflow");
    fs::copy(env!("CARGO_BIN_EXE_motionflow"), &elsewhere).unwrap();
    let mut without_ffmpeg = Command::new(elsewhere);
    without_ffmpeg.args(["generate", "-p", "a panda", "--model", &tiny, "-o", &place.text("out")]);
    without_ffmpeg.env("PATH", place.path("")).env_remove("MOTIONFLOW_FFMPEG").env_remove("FFMPEG");
    without_ffmpeg.env("OMP_WAIT_POLICY", "PASSIVE");
    vec![
        with(place, &[("--step-size", "1e300")]),
        with(place, &[("--model", &text(&model))]),
        run(generate(place, &["--model", &tiny, "--guidance-scale", "1e300"]).args(small)),
        run(generate(place, &["--model", &tiny]).args(huge)),
        run(generate(place, &["--model", &tiny, "--ignore-memory"]).args(huge)),
        with(place, &[("--step-size", "1e300"), ("--precision", "f16")]),
        with(place, &[("--model", &text(&model)), ("--precision", "f16")]),
        run(generate(place, &["--model", &tiny, "--guidance-scale", "1e300", "--precision", "f16"])
            .args(small)),
        run(&mut without_ffmpeg),
        run(generate(place, &["--model", &tiny]).env("MOTIONFLOW_FFMPEG", place.path("none"))),
    ]
}

fn suites(place: &Place) -> Vec<Outcome> {
    let clip = format!(
        "[[clip]]\nname = \"a\"\nsource = \"{}\"\nsource_prompt = \"a [car]\"\nprompts = [\"a [dog]\"]\n",
        car()
    );
    let variant = "[[variant]]\nname = \"v\"\n";
    let both = format!("{clip}{variant}");
    let truth = format!("truth = \"{}\"\nsource =", car());
    let eval = |name: &str, suite: &str| {
        let suite = file(place, name, suite);
        motionflow(&["eval", "--suite", &suite, "-o", &place.text("report"), "--clip", "demo-clip"])
    };
    let mut outcomes = vec![
        eval("none.toml", variant),
        eval("alone.toml", &clip),
        eval("twice.toml", &format!("{both}{variant}")),
        eval("nameless.toml", &format!("{clip}[[variant]]\n")),
        eval("sourceless.toml", &both.replace("source =", "truth =")),
        eval("untrue.toml", &both.replace("source =", "truth = \"no.npz\"\nsource =")),
        eval("few.toml", &format!("prompts_per_clip = 0\n{both}")),
        eval("seeds.toml", &format!("seeds = [1, 1]\n{both}")),
        eval("clips.toml", &format!("{both}prompts.prompt = \"x\"")),
        eval("all.toml", &format!("{both}program.json = true")),
        eval(
            "cut.toml",
            &both.replace("source =", &truth).replace("name = \"v\"", "name = \"v\"\nsource.start = 1"),
        ),
    ];
    // The record is cut off after the transfer, before it was measured.
    let small = format!(
        "{both}model.name = \"{}\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\nsettings.steps = 1\n",
        tiny_model()
    );
    outcomes.push(eval("small.toml", &small));
    let cell = place.path("report/cells/a--a-dog--v");
    fs::remove_file(cell.join("figures.json")).unwrap();
    fs::write(cell.join("run.json"), "{").unwrap();
    outcomes.push(eval("small.toml", &small));
    outcomes
}

fn sweeps(place: &Place) -> Vec<Outcome> {
    let file = file(place, "transfer.toml", "prompts.prompt = \"a [dog]\"");
    let sweep = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        run(program().args(["sweep", &file, "-o", &place.text("out")]).args(sets))
    };
    vec![
        sweep(&["tau"]),
        sweep(&["tau=0.1", "tau=0.2"]),
        sweep(&["tau=[]"]),
        sweep(&["taw=0.1"]),
        sweep(&["tau=0.1,0.1"]),
    ]
}

fn batch(place: &Place) -> Vec<Outcome> {
    let batch = |name: &str, jobs: &str, output: &str| {
        let jobs = file(place, name, jobs);
        motionflow(&["batch", &jobs, "-o", &place.text(output)])
    };
    file(place, "out/done/run.toml", "settings.seed = 1");
    file(place, "file", "mine");
    fs::create_dir_all(place.path("full/summary.json")).unwrap();
    let job = "[[job]]\nname = \"done\"\n";
    // One that is done, one that is begun, and then another source.
    let source = place.path("source.mp4");
    fs::copy(car(), &source).unwrap();
    let changed = format!(
        "[[job]]\nname = \"a\"\nsource.path = \"source.mp4\"\nprompts.source_prompt = \"a [car]\"\n\
         prompts.prompt = \"a [panda]\"\nmodel.name = \"{}\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         settings.steps = 1\nprogram.precision = \"f32\"\n",
        tiny_model()
    );
    let done = batch("changed.toml", &changed, "changed").ok();
    let threads =
        motionflow(&["batch", &place.text("changed.toml"), "-o", &place.text("changed"), "--threads", "7"])
            .ok();
    let begun = changed.replace("\"a\"", "\"b\"");
    for name in ["run.toml", "asked.toml"] {
        let text = fs::read_to_string(place.path("changed/a").join(name)).unwrap();
        file(place, &format!("changed/b/.unfinished/{name}"), &text);
    }
    fs::copy(tree().join("assets/clips/dog-bounce.mp4"), &source).unwrap();
    vec![
        done,
        threads,
        batch("changed.toml", &changed, "changed"),
        batch("begun.toml", &begun, "changed"),
        batch("none.toml", "", "out"),
        batch("name.toml", "[[job]]\nname = \"a/b\"", "out"),
        batch("twice.toml", &job.repeat(2), "out"),
        batch("other.toml", &format!("{job}settings.seed = 2"), "out"),
        batch("file.toml", job, "file"),
        batch("whole.toml", &format!("{job}output.folder = \"there\""), "out"),
        batch("full.toml", job, "full"),
    ]
}

fn studio(place: &Place) -> Vec<Outcome> {
    let studio =
        |flags: &[&str], runs: &str| run(program().args(["studio", "--runs", &place.text(runs)]).args(flags));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    file(place, "file", "mine");
    file(place, "damaged/.studio/queue.sqlite", &"no database ".repeat(1000));
    fs::create_dir_all(place.path("open/.studio")).unwrap();
    let lock = fs::File::create(place.path("open/.studio/lock")).unwrap();
    lock.try_lock().unwrap();
    vec![
        studio(&["--port", &port], "runs"),
        studio(&["--host", "no.such.name.invalid"], "runs"),
        studio(&["--port", "0"], "file"),
        studio(&["--port", "0"], "open"),
        studio(&["--port", "0"], "damaged"),
    ]
}

fn other_commands(place: &Place) -> Vec<Outcome> {
    let show = |name: &str| motionflow(&["show", &place.text(name)]);
    file(place, "stopped/.unfinished/run.toml", "");
    file(place, "other/run.toml", "[package]");
    file(place, "damaged/run.toml", "[program");
    file(place, "history/run.toml", "[program]\ncommand = \"transfer\"\nversion = \"1\"");
    file(place, "history/run.json", "?");
    file(place, "notes.txt", "mine");
    fs::write(place.path("broken.gif"), b"GIF89a").unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    let mut cache = program();
    cache.args(["cache", "list"]);
    fs::create_dir(place.path("models")).unwrap();
    fs::rename(place.copied_model(), place.path("models/demo")).unwrap();
    let mut doctor = program();
    doctor.arg("doctor").env("MOTIONFLOW_MODELS", place.path("models"));

    let case = tree().join("crates/motionflow/tests/cases/tiny");
    let broken_case = |name: &str| -> PathBuf {
        let folder = place.path(name);
        fs::create_dir(&folder).unwrap();
        for file in ["case.json", "inputs.safetensors", "expected.safetensors"] {
            fs::copy(case.join(file), folder.join(file)).unwrap();
        }
        symlink(case.join("model"), folder.join("model")).unwrap();
        folder
    };
    let (no_case, no_tensor) = (broken_case("no-case"), broken_case("no-tensor"));
    fs::write(no_case.join("case.json"), "{}").unwrap();
    fs::copy(
        case.join("model/vae/diffusion_pytorch_model.safetensors"),
        no_tensor.join("inputs.safetensors"),
    )
    .unwrap();
    let verify = |folder: &Path, more: &[&str]| motionflow(&[&["verify", &text(folder)], more].concat());
    vec![
        show("missing"),
        show("empty"),
        show("stopped"),
        show("notes.txt"),
        show("other"),
        show("damaged"),
        show("history"),
        show("broken.gif"),
        motionflow(&["man", &place.text("notes.txt")]),
        run(program().args(["cache", "list"]).env("MOTIONFLOW_CACHE_LIMIT", "lots")),
        run(cache.env("MOTIONFLOW_CACHE", place.path("notes.txt"))),
        run(doctor.env("MOTIONFLOW_FFMPEG", "true")),
        verify(&place.path("empty"), &[]),
        verify(&case, &["--tolerance", "0"]),
        verify(&case, &["--tolerance", "1e-12"]),
        motionflow(&["bench", "--accuracy", "--precision", "f32", "--model", &tiny_model()]),
        verify(&no_case, &[]),
        verify(&no_tensor, &[]),
    ]
}
