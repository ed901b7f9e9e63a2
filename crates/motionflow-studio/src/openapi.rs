//! The `OpenAPI` page, made of the routes.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::route::Route;

/// `OpenAPI` 3.1 of these routes.
pub(crate) fn page(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes {
        let mut parameters: Vec<Value> = names(route.path)
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        if let Some(query) = route.query {
            let inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
            let schema = query(&mut inline.into_generator()).to_value();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                let required = required.contains(&Value::from(name.as_str()));
                parameters
                    .push(json!({ "name": name, "in": "query", "required": required, "schema": schema }));
            }
        }
        let mut content = |(kind, schema): (&str, Option<crate::route::Describe>)| {
            let schema = schema.map_or_else(|| json!({}), |schema| schema(&mut generator).to_value());
            json!({ kind: { "schema": schema } })
        };
        let (status, kind, schema) = route.answer;
        let mut answer = json!({ "description": route.about });
        if !kind.is_empty() {
            answer["content"] = content((kind, schema));
        }
        let mut operation = json!({
            "summary": route.about,
            "parameters": parameters,
            "responses": {
                status.to_string(): answer,
                "default": {
                    "description": "What is wrong",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        });
        if let Some(body) = route.body {
            operation["requestBody"] = json!({ "required": true, "content": content(body) });
        }
        let path = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "motionflow studio",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "docs/studio-api.md describes it in words.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{}, { "token": [] }],
    })
}

/// The names in the braces of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| part.split('}').next()).map(|name| name.trim_start_matches('*'))
}
