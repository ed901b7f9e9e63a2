//! `motionflow completions` and `motionflow man`, put before the programs that read them.

use std::fs;
use std::process::Command;

use crate::common::{Place, motionflow, run};

/// What bash offers for the last of these words.
fn completed(script: &str, words: &[&str]) -> Vec<String> {
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let lines = format!(
        "source '{script}'\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_motionflow motionflow '{last}' '{before}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1
    );
    let outcome = run(Command::new("bash").args(["--norc", "-c", &lines])).ok();
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    let script = place.text("motionflow.bash");
    fs::write(&script, motionflow(&["completions", "bash"]).ok().stdout).unwrap();
    let outcome = run(Command::new("bash").args(["-n", &script])).ok();
    assert_eq!(outcome.stderr, "");
    assert_eq!(completed(&script, &["motionflow", "tran"]), ["transfer"]);
    assert_eq!(completed(&script, &["motionflow", "cache", "cl"]), ["clear"]);
    assert_eq!(completed(&script, &["motionflow", "cache", "clear", "--ol"]), ["--older-than"]);
    assert_eq!(completed(&script, &["motionflow", "transfer", "--fit", "c"]), ["crop"]);
}

#[test]
fn a_flag_for_a_folder_is_offered_folders() {
    let script = motionflow(&["completions", "zsh"]).ok().stdout;
    for flag in ["--output=[Folder", "--model=[", "--inversion=["] {
        let lines: Vec<&str> = script.lines().filter(|line| line.contains(flag)).collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains("_files -/")),
            "{flag}: {lines:?}"
        );
    }
}

#[test]
fn every_shell_has_a_script() {
    for (shell, sign) in [
        ("zsh", "#compdef motionflow"),
        ("fish", "complete -c motionflow"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[motionflow]"),
    ] {
        let script = motionflow(&["completions", shell]).ok().stdout;
        assert!(script.contains(sign) && script.contains("older-than"), "{shell}:\n{script}");
    }
    motionflow(&["completions", "tcsh"]).fails(2, &["tcsh", "possible values: bash"]);
}

#[test]
fn the_main_page_is_printed() {
    let page = motionflow(&["man"]).ok().stdout;
    for line in [".TH motionflow 1", ".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", "motionflow\\-transfer(1)"] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[test]
fn every_command_has_a_page_that_renders() {
    let place = Place::new();
    let outcome = motionflow(&["man", &place.text("share/man1")]).ok();
    let pages = place.names("share/man1");
    assert_eq!(outcome.stdout, format!("{} pages in {}\n", pages.len(), place.text("share/man1")));
    let commands =
        "cache cache-clear cache-list completions doctor generate inspect invert man transfer verify";
    let mut expected: Vec<String> = commands.split(' ').map(|name| format!("motionflow-{name}.1")).collect();
    expected.push("motionflow.1".to_owned());
    for page in &expected {
        assert!(pages.contains(page), "{page} is not in {pages:?}");
    }

    // The language of manual pages has no errors, but groff can warn.
    if Command::new("groff").arg("--version").output().is_ok() {
        for page in &pages {
            let path = place.path("share/man1").join(page);
            let outcome =
                run(Command::new("groff").args(["-man", "-Tascii", "-P-cbou", "-ww"]).arg(path)).ok();
            assert_eq!(outcome.stderr, "", "{page}");
            for heading in ["NAME", "SYNOPSIS", "OPTIONS"] {
                assert!(outcome.stdout.lines().any(|line| line == heading), "{page}:\n{}", outcome.stdout);
            }
        }
    }
}

#[test]
fn pages_need_a_folder_that_can_be_written() {
    let place = Place::new();
    fs::write(place.path("man1"), "mine").unwrap();
    motionflow(&["man", &place.text("man1")]).fails(1, &["man1", "give a folder that you may write to"]);
    assert_eq!(fs::read_to_string(place.path("man1")).unwrap(), "mine");
}
