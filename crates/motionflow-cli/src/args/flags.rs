//! Flags made from a group of settings, so that a setting is described once, in the engine.

use std::num::ParseFloatError;
use std::ops::Deref;

use clap::builder::{
    BoolValueParser, PossibleValuesParser, StringValueParser, TypedValueParser, ValueParser,
};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueHint};
use motionflow_engine::request::setting::{Kind, Setting, heading_of, settings_of};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// A group of settings as flags.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags<T>(pub(crate) T);

impl<T> Deref for Flags<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A group of settings as flags of every command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Global<T>(pub(crate) T);

impl<T: JsonSchema + DeserializeOwned> Args for Flags<T> {
    fn augment_args(command: Command) -> Command {
        command.args(arguments::<T>())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: JsonSchema + DeserializeOwned> Args for Global<T> {
    fn augment_args(command: Command) -> Command {
        command.args(arguments::<T>().into_iter().map(|argument| argument.global(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: JsonSchema + DeserializeOwned> FromArgMatches for Global<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Flags::from_arg_matches(matches).map(|flags| Self(flags.0))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: JsonSchema + DeserializeOwned> FromArgMatches for Flags<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given = Table::new();
        for setting in settings_of::<T>() {
            if let Some(value) = value_of(&setting, matches) {
                given.insert(setting.key, value);
            }
        }
        let group = given.try_into();
        group.map(Self).map_err(|error| Error::raw(ErrorKind::InvalidValue, format!("{error}\n")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags of a group, under its heading.
fn arguments<T: JsonSchema + DeserializeOwned>() -> Vec<Arg> {
    let heading = heading_of::<T>();
    let settings = settings_of::<T>();
    settings.iter().map(|setting| argument::<T>(setting).help_heading(heading.clone())).collect()
}

/// The flag of a setting of the group `T`.
fn argument<T: DeserializeOwned>(setting: &Setting) -> Arg {
    let details = &setting.details;
    let mut argument = Arg::new(setting.key.clone()).long(setting.flag()).help(setting.help());
    argument = argument.hide_short_help(!details.common);
    if !details.value.is_empty() {
        argument = argument.value_name(details.value.clone()).value_hint(hint_of(&details.value));
    }
    if let Some(short) = details.short {
        argument = argument.short(short);
    }
    if let Some(alias) = &details.alias {
        argument = argument.visible_alias(alias.clone());
    }
    if let Some(other) = &details.conflicts {
        argument = argument.conflicts_with(other.clone());
    }
    if details.sets.is_some() {
        return argument.action(ArgAction::SetTrue);
    }
    match setting.kind {
        Kind::Switch => argument
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(parser::<T>(setting)),
        Kind::List if details.repeated => {
            argument.action(ArgAction::Append).value_parser(parser::<T>(setting))
        }
        Kind::List | Kind::Integers(..) => {
            argument.value_delimiter(',').action(ArgAction::Append).value_parser(parser::<T>(setting))
        }
        _ => argument.value_parser(parser::<T>(setting)),
    }
}

/// What a shell completes, by what stands for the value.
fn hint_of(value: &str) -> ValueHint {
    let stands_for = |name: &str| value.split('|').any(|word| word == name);
    if stands_for("DIR") {
        ValueHint::DirPath
    } else if stands_for("PATH") {
        ValueHint::AnyPath
    } else {
        ValueHint::Unknown
    }
}

/// Reads one value of a setting, and refuses what its group would not take.
fn parser<T: DeserializeOwned>(setting: &Setting) -> ValueParser {
    let key = setting.key.clone();
    let is_list = is_list(setting);
    let checked = move |value: Value| -> Result<Value, String> {
        let whole = if is_list { Value::Array(vec![value.clone()]) } else { value.clone() };
        let group = Table::from_iter([(key.clone(), whole)]);
        group.try_into::<T>().map(|_| value).map_err(|error| error.message().to_owned())
    };
    match &setting.kind {
        Kind::Switch => BoolValueParser::new().map(Value::Boolean).into(),
        Kind::Integer(least, most) | Kind::Integers(least, most) => {
            let (least, most, range) = (*least, *most, setting.range());
            StringValueParser::new()
                .try_map(move |text| integer(&text, least, most, &range))
                .try_map(checked)
                .into()
        }
        Kind::Number => StringValueParser::new().try_map(|text| number(&text)).into(),
        Kind::Choice(names) => PossibleValuesParser::new(names.clone()).map(Value::String).into(),
        Kind::Text | Kind::List => StringValueParser::new().map(Value::String).try_map(checked).into(),
    }
}

fn is_list(setting: &Setting) -> bool {
    matches!(setting.kind, Kind::List | Kind::Integers(..))
}

fn integer(text: &str, least: i64, most: i64, range: &str) -> Result<Value, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.map(Value::Integer).ok_or_else(|| match range {
        "" => format!("must be a whole number from {least} to {most}"),
        range => format!("must be a whole number, {range}"),
    })
}

fn number(text: &str) -> Result<Value, ParseFloatError> {
    text.parse().map(Value::Float)
}

/// What was given for a setting, as its group is deserialized from.
fn value_of(setting: &Setting, matches: &ArgMatches) -> Option<Value> {
    if let Some(value) = setting.details.sets {
        return matches.get_flag(&setting.key).then_some(value.into());
    }
    let mut values = matches.get_many::<Value>(&setting.key)?.cloned();
    if is_list(setting) { Some(Value::Array(values.collect())) } else { values.next() }
}
