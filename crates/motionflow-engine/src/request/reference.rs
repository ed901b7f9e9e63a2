//! The reference of all settings, as a page for people: docs/settings-reference.md.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::setting::{Kind, Setting, settings_of};
use super::tables::{Output, Program, Prompts, Source};
use super::{
    ContextWindows, CutOptions, Guidance, Masks, ModelChoice, MotionOptions, NewPrompts, Preset, Rate,
    Resources, Sampling, Size, Steps,
};
use crate::schema::annotated;

const HEAD: &str = "\
# Settings reference

Every setting that a request has: its flag, its key in a settings file, what it changes, the values that it takes, and its
default. \"The checkpoint's recommendation\" is what `motionflow.toml` in the checkpoint's folder says. Where the paper
([arXiv 2412.05275](https://arxiv.org/abs/2412.05275)) gives a value, it stands in the column *paper*; a setting without
one is this project's. [guidance.md](guidance.md) has the formulas, [settings.md](settings.md) the file's format.

`motionflow schema --reference` prints this page.
";

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for Section { title, table, settings } in sections() {
        let _ = write!(page, "\n## {title}\n\nTable `[{table}]`.\n\n");
        page += "| flag | key | what it changes | values | default | paper |\n|---|---|---|---|---|---|\n";
        for setting in &settings {
            page += &row(setting);
        }
    }
    page
}

/// A group of settings, as the reference has it.
#[derive(Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// Its table in a settings file.
    pub table: &'static str,
    /// In order.
    pub settings: Vec<Setting>,
}

/// Every section.
pub fn sections() -> Vec<Section> {
    let section = |title, table, settings| Section { title, table, settings };
    vec![
        section(
            "Prompts",
            "prompts",
            join(vec![unordered::<Prompts>(&["source_prompt"]), settings_of::<NewPrompts>()]),
        ),
        section(
            "Source",
            "source",
            join(vec![unordered::<Source>(&["path", "inversion"]), settings_of::<CutOptions>()]),
        ),
        section("Given motion", "motion", settings_of::<MotionOptions>()),
        section("Video size", "video", join(vec![settings_of::<Size>(), settings_of::<Rate>()])),
        section("Model", "model", settings_of::<ModelChoice>()),
        section(
            "Sampling",
            "settings",
            join(vec![settings_of::<Preset>(), settings_of::<Steps>(), settings_of::<Sampling>()]),
        ),
        section("Context windows", "settings", settings_of::<ContextWindows>()),
        section("Motion masks", "settings", settings_of::<Masks>()),
        section("Motion guidance", "settings", settings_of::<Guidance>()),
        section("Output", "output", settings_of::<Output>()),
        section(
            "Behaviour",
            "program",
            join(vec![settings_of::<Resources>(), unordered::<Program>(&["cache", "quiet", "json"])]),
        ),
    ]
}

fn join(groups: Vec<Vec<Setting>>) -> Vec<Setting> {
    groups.into_iter().flatten().collect()
}

/// The settings with these keys of a table that has flattened groups besides.
fn unordered<T: JsonSchema + DeserializeOwned>(keys: &[&str]) -> Vec<Setting> {
    let schema = annotated::<T>();
    keys.iter().filter_map(|key| Setting::read(key, &schema["properties"][*key])).collect()
}

fn row(setting: &Setting) -> String {
    let Setting { key, about, kind, details } = setting;
    let value = match kind {
        _ if details.sets.is_some() || *kind == Kind::Switch => String::new(),
        _ => format!(" {}", details.value),
    };
    let cells = [
        format!("`--{}{value}`", setting.flag()),
        format!("`{key}`"),
        about.clone(),
        setting.range(),
        setting.default(),
        details.paper.clone().unwrap_or_default(),
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::request::Request;

    #[test]
    fn every_setting_of_a_request_is_in_the_reference_once() {
        let mut documented = BTreeSet::new();
        for Section { table, settings, .. } in sections() {
            for setting in settings {
                let name = format!("{table}.{}", setting.key);
                assert!(!setting.about.is_empty() && documented.insert(name.clone()), "{name}");
            }
        }
        let schema = annotated::<Request>();
        let mut all = BTreeSet::new();
        for (table, schema) in schema["properties"].as_object().unwrap() {
            for (key, property) in schema["properties"].as_object().unwrap() {
                // Tables, which docs/motion.md has.
                if key == "subject" {
                    continue;
                }
                let is_recorded =
                    property["description"].as_str().is_some_and(|about| about.starts_with("Recorded"));
                let is_setting = Setting::read(key, property).is_some();
                assert!(
                    is_setting != is_recorded,
                    "{table}.{key} is neither a setting nor recorded, or both"
                );
                all.extend(is_setting.then(|| format!("{table}.{key}")));
            }
        }
        assert_eq!(documented, all);
    }
}
