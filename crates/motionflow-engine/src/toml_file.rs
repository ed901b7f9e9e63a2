//! Files that people write: every key is compared with the schema of what is read, before anything is taken from it.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow::small_file;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Missing, Misuse};
use crate::schema::schema;

/// More keys than these are not told at once.
const MOST_TOLD: usize = 8;

/// Reads a file. Its errors name file, line and key, and the known key that is nearest to one that is not known.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(path: &Path) -> Result<T> {
    let text = match small_file::read_text(path, small_file::CONFIG) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Missing(format!("{}: there is no such file", path.display())).into());
        }
        Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", path.display())),
    };
    parse(&text, &path.display().to_string())
}

/// Reads the text of a file; `name` is what messages call it.
///
/// # Errors
/// A [`Misuse`] that names line and key, and the known key that is nearest to one that is not known.
pub fn parse<T: DeserializeOwned + JsonSchema>(text: &str, name: &str) -> Result<T> {
    let table =
        DeTable::parse(text).map_err(|error| Misuse(format!("{name}: {}", error.to_string().trim_end())))?;
    let mut checker = Checker { text, name, wrong: Vec::new() };
    checker.table(table.get_ref(), "", &schema::<T>());
    if !checker.wrong.is_empty() {
        let more = checker.wrong.len().saturating_sub(MOST_TOLD);
        checker.wrong.truncate(MOST_TOLD);
        if more > 0 {
            checker.wrong.push(format!("and {more} more"));
        }
        return Err(Misuse(checker.wrong.join("\n")).into());
    }
    toml::from_str(text).map_err(|error| Misuse(format!("{name}: {}", error.to_string().trim_end())).into())
}

struct Checker<'a> {
    text: &'a str,
    name: &'a str,
    wrong: Vec<String>,
}

impl Checker<'_> {
    fn table(&mut self, table: &DeTable, place: &str, schema: &Value) {
        let Some(known) = schema["properties"].as_object() else { return };
        for (key, value) in table {
            let name: &str = key.get_ref();
            let full = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
            match known.get(name) {
                Some(schema) => self.value(value, &full, schema),
                None => self.unknown(key.span().start, name, place, known.keys()),
            }
        }
    }

    fn unknown<'k>(&mut self, at: usize, name: &str, place: &str, known: impl Iterator<Item = &'k String>) {
        let known: Vec<&str> = known.map(String::as_str).collect();
        let place = if place.is_empty() { "here".to_owned() } else { format!("in [{place}]") };
        let hint = match nearest(name, &known) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.tell(at, &format!("\"{name}\" is not known {place}; {hint}"));
    }

    fn value(&mut self, value: &Spanned<DeValue>, place: &str, schema: &Value) {
        let at = value.span().start;
        match (schema["type"].as_str(), value.get_ref()) {
            (Some("object"), DeValue::Table(table)) => self.table(table, place, schema),
            (Some("array"), DeValue::Array(values)) => {
                values.iter().for_each(|value| self.value(value, place, &schema["items"]));
            }
            (Some("string"), DeValue::String(text)) => {
                let Some(names) = schema["enum"].as_array() else { return };
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                if !names.contains(&text.as_ref()) {
                    self.tell(at, &format!("{place} is \"{text}\", but must be one of {}", names.join(", ")));
                }
            }
            (Some("number"), DeValue::Float(_) | DeValue::Integer(_))
            | (Some("boolean"), DeValue::Boolean(_))
            | (None, _) => {}
            (Some("integer"), DeValue::Integer(number)) => {
                let found = i64::from_str_radix(&number.as_str().replace('_', ""), number.radix());
                let bound = |name: &str, other: i64| schema[name].as_i64().unwrap_or(other);
                let range = bound("minimum", i64::MIN)..=bound("maximum", i64::MAX);
                if !found.is_ok_and(|found| range.contains(&found)) {
                    let (least, most) = (range.start(), range.end());
                    self.tell(at, &format!("{place} is {number}, but must be {least} to {most}"));
                }
            }
            (Some(expected), found) => {
                let found = found.type_str();
                self.tell(at, &format!("{place} is of the type {found}, but must be of the type {expected}"));
            }
        }
    }

    fn tell(&mut self, at: usize, what: &str) {
        let line = self.text[..at].matches('\n').count() + 1;
        self.wrong.push(format!("{}, line {line}: {what}", self.name));
    }
}

/// The known name that a misspelt one most likely means, if any is near.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then_some(best)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
    #[serde(default)]
    struct File {
        name: Option<String>,
        part: Part,
        many: Vec<Part>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Part {
        width: Option<u16>,
        tau: Option<f64>,
        deep: Option<bool>,
    }

    fn wrong(text: &str) -> String {
        parse::<File>(text, "a.toml").unwrap_err().to_string()
    }

    #[test]
    fn what_is_known_is_read() {
        let file: File =
            parse("name = \"x\"\n[part]\nwidth = 1_0\ntau = 1\n[[many]]\ndeep = true", "a.toml").unwrap();
        assert_eq!((file.part.width, file.part.tau, file.many[0].deep), (Some(10), Some(1.0), Some(true)));
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_line_and_the_nearest() {
        let message = wrong("name = \"x\"\n[part]\nwith = 1\n");
        assert_eq!(message, "a.toml, line 3: \"with\" is not known in [part]; did you mean \"width\"?");
        assert!(wrong("zzz = 1").contains("known are many, name, part"), "{}", wrong("zzz = 1"));
        assert!(wrong("[[many]]\n[[many]]\ndep = true").contains("line 3"));
    }

    #[test]
    fn a_wrong_value_is_told_with_what_it_may_be() {
        assert!(
            wrong("[part]\nwidth = \"1\"")
                .ends_with("part.width is of the type string, but must be of the type integer")
        );
        assert!(wrong("[part]\nwidth = -1").ends_with("part.width is -1, but must be 0 to 65535"));
        assert!(wrong("part = 1").contains("part is of the type integer"));
        assert!(wrong("[part]\nwidth = 1\nwidth = 2").contains("a.toml: TOML parse error at line 3"));
        assert_eq!(wrong("[part]\nwith = 1\ndeap = 2").lines().count(), 2);
    }
}
