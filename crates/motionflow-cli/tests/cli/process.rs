//! What the system does to the program: signals, limits, streams, folders and names.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Outcome, Place, car, ffmpeg, motionflow, program, run, text, tiny_model, tree};

const REQUESTS: [&str; 5] = ["INT", "TERM", "HUP", "USR1", "USR2"];

pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now();
    while !is_so() {
        assert!(patience.elapsed() < Duration::from_secs(60), "{what}: never");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn send(signal: &str, to: &Child) {
    let id = to.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
}

/// A program that is in the place of ffmpeg: `script` is what it does where it would read or write a video.
fn in_place_of_ffmpeg(place: &Place, script: &str) -> PathBuf {
    let path = place.path("ffmpeg");
    let real = text(&std::path::absolute(ffmpeg().program()).unwrap());
    let text =
        format!("#!/bin/sh\nreal={real}\ncase \"$*\" in -version) exec $real \"$@\";; esac\n{script}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The command after a line of a shell, such as one that sets a limit.
fn after(line: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{line}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

pub(crate) fn begin(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn ended(mut running: Child) -> Outcome {
    let code = running.wait().unwrap().code().unwrap_or(-1);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    running.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    running.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Outcome { code, stdout, stderr }
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    let place = Place::new();
    let ignored = place.path("ignored");
    // What children ignore is reported by the last one.
    let script = format!("grep SigIgn /proc/self/status > {}; exec $real \"$@\"", ignored.display());
    let mut command = place.transfer_command();
    command.args(["--no-cache"]).env_remove("OMP_WAIT_POLICY");
    command.env("MOTIONFLOW_FFMPEG", in_place_of_ffmpeg(&place, &script));
    let running = begin(&mut after("trap '' HUP INT TERM USR1 USR2", &command));
    wait_for("a first step", || place.path("out/.unfinished/inversion-0001.safetensors").exists());
    for signal in REQUESTS {
        send(signal, &running);
    }
    let outcome = ended(running).ok();
    assert!(!outcome.stderr.contains("stopping"), "{}", outcome.stderr);
    let mask = fs::read_to_string(ignored).unwrap();
    let mask = u64::from_str_radix(mask.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    for number in [1, 2, 15, 10, 12] {
        assert!(mask >> (number - 1) & 1 == 1, "{number}: {mask:x}");
    }
}

#[test]
fn before_there_is_anything_to_keep_a_request_ends_the_program_at_once() {
    let place = Place::new();
    let child = place.path("child");
    // It ends by itself only after the test.
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", child.display());
    let in_its_place = in_place_of_ffmpeg(&place, &script);
    for (signal, json) in REQUESTS.into_iter().zip([false, true, false, true, false]) {
        let mut command = place.transfer_command();
        command.env("MOTIONFLOW_FFMPEG", &in_its_place).args(json.then_some("--json"));
        let running = begin(&mut command);
        wait_for("a child", || child.exists());
        let began = Instant::now();
        send(signal, &running);
        let outcome = ended(running);
        assert_eq!(outcome.code, 130, "{signal}: {}", outcome.stderr);
        assert!(began.elapsed() < Duration::from_secs(10), "{signal}");
        assert!(outcome.stderr.contains("stopped; nothing was kept"), "{signal}: {}", outcome.stderr);
        let last = outcome.stdout.lines().last().unwrap_or_default();
        assert_eq!(last.contains(r#""event":"stopped""#), json, "{last}");
        assert!(!place.path("out").exists(), "{signal}");
        let id = fs::read_to_string(&child).unwrap();
        let status = format!("/proc/{}/status", id.trim());
        let is_gone = || {
            !fs::read_to_string(&status)
                .is_ok_and(|status| status.contains("sleep") && !status.contains("zombie"))
        };
        wait_for("the end of the child", is_gone);
        fs::remove_file(&child).unwrap();
    }
}

#[test]
fn a_second_request_ends_the_program_at_once_and_how_to_go_on_is_told() {
    let place = Place::new();
    let child = place.path("child");
    // It never finishes a video that it is given to write.
    let script =
        format!("case \"$*\" in *pipe:0*) : > {}; exec sleep 60;; esac; exec $real \"$@\"", child.display());
    let mut command = place.transfer_command();
    command.env("MOTIONFLOW_FFMPEG", in_place_of_ffmpeg(&place, &script)).args(["--no-cache"]);
    let stderr = place.path("stderr");
    let mut running = command.stderr(fs::File::create(&stderr).unwrap()).spawn().unwrap();
    wait_for("a child", || child.exists());
    send("INT", &running);
    let told = || fs::read_to_string(&stderr).unwrap();
    wait_for("the word of a second request", || told().contains("once more stops at once"));
    // Two within a tenth of a second are one.
    std::thread::sleep(Duration::from_millis(150));
    send("INT", &running);
    assert_eq!(running.wait().unwrap().code(), Some(130), "{}", told());
    let out = place.text("out");
    let how = format!("stopped; go on with\n  motionflow transfer --resume {out}");
    assert!(told().contains(&how), "{}", told());
    motionflow(&["transfer", "--resume", &out]).ok();
    assert!(place.path("out/result.mp4").exists());
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let place = Place::new();
    place.transfer(&["--tau", "0"]).ok();
    let out = place.text("out");
    let to = |arguments: &[&str], stdout: Stdio| {
        let output = program().args(arguments).stdout(stdout).output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::new(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let eval = ["eval", "--source", &car(), "--result", &car(), "-p", "a [car]", "--clip", "none"];
    let commands: [&[&str]; 10] = [
        &["schema"],
        &["show", &out],
        &["show", "--toml", &out],
        &["models", "--json"],
        &["man"],
        &["completions", "zsh"],
        &["cache", "list"],
        &["transfer", "--help"],
        &["--version"],
        &eval,
    ];
    for command in commands {
        to(command, full()).fails(1, &["standard output cannot be written to: the disk is full"]);
        assert_eq!(to(command, closed()).code, 0, "{command:?}");
    }
    // Of a run, the files are the product; of what a program listens to, the events.
    let settings = place.text("settings.toml");
    fs::copy(place.path("out/run.toml"), &settings).unwrap();
    let again = ["transfer", "--config", &settings, "-o", &out, "--force"];
    let outcome = to(&again, full()).ok();
    assert!(outcome.stderr.contains("warning: standard output cannot be written to"), "{}", outcome.stderr);
    to(&[&again[..], &["--json"]].concat(), full()).fails(1, &["standard output"]);
    to(&[&again[..], &["--dry-run"]].concat(), full()).fails(1, &["standard output"]);
}

#[test]
fn without_a_home_all_but_what_is_kept_there_works() {
    let place = Place::new();
    let homeless = |arguments: &[&str]| {
        let mut command = program();
        for variable in
            ["XDG_CACHE_HOME", "MOTIONFLOW_CACHE", "MOTIONFLOW_CACHE_LIMIT", "HF_HOME", "HF_HUB_CACHE"]
        {
            command.env_remove(variable);
        }
        // What is no whole path is no home.
        command.current_dir(place.path(".")).env("HOME", "home").args(arguments);
        command
    };
    let transfer = place.transfer_command();
    let arguments: Vec<&str> = transfer.get_args().map(|argument| argument.to_str().unwrap()).collect();
    let outcome = run(&mut homeless(&arguments)).ok();
    let told = "is not kept for later runs: there is no home folder for the cache";
    assert_eq!(outcome.stderr.matches(told).count(), 1, "{}", outcome.stderr);
    let models = run(&mut homeless(&["models"])).ok();
    assert!(models.stdout.contains("\ndemo ") && models.stderr.contains("set HF_HOME"), "{models:?}");
    let doctor = run(&mut homeless(&["doctor"])).ok();
    assert!(doctor.stdout.contains("warning  there is no home folder for the cache"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("a transfer would work"), "{}", doctor.stdout);
    run(&mut homeless(&["cache", "list"])).fails(1, &["set MOTIONFLOW_CACHE"]);
    run(&mut homeless(&["models", "fetch", "a/b"])).fails(2, &["set HF_HOME"]);
    // A cache that is named needs no home, nor does one that `XDG_CACHE_HOME` names by a whole path.
    let listed = run(homeless(&["cache", "list"]).env("XDG_CACHE_HOME", place.path("xdg"))).ok();
    assert!(listed.stdout.contains(&place.text("xdg/motionflow/inversions")), "{}", listed.stdout);
    run(homeless(&["cache", "list"]).env("XDG_CACHE_HOME", "xdg")).fails(1, &["set MOTIONFLOW_CACHE"]);
    assert_eq!(place.names("."), ["out"]);
}

#[test]
fn what_the_system_refuses_is_told_as_that() {
    let place = Place::new();
    for (limit, told) in [
        ("ulimit -f 1", "the file is larger than it may be; raise"),
        ("ulimit -f 16", "cannot be written: the file is larger than it may be; raise"),
        ("ulimit -n 10", "too many files are open; raise the limit of this process (ulimit -n)"),
    ] {
        let outcome = run(&mut after(limit, place.transfer_command().args(["--force", "--no-cache"])));
        let outcome = Outcome { stdout: String::new(), ..outcome }.fails(1, &[told]);
        assert!(!outcome.stderr.contains("MOTIONFLOW_FFMPEG"), "{}", outcome.stderr);
    }
    // A cache that may not grow is no reason to fail.
    let mut command = place.transfer_to("other");
    command.env("MOTIONFLOW_CACHE", "/dev/null/cache").env_remove("MOTIONFLOW_CACHE_LIMIT");
    let outcome = run(&mut command).ok();
    assert!(outcome.stderr.contains("is not kept for later runs: /dev/null/cache"), "{}", outcome.stderr);
}

/// The outcome of a command after lines of a shell in a mount namespace of its own; None where there may be none.
fn in_namespace(lines: &str, command: &Command) -> Option<Outcome> {
    let works = |flags: &str| {
        Command::new("unshare").args([flags, "true"]).status().is_ok_and(|status| status.success())
    };
    let flags = ["-m", "-rm"].into_iter().find(|flags| works(flags))?;
    let shell = after(lines, command);
    let mut unshared = Command::new("unshare");
    unshared.arg(flags).arg("sh").args(shell.get_args());
    for (name, value) in shell.get_envs() {
        match value {
            Some(value) => unshared.env(name, value),
            None => unshared.env_remove(name),
        };
    }
    Some(run(&mut unshared))
}

#[test]
fn a_full_disk_is_told_and_what_is_done_is_kept() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).unwrap();
    let mount = |kibibytes: u32| {
        format!("mount -t tmpfs -o size={kibibytes}k none '{}' || exit 77", place.text("disk"))
    };
    let on_disk = |mount: &str| in_namespace(mount, place.transfer_to("disk/out").args(["--no-cache"]));
    for kibibytes in [4, 24, 60] {
        let Some(outcome) = on_disk(&mount(kibibytes)).filter(|outcome| outcome.code != 77) else { return };
        let full =
            "cannot be written: the disk is full; free some space on it, or choose a folder on another disk";
        Outcome { stdout: String::new(), ..outcome }.fails(1, &[full]);
    }
    let mut cached = place.transfer_command();
    cached.env("MOTIONFLOW_CACHE", place.path("disk/cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
    let outcome = in_namespace(&mount(4), &cached).unwrap().ok();
    let told = "is not kept for later runs: ";
    let (_, reason) = outcome.stderr.split_once(told).unwrap();
    assert!(reason.lines().next().unwrap().contains("the disk is full"), "{}", outcome.stderr);
}

#[test]
fn the_limit_of_a_container_holds_for_the_run_the_dry_run_and_doctor() {
    let place = Place::new();
    let groups = place.path("groups");
    fs::create_dir(&groups).unwrap();
    fs::write(groups.join("memory.max"), "524288000\n").unwrap();
    let bound = format!("mount --bind '{}' /sys/fs/cgroup || exit 77", groups.display());
    let mut transfer = program();
    transfer.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road"]);
    transfer.args(["--prompt", "a [panda] in the snow", "-m", &text(&tree().join("models/demo"))]);
    transfer.args(["--frames", "16", "-W", "128", "-H", "128", "--threads", "1", "-o", &place.text("out")]);
    let Some(outcome) = in_namespace(&bound, &transfer).filter(|outcome| outcome.code != 77) else { return };
    let told = "and this container (control group) has ";
    outcome.fails(2, &[told]);
    let dry = in_namespace(&bound, transfer.arg("--dry-run")).unwrap().ok();
    assert!(
        dry.stdout.contains("refused this run would take") && dry.stdout.contains(told),
        "{}",
        dry.stdout
    );
    let doctor = in_namespace(&bound, program().arg("doctor")).unwrap().ok();
    assert!(doctor.stdout.contains("500.0 MiB in all in this container"), "{}", doctor.stdout);
}

#[test]
fn threads_are_those_that_openmp_is_told() {
    let doctor = |named: Option<&str>| {
        let mut command = program();
        command.arg("doctor").env_remove("OMP_NUM_THREADS");
        named.map(|named| command.env("OMP_NUM_THREADS", named));
        let stdout = run(&mut command).ok().stdout;
        let (before, _) = stdout.split_once(" threads to compute with").unwrap();
        before.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    let most = std::thread::available_parallelism().unwrap().get();
    assert!(doctor(None) <= most);
    assert_eq!([doctor(Some("3")), doctor(Some("5,2")), doctor(Some("0"))], [3, 5, doctor(None)]);
}

#[test]
fn names_are_shown_and_do_nothing_else() {
    let place = Place::new();
    let name = "a\u{1b}[31mb\u{7}\u{9b}2J\r\u{202e}c\nfake: d";
    let shown = r"a\u{1b}[31mb\u{7}\u{9b}2J\r\u{202e}c\nfake: d";
    let source = place.path(name).with_extension("mp4");
    let arguments = |source: &Path, output: &Path| {
        let mut command = program();
        command.args(["transfer", "--source-prompt", "a [car]", "-p", "a [panda]", "-m", &tiny_model()]);
        command.args(["-W", "24", "-H", "16", "--frames", "3", "--steps", "2", "--threads", "1"]);
        command.arg("--source").arg(source).arg("-o").arg(output);
        command
    };
    let missing = run(&mut arguments(&source, &place.path("out"))).fails(2, &[shown, "no such file"]);
    fs::copy(car(), &source).unwrap();
    let made = run(&mut arguments(&source, &place.path(name))).ok();
    assert!(made.stdout.contains(&format!("{shown} made in")), "{}", made.stdout);
    let again = run(&mut arguments(&source, &place.path(name))).fails(2, &[shown, "--force"]);
    let misuse = motionflow(&["transfer", "--tau", name]).fails(2, &[&format!("invalid value '{shown}'")]);
    for text in [missing.stderr, made.stdout, made.stderr, again.stderr, misuse.stderr] {
        let harmful = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
        assert!(!text.contains(harmful), "{text:?}");
        assert_eq!(text.matches("\nfake:").count(), 0, "{text}");
    }
    let events = motionflow(&["show", &place.text(name), "--json"]);
    assert!(!events.stdout.contains('\u{9b}') && events.stdout.contains("\\u009b"), "{}", events.stdout);
}

#[test]
fn a_path_that_is_not_utf8_is_refused_or_can_be_gone_on_with() {
    let place = Place::new();
    let odd = |name: &[u8]| place.path(".").join(OsStr::from_bytes(name));
    let told = "a path that is not UTF-8 cannot be taken here; give another";
    fs::copy(car(), odd(b"u\xe9.mp4")).unwrap();
    fs::create_dir(odd(b"d\xe9")).unwrap();
    fs::copy(car(), odd(b"d\xe9/car.mp4")).unwrap();
    let flags =
        ["--source-prompt", "a [car]", "-p", "a [panda]", "-m", &tiny_model(), "-o", &place.text("out")];
    let refused = |arguments: &[&OsStr]| {
        let mut command = program();
        command.args(["transfer"]).args(flags).args(arguments).current_dir(odd(b"d\xe9"));
        run(&mut command).fails(2, &[told]);
    };
    refused(&[OsStr::new("--source"), odd(b"u\xe9.mp4").as_os_str()]);
    refused(&[OsStr::new("--source"), OsStr::new("car.mp4")]);
    let mut from = program();
    from.args(["transfer", "-p", "a [panda]", "--inversion"]).arg(odd(b"d\xe9"));
    run(&mut from).fails(2, &[told]);
    assert!(!place.path("out").exists());

    // Nothing but the printed command names the folder of a run.
    let folder = odd(b"o\xe9 '");
    let mut command = place.transfer_command();
    command.arg("--output").arg(&folder);
    let arguments: Vec<&OsStr> = command.get_args().collect();
    let at = arguments.iter().position(|argument| *argument == "--output").unwrap();
    let mut command = program();
    command.args(arguments[..at].iter().chain(&arguments[at + 2..])).args(["--no-cache"]);
    let script = "case \"$*\" in *pipe:0*) exit 1;; esac; exec $real \"$@\"";
    let outcome = run(command.env("MOTIONFLOW_FFMPEG", in_place_of_ffmpeg(&place, script)));
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.contains("--resume")).unwrap();
    assert!(line.ends_with(r"o\351 \''"), "{line}");
    let line = line.trim().replace("motionflow ", &format!("'{}' ", env!("CARGO_BIN_EXE_motionflow")));
    let typed = Command::new("bash").args(["-c", &line]).output();
    assert!(
        typed.is_err() || (typed.unwrap().status.success() && folder.join("result.mp4").exists()),
        "{line}"
    );
}
