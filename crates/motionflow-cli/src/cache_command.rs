//! `motionflow cache`: what is cached, and how to be rid of it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::json;

use crate::args::{self, CacheAction};
use crate::console::Console;
use motionflow_engine::cache::{Cache, Listed};
use motionflow_engine::columns::columns;
use motionflow_engine::units::readable;

const DAY: u64 = 24 * 60 * 60;

/// The part of a key that is shown in full.
const PROMPT: &str = "prompt";

/// Runs the command.
pub(crate) fn run(args: &args::CacheCommand, console: &Console) -> Result<()> {
    let cache = Cache::open()?;
    let lines = match &args.action {
        CacheAction::List => list(&cache, console)?,
        CacheAction::Clear(clear) => vec![cleared(&cache, clear.older_than.unwrap_or(0), console)?],
    };
    for line in &lines {
        console.result(line);
    }
    Ok(())
}

fn list(cache: &Cache, console: &Console) -> Result<Vec<String>> {
    let (entries, limit) = (cache.entries()?, readable(cache.limit()));
    for Listed { name, parts, bytes, .. } in &entries {
        console.row("inversion", &json!({ "key": name, "bytes": bytes, "made_from": parts }));
    }
    let folder = cache.folder().display();
    if entries.is_empty() {
        return Ok(vec![format!("nothing is cached in {folder} (limit {limit})")]);
    }
    let mut rows = vec![["key", "size", "last used", "prompt", "made from"].map(str::to_owned)];
    rows.extend(entries.iter().map(row));
    let mut lines = columns(&rows);
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    lines.push(format!("{} in {folder}, {} of at most {limit}", inversions(entries.len()), readable(bytes)));
    Ok(lines)
}

fn row(entry: &Listed) -> [String; 5] {
    let prompt = entry.parts.get(PROMPT).map_or_else(|| "(unreadable)".to_owned(), |prompt| quoted(prompt));
    let used = ago(SystemTime::now().duration_since(entry.used).unwrap_or_default());
    [entry.name[..12].to_owned(), readable(entry.bytes), used, prompt, others(&entry.parts)]
}

/// The other parts of a key, hashes cut short.
fn others(parts: &BTreeMap<String, String>) -> String {
    let short = |value: &String| {
        let is_hash = value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hash { value[..8].to_owned() } else { value.clone() }
    };
    let others = parts.iter().filter(|(name, _)| *name != PROMPT);
    others.map(|(name, value)| format!("{name} {}", short(value))).collect::<Vec<_>>().join(", ")
}

/// A prompt on one line, cut where it is long.
fn quoted(prompt: &str) -> String {
    const LONGEST: usize = 40;
    if prompt.chars().count() <= LONGEST {
        return format!("{prompt:?}");
    }
    let start: String = prompt.chars().take(LONGEST - 1).collect();
    format!("{:?}", start + "…")
}

fn cleared(cache: &Cache, days: u32, console: &Console) -> Result<String> {
    let cleared = cache.clear(Duration::from_secs(u64::from(days) * DAY))?;
    console.row(
        "cleared",
        &json!({ "inversions": cleared.entries, "bytes": cleared.bytes, "in_use": cleared.busy }),
    );
    let (entries, freed) = (inversions(cleared.entries), readable(cleared.bytes));
    let kept =
        if cleared.busy > 0 { format!("; {} in use kept", inversions(cleared.busy)) } else { String::new() };
    Ok(format!("{entries} removed from {}, {freed} freed{kept}", cache.folder().display()))
}

/// So many inversions, in words.
pub(crate) fn inversions(count: usize) -> String {
    if count == 1 { "1 inversion".to_owned() } else { format!("{count} inversions") }
}

/// A time to read, in its largest unit.
fn ago(time: Duration) -> String {
    match time.as_secs() {
        0..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_easy_to_read() {
        let seconds = [0, 59, 60, 3599, 3600, 172_799, 172_800, 40 * DAY];
        let read = seconds.map(|seconds| ago(Duration::from_secs(seconds))).join(", ");
        let expected =
            "just now, just now, 1 min ago, 59 min ago, 1 h ago, 47 h ago, 2 days ago, 40 days ago";
        assert_eq!(read, expected);
    }

    #[test]
    fn prompts_stay_on_one_line() {
        assert_eq!(quoted("a [car]\non a \"road\""), r#""a [car]\non a \"road\"""#);
        assert_eq!(quoted(&"ä".repeat(40)), format!("\"{}\"", "ä".repeat(40)));
        assert_eq!(quoted(&"ä".repeat(41)), format!("\"{}…\"", "ä".repeat(39)));
    }

    #[test]
    fn hashes_are_cut_short() {
        let parts =
            [("frames", "0123456789abcdef".repeat(4)), ("prompt", "x".into()), ("steps", "25".into())];
        let parts = parts.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(others(&parts), "frames 01234567, steps 25");
    }
}
