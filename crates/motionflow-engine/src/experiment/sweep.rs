//! Sweeps: every combination of some settings, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use toml::Value;

use super::{Cell, Experiment, Report, Variant, cells_folder, slug, value_text};
use crate::batch::jobs::Job;
use crate::batch::values;
use crate::engine::Engine;
use crate::error::Misuse;
use crate::progress::Progress;
use crate::request::tables::{Output, required};
use crate::request::{Request, prompts};
use crate::schema::schema;
use crate::toml_file::{self, nearest};

/// What the schema calls the type of a list.
const LIST: &str = "array";
/// A list of whole numbers.
const INTEGERS: &str = "array of integers";
const VALUES_MISSING: &str = "give a setting and its values, like tau=0.2,0.4";

/// The longest name of a transfer's folder, in bytes; most file systems take 255.
const LONGEST_NAME: usize = 200;

/// A setting and the values that it shall have.
#[derive(Debug)]
struct Swept {
    /// With its table.
    key: String,
    /// As the user called it.
    name: String,
    values: Vec<Value>,
}

/// A transfer for every combination of the values in `set`, each like `tau=0.2,0.4`, over the settings in `config`.
///
/// # Errors
/// When the file cannot be read, or a setting or value is not known.
pub fn read(
    config: &Path,
    set: &[String],
    output: &Path,
    engine: &Engine,
    progress: &mut Progress,
) -> Result<Experiment> {
    let keys = keys();
    let mut swept: Vec<Swept> = Vec::new();
    for set in set {
        let one = Swept::read(set, &keys)?;
        if swept.iter().any(|other| other.key == one.key) {
            return Err(misuse(set, &format!("{} is set twice", one.key)));
        }
        swept.push(one);
    }
    let is_swept = |key: &str| swept.iter().any(|one| one.key == key);
    if let Some(what) = values::contradiction(is_swept) {
        return Err(misuse(&set.join(" --set "), &what));
    }
    // The last setting goes from left to right, the others from above to below.
    let (across, down) = match swept.as_slice() {
        [one] => (vec![String::new()], labels(std::slice::from_ref(one))),
        [down @ .., across] => (labels(std::slice::from_ref(across)), labels(down)),
        [] => (vec![String::new()], vec![String::new()]),
    };
    let mut base = Request::read(config)?;
    base.output = Output { metadata: base.output.metadata, ..Output::default() };
    base.program = base.program.of_the_bytes();
    let (mut variants, mut cells) = (Vec::new(), Vec::new());
    for combination in combinations(&swept) {
        let said: Vec<String> =
            combination.iter().map(|(of, value)| format!("{} = {value}", of.key)).collect();
        let request = toml_file::parse::<Request>(&said.join("\n"), "--set")?.over(base.clone())?;
        values::check(&request, engine, progress).map_err(|what| {
            let set = combination.iter().map(|(of, value)| format!("{}={}", of.name, value_text(value)));
            misuse(&set.collect::<Vec<_>>().join(" --set "), &what)
        })?;
        let parts = combination.iter().map(|(of, value)| format!("{} {}", of.name, value_text(value)));
        let mut name = parts.clone().map(|part| slug(&part)).collect::<Vec<_>>().join("--");
        if name.len() > LONGEST_NAME {
            name = slug(&name);
        }
        let variant = Variant {
            name: parts.collect::<Vec<_>>().join(", "),
            settings: combination.iter().map(|(of, value)| (of.key.clone(), (*value).clone())).collect(),
        };
        let prompt = required(request.prompts.new.prompt.as_ref(), prompts::PROMPT_MISSING)?;
        let source = request.source.path.as_ref().or(request.source.inversion.as_ref());
        let clip = source.and_then(|source| source.file_stem()).unwrap_or_default();
        cells.push(Cell {
            clip: clip.to_string_lossy().into_owned(),
            motion: None,
            prompt,
            variant: variants.len(),
            seed: request.settings.sampling.seed,
            truth: None,
            job: Job {
                folder: cells_folder(output).join(&name),
                name,
                requested: request.to_text()?,
                request,
            },
        });
        variants.push(variant);
    }
    let title: Vec<&str> = swept.iter().map(|one| one.name.as_str()).collect();
    Ok(Experiment {
        title: format!("Sweep over {}", title.join(", ")),
        file: config.to_owned(),
        output: output.to_owned(),
        variants,
        cells,
        judges: None,
        report: Report::Grid { across, down },
    })
}

impl Swept {
    /// `tau=0.2,0.4`, compared with the schema of settings files.
    fn read(set: &str, keys: &BTreeMap<String, String>) -> Result<Self> {
        let Some((name, texts)) = set.split_once('=') else {
            return Err(misuse(set, VALUES_MISSING));
        };
        let name = name.trim();
        let key = full_key(name, keys).map_err(|what| misuse(set, &what))?;
        let kind = keys.get(key).map_or("", String::as_str);
        let list: Option<Vec<Value>> = texts
            .trim_start()
            .starts_with('[')
            .then(|| {
                format!("list = {texts}").parse::<toml::Table>().ok()?.remove("list")?.as_array().cloned()
            })
            .flatten();
        let values = match list {
            // An empty list is a value, too: for the guidance layers it means all.
            Some(list)
                if [LIST, INTEGERS].contains(&kind)
                    && (list.is_empty() || !list.iter().all(Value::is_array)) =>
            {
                vec![Value::Array(list)]
            }
            Some(list) if list.is_empty() => return Err(misuse(set, "the list has no value")),
            Some(list) => list,
            None => texts.split(',').map(|text| value(text.trim(), kind)).collect(),
        };
        if texts.trim().is_empty() && kind != "string" {
            return Err(misuse(set, VALUES_MISSING));
        }
        let mut slugs = BTreeSet::new();
        for value in &values {
            toml_file::parse::<Request>(&format!("{key} = {value}"), &format!("--set {name}"))?;
            if !slugs.insert(slug(&value_text(value))) {
                return Err(misuse(set, &format!("the value {value} is there twice, or nearly so")));
            }
        }
        Ok(Self { key: key.to_owned(), name: name.to_owned(), values })
    }
}

fn misuse(set: &str, what: &str) -> anyhow::Error {
    Misuse(format!("--set {set}: {what}")).into()
}

/// A value as its key wants it. What cannot be read so is taken as a text, and the schema says what is wrong with it.
fn value(text: &str, kind: &str) -> Value {
    let plain = || Value::String(text.to_owned());
    match kind {
        "string" => plain(),
        LIST => Value::Array(vec![plain()]),
        INTEGERS => Value::Array(vec![value(text, "integer")]),
        _ => format!("value = {text}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(plain),
    }
}

/// Every setting that a transfer may be asked for, with the type of its value.
fn keys() -> BTreeMap<String, String> {
    let schema = schema::<Request>();
    let members = |schema: &serde_json::Value| schema["properties"].as_object().cloned().unwrap_or_default();
    let mut keys = BTreeMap::new();
    for (table, schema) in members(&schema) {
        for (key, schema) in members(&schema) {
            let is_recorded = schema["description"].as_str().is_some_and(|text| text.starts_with("Recorded"));
            let is_for_all = match table.as_str() {
                "output" => key != "metadata",
                "program" => !["threads", "device", "precision", "memory"].contains(&key.as_str()),
                _ => false,
            };
            if !is_recorded && !is_for_all {
                let kind = schema["type"].as_str().unwrap_or_default();
                let holds_integers = kind == LIST && schema["items"]["type"] == "integer";
                let kind = if holds_integers { INTEGERS } else { kind };
                keys.insert(format!("{table}.{key}"), kind.to_owned());
            }
        }
    }
    keys
}

/// `settings.tau` of `tau`; else what to say.
fn full_key<'k>(name: &str, keys: &'k BTreeMap<String, String>) -> Result<&'k str, String> {
    if let Some((key, _)) = keys.get_key_value(name) {
        return Ok(key);
    }
    let short = |key: &'k str| key.rsplit('.').next().unwrap_or(key);
    let full: Vec<&str> = keys.keys().map(String::as_str).collect();
    if let Some(key) = full.iter().find(|key| short(key) == name) {
        return Ok(key);
    }
    let known: Vec<&str> = if name.contains('.') { full } else { full.into_iter().map(short).collect() };
    Err(match nearest(name, &known) {
        Some(nearest) => format!("\"{name}\" is no setting; did you mean \"{nearest}\"?"),
        None => format!("\"{name}\" is no setting; known are {}", known.join(", ")),
    })
}

/// Every combination of the values, the last setting changing first.
fn combinations(swept: &[Swept]) -> Vec<Vec<(&Swept, &Value)>> {
    let mut all = vec![Vec::new()];
    for one in swept {
        all = all
            .into_iter()
            .flat_map(|before: Vec<(&Swept, &Value)>| {
                one.values.iter().map(move |value| {
                    let mut combination = before.clone();
                    combination.push((one, value));
                    combination
                })
            })
            .collect();
    }
    all
}

/// What the rows or columns are called.
fn labels(swept: &[Swept]) -> Vec<String> {
    let part = |(of, value): &(&Swept, &Value)| format!("{} {}", of.name, value_text(value));
    let label =
        |combination: Vec<(&Swept, &Value)>| combination.iter().map(part).collect::<Vec<_>>().join(", ");
    combinations(swept).into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(set: &str) -> Swept {
        Swept::read(set, &keys()).unwrap()
    }

    fn wrong(set: &str) -> String {
        Swept::read(set, &keys()).unwrap_err().to_string()
    }

    #[test]
    fn values_have_the_types_of_their_keys() {
        let tau = swept("tau=0.2,1");
        assert_eq!((tau.key.as_str(), tau.name.as_str()), ("settings.tau", "tau"));
        assert_eq!(tau.values, [Value::Float(0.2), Value::Integer(1)]);
        assert_eq!(swept("init=noise, inverted").values[1], Value::String("inverted".into()));
        assert_eq!(swept("video.frames=8").values, [Value::Integer(8)]);
        assert_eq!(swept("prompt=[panda] on ice").values, [Value::String("[panda] on ice".into())]);
        assert_eq!(swept("prompt=[\"a, b\", \"c\"]").values.len(), 2);
        let blocks = |set: &str| labels(&[swept(set)]);
        assert_eq!(blocks("guidance_layers=mid_block,up_blocks.1").len(), 2);
        assert_eq!(blocks("guidance_layers=[\"mid_block\", \"up_blocks.1\"]").len(), 1);
        assert_eq!(blocks("guidance_layers=[[\"mid_block\"], [\"up_blocks.1\"]]").len(), 2);
        assert_eq!(swept("guidance_layers=[]").values, [Value::Array(vec![])]);
        assert_eq!(blocks("noised_timesteps=101,201"), ["noised_timesteps [101]", "noised_timesteps [201]"]);
        assert_eq!(blocks("noised_timesteps=[[101, 201], [301]]")[0], "noised_timesteps [101, 201]");
    }

    #[test]
    fn mistakes_are_told_with_what_is_meant() {
        for nothing in ["tau", "tau=", "guidance_layers="] {
            assert!(wrong(nothing).contains("tau=0.2,0.4"), "{}", wrong(nothing));
        }
        assert!(wrong("taw=1").contains("did you mean \"tau\"?"), "{}", wrong("taw=1"));
        assert!(wrong("video.frame=1").contains("did you mean \"video.frames\"?"));
        let steps = wrong("noised_timesteps=few");
        assert!(steps.contains("integer"), "{steps}");
        assert!(wrong("frames=many").contains("must be of the type integer"), "{}", wrong("frames=many"));
        assert!(wrong("init=nois").contains("must be one of inverted, noise"), "{}", wrong("init=nois"));
        assert!(wrong("tau=0.2,0.20,0.2").contains("twice"));
        assert!(wrong("seed=[]").contains("the list has no value"));
        assert!(wrong("folder=x").contains("is no setting"), "{}", wrong("folder=x"));
    }

    #[test]
    fn no_two_settings_have_one_short_name() {
        let keys = keys();
        let short: BTreeSet<&str> = keys.keys().filter_map(|key| key.rsplit('.').next()).collect();
        assert_eq!(short.len(), keys.len(), "{keys:?}");
    }

    #[test]
    fn combinations_go_through_the_last_setting_first() {
        let swept = [swept("tau=0.2,0.4"), swept("seed=1,2")];
        let expected = ["tau 0.2, seed 1", "tau 0.2, seed 2", "tau 0.4, seed 1", "tau 0.4, seed 2"];
        assert_eq!(labels(&swept), expected);
        assert_eq!(combinations(&[]).len(), 1);
    }
}
