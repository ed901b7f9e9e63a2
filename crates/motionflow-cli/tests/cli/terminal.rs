//! What is printed where.

use std::process::Command;

use crate::common::{Place, run};

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
