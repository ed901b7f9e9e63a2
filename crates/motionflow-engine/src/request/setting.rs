//! What is known of a setting besides its type: what it changes, its range, its default, the paper's value, and its flag.
//!
//! The groups of settings carry this as `x-setting` in their JSON schema, so that a setting is described once, beside its
//! field. Front ends make flags, forms and references of it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_aux::serde_introspection::serde_introspect;
use serde_json::Value;

use super::defaults::default_of;
use crate::schema::annotated;

/// One setting of a group.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its key in a settings file, such as `guidance_scale`.
    pub key: String,
    /// What it changes, in words.
    pub about: String,
    /// What values it takes.
    pub kind: Kind,
    /// What the schema says besides.
    pub details: Details,
}

/// The values that a setting takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// True or false.
    Switch,
    /// A whole number between the two, inclusive.
    Integer(i64, i64),
    /// A number.
    Number,
    /// A text.
    Text,
    /// One of these names.
    Choice(Vec<String>),
    /// Several texts.
    List,
    /// Several whole numbers between the two, inclusive.
    Integers(i64, i64),
}

/// The members of `x-setting`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Details {
    /// What stands for the value in a usage line.
    pub value: String,
    /// The range in words, where the kind does not say it.
    pub range: Option<String>,
    /// The default in words, where it is no constant.
    pub default: Option<String>,
    /// Whether a checkpoint cannot recommend another default.
    pub fixed: bool,
    /// The value that the paper gives.
    pub paper: Option<String>,
    /// The flag's name, where it is not the key with hyphens.
    pub flag: Option<String>,
    /// The value that the flag sets, for one that takes none.
    pub sets: Option<bool>,
    /// The flag's one letter.
    pub short: Option<char>,
    /// Another name of the flag.
    pub alias: Option<String>,
    /// The key of a setting that cannot be set beside it.
    pub conflicts: Option<String>,
    /// Whether the flag is given once for each value of a list, which may have commas.
    pub repeated: bool,
    /// Whether most people need it.
    pub common: bool,
}

/// The settings of a group, in the order in which they are declared. Fields without `x-setting`, such as those that only
/// records have, are left out.
pub fn settings_of<T: JsonSchema + DeserializeOwned>() -> Vec<Setting> {
    let schema = annotated::<T>();
    serde_introspect::<T>().iter().filter_map(|key| Setting::read(key, &schema["properties"][*key])).collect()
}

/// The heading under which the settings of a group stand.
pub fn heading_of<T: JsonSchema>() -> String {
    annotated::<T>()["x-heading"].as_str().unwrap_or_default().to_owned()
}

impl Setting {
    /// Reads a property of an annotated schema. `None` where it is no setting.
    pub(crate) fn read(key: &str, property: &Value) -> Option<Self> {
        let details = Details::deserialize(property.get("x-setting")?).ok()?;
        let about = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        Some(Self { key: key.to_owned(), about, kind: Kind::of(property), details })
    }

    /// The flag's long name, without hyphens before it.
    pub fn flag(&self) -> String {
        self.details.flag.clone().unwrap_or_else(|| self.key.replace('_', "-"))
    }

    /// The range in words. Empty where every value of its kind will do.
    pub fn range(&self) -> String {
        match (&self.details.range, &self.kind) {
            (Some(range), _) => range.clone(),
            (None, Kind::Choice(names)) => names.join(", "),
            (None, Kind::Switch) => "true or false".to_owned(),
            (None, _) => String::new(),
        }
    }

    /// What holds where nothing is said. Empty where there is no default.
    pub fn default(&self) -> String {
        if let Some(default) = &self.details.default {
            return default.clone();
        }
        let constant = default_of(&self.key).map_or_else(|| "off".to_owned(), in_words);
        if self.details.fixed {
            constant
        } else {
            format!("the checkpoint's recommendation, else {constant}")
        }
    }

    /// The text for a help page: what it changes, its range and its default.
    pub fn help(&self) -> String {
        let mut help = self.about.clone();
        if let Some(range) = &self.details.range {
            help = format!("{help}; {range}");
        }
        match self.default() {
            default if default.is_empty() => help,
            default => format!("{help} [default: {default}]"),
        }
    }
}

impl Kind {
    fn of(property: &Value) -> Self {
        if let Some(names) = property["enum"].as_array() {
            return Self::Choice(names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        match property["type"].as_str() {
            Some("boolean") => Self::Switch,
            Some("integer") => {
                let (least, most) = bounds(property);
                Self::Integer(least, most)
            }
            Some("number") => Self::Number,
            Some("array") if property["items"]["type"] == "integer" => {
                let (least, most) = bounds(&property["items"]);
                Self::Integers(least, most)
            }
            Some("array") => Self::List,
            _ => Self::Text,
        }
    }
}

/// The least and the largest value of a whole number.
fn bounds(property: &Value) -> (i64, i64) {
    let bits_32 = property["format"] == "uint32";
    let most = if bits_32 { i64::from(u32::MAX) } else { i64::MAX };
    let bound = |name: &str| property[name].as_i64();
    (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(most))
}

fn in_words(value: Value) -> String {
    match value {
        Value::Array(values) => values.into_iter().map(in_words).collect::<Vec<_>>().join(","),
        Value::String(text) => text,
        Value::Bool(false) => "off".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        value => value.to_string().trim_end_matches(".0").to_owned(),
    }
}
