//! `cargo xtask test`: every test, and what the runner said once more at the end.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::arguments::Arguments;
use crate::nats;
use crate::page::prepare_story;
use crate::setup::{Environment, setup};
use crate::workspace::{Workspace, exit_code, say};

/// How the tests went.
pub struct Outcome {
    /// How `cargo test` ended.
    pub status: ExitStatus,
    /// The runner's closing lines, one for each test binary.
    pub closing_lines: Vec<String>,
    /// What the tests that failed said.
    pub failures: Vec<String>,
    /// Why the studio's story was not told in a browser.
    pub skipped: Option<String>,
    /// Why tests of the queue that need a NATS server were skipped.
    pub without_server: Option<String>,
}

/// Runs the tests; arguments go to `cargo test`.
pub fn test(workspace: &Workspace, arguments: Arguments) -> Result<ExitCode> {
    let outcome = run_tests(&setup(workspace)?, &arguments.rest())?;
    outcome.print();
    Ok(exit_code(outcome.status))
}

/// Runs `cargo test`, of the whole workspace unless `arguments` name packages.
pub fn run_tests(environment: &Environment, arguments: &[String]) -> Result<Outcome> {
    let mut cargo = environment.cargo("test");
    let is_all = arguments.is_empty();
    let without_server = nats::prepare(&mut cargo);
    let skipped = if is_all { prepare_story(environment.workspace(), &mut cargo) } else { None };
    let own = || arguments.iter().take_while(|a| *a != "--");
    if !own().any(|a| a.starts_with("-p") || a.starts_with("--package")) {
        cargo.arg("--workspace");
    }
    if !own().any(|a| a == "--no-fail-fast") {
        cargo.arg("--no-fail-fast");
    }
    cargo.args(arguments).stdout(Stdio::piped());
    say(&cargo);
    let mut child = cargo.spawn().context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let (mut closing_lines, mut failures, mut is_failure) = (Vec::new(), Vec::new(), false);
    let mut stdout = std::io::stdout();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("cannot read what cargo test says")?).into_owned();
        writeln!(stdout, "{line}").context("cannot pass on what cargo test says")?;
        is_failure = (is_failure || line == "failures:") && !line.starts_with("test result:");
        if is_failure {
            failures.push(line);
        } else if line.starts_with("test result:") {
            closing_lines.push(line);
        }
    }
    let status = child.wait().context("cargo test got lost")?;
    Ok(Outcome { status, closing_lines, failures, skipped, without_server })
}

impl Outcome {
    /// What failed, the closing lines and their sum.
    pub fn print(&self) {
        for line in &self.failures {
            println!("{line}");
        }
        println!("\nThe runner's closing lines, {} test binaries:", self.closing_lines.len());
        for line in &self.closing_lines {
            println!("  {line}");
        }
        let sum = |word| self.closing_lines.iter().filter_map(|line| count(line, word)).sum::<u64>();
        println!("  in all: {} passed; {} failed; {} ignored", sum("passed"), sum("failed"), sum("ignored"));
        if let Some(why) = &self.skipped {
            println!("  skipped: the studio's story in a browser, since {why}");
        }
        if let Some(why) = &self.without_server {
            println!("  skipped: the queue over NATS, since {why}");
        }
        println!("{}", if self.status.success() { "every test passed" } else { "the tests FAILED" });
    }
}

/// The number before `word` in "test result: ok. 12 passed; 0 failed; 0 ignored; ...".
fn count(line: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = line.split([' ', ';']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| *w == word)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_of_a_closing_line() {
        let line =
            "test result: ok. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            ["passed", "failed", "ignored", "seen"].map(|word| count(line, word)),
            [Some(12), Some(3), Some(1), None]
        );
    }
}
