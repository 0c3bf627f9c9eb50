//! What the server can do (RFC 7643 sections 5 to 7, RFC 7644 section 4), made from the schema tables.

use serde_json::{Value, json};

use super::list::{DEFAULT_COUNT, MAX_COUNT};
use super::schema::{self, Attribute, Kind, Mutability, Returned};
use super::{ResourceType, bulk};

/// `/ServiceProviderConfig`
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {
            "supported": true,
            "maxOperations": bulk::MAX_OPERATIONS,
            "maxPayloadSize": bulk::MAX_PAYLOAD,
        },
        "filter": {"supported": true, "maxResults": MAX_COUNT},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": true},
        // RFC 9865 section 4; cursors do not expire, so no cursorTimeout.
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": DEFAULT_COUNT,
            "maxPageSize": MAX_COUNT,
        },
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A static token made with `usher token create` (RFC 6750)",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": true,
            },
            {
                "type": "httpbasic",
                "name": "HTTP Basic",
                "description": "A user name and a password made with `usher token create --basic` (RFC 7617)",
                "specUri": "https://www.rfc-editor.org/info/rfc7617",
                "primary": false,
            },
        ],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// `/ResourceTypes`
pub fn resource_types(base: &str) -> Vec<Value> {
    [ResourceType::User, ResourceType::Group]
        .into_iter()
        .map(|rt| {
            let mut shown = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
                "id": rt.name(),
                "name": rt.name(),
                "endpoint": format!("/{}", rt.endpoint()),
                "description": match rt {
                    ResourceType::User => "People with accounts",
                    ResourceType::Group => "Groups of people",
                },
                "schema": rt.schema(),
                "meta": {
                    "resourceType": "ResourceType",
                    "location": format!("{base}/ResourceTypes/{}", rt.name()),
                },
            });
            if rt == ResourceType::User {
                shown["schemaExtensions"] =
                    json!([{"schema": schema::ENTERPRISE_USER, "required": false}]);
            }
            shown
        })
        .collect()
}

/// `/Schemas`
pub fn schemas(base: &str) -> Vec<Value> {
    [
        (
            schema::USER,
            "User",
            "User account",
            schema::USER_ATTRIBUTES,
        ),
        (schema::GROUP, "Group", "Group", schema::GROUP_ATTRIBUTES),
        (
            schema::ENTERPRISE_USER,
            "EnterpriseUser",
            "Enterprise user",
            schema::ENTERPRISE_USER_ATTRIBUTES,
        ),
    ]
    .into_iter()
    .map(|(urn, name, description, attributes)| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": urn,
            "name": name,
            "description": description,
            "attributes": attributes.iter().map(described).collect::<Vec<_>>(),
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{urn}")},
        })
    })
    .collect()
}

fn described(a: &Attribute) -> Value {
    let mut shown = json!({
        "name": a.name,
        "type": a.kind.as_str(),
        "multiValued": a.multi,
        "description": a.description,
        "required": a.required,
        "caseExact": a.case_exact,
        "mutability": match a.mutability {
            Mutability::ReadOnly => "readOnly",
            Mutability::ReadWrite => "readWrite",
            Mutability::Immutable => "immutable",
            Mutability::WriteOnly => "writeOnly",
        },
        "returned": match a.returned {
            Returned::Always => "always",
            Returned::Never => "never",
            Returned::Default => "default",
        },
        "uniqueness": if a.unique { "server" } else { "none" },
    });
    if !a.canonical.is_empty() {
        shown["canonicalValues"] = json!(a.canonical);
    }
    if a.kind == Kind::Reference {
        shown["referenceTypes"] = json!(a.references);
    }
    if !a.subs.is_empty() {
        shown["subAttributes"] = a.subs.iter().map(described).collect();
    }
    shown
}
