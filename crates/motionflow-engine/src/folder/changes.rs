//! What of a recorded run is not as it was: its source, inversion and checkpoint by content, and its settings.

use std::collections::BTreeMap;

use anyhow::Result;
use toml::{Table, Value};

use crate::folder::record::RunRecord;
use crate::request::Resources;
use crate::request::tables::Program;

/// Keys of a record that say where something was found, or by what it was made: the content decides instead.
const PLACES: [&str; 18] = [
    "motion.mask",
    "motion.track",
    "motion.avoid",
    "motion.subject",
    "source.path",
    "source.inversion",
    "source.fps",
    "model.name",
    "model.path",
    "model.revision",
    "model.motion_adapter",
    "model.motion_adapter_path",
    "model.motion_adapter_revision",
    "model.beta_schedule",
    "program.command",
    "program.version",
    "program.libtorch",
    "program.ffmpeg",
];

/// By key the values then and now.
type Differences = BTreeMap<String, [Option<Value>; 2]>;

/// The message about a source, an inversion, a checkpoint or its recommendation that was changed.
pub(crate) fn is_other(what: &str) -> String {
    format!("the {what} is not the same as when the run was recorded")
}

/// What is other now than in the record of a run.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// By content: "source", "inversion", "motion", "checkpoint".
    pub(crate) inputs: Vec<&'static str>,
    /// Settings by their keys, with their values then and now.
    pub(crate) settings: Differences,
    /// Whether some of them changed though nobody says them: what the checkpoint recommends is other.
    pub(crate) recommended: bool,
    /// What changes the last bits of a result at most, in words.
    pub(crate) last_bits: Vec<String>,
}

impl Changes {
    /// Between the record of a run and that of the same run if it were made now, as `program` asks for it.
    pub(crate) fn between(then: &RunRecord, now: &RunRecord, program: &Program) -> Result<Self> {
        let mut changes = Self::default();
        for (key, values) in differences(&Table::try_from(then)?, &Table::try_from(now)?) {
            let input = match key.as_str() {
                "source.sha256" | "source.frames_sha256" => "source",
                "source.inversion_sha256" => "inversion",
                "model.sha256" => "checkpoint",
                "motion.sha256" | "motion.avoid_sha256" => "motion",
                _ => {
                    changes.settings.insert(key, values);
                    continue;
                }
            };
            if !changes.inputs.contains(&input) {
                changes.inputs.push(input);
            }
        }
        let Resources { threads, device, memory, .. } = &program.resources;
        let kind = |device: &str| device.split(':').next().unwrap_or_default().to_owned();
        let recorded = &then.program;
        let requested = [
            ("threads", Some(recorded.threads.to_string()), threads.map(|threads| threads.to_string())),
            (
                "device",
                recorded.device.as_deref().map(kind),
                device.map(|device| kind(&device.to_string())).filter(|device| device != "auto"),
            ),
            ("memory", recorded.memory.clone(), memory.map(|memory| memory.to_string())),
        ];
        for (flag, then, now) in requested {
            if let (Some(then), Some(now)) = (then, now)
                && then != now
            {
                changes.last_bits.push(format!("--{flag} {then}, not {now}"));
            }
        }
        Ok(changes)
    }

    /// Adds the settings that two requests do not say alike.
    pub(crate) fn add_requested(&mut self, then: &Table, now: &Table) {
        let said = [flat(then), flat(now)];
        let is_said = |key: &String| said.iter().any(|said| said.contains_key(key));
        // Another inversion has another prompt and size, which nobody says either.
        let is_recommended = |key: &String| !key.starts_with("program.") && !is_said(key);
        self.recommended = !self.inputs.contains(&"inversion") && self.settings.keys().any(is_recommended);
        for (key, values) in differences(then, now) {
            if !key.contains("sha256") {
                self.settings.entry(key).or_insert(values);
            }
        }
    }

    /// The settings in words: `settings.tau was 0.4, is 0.2`.
    pub(crate) fn settings_in_words(&self) -> String {
        let more = if self.recommended {
            "; what the checkpoint recommends in its motionflow.toml has changed"
        } else {
            ""
        };
        words(&self.settings) + more
    }
}

/// What is other between two tables, in words; nothing where they say the same.
pub(crate) fn in_words(then: &Table, now: &Table) -> String {
    words(&differences(then, now))
}

fn words(differences: &Differences) -> String {
    let plain = |value: &Option<Value>| value.as_ref().map_or("not set".to_owned(), Value::to_string);
    let told =
        differences.iter().map(|(key, [then, now])| format!("{key} was {}, is {}", plain(then), plain(now)));
    told.collect::<Vec<_>>().join("; ")
}

/// The keys with other values, each with its table; places are none.
fn differences(then: &Table, now: &Table) -> Differences {
    let (then, now) = (flat(then), flat(now));
    let keys = then.keys().chain(now.keys()).filter(|key| !PLACES.contains(&key.as_str()));
    keys.filter(|key| then.get(*key) != now.get(*key))
        .map(|key| (key.clone(), [then.get(key).cloned(), now.get(key).cloned()]))
        .collect()
}

fn flat(table: &Table) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (place, value) in table {
        match value {
            Value::Table(inner) => {
                flat.extend(inner.iter().map(|(key, value)| (format!("{place}.{key}"), value.clone())));
            }
            value => {
                flat.insert(place.clone(), value.clone());
            }
        }
    }
    flat
}
