//! How a result was made, kept inside the result: the record in a video's comment, the prompt as its title.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use motionflow::prompt::Prompt;
use motionflow_media::{Ffmpeg, metadata};
use toml::{Table, Value};

use crate::folder::record::RunRecord;
use crate::progress::Progress;

const TITLE: &str = "title";
const COMMENT: &str = "comment";

/// ffmpeg takes metadata on its command line, which has limits.
const LONGEST: usize = 100_000;

/// What is noted in the files of a result.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    title: String,
    comment: Option<String>,
}

impl Notes {
    /// The prompt and the record. Nothing where that is not wanted, or, which is reported, the record is too long to be kept.
    pub(crate) fn of(record: &RunRecord, progress: &mut Progress) -> Result<Self> {
        if !record.output.metadata {
            return Ok(Self::default());
        }
        let prompt = record.prompts.prompt.as_deref().unwrap_or_default();
        let title = prompt.parse::<Prompt>().map_or_else(|_| prompt.to_owned(), |prompt| prompt.text);
        let comment = comment(record)?;
        if comment.len() > LONGEST {
            progress.warn(format!(
                "the record is left out of result.mp4 and result.gif: it has {} bytes, and they hold {LONGEST}; run.toml \
                 has it",
                comment.len()
            ));
        }
        let comment = Some(comment).filter(|comment| comment.len() <= LONGEST);
        Ok(Self { title: title.replace('\0', " "), comment })
    }

    /// Keys and values for an MP4.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        let pair = |comment| [(TITLE, self.title.as_str()), (COMMENT, comment)];
        self.comment().into_iter().flat_map(pair).collect()
    }

    /// For a GIF, which has nothing but one comment.
    pub(crate) fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }
}

/// The record as TOML, for others to read: names of files stand without their folders, the checkpoint and a reused
/// inversion without their place on this machine. So a reused inversion still gives the same bytes.
fn comment(record: &RunRecord) -> Result<String> {
    let mut table = Table::try_from(record)?;
    for (name, key) in [("source", "path"), ("model", "name"), ("model", "motion_adapter")] {
        if let Some(Value::String(path)) = table.get_mut(name).and_then(|table| table.get_mut(key)) {
            *path = file_name(path).to_owned();
        }
    }
    if let Some(motion) = table.get_mut("motion") {
        named_alone(motion);
    }
    for (name, key) in [
        ("source", "inversion"),
        ("source", "inversion_sha256"),
        ("model", "path"),
        ("model", "motion_adapter_path"),
    ] {
        if let Some(Value::Table(table)) = table.get_mut(name) {
            table.remove(key);
        }
    }
    Ok(toml::to_string(&table)?)
}

/// Leaves the names of files of a motion without their folders.
fn named_alone(value: &mut Value) {
    match value {
        Value::Table(table) => {
            for key in ["mask", "track", "avoid", "source", "inversion"] {
                if let Some(value) = table.get_mut(key) {
                    named_alone(value);
                }
            }
            if let Some(Value::Array(subjects)) = table.get_mut("subject") {
                subjects.iter_mut().for_each(named_alone);
            }
        }
        Value::Array(paths) => paths.iter_mut().for_each(named_alone),
        Value::String(path) => *path = file_name(path).to_owned(),
        _ => {}
    }
}

/// The record as TOML that a video or a GIF carries, also one that another program has put into another container; none
/// in other files, and in files of others.
///
/// # Errors
/// When ffmpeg cannot be run, or cannot read the file.
pub fn from_file(ffmpeg: &Ffmpeg, path: &Path) -> Result<Option<String>> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(12).read_to_end(&mut head))
        .with_context(|| format!("{}: cannot be read", path.display()))?;
    let comments = if head.starts_with(b"GIF8") {
        metadata::read_gif(path)?
    } else if head.get(4..8) == Some(b"ftyp") {
        let pairs = metadata::read_mp4(ffmpeg, path)?;
        values(pairs)
    } else {
        // What ffmpeg cannot read carries none.
        metadata::read_container(ffmpeg, path).map(values).unwrap_or_default()
    };
    Ok(comments.into_iter().find(|comment| is_record(comment)))
}

/// The values under which a record may stand: containers keep the key `comment`, write it in capitals, or make a
/// description of it.
fn values(pairs: Vec<(String, String)>) -> Vec<String> {
    let is_comment = |key: &str| [COMMENT, "description"].iter().any(|name| key.eq_ignore_ascii_case(name));
    pairs.into_iter().filter(|(key, _)| is_comment(key)).map(|(_, value)| value).collect()
}

/// Whether a text is a record: TOML that says which program wrote it.
fn is_record(text: &str) -> bool {
    let command = |table: Table| table.get("program")?.get("command")?.as_str().map(str::to_owned);
    text.parse::<Table>().ok().and_then(command).is_some()
}

fn file_name(path: &str) -> &str {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::record::{self, OutputRecord};

    fn record(prompt: &str) -> RunRecord {
        let mut record = record::tests::record();
        record.prompts.prompt = Some(prompt.to_owned());
        record.output = OutputRecord { metadata: true };
        record.model.name = "/home/me/zs/".to_owned();
        record.model.path = "/home/me/zs".to_owned();
        record.model.motion_adapter = Some("/home/me/adapter".to_owned());
        record.model.motion_adapter_path = Some("/home/me/adapter".to_owned());
        if let Some(source) = &mut record.source {
            source.path = "/home/me/clips/car.mp4".to_owned();
            source.inversion = Some("/home/me/inv".to_owned());
        }
        record
    }

    #[test]
    fn no_place_on_the_machine_is_told() {
        let comment = comment(&record("a [panda] in the snow")).unwrap();
        assert!(!comment.contains("home") && !comment.contains("/inv"), "{comment}");
        let table: Table = comment.parse().unwrap();
        assert!(table["source"].get("inversion").is_none(), "{comment}");
        assert_eq!(table["source"]["path"].as_str(), Some("car.mp4"));
        assert_eq!(table["model"]["name"].as_str(), Some("zs"));
        assert_eq!(table["settings"]["steps"].as_integer(), Some(50));
        assert!(is_record(&comment) && !is_record("made by somebody") && !is_record("program = 1"));
    }

    #[test]
    fn the_title_is_the_prompt_without_brackets() {
        let mut progress = Progress::silent();
        let notes = Notes::of(&record(r"a [panda] \[1\]"), &mut progress).unwrap();
        assert_eq!(notes.pairs()[0], ("title", "a panda [1]"));
        assert_eq!(notes.pairs()[1].1, notes.comment().unwrap());
        assert!(progress.warnings.is_empty());
        let too_long = Notes::of(&record(&"a [panda] ".repeat(20_000)), &mut progress).unwrap();
        assert!(too_long.pairs().is_empty() && too_long.comment().is_none());
        assert!(progress.warnings[0].contains("run.toml has it"), "{:?}", progress.warnings);
    }
}
