//! `/Groups`

use std::collections::BTreeSet;

use serde_json::Value;

use crate::guard::routes::{Call, Outcome, absent, answer, error, exception, operations, taken};
use crate::guard::state::{Group, fold};
use crate::server::Answer;

pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let filter = call.filter(&["displayName"])?;
    let is_meant = |group: &&Group| match &filter {
        None => true,
        Some((_, name)) if call.rules.exact_group_filter => group.name == *name,
        Some((_, name)) => fold(&group.name) == fold(name),
    };
    let groups = call.state.groups.values().filter(is_meant);
    call.page(groups.map(|group| call.shown_group(group)).collect())
}

pub(crate) fn get(call: &Call<'_>, id: &str) -> Outcome {
    let group = group(call, id)?;
    Ok(answer(200, &call.shown_group(group)))
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let name = body
        .get("displayName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name.trim().is_empty() {
        return Err(error(400, "invalidValue", "displayName is required"));
    }
    if call.state.group(name).is_some() {
        return Err(taken("GROUP", "displayName", name));
    }
    let default = &call.rules.default_groups;
    if default.iter().any(|group| fold(group) == fold(name)) {
        let text = format!("Group [{name}] is a default access group and cannot be synced.");
        return Err(error(400, "invalidValue", &text));
    }
    let members = match body.get("members") {
        Some(members) => known_members(call, members)?,
        None => BTreeSet::new(),
    };
    let external_id = body.get("externalId").and_then(Value::as_str);
    let id = call
        .state
        .create_group(name, external_id.map(str::to_owned));
    call.state.set_members(&id, members);
    *call.state.group_creations.entry(fold(name)).or_default() += 1;
    Ok(answer(201, &call.shown_group(group(call, &id)?)))
}

pub(crate) fn replace(call: &mut Call<'_>, id: &str) -> Outcome {
    let body = call.body()?;
    keeps_its_name(group(call, id)?, body.get("displayName"))?;
    let members = match body.get("members") {
        Some(members) => known_members(call, members)?,
        None => BTreeSet::new(),
    };
    put(call, id, members)
}

pub(crate) fn patch(call: &mut Call<'_>, id: &str) -> Outcome {
    let body = call.body()?;
    let group = group(call, id)?;
    let mut members = group.members.clone();
    let operations = operations(&body)?;
    if operations.len() > call.rules.members_a_request {
        return Err(error(400, "tooMany", "Too many operations"));
    }
    for (op, path, value) in operations {
        let (path, value) = match (path, value) {
            (Some(path), value) => (path, value),
            (None, Value::Object(stated)) => {
                keeps_its_name(group, stated.get("displayName"))?;
                let value = stated.get("members").cloned();
                (
                    "members".to_owned(),
                    value.unwrap_or(Value::Array(Vec::new())),
                )
            }
            (None, _) => return Err(error(400, "invalidValue", "value must be an object")),
        };
        if let Some(id) = filtered(&path) {
            if op != "remove" {
                return Err(error(400, "invalidPath", "Only remove takes a filter"));
            }
            members.remove(&id);
            continue;
        }
        match path.as_str() {
            "displayName" => keeps_its_name(group, Some(&value))?,
            "members" => {
                let named = patched_members(call, &value)?;
                match op.as_str() {
                    "add" => members.extend(named),
                    "replace" => members = named,
                    // The standard says that this removes all; Atlassian's own users mean those named.
                    _ if value.is_null() => members.clear(),
                    _ => members.retain(|id| !named.contains(id)),
                }
            }
            _ => {
                return Err(error(
                    400,
                    "invalidPath",
                    &format!("Path [{path}] is not supported"),
                ));
            }
        }
    }
    put(call, id, members)
}

pub(crate) fn delete(call: &mut Call<'_>, id: &str) -> Outcome {
    is_not_atlassians(call, id)?;
    if call.state.delete_group(id) {
        Ok(Answer::empty(204))
    } else {
        Err(absent("GROUP", id))
    }
}

fn put(call: &mut Call<'_>, id: &str, members: BTreeSet<String>) -> Outcome {
    is_not_atlassians(call, id)?;
    call.state.set_members(id, members);
    Ok(answer(200, &call.shown_group(group(call, id)?)))
}

fn group<'a>(call: &'a Call<'_>, id: &str) -> Result<&'a Group, Answer> {
    call.state.groups.get(id).ok_or_else(|| absent("GROUP", id))
}

fn is_not_atlassians(call: &Call<'_>, id: &str) -> Result<(), Answer> {
    let group = group(call, id)?;
    if call.rules.own_group.as_ref() == Some(&group.name) {
        return Err(error(
            400,
            "mutability",
            &format!("Group [{}] is read-only.", group.name),
        ));
    }
    Ok(())
}

fn keeps_its_name(group: &Group, name: Option<&Value>) -> Result<(), Answer> {
    match name {
        Some(name) if *name != group.name.as_str() => Err(error(
            400,
            "mutability",
            "Attribute displayName is immutable.",
        )),
        _ => Ok(()),
    }
}

/// The id in `members[value eq "id"]`.
fn filtered(path: &str) -> Option<String> {
    let rest = path.strip_prefix("members[value eq ")?.strip_suffix(']')?;
    serde_json::from_str(rest).ok()
}

fn ids(value: &Value) -> Result<BTreeSet<String>, Answer> {
    let entries = match value {
        Value::Null => &[][..],
        Value::Array(entries) => entries,
        one => std::slice::from_ref(one),
    };
    let id = |entry: &Value| entry["value"].as_str().map(str::to_owned);
    let ids: Option<BTreeSet<String>> = entries.iter().map(id).collect();
    ids.ok_or_else(|| error(400, "invalidValue", "members must have a value each"))
}

/// Of a whole group: whoever is unknown ends in an exception.
fn known_members(call: &Call<'_>, value: &Value) -> Result<BTreeSet<String>, Answer> {
    let ids = ids(value)?;
    match ids.iter().find(|id| !call.state.users.contains_key(*id)) {
        Some(id) => Err(exception(&format!("Users [{id}] do not exist"))),
        None => Ok(ids),
    }
}

/// Of an operation: whoever is unknown is not found, and too many are too many.
fn patched_members(call: &Call<'_>, value: &Value) -> Result<BTreeSet<String>, Answer> {
    let ids = ids(value)?;
    if ids.len() > call.rules.members_a_request {
        return Err(error(400, "tooMany", "Too many members in one operation"));
    }
    match ids.iter().find(|id| !call.state.users.contains_key(*id)) {
        Some(id) => Err(absent("USER", id)),
        None => Ok(ids),
    }
}
