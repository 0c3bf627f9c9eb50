//! What the emulated directory says of itself: no sorting, no bulk, no tags, one filter.

use serde_json::{Value, json};

use crate::guard::routes::{Outcome, answer, error};

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const ATLASSIAN: &str = "urn:scim:schemas:extension:atlassian-external:1.0";

pub(crate) fn config() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "documentationUri": "https://developer.atlassian.com/cloud/admin/user-provisioning/",
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": 100},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "API key", "description": "The API key of the directory",
            "primary": true,
        }],
    })
}

fn list(resources: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST], "totalResults": resources.len(), "startIndex": 1,
        "itemsPerPage": resources.len(), "Resources": resources,
    })
}

fn resource_type_list(base: &str) -> Vec<Value> {
    let one = |name: &str, schema: &str, extensions: Value| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name, "name": name, "endpoint": format!("/{name}s"), "schema": schema,
            "schemaExtensions": extensions,
            "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}")},
        })
    };
    vec![
        one(
            "User",
            USER,
            json!([
                {"schema": ENTERPRISE, "required": false}, {"schema": ATLASSIAN, "required": false},
            ]),
        ),
        one("Group", GROUP, json!([])),
    ]
}

pub(crate) fn resource_types(base: &str) -> Value {
    list(resource_type_list(base))
}

pub(crate) fn resource_type(base: &str, name: &str) -> Outcome {
    named(resource_type_list(base), name)
}

fn named(all: Vec<Value>, id: &str) -> Outcome {
    match all.into_iter().find(|one| one["id"] == id) {
        Some(one) => Ok(answer(200, &one)),
        None => Err(error(404, "", &format!("Resource [{id}] not found."))),
    }
}

fn attribute(name: &str, kind: &str, required: bool, parts: &[Value]) -> Value {
    let mut shown = json!({
        "name": name, "type": kind, "multiValued": false, "required": required, "caseExact": false,
        "mutability": "readWrite", "returned": "default", "uniqueness": "none", "description": name,
    });
    if !parts.is_empty() {
        shown["subAttributes"] = json!(parts);
    }
    shown
}

fn many(name: &str, required: bool, parts: &[&str]) -> Value {
    let parts: Vec<Value> = parts
        .iter()
        .map(|part| {
            let kind = match *part {
                "primary" => "boolean",
                "$ref" => "reference",
                _ => "string",
            };
            let mut shown = attribute(part, kind, false, &[]);
            if kind == "reference" {
                shown["referenceTypes"] = json!(["User", "Group"]);
            }
            shown
        })
        .collect();
    let mut shown = attribute(name, "complex", required, &parts);
    shown["multiValued"] = json!(true);
    shown
}

fn schema_list(base: &str) -> Vec<Value> {
    let one = |id: &str, name: &str, attributes: Vec<Value>| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": id, "name": name, "description": name, "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{id}")},
        })
    };
    let text = |name: &str| attribute(name, "string", false, &[]);
    let with = |mut shown: Value, key: &str, value: Value| {
        shown[key] = value;
        shown
    };
    let names = [
        "formatted",
        "familyName",
        "givenName",
        "middleName",
        "honorificPrefix",
        "honorificSuffix",
    ];
    let user = vec![
        with(
            attribute("userName", "string", true, &[]),
            "uniqueness",
            json!("server"),
        ),
        attribute("name", "complex", false, &names.map(text)),
        text("displayName"),
        text("nickName"),
        text("title"),
        text("preferredLanguage"),
        text("department"),
        text("organization"),
        text("timezone"),
        attribute("active", "boolean", false, &[]),
        many("emails", true, &["value", "type", "primary"]),
        many("phoneNumbers", false, &["value", "type", "primary"]),
        with(
            many("groups", false, &["value", "display", "type", "$ref"]),
            "mutability",
            json!("readOnly"),
        ),
    ];
    let group = vec![
        with(
            attribute("displayName", "string", true, &[]),
            "mutability",
            json!("immutable"),
        ),
        many("members", false, &["value", "display", "type", "$ref"]),
    ];
    vec![
        one(USER, "User", user),
        one(GROUP, "Group", group),
        one(
            ENTERPRISE,
            "Enterprise User",
            vec![text("department"), text("organization")],
        ),
        one(
            ATLASSIAN,
            "Atlassian account",
            vec![with(
                text("atlassianAccountId"),
                "mutability",
                json!("readOnly"),
            )],
        ),
    ]
}

pub(crate) fn schemas(base: &str) -> Value {
    list(schema_list(base))
}

pub(crate) fn schema(base: &str, id: &str) -> Outcome {
    named(schema_list(base), id)
}
