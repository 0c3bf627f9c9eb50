//! `POST /search` with a restriction. The query language of `GET /search` is not emulated.

use serde_json::Value;

use crate::crowd::entities::text;
use crate::crowd::routes::{Call, Outcome};
use crate::crowd::state::{Group, User, fold};

pub(crate) fn search(call: &mut Call<'_>) -> Outcome {
    let restriction = call.body()?;
    let illegal = |reason: String| call.refuse(400, "ILLEGAL_ARGUMENT", &reason);
    match call.required("entity-type")?.as_str() {
        "user" => {
            let mut found = Vec::new();
            for user in call.state.users.values() {
                if holds(&restriction, &|name| of_user(user, name)).map_err(illegal)? {
                    found.push(user);
                }
            }
            let page = call.page(found.into_iter())?;
            let entity = call.build.users(page.into_iter(), call.expands("user"));
            call.reply(200, &entity)
        }
        "group" => {
            let mut found = Vec::new();
            for group in call.state.groups.values() {
                if holds(&restriction, &|name| of_group(group, name)).map_err(illegal)? {
                    found.push(group);
                }
            }
            let page = call.page(found.into_iter())?;
            let entity = call.build.groups(page.into_iter(), call.expands("group"));
            call.reply(200, &entity)
        }
        other => Err(illegal(format!("Unknown entity type <{other}>"))),
    }
}

fn of_user(user: &User, property: &str) -> Option<String> {
    Some(match property {
        "name" => user.name.clone(),
        "email" => user.email.clone(),
        "firstName" => user.first_name.clone(),
        "lastName" => user.last_name.clone(),
        "displayName" => user.display_name.clone(),
        "active" => user.active.to_string(),
        _ => return None,
    })
}

fn of_group(group: &Group, property: &str) -> Option<String> {
    Some(match property {
        "name" => group.name.clone(),
        "description" => group.description.clone(),
        "active" => group.active.to_string(),
        _ => return None,
    })
}

/// Whether a restriction holds for the entity that `value` tells the properties of.
fn holds(restriction: &Value, value: &dyn Fn(&str) -> Option<String>) -> Result<bool, String> {
    let kind = text(restriction, "restriction-type").unwrap_or_default();
    match kind.as_ref() {
        "null-search-restriction" => Ok(true),
        "property-search-restriction" => {
            let property = restriction.get("property").unwrap_or(&Value::Null);
            let name = text(property, "name").unwrap_or_default();
            let has = value(&name).ok_or_else(|| format!("Unknown property <{name}>"))?;
            let wanted = text(restriction, "value").unwrap_or_default();
            let (has, wanted) = (fold(&has), fold(&wanted));
            match text(restriction, "match-mode").unwrap_or_default().as_ref() {
                "EXACTLY_MATCHES" => Ok(has == wanted),
                "CONTAINS" => Ok(has.contains(&wanted)),
                "STARTS_WITH" => Ok(has.starts_with(&wanted)),
                "NULL" => Ok(has.is_empty()),
                other => Err(format!("Unknown match mode <{other}>")),
            }
        }
        "boolean-search-restriction" => {
            let parts = restriction.get("restrictions").and_then(Value::as_array);
            let parts = parts.into_iter().flatten();
            let held: Result<Vec<bool>, String> = parts.map(|part| holds(part, value)).collect();
            let held = held?;
            match text(restriction, "boolean-logic")
                .unwrap_or_default()
                .to_lowercase()
                .as_str()
            {
                "and" => Ok(held.into_iter().all(|it| it)),
                "or" => Ok(held.into_iter().any(|it| it)),
                other => Err(format!("Unknown logic <{other}>")),
            }
        }
        other => Err(format!("Unknown restriction <{other}>")),
    }
}
