//! Calls about groups and memberships.

use serde_json::Value;

use crate::confluence::routes::{Call, Outcome, forbidden, refused, text};
use crate::confluence::state::{Group, fold};
use crate::server::Answer;

pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    licensed(call)?;
    let groups: Vec<Value> = call
        .state
        .groups
        .values()
        .map(|group| call.group(group))
        .collect();
    call.page(groups, &[])
}

pub(crate) fn get(call: &mut Call<'_>, name: &str) -> Outcome {
    licensed(call)?;
    let group = named(call, name)?;
    Ok(Answer::json(200, &call.group(group)))
}

pub(crate) fn members(call: &mut Call<'_>, name: &str) -> Outcome {
    licensed(call)?;
    call.admin()?;
    let name = named(call, name)?.name.clone();
    let members = call.state.members_of(&name);
    let members = members.into_iter().map(|user| call.user(user)).collect();
    call.page(members, &[])
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&["name", "type"])?;
    let name = text(&body, "name")?.unwrap_or_default();
    if name.trim().is_empty() {
        return Err(refused(400, "Group name cannot be empty."));
    }
    if !call.state.create_group(&name) {
        return Err(refused(409, "Group name already exists"));
    }
    *call.state.group_creations.entry(fold(&name)).or_default() += 1;
    let group = named(call, &name)?;
    Ok(Answer::json(200, &call.group(group)))
}

pub(crate) fn delete(call: &mut Call<'_>, name: &str) -> Outcome {
    let group = call.state.group(name).cloned();
    let group = group.ok_or_else(|| refused(404, &format!("Group not found: {name}")))?;
    call.admin()?;
    let admins = call.state.groups.values().filter(|group| group.administers);
    if group.administers && admins.count() == 1 {
        return Err(refused(400, "Last admin group cannot be deleted."));
    }
    call.state.delete_group(&group.name);
    Ok(Answer::empty(204))
}

/// Nothing happens if it is a member.
pub(crate) fn add_member(call: &mut Call<'_>, user: &str, group: &str) -> Outcome {
    there(call, user, group)?;
    call.admin()?;
    call.state.add_member(group, user);
    Ok(Answer::empty(204))
}

/// Nothing happens if it is no direct member.
pub(crate) fn remove_member(call: &mut Call<'_>, user: &str, group: &str) -> Outcome {
    there(call, user, group)?;
    let caller = call.admin()?.name.clone();
    let admins = call.state.groups.values().filter(|group| group.administers);
    let last = admins.count() == 1 && call.state.group(group).is_some_and(|it| it.administers);
    if last && fold(user) == fold(&caller) {
        return Err(refused(
            400,
            "You cannot remove yourself from the last group of administrators.",
        ));
    }
    call.state.remove_member(group, user);
    Ok(Answer::empty(204))
}

/// Both are looked for before the caller's right is.
fn there(call: &Call<'_>, user: &str, group: &str) -> Result<(), Answer> {
    let (no_user, no_group) = (
        call.state.user(user).is_none(),
        call.state.group(group).is_none(),
    );
    let message = match (no_user, no_group) {
        (true, true) => format!("User {user} and group {group} not found"),
        (true, false) => format!("User {user} not found"),
        (false, true) => format!("Group {group} not found"),
        (false, false) => return Ok(()),
    };
    Err(refused(404, &message))
}

fn named<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a Group, Answer> {
    call.state
        .group(name)
        .ok_or_else(|| refused(404, &format!("No group found with name : {name}")))
}

fn licensed(call: &Call<'_>) -> Result<(), Answer> {
    match call.sees() {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(forbidden()),
    }
}
