//! JSON schemas of what is read from files.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::request::setting::Setting;

/// The schema of what a type is read from. Every object is closed, and nothing is null: TOML has no null. Settings are
/// described with their range and default.
pub fn schema<T: JsonSchema>() -> Value {
    let mut schema = annotated::<T>();
    describe(&mut schema);
    schema
}

/// As [`schema`], with the annotations of the groups of settings: `x-heading` on a group, `x-setting` on a setting.
pub(crate) fn annotated<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = kinds.as_slice() {
                    let kind = kind.clone();
                    object.insert("type".into(), kind);
                }
            }
            if object.contains_key("properties") {
                object.insert("additionalProperties".into(), false.into());
            }
            for member in ["default", "required"] {
                object.remove(member);
            }
            // The details of a setting are no schema.
            object.iter_mut().filter(|(key, _)| !key.starts_with("x-")).for_each(|(_, value)| close(value));
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// Puts the annotations of each setting into its description.
fn describe(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    object.remove("x-heading");
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (key, property) in properties {
            if let Some(setting) = Setting::read(key, property) {
                property["description"] = setting.help().into();
            }
            if let Some(property) = property.as_object_mut() {
                property.remove("x-setting");
            }
            describe(property);
        }
    }
    if let Some(items) = object.get_mut("items") {
        describe(items);
    }
}
