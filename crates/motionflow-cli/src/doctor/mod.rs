//! `motionflow doctor`: whether all that a run needs is there, and what to do where it is not.

mod cache;
mod ffmpeg;
mod libtorch;
mod machine;
mod models;
mod trial;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use motionflow_engine::error;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    /// What was found.
    what: String,
    /// What to do about it; empty where there is nothing to do, or where `what` says it.
    hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// A transfer would work all the same.
    Warning,
    /// A transfer would not work.
    Missing,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what: what.into(), hint: String::new() }
    }

    fn warning(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, what: what.into(), hint: hint.into() }
    }

    fn missing(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Missing, what: what.into(), hint: hint.into() }
    }

    /// An error whose message says what to do.
    fn error(error: &anyhow::Error) -> Self {
        Self::missing(error::message(error), "")
    }

    fn lines(&self) -> Vec<String> {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Missing => "missing",
        };
        let hint = if self.hint.is_empty() { String::new() } else { format!("\n-> {}", self.hint) };
        let text = self.what.clone() + &hint;
        let labels = std::iter::once(verdict).chain(std::iter::repeat(""));
        text.lines().zip(labels).map(|(line, label)| format!("  {label:7}  {line}")).collect()
    }
}

/// Looks at one part.
type Look = fn() -> Vec<Finding>;

/// The parts in the order in which they are shown.
const PARTS: [(&str, Look); 7] = [
    ("program", program),
    ("libtorch", libtorch::look),
    ("memory", machine::memory),
    ("ffmpeg", ffmpeg::look),
    ("models", models::look),
    ("cache", cache::look),
    ("trial", trial::run),
];

/// Runs the command. It fails when a transfer would not work.
pub(crate) fn run(app: &mut App) -> Result<()> {
    app.engine.on_device(&app.flags.resources, &mut app.progress, |_, _, _| Ok(()))?;
    let console = &app.console;
    let mut lacking = Vec::new();
    for (part, look) in PARTS {
        let findings = unshaken(look);
        if findings.iter().any(|finding| finding.verdict == Verdict::Missing) {
            lacking.push(part);
        }
        console.result(part);
        for finding in &findings {
            console.row("finding", &json!({ "part": part, "finding": finding }));
            finding.lines().iter().for_each(|line| console.result(line));
        }
    }
    if !lacking.is_empty() {
        bail!("a transfer would not work: see what `motionflow doctor` says of {}", lacking.join(", "));
    }
    console.result("a transfer would work");
    Ok(())
}

/// Looks at one part; a panic there hides none of the others.
fn unshaken(look: Look) -> Vec<Finding> {
    error::catch(|| Ok(look())).unwrap_or_else(|error| vec![Finding::error(&error)])
}

fn program() -> Vec<Finding> {
    let version = env!("CARGO_PKG_VERSION");
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let place = std::env::current_exe().map(|path| format!(", {}", path.display())).unwrap_or_default();
    vec![Finding::ok(format!("motionflow {version} for {os} on {architecture}{place}"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_one_part_is_a_finding() {
        let findings = unshaken(|| panic!("no such luck"));
        assert_eq!(findings[0].verdict, Verdict::Missing);
        assert!(findings[0].what.contains("no such luck"), "{findings:?}");
    }

    #[test]
    fn the_hint_stands_below() {
        let finding = Finding::warning("it is loud", "be quiet");
        assert_eq!(finding.lines(), ["  warning  it is loud", "           -> be quiet"]);
        assert_eq!(Finding::ok("fine").lines(), ["  ok       fine"]);
    }
}
