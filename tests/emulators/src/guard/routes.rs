//! Which path means what, and how the emulated directory writes things down.

use serde_json::{Map, Value, json};

use crate::guard::state::{Group, State, User};
use crate::guard::{discovery, groups, users};
use crate::server::{Answer, Request};

/// As many results as one answer holds, whatever is asked for.
const PAGE: usize = 100;

const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A call under way. `Err` of the functions that take it is an answer too: the refusal.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) request: &'a Request,
    /// Address of the directory, as the client sees it.
    pub(crate) base: &'a str,
    pub(crate) rules: &'a Rules,
}

/// What the organization's settings decide.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Only addresses of these may be written.
    pub(crate) verified_domains: Vec<String>,
    /// Groups that give default access to a site: no directory can keep them.
    pub(crate) default_groups: Vec<String>,
    /// The group that Atlassian keeps everybody in.
    pub(crate) own_group: Option<String>,
    /// The filter for groups looks at case.
    pub(crate) exact_group_filter: bool,
    /// More members in one operation are refused.
    pub(crate) members_a_request: usize,
}

pub(crate) type Outcome = Result<Answer, Answer>;

/// Answers below the address of the directory.
pub(crate) fn route(call: &mut Call<'_>, path: &[&str]) -> Outcome {
    match (path, call.request.method.as_str()) {
        (["Users"], "GET") => users::list(call),
        (["Users"], "POST") => users::create(call),
        (["Users", id], "GET") => users::get(call, id),
        (["Users", id], "PUT") => users::replace(call, id),
        (["Users", id], "PATCH") => users::patch(call, id),
        (["Users", id], "DELETE") => users::delete(call, id),
        (["Groups"], "GET") => groups::list(call),
        (["Groups"], "POST") => groups::create(call),
        (["Groups", id], "GET") => groups::get(call, id),
        (["Groups", id], "PUT") => groups::replace(call, id),
        (["Groups", id], "PATCH") => groups::patch(call, id),
        (["Groups", id], "DELETE") => groups::delete(call, id),
        (["ServiceProviderConfig"], "GET") => Ok(answer(200, &discovery::config())),
        (["ResourceTypes"], "GET") => Ok(answer(200, &discovery::resource_types(call.base))),
        (["ResourceTypes", name], "GET") => discovery::resource_type(call.base, name),
        (["Schemas"], "GET") => Ok(answer(200, &discovery::schemas(call.base))),
        (["Schemas", id], "GET") => discovery::schema(call.base, id),
        (["Users" | "Groups", ..], _) => Err(gateway(405, "Method Not Allowed")),
        _ => Err(gateway(404, "Not Found")),
    }
}

impl Call<'_> {
    /// The body as an object.
    pub(crate) fn body(&self) -> Result<Map<String, Value>, Answer> {
        let media_type = self.request.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !["application/json", "application/scim+json"].contains(&media_type) {
            return Err(gateway(415, "Unsupported Media Type"));
        }
        match serde_json::from_slice::<Value>(&self.request.body) {
            Ok(Value::Object(members)) => Ok(members),
            _ => Err(error(
                400,
                "invalidSyntax",
                "Request body could not be parsed",
            )),
        }
    }

    /// The only filter that there is: `attribute eq "text"`, on one of these.
    pub(crate) fn filter(&self, on: &[&str]) -> Result<Option<(String, String)>, Answer> {
        let Some(filter) = self.request.param("filter") else {
            return Ok(None);
        };
        let refused = || {
            let text = format!(
                "Filter [{filter}] is not supported: use eq on {}",
                on.join(" or ")
            );
            error(400, "invalidFilter", &text)
        };
        let (attribute, rest) = filter.trim().split_once(' ').ok_or_else(refused)?;
        let (operator, value) = rest.trim_start().split_once(' ').ok_or_else(refused)?;
        let known = on.iter().find(|name| name.eq_ignore_ascii_case(attribute));
        let value: Result<String, _> = serde_json::from_str(value.trim());
        match (known, operator.eq_ignore_ascii_case("eq"), value) {
            (Some(name), true, Ok(value)) => Ok(Some(((*name).to_owned(), value))),
            _ => Err(refused()),
        }
    }

    /// A part of what was found: never more than a hundred.
    pub(crate) fn page(&self, all: Vec<Value>) -> Outcome {
        let number = |name: &str, default: i64| match self.request.param(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| gateway(400, &format!("{name} is no number"))),
        };
        let start = usize::try_from(number("startIndex", 1)?)
            .unwrap_or(1)
            .max(1);
        let most = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let count = usize::try_from(number("count", most)?)
            .unwrap_or(0)
            .min(PAGE);
        let total = all.len();
        let resources: Vec<Value> = all.into_iter().skip(start - 1).take(count).collect();
        Ok(answer(
            200,
            &json!({
                "schemas": [LIST],
                "totalResults": total,
                "startIndex": start,
                "itemsPerPage": resources.len(),
                "Resources": resources,
            }),
        ))
    }

    pub(crate) fn shown_user(&self, user: &User) -> Value {
        let mut shown = json!({
            "schemas": [
                "urn:ietf:params:scim:schemas:core:2.0:User",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
                "urn:scim:schemas:extension:atlassian-external:1.0",
            ],
            "id": user.id,
        });
        for (name, value) in &user.attributes {
            shown[name.as_str()] = value.clone();
        }
        let groups = self.state.groups_of(&user.id).into_iter().map(|group| {
            json!({
                "type": "Group", "value": group.id, "display": group.name,
                "$ref": format!("{}/Groups/{}", self.base, group.id),
            })
        });
        shown["groups"] = groups.collect();
        shown["meta"] = self.meta("User", &user.id, user.created, user.modified);
        shown["urn:scim:schemas:extension:atlassian-external:1.0"] =
            json!({"atlassianAccountId": user.account_id});
        shown
    }

    pub(crate) fn shown_group(&self, group: &Group) -> Value {
        let members = group
            .members
            .iter()
            .filter_map(|id| self.state.users.get(id));
        let members = members.map(|user| {
            json!({
                "type": "User", "value": user.id, "display": user.name(),
                "$ref": format!("{}/Users/{}", self.base, user.id),
            })
        });
        let mut shown = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "id": group.id,
            "displayName": group.name,
            "members": members.collect::<Vec<_>>(),
            "meta": self.meta("Group", &group.id, group.created, group.modified),
        });
        if let Some(id) = &group.external_id {
            shown["externalId"] = json!(id);
        }
        shown
    }

    /// Moments are numbers of changes, told as if there had been one each second.
    fn meta(&self, kind: &str, id: &str, created: u64, modified: u64) -> Value {
        let moment = |number: u64| {
            let second = i64::try_from(number).unwrap_or(0) + 1_764_000_000;
            jiff::Timestamp::from_second(second).map_or_else(|_| String::new(), |t| t.to_string())
        };
        json!({
            "resourceType": kind,
            "location": format!("{}/{kind}s/{id}", self.base),
            "created": moment(created),
            "lastModified": moment(modified),
        })
    }
}

/// Operations of a PATCH: (`op` in lower case, path, value). `schemas` may be missing.
pub(crate) fn operations(
    body: &Map<String, Value>,
) -> Result<Vec<(String, Option<String>, Value)>, Answer> {
    let list = body.get("Operations").and_then(Value::as_array);
    let list = list.ok_or_else(|| error(400, "invalidSyntax", "Operations must be given"))?;
    let mut operations = Vec::new();
    for one in list {
        let op = one["op"].as_str().unwrap_or_default().to_lowercase();
        if !["add", "replace", "remove"].contains(&op.as_str()) {
            return Err(error(
                400,
                "invalidSyntax",
                "op must be add, replace or remove",
            ));
        }
        let path = one["path"].as_str().map(str::to_owned);
        operations.push((op, path, one["value"].clone()));
    }
    Ok(operations)
}

pub(crate) fn answer(status: u16, value: &Value) -> Answer {
    Answer {
        content_type: "application/scim+json",
        ..Answer::json(status, value)
    }
}

/// An error of the directory service. An empty `kind` is left out.
pub(crate) fn error(status: u16, kind: &str, detail: &str) -> Answer {
    let mut body = json!({"schemas": [ERROR], "status": status.to_string(), "detail": detail});
    if !kind.is_empty() {
        body["scimType"] = json!(kind);
    }
    answer(status, &body)
}

pub(crate) fn absent(kind: &str, id: &str) -> Answer {
    error(
        404,
        "",
        &format!("Resource [{kind}]: with id[{id}] not found."),
    )
}

pub(crate) fn taken(kind: &str, attribute: &str, value: &str) -> Answer {
    let text = format!("Resource [{kind}]: with {attribute}[{value}] already exists.");
    error(409, "uniqueness", &text)
}

/// What the gateway in front says: no SCIM.
pub(crate) fn gateway(status: u16, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": message, "traceId": "5f1c0ffee5f1c0ffee5f1c0ffee5f1c0"}),
    )
}

/// An exception that nobody caught.
pub(crate) fn exception(message: &str) -> Answer {
    Answer::json(
        400,
        &json!({
            "cause": null,
            "stackTrace": [{
                "methodName": "validateMembers", "fileName": "GroupService.java", "lineNumber": 214,
                "className": "com.atlassian.scim.service.GroupService", "nativeMethod": false,
            }],
            "responseStatus": "BAD_REQUEST",
            "scimErrorType": "invalidValue",
            "message": message,
            "localizedMessage": message,
            "suppressed": [],
        }),
    )
}
