//! What is printed where.

use std::process::Command;

use crate::common::{Place, motionflow, run};

#[test]
fn pipes_get_plain_lines() {
    let place = Place::new();
    let outcome = place.transfer(&[]).ok();
    for stream in [&outcome.stdout, &outcome.stderr] {
        assert!(!stream.contains('\x1b') && !stream.contains('\r'), "{stream:?}");
    }
    for stage in ["read", "load", "encode", "invert", "generate", "decode", "write"] {
        assert!(outcome.stderr.contains(&format!("{stage}: done in ")), "{}", outcome.stderr);
    }
    assert!(outcome.stderr.contains("generate: 1/3, loss "), "{}", outcome.stderr);
    assert!(outcome.stdout.lines().all(|line| !line.contains("done in")), "{}", outcome.stdout);
}

#[test]
fn quiet_is_quiet() {
    let place = Place::new();
    let outcome = place.transfer(&["--quiet", "--tau", "0"]).ok();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    let outcome = place.transfer(&["--quiet"]).fails(2, &["--force"]);
    assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    let mut command = place.transfer_command();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(command.stdout(writer).stderr(std::process::Stdio::null()).status().unwrap().success());
}

/// The events of a run; every line of standard output must be one, the first says what follows.
#[track_caller]
fn events(arguments: &[&str], code: i32) -> Vec<serde_json::Value> {
    let outcome = motionflow(arguments);
    assert_eq!(outcome.code, code, "{}", outcome.stderr);
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn for_a_program_every_line_is_an_event() {
    let place = Place::new();
    place.transfer(&[]).ok();
    let out = place.text("out");
    for command in [&["schema"][..], &["completions", "bash"], &["man"], &["show", &out, "--toml"]] {
        let events = events(&[command, &["--json"]].concat(), 0);
        assert_eq!((events.len(), events[0]["event"].as_str()), (2, Some("started")), "{events:?}");
        let product = motionflow(command).ok().stdout;
        assert_eq!(events[1]["row"].as_str(), Some(product.trim_end()));
    }
    for misuse in [&["transfer", "--json", "--bogus"][..], &["show", "nowhere", "--json"], &["--json"]] {
        let events = events(misuse, 2);
        let last = events.last().unwrap();
        assert_eq!((last["event"].as_str(), last["exit_code"].as_i64()), (Some("error"), Some(2)));
    }
    // A settings file can ask for events too.
    let settings = place.path("settings.toml");
    std::fs::write(&settings, "program.json = true").unwrap();
    let events = events(&["transfer", "--config", &place.text("settings.toml")], 2);
    assert_eq!(events[0]["event"].as_str(), Some("started"), "{events:?}");
}

/// The program on a terminal that the tool `script` makes; None where that tool is missing.
#[cfg(target_os = "linux")]
fn on_terminal(command: &Command) -> Option<String> {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"));
    let line: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.env(name, value);
        }
    }
    script.stdin(std::process::Stdio::null());
    if script.output().is_err() { None } else { Some(run(&mut script).stdout) }
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_a_bar_and_colours_unless_they_are_unwanted() {
    let place = Place::new();
    let mut command = place.transfer_command();
    command.arg("--force");
    let Some(coloured) = on_terminal(&command) else { return };
    assert!(
        coloured.contains("generate") && coloured.contains("3/3") && coloured.contains(" left"),
        "{coloured}"
    );
    assert!(coloured.contains("\x1b[36m") || coloured.contains("\x1b[1;33m"), "{coloured:?}");
    let plain = on_terminal(command.env("NO_COLOR", "1")).unwrap();
    assert!(!plain.contains("\x1b[36m") && !plain.contains("\x1b[1;"), "{plain:?}");
    assert!(plain.contains("3/3"), "{plain:?}");
}
