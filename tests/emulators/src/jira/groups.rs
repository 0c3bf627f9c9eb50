//! Calls about groups and memberships.

use serde_json::json;

use crate::jira::beans::refused;
use crate::jira::routes::{Call, Outcome, text};
use crate::jira::state::{ADMIN_GROUP, Group, fold};
use crate::server::Answer;

/// Members on one page of `group/member`, whatever was asked for.
const PAGE_CAP: usize = 50;
/// What the picker shows when nothing else is asked for.
const PICKER_DEFAULT: usize = 20;

/// The old form with `expand=users[0:49]`, gone from the 10.3 description but used by clients.
pub(crate) fn get(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let group = named(call)?;
    let range = users_range(call.param("expand").unwrap_or_default());
    let inactive_too = call.flag("includeInactiveUsers", false);
    Ok(Answer::json(
        200,
        &call.beans().group(group, range, inactive_too),
    ))
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&["name"])?;
    let name = text(&body, "name")?.unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(refused(400, "The group name must not be empty"));
    }
    if name.chars().count() > 255 {
        return Err(refused(
            400,
            "The group name must not exceed 255 characters",
        ));
    }
    if !call.state.create_group(&name) {
        return Err(refused(
            400,
            &format!("A group with the name '{name}' already exists."),
        ));
    }
    *call.state.group_creations.entry(fold(&name)).or_default() += 1;
    let group = call.state.group(&name).ok_or_else(|| Answer::empty(500))?;
    Ok(Answer::json(201, &call.beans().group(group, None, false)))
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let name = named(call)?.name.clone();
    if let Some(swap) = call.param("swapGroup")
        && call.state.group(swap).is_none()
    {
        return Err(refused(
            404,
            &format!("The group named '{swap}' does not exist"),
        ));
    }
    if fold(&name) == ADMIN_GROUP {
        return Err(refused(
            400,
            "You cannot delete a group that grants you system administration privileges",
        ));
    }
    call.state.delete_group(&name);
    Ok(Answer::empty(200))
}

pub(crate) fn add_member(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&["name"])?;
    let group = named(call)?.name.clone();
    let user = text(&body, "name")?.unwrap_or_default();
    let user = member(call, &user)?;
    if !call.state.add_member(&group, &user) {
        return Err(refused(
            400,
            &format!("Cannot add user '{user}', user is already a member of '{group}'"),
        ));
    }
    let group = call.state.group(&group).ok_or_else(|| Answer::empty(500))?;
    Ok(Answer::json(201, &call.beans().group(group, None, false)))
}

pub(crate) fn remove_member(call: &mut Call<'_>) -> Outcome {
    let caller = call.admin()?.name.clone();
    let group = named(call)?.name.clone();
    let user = member(call, call.param("username").unwrap_or_default())?;
    if fold(&group) == ADMIN_GROUP && fold(&user) == fold(&caller) {
        return Err(refused(
            400,
            "You cannot remove your own administration privileges",
        ));
    }
    if !call.state.remove_member(&group, &user) {
        return Err(refused(
            400,
            &format!("Cannot remove user '{user}', user is not a member of '{group}'"),
        ));
    }
    Ok(Answer::empty(200))
}

/// With the members of subgroups; inactive ones only when asked for.
pub(crate) fn members(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let group = named(call)?;
    let start = call.number("startAt", 0)?;
    let count = call.number("maxResults", PAGE_CAP)?.min(PAGE_CAP);
    let inactive_too = call.flag("includeInactiveUsers", false);
    let (page, total) = call.state.member_page(group, inactive_too, start, count);
    let beans = call.beans();
    let values: Vec<_> = page.iter().map(|user| beans.short_user(user)).collect();
    let next = start + values.len();
    let mut answer = json!({
        "self": call.link_to_this_page(start, count),
        "maxResults": count,
        "startAt": start,
        "total": total,
        "isLast": next >= total,
        "values": values,
    });
    if next < total {
        answer["nextPage"] = json!(call.link_to_this_page(next, count));
    }
    Ok(Answer::json(200, &answer))
}

/// By part of a name, without paging. Anonymous callers are shown nothing.
pub(crate) fn picker(call: &mut Call<'_>) -> Outcome {
    let query = fold(call.param("query").unwrap_or_default());
    let limit = call
        .number("maxResults", PICKER_DEFAULT)?
        .min(call.options.picker_cap);
    let parameters = call.request.query.iter();
    let excluded: Vec<String> = parameters
        .filter(|(name, _)| name == "exclude")
        .map(|(_, value)| fold(value))
        .collect();
    let of_user = call
        .param("userName")
        .and_then(|name| call.state.user(name));
    let matching: Vec<&Group> = call
        .state
        .groups
        .iter()
        .filter(|(name, _)| name.contains(&query) && !excluded.contains(name))
        .filter(|(name, _)| of_user.is_none_or(|user| user.groups.contains(*name)))
        .map(|(_, group)| group)
        .filter(|_| call.caller.is_some())
        .collect();
    let shown: Vec<_> = matching
        .iter()
        .take(limit)
        .map(|group| {
            let html = marked(&group.name, &query);
            json!({ "name": group.name, "html": html, "labels": labels(call, group) })
        })
        .collect();
    let header = format!(
        "Showing {} of {} matching groups",
        shown.len(),
        matching.len()
    );
    Ok(Answer::json(
        200,
        &json!({ "header": header, "total": matching.len(), "groups": shown }),
    ))
}

fn named<'a>(call: &'a Call<'_>) -> Result<&'a Group, Answer> {
    match call
        .param("groupname")
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        None => Err(refused(400, "The group name must not be empty")),
        Some(name) => call
            .state
            .group(name)
            .ok_or_else(|| refused(404, &format!("The group named '{name}' does not exist"))),
    }
}

fn member(call: &Call<'_>, name: &str) -> Result<String, Answer> {
    let user = call.state.user(name).map(|user| user.name.clone());
    user.ok_or_else(|| refused(404, &format!("The user named '{name}' does not exist")))
}

/// `users` or `users[a:b]`, both ends included.
fn users_range(expand: &str) -> Option<(usize, usize)> {
    let part = expand
        .split(',')
        .map(str::trim)
        .find(|part| part.starts_with("users"))?;
    let range = part
        .strip_prefix("users[")
        .and_then(|rest| rest.strip_suffix(']'));
    let ends = range.and_then(|range| range.split_once(':'));
    let ends = ends.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    Some(ends.unwrap_or((0, PAGE_CAP - 1)))
}

/// The name as HTML with what was found in bold.
fn marked(name: &str, query: &str) -> String {
    let found = fold(name).find(query).filter(|_| !query.is_empty());
    let parts = found.and_then(|at| {
        let end = at + query.len();
        Some((name.get(..at)?, name.get(at..end)?, name.get(end..)?))
    });
    match parts {
        Some((before, hit, after)) => {
            format!("{}<b>{}</b>{}", escape(before), escape(hit), escape(after))
        }
        None => escape(name),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn labels(call: &Call<'_>, group: &Group) -> serde_json::Value {
    let mut labels = Vec::new();
    if fold(&group.name) == ADMIN_GROUP {
        labels.push(json!({ "text": "Admin", "title": "Users added to this group will be given administrative access", "type": "ADMIN" }));
    }
    if call
        .state
        .default_group
        .as_ref()
        .is_some_and(|it| fold(it) == fold(&group.name))
    {
        labels.push(json!({ "text": "Jira Software", "title": "Users added to this group will be given access to Jira Software", "type": "SINGLE" }));
    }
    json!(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_expansion_is_read() {
        assert_eq!(users_range(""), None);
        assert_eq!(users_range("users"), Some((0, 49)));
        assert_eq!(users_range("x,users[50:99]"), Some((50, 99)));
        assert_eq!(users_range("users[a:b]"), Some((0, 49)));
    }

    #[test]
    fn what_was_found_is_marked() {
        assert_eq!(marked("Jira-Users", "user"), "Jira-<b>User</b>s");
        assert_eq!(marked("a&b", ""), "a&amp;b");
    }
}
