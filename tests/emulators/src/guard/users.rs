//! `/Users`

use serde_json::{Map, Value, json};

use crate::guard::routes::{Call, Outcome, absent, answer, error, operations, taken};
use crate::guard::state::{ATTRIBUTES, User, fold, primary};
use crate::server::Answer;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let projection = Projection::of(call)?;
    let found: Vec<&User> = match call.filter(&["userName", "externalId"])? {
        None => call.state.users.values().collect(),
        Some((name, value)) if name == "userName" => call.state.named(&value).into_iter().collect(),
        Some((_, value)) => {
            let users = call.state.users.values();
            users
                .filter(|user| user.text("externalId") == value)
                .collect()
        }
    };
    let shown = found.into_iter().map(|user| projection.of_user(call, user));
    call.page(shown.collect())
}

pub(crate) fn get(call: &Call<'_>, id: &str) -> Outcome {
    let projection = Projection::of(call)?;
    let user = call.state.users.get(id).ok_or_else(|| absent("USER", id))?;
    Ok(answer(200, &projection.of_user(call, user)))
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    let projection = Projection::of(call)?;
    let mut attributes = honoured(call.body()?)?;
    attributes.entry("active").or_insert(Value::Bool(true));
    allowed(call, "", &attributes)?;
    let id = call.state.create_user(attributes);
    let name = fold(call.state.users[&id].name());
    *call.state.creations.entry(name).or_default() += 1;
    if let Some(own) = call.rules.own_group.clone()
        && let Some(group) = call.state.group(&own)
    {
        let (group_id, mut members) = (group.id.clone(), group.members.clone());
        members.insert(id.clone());
        call.state.set_members(&group_id, members);
    }
    Ok(answer(
        201,
        &projection.of_user(call, &call.state.users[&id]),
    ))
}

/// What is not stated is cleared.
pub(crate) fn replace(call: &mut Call<'_>, id: &str) -> Outcome {
    let was_active = call
        .state
        .users
        .get(id)
        .map(User::is_active)
        .ok_or_else(|| absent("USER", id))?;
    let mut attributes = honoured(call.body()?)?;
    attributes
        .entry("active")
        .or_insert(Value::Bool(was_active));
    put(call, id, attributes)
}

pub(crate) fn patch(call: &mut Call<'_>, id: &str) -> Outcome {
    let user = call.state.users.get(id).ok_or_else(|| absent("USER", id))?;
    let mut attributes = user.attributes.clone();
    for (op, path, value) in operations(&call.body()?)? {
        match path {
            Some(path) => change(&mut attributes, &op, &path, value)?,
            // Without a path the value names what it changes.
            None => {
                let Value::Object(members) = value else {
                    return Err(error(400, "invalidValue", "value must be an object"));
                };
                for (name, value) in members {
                    change(&mut attributes, &op, &name, value)?;
                }
            }
        }
    }
    put(call, id, honoured(attributes)?)
}

pub(crate) fn delete(call: &mut Call<'_>, id: &str) -> Outcome {
    if call.state.delete_user(id) {
        Ok(Answer::empty(204))
    } else {
        Err(absent("USER", id))
    }
}

fn put(call: &mut Call<'_>, id: &str, attributes: Map<String, Value>) -> Outcome {
    let projection = Projection::of(call)?;
    allowed(call, id, &attributes)?;
    call.state.set_attributes(id, attributes);
    let user = call.state.users.get(id).ok_or_else(|| absent("USER", id))?;
    Ok(answer(200, &projection.of_user(call, user)))
}

/// Those attributes that count, whatever the case of their names; `active` also as text.
fn honoured(body: Map<String, Value>) -> Result<Map<String, Value>, Answer> {
    let mut attributes = Map::new();
    for (name, value) in body {
        let known = ATTRIBUTES.iter().find(|it| it.eq_ignore_ascii_case(&name));
        let Some(name) = known.filter(|_| !value.is_null()) else {
            continue;
        };
        let value = match (*name, &value) {
            ("active", Value::String(text)) => match text.to_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => return Err(error(400, "invalidValue", "active must be true or false")),
            },
            ("active", Value::Bool(_))
            | ("emails" | "phoneNumbers", Value::Array(_))
            | ("name" | ENTERPRISE, Value::Object(_)) => value,
            ("active" | "emails" | "phoneNumbers" | "name" | ENTERPRISE, _) => {
                return Err(error(
                    400,
                    "invalidValue",
                    &format!("{name} has a wrong type"),
                ));
            }
            (_, Value::String(_)) => value,
            _ => return Err(error(400, "invalidValue", &format!("{name} must be text"))),
        };
        attributes.insert((*name).to_owned(), value);
    }
    Ok(attributes)
}

/// What Atlassian checks before it takes a record over.
fn allowed(call: &Call<'_>, id: &str, attributes: &Map<String, Value>) -> Result<(), Answer> {
    let text = |name: &str| {
        attributes
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = text("userName");
    if name.trim().is_empty() {
        return Err(error(400, "invalidValue", "userName is required"));
    }
    let emails = attributes.get("emails").and_then(Value::as_array);
    let primaries = emails.into_iter().flatten();
    let primaries = primaries.filter(|email| email["primary"] == Value::Bool(true));
    let address = primary(attributes);
    if primaries.count() != 1 || !address.contains('@') {
        return Err(error(
            400,
            "invalidValue",
            "emails must have exactly one primary value",
        ));
    }
    let before = call.state.users.get(id).map(User::email);
    let domain = fold(address.rsplit('@').next().unwrap_or_default());
    if before != Some(address) && !call.rules.verified_domains.contains(&domain) {
        let text = format!("Domain [{domain}] of email [{address}] is not verified.");
        return Err(error(400, "invalidValue", &text));
    }
    if call.state.named(name).is_some_and(|other| other.id != id) {
        return Err(taken("USER", "userName", name));
    }
    if before.is_none_or(|before| fold(before) != fold(address))
        && call.state.addressed(address, id).is_some()
    {
        return Err(taken("USER", "email", address));
    }
    Ok(())
}

/// `attribute`, `attribute.sub`, `list[sub eq "x"].sub`, and an attribute of the enterprise extension.
fn change(
    attributes: &mut Map<String, Value>,
    op: &str,
    path: &str,
    value: Value,
) -> Result<(), Answer> {
    let invalid = || {
        error(
            400,
            "invalidPath",
            &format!("Path [{path}] is not supported"),
        )
    };
    if let Some(sub) = path
        .strip_prefix(ENTERPRISE)
        .and_then(|rest| rest.strip_prefix(':'))
    {
        return within(attributes, ENTERPRISE, op, sub, value);
    }
    if let Some((name, rest)) = path.split_once('[') {
        let (filter, after) = rest.split_once(']').ok_or_else(invalid)?;
        let mut parts = filter.splitn(3, ' ');
        let (Some(by), Some("eq"), Some(wanted)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        let wanted: Value = serde_json::from_str(wanted).map_err(|_| invalid())?;
        let list = attributes.get_mut(name).and_then(Value::as_array_mut);
        let list = list.ok_or_else(|| error(400, "noTarget", "There is no such value"))?;
        let Some(at) = list.iter().position(|entry| entry[by] == wanted) else {
            return Err(error(400, "noTarget", "There is no such value"));
        };
        match (op, after.strip_prefix('.')) {
            ("remove", None) => {
                list.remove(at);
            }
            (_, Some(sub)) => list[at][sub] = value,
            (_, None) => list[at] = value,
        }
        return Ok(());
    }
    if let Some((name, sub)) = path.split_once('.')
        && !path.starts_with("urn:")
    {
        return within(attributes, name, op, sub, value);
    }
    let known = ATTRIBUTES
        .iter()
        .find(|name| name.eq_ignore_ascii_case(path));
    let name = *known.ok_or_else(invalid)?;
    match (op, attributes.get_mut(name), value) {
        ("remove", ..) => {
            attributes.remove(name);
        }
        ("add", Some(Value::Array(list)), Value::Array(more)) => {
            for entry in more {
                if !list.contains(&entry) {
                    list.push(entry);
                }
            }
        }
        (_, _, value) => {
            attributes.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

fn within(
    attributes: &mut Map<String, Value>,
    name: &str,
    op: &str,
    sub: &str,
    value: Value,
) -> Result<(), Answer> {
    let complex = attributes.entry(name).or_insert_with(|| json!({}));
    let Some(members) = complex.as_object_mut() else {
        return Err(error(400, "invalidPath", &format!("{name} has no parts")));
    };
    if op == "remove" {
        members.remove(sub);
    } else {
        members.insert(sub.to_owned(), value);
    }
    Ok(())
}

/// Which attributes an answer shows.
enum Projection {
    All,
    Only(Vec<String>),
    Without(Vec<String>),
}

impl Projection {
    fn of(call: &Call<'_>) -> Result<Self, Answer> {
        let names = |name: &str| {
            let text = call.request.param(name)?;
            let names = text.split(',').map(|it| it.trim().to_lowercase());
            Some(names.filter(|it| !it.is_empty()).collect::<Vec<_>>())
        };
        match (names("attributes"), names("excludedAttributes")) {
            (Some(_), Some(_)) => Err(error(
                400,
                "invalidValue",
                "attributes and excludedAttributes are mutually exclusive",
            )),
            (Some(only), None) => Ok(Self::Only(only)),
            (None, Some(without)) => Ok(Self::Without(without)),
            (None, None) => Ok(Self::All),
        }
    }

    fn of_user(&self, call: &Call<'_>, user: &User) -> Value {
        let mut shown = call.shown_user(user);
        let Some(members) = shown.as_object_mut() else {
            return shown;
        };
        let names = |it: &str| it.to_lowercase();
        match self {
            Self::All => {}
            Self::Only(only) => members.retain(|name, _| {
                let name = names(name);
                let wanted = |it: &String| *it == name || it.starts_with(&format!("{name}."));
                ["id", "schemas"].contains(&name.as_str()) || only.iter().any(wanted)
            }),
            Self::Without(without) => members.retain(|name, _| !without.contains(&names(name))),
        }
        shown
    }
}
