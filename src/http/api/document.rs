//! The OpenAPI document, made from the table of endpoints and the types that they take and give.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::super::access::Access;
use super::super::problem::Problem;
use super::{ENDPOINTS, Endpoint};

/// What a handler takes or gives.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The whole document (OpenAPI 3.1).
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = of::<Problem>(&mut generator);
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let operation = operation(endpoint, &mut generator, &problem);
        let path = paths
            .entry(endpoint.path.to_owned())
            .or_insert_with(|| json!({}));
        path[endpoint.method.to_ascii_lowercase()] = operation;
    }
    let schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the pages of Usher do, for programs. Instants are RFC 3339 in UTC. Lists come in \
                            pages: `next` is the `cursor` of the page after. Errors are problem details (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, made on the settings page or with `usher admin token`.",
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
    });
    if let Access::Needs(role) = endpoint.access {
        operation["description"] = json!(format!("Needs the role {role}."));
    }
    let mut parameters: Vec<Value> = endpoint
        .path
        .split('/')
        .filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({"name": name, "in": "path", "required": true,
                   "schema": {"type": "string", "minLength": 1}})
        })
        .collect();
    if let Some(query) = endpoint.query {
        parameters.extend(query_parameters(query, generator));
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some((media, shape)) = endpoint.body {
        let schema = shape(generator);
        operation["requestBody"] =
            json!({"required": true, "content": {media: {"schema": schema}}});
    }
    let (status, answer) = endpoint.answer;
    let mut responses = Map::new();
    let mut success = json!({"description": "Done"});
    if let Some((media, shape)) = answer {
        success["content"] = json!({media: {"schema": shape(generator)}});
    }
    responses.insert(status.to_string(), success);
    let mut refusals = vec![401, 403, 503];
    if endpoint.query.is_some() || endpoint.body.is_some() {
        refusals.push(400);
    }
    if endpoint.body.is_some() {
        refusals.extend([413, 415]);
    }
    if endpoint.path.contains('{') {
        refusals.push(404);
    }
    refusals.extend(endpoint.refusals);
    refusals.sort_unstable();
    for status in refusals {
        let title = Problem::new(status, "").title;
        responses.insert(
            status.to_string(),
            json!({"description": title, "content": {"application/problem+json": {"schema": problem}}}),
        );
    }
    operation["responses"] = Value::Object(responses);
    operation
}

/// The fields of a flat type as query parameters.
fn query_parameters(query: Shape, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = query(generator);
    let resolved = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|at| generator.definitions().get(at.rsplit('/').next()?).cloned())
        .unwrap_or_else(|| schema.to_value());
    let required: Vec<&str> = resolved["required"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = resolved["properties"].as_object() else {
        return Vec::new();
    };
    properties
        .iter()
        .map(|(name, property)| {
            let mut property = property.clone();
            let description = property
                .as_object_mut()
                .and_then(|p| p.remove("description"));
            let mut parameter = json!({"name": name, "in": "query", "schema": property});
            if let Some(description) = description {
                parameter["description"] = description;
            }
            if required.contains(&name.as_str()) {
                parameter["required"] = json!(true);
            }
            parameter
        })
        .collect()
}
