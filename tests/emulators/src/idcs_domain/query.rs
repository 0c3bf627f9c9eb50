//! Reading `/admin/v1`: filters, attributes, pages, and what is refused.

use serde_json::{Map, Value, json};

use super::state::{EVERYONE, Grant, Group, State, User, stamp};
use super::{DEFAULT_COUNT, List, MAX_COUNT, MAX_MEMBERS, Trouble, error, unauthorized};
use crate::server::{Answer, Request};

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// App roles that may read users and groups.
const READERS: [&str; 5] = [
    "Audit Administrator",
    "Security Administrator",
    "Application Administrator",
    "User Administrator",
    "Identity Domain Administrator",
];
/// App roles that may read grants.
const GRANT_READERS: [&str; 3] = [
    "Application Administrator",
    "User Administrator",
    "Identity Domain Administrator",
];

pub(super) fn read(state: &mut State, request: &Request, path: &[&str]) -> Answer {
    let Some(roles) = state.roles_of(request) else {
        return unauthorized();
    };
    let may = |readers: &[&str]| roles.iter().any(|role| readers.contains(&role.as_str()));
    let allowed = match path.first() {
        Some(&("Grants" | "AppRoles")) => may(&GRANT_READERS),
        Some(&"Apps") => may(&GRANT_READERS) || may(&["Security Administrator"]),
        _ => may(&READERS),
    };
    if !allowed {
        return forbidden();
    }
    match path {
        ["Users"] => users(state, request),
        ["Users", id] => user(state, request, id),
        ["Groups"] => groups(state, request),
        ["Groups", id] => group(state, request, id),
        ["Grants"] => grants(state, request),
        ["Apps", id] => Answer::json(
            200,
            &json!({ "id": id, "displayName": "Jira", "active": true, "allowAccessControl": true }),
        ),
        _ => not_found(),
    }
}

fn forbidden() -> Answer {
    error(
        403,
        "error.common.common.notAuthorized",
        "You are not authorized to perform this operation.",
    )
}

fn not_found() -> Answer {
    error(
        404,
        "error.common.resource.notFound",
        "The resource was not found.",
    )
}

fn user(state: &State, request: &Request, id: &str) -> Answer {
    match state.users.get(id) {
        None => not_found(),
        Some(user) => {
            let shown = state.user_json(id, user);
            Answer::json(
                200,
                &json!(chosen(request, shown, &["id", "userName", "meta"])),
            )
        }
    }
}

fn users(state: &mut State, request: &Request) -> Answer {
    let tests = match filter(request) {
        Ok(tests) => tests,
        Err(answer) => return answer,
    };
    let matching = |(id, user): &&(String, User)| {
        tests.iter().all(|test| {
            test.holds(&match test.attribute.as_str() {
                "id" => vec![id.clone()],
                "username" => vec![user.person.user_name.to_lowercase()],
                "active" => vec![user.person.active.to_string()],
                "meta.lastmodified" => vec![stamp(user.modified)],
                "groups.value" => group_ids(state, id),
                _ => Vec::new(),
            })
        })
    };
    let found: Vec<&(String, User)> = state.users.iter().filter(matching).collect();
    let (start, count) = window(request, state.options.page_cap);
    let total = found.len();
    let rows = page_of(&found, start, count)
        .iter()
        .map(|(id, user)| {
            let shown = state.user_json(id, user);
            json!(chosen(request, shown, &["id", "userName"]))
        })
        .collect();
    drop(found);
    list(state, List::Users, request, rows, total)
}

fn group_ids(state: &State, user: &str) -> Vec<String> {
    state
        .groups
        .iter()
        .filter(|(_, group)| group.members.iter().any(|it| it == user))
        .map(|(id, _)| id.clone())
        .collect()
}

fn groups(state: &mut State, request: &Request) -> Answer {
    let tests = match filter(request) {
        Ok(tests) => tests,
        Err(answer) => return answer,
    };
    let with_members = attributes(request)
        .iter()
        .any(|it| it.starts_with("members"));
    let matching = |(id, group): &&(String, Group)| {
        tests.iter().all(|test| {
            test.holds(&match test.attribute.as_str() {
                "id" => vec![id.clone()],
                "displayname" => vec![group.name.to_lowercase()],
                "meta.lastmodified" => vec![stamp(group.modified)],
                "members.value" => group.members.clone(),
                _ => Vec::new(),
            })
        })
    };
    let found: Vec<&(String, Group)> = state.groups.iter().filter(matching).collect();
    let (start, count) = window(request, state.options.group_cap);
    let total = found.len();
    let page = page_of(&found, start, count);
    let members: usize = page.iter().map(|(_, group)| group.members.len()).sum();
    if with_members && members > MAX_MEMBERS {
        return too_many();
    }
    let rows = page
        .iter()
        .map(|(id, group)| json!(group_json(state, id, group, None)))
        .collect();
    drop(found);
    list(state, List::Groups, request, rows, total)
}

fn too_many() -> Answer {
    error(
        400,
        "error.common.search.maxMembersExceeded",
        "The number of members exceeds 10000: page them.",
    )
}

fn group_json(
    state: &State,
    id: &str,
    group: &Group,
    members: Option<Vec<Value>>,
) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("id".into(), json!(id));
    shown.insert("displayName".into(), json!(group.name));
    shown.insert("nonUniqueDisplayName".into(), json!(group.name));
    shown.insert(
        "meta".into(),
        state.meta("Group", "Groups", id, group.modified),
    );
    if let Some(members) = members.filter(|it| !it.is_empty()) {
        shown.insert("members".into(), json!(members));
    }
    shown
}

fn group(state: &mut State, request: &Request, id: &str) -> Answer {
    let Some(group) = state.groups.get(id) else {
        return not_found();
    };
    let asked = attributes(request);
    let Some(members) = asked.iter().find(|it| it.starts_with("members")) else {
        return Answer::json(200, &json!(group_json(state, id, group, None)));
    };
    if state.refuse_members {
        return forbidden();
    }
    let all = if group.name == EVERYONE {
        state.users.ids()
    } else {
        group.members.clone()
    };
    let inner: Vec<(String, usize)> = members
        .trim_start_matches("members")
        .trim_matches(['[', ']'])
        .split('&')
        .filter_map(|it| it.split_once('='))
        .filter_map(|(name, value)| Some((name.to_lowercase(), value.parse().ok()?)))
        .collect();
    let number = |name: &str| inner.iter().find(|(key, _)| key == name).map(|(_, it)| *it);
    let (start, count) = match (number("startindex"), number("count")) {
        (None, None) if all.len() > MAX_MEMBERS => return too_many(),
        (None, None) => (1, all.len()),
        (start, count) => (
            start.unwrap_or(1).max(1),
            count.unwrap_or(DEFAULT_COUNT).min(state.options.member_cap),
        ),
    };
    let trouble = state.trouble(List::Members, id, start);
    let start_row = match trouble {
        Some(Trouble::Shifted) if start > 1 => start,
        _ => start - 1,
    };
    let mut rows: Vec<Value> = all
        .iter()
        .skip(start_row)
        .take(count)
        .map(|user| {
            let name = state.users.get(user).map_or("", |it| &it.person.user_name);
            json!({ "value": user, "type": "User", "name": name, "display": name,
                "$ref": format!("{}/admin/v1/Users/{user}", state.url) })
        })
        .collect();
    match trouble {
        Some(Trouble::Half) => rows.truncate(rows.len() / 2),
        Some(Trouble::Empty | Trouble::Nothing) => rows.clear(),
        _ => {}
    }
    let Some(group) = state.groups.get(id) else {
        return not_found();
    };
    let answer = Answer::json(200, &json!(group_json(state, id, group, Some(rows))));
    spoilt(answer, trouble)
}

fn grants(state: &mut State, request: &Request) -> Answer {
    let tests = match filter(request) {
        Ok(tests) => tests,
        Err(answer) => return answer,
    };
    let found: Vec<&Grant> = state
        .grants
        .iter()
        .filter(|grant| {
            tests.iter().all(|test| {
                test.holds(&[match test.attribute.as_str() {
                    "app.value" => grant.app.clone(),
                    "grantee.value" => grant.grantee.clone(),
                    "grantee.type" => grant.kind.to_lowercase(),
                    _ => String::new(),
                }])
            })
        })
        .collect();
    let (start, count) = window(request, state.options.page_cap);
    let total = found.len();
    let rows = page_of(&found, start, count)
        .iter()
        .map(|grant| {
            json!({
                "id": grant.id, "grantMechanism": grant.mechanism,
                "grantee": { "type": grant.kind, "value": grant.grantee },
                "app": { "value": grant.app }, "isFulfilled": true,
            })
        })
        .collect();
    list(state, List::Grants, request, rows, total)
}

fn window(request: &Request, cap: usize) -> (usize, usize) {
    let number = |name: &str| request.param(name).and_then(|it| it.parse::<i64>().ok());
    let start = number("startIndex").unwrap_or(1).max(1);
    let count = number("count").filter(|it| *it >= 0);
    (
        usize::try_from(start).unwrap_or(1),
        count.map_or(DEFAULT_COUNT, |it| {
            usize::try_from(it).unwrap_or(MAX_COUNT).min(cap)
        }),
    )
}

fn page_of<T>(rows: &[T], start: usize, count: usize) -> &[T] {
    let from = (start - 1).min(rows.len());
    let to = (from + count).min(rows.len());
    rows.get(from..to).unwrap_or_default()
}

fn list(
    state: &mut State,
    kind: List,
    request: &Request,
    mut rows: Vec<Value>,
    total: usize,
) -> Answer {
    let (start, count) = window(request, MAX_COUNT);
    let which = request.param("filter").unwrap_or_default().to_owned();
    let trouble = state.trouble(kind, &which, start);
    let mut total = total;
    match trouble {
        Some(Trouble::Empty) => rows.clear(),
        Some(Trouble::Half) => rows.truncate(rows.len() / 2),
        Some(Trouble::Nothing) => {
            rows.clear();
            total = 0;
        }
        Some(Trouble::EndsHere) => total = start - 1 + rows.len(),
        // Somebody before this page is gone: everyone slipped forward, and so did the total.
        Some(Trouble::Shifted) if start > 1 && !rows.is_empty() => {
            rows.remove(0);
            total -= 1;
        }
        _ => {}
    }
    let answer = Answer::json(
        200,
        &json!({ "schemas": [LIST], "totalResults": total, "Resources": rows,
            "startIndex": start, "itemsPerPage": count }),
    );
    spoilt(answer, trouble)
}

fn spoilt(mut answer: Answer, trouble: Option<Trouble>) -> Answer {
    match trouble {
        Some(Trouble::Unavailable) => Answer::text(503, "Service Unavailable"),
        Some(Trouble::Broken) => error(
            500,
            "error.common.common.internal",
            "An internal error occurred.",
        ),
        Some(Trouble::Forbidden) => forbidden(),
        Some(Trouble::Unauthorized) => unauthorized(),
        Some(Trouble::Throttled) => Answer::text(429, "Too Many Requests"),
        Some(Trouble::Html) => Answer::html(200, "Sign in"),
        Some(Trouble::Nonsense) => Answer::json(200, &json!({ "status": "ok" })),
        Some(Trouble::Torn) => {
            let half = answer.body.len() / 2;
            let half = (0..=half)
                .rev()
                .find(|at| answer.body.is_char_boundary(*at));
            answer.body.truncate(half.unwrap_or(0));
            answer
        }
        _ => answer,
    }
}

fn attributes(request: &Request) -> Vec<String> {
    // Commas inside brackets do not occur; the inner `&` was sent as `%26`.
    request
        .param("attributes")
        .unwrap_or_default()
        .split(',')
        .map(|it| it.trim().to_owned())
        .filter(|it| !it.is_empty())
        .collect()
}

/// The attributes that were asked for, or all but those shown on request alone.
fn chosen(request: &Request, mut shown: Map<String, Value>, always: &[&str]) -> Map<String, Value> {
    let asked = attributes(request);
    if asked.is_empty() {
        shown.remove("groups");
        return shown;
    }
    shown.retain(|name, _| {
        always.contains(&name.as_str())
            || asked.iter().any(|it| {
                it.eq_ignore_ascii_case(name)
                    || it
                        .to_lowercase()
                        .starts_with(&format!("{}:", name.to_lowercase()))
                    || it
                        .to_lowercase()
                        .starts_with(&format!("{}.", name.to_lowercase()))
            })
    });
    shown
}

struct Test {
    attribute: String,
    operator: String,
    value: String,
}

impl Test {
    fn holds(&self, values: &[String]) -> bool {
        values.iter().any(|it| match self.operator.as_str() {
            "eq" => *it == self.value,
            "sw" => it.starts_with(&self.value),
            "co" => it.contains(&self.value),
            "gt" => *it > self.value,
            "ge" => *it >= self.value,
            _ => false,
        })
    }
}

/// Tests joined by `and`; nothing else is needed here, and anything else is refused.
fn filter(request: &Request) -> Result<Vec<Test>, Answer> {
    let Some(text) = request.param("filter") else {
        return Ok(Vec::new());
    };
    let wrong = || {
        error(
            400,
            "error.common.validation.invalidFilter",
            "The filter is not valid.",
        )
    };
    text.split(" and ")
        .map(|test| {
            let mut words = test.trim_matches([' ', '(', ')']).splitn(3, ' ');
            let (Some(attribute), Some(operator), Some(value)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            let operator = operator.to_lowercase();
            if !["eq", "sw", "co", "gt", "ge"].contains(&operator.as_str()) {
                return Err(wrong());
            }
            let attribute = attribute.to_lowercase();
            let value = value
                .trim_matches('"')
                .replace("\\\"", "\"")
                .replace("\\\\", "\\");
            // Ids compare exactly, names without case.
            let value = match attribute.as_str() {
                "username" | "displayname" | "grantee.type" => value.to_lowercase(),
                _ => value,
            };
            Ok(Test {
                attribute,
                operator,
                value,
            })
        })
        .collect()
}
