//! Calls about groups and memberships.

use serde_json::{Value, json};

use crate::bitbucket::routes::{
    Call, FORBIDDEN, FULL, NO_GROUP, Outcome, TAKEN, detailed, refused, text, texts,
};
use crate::bitbucket::state::{Group, fold};
use crate::server::Answer;

fn bean(group: &Group) -> Value {
    json!({ "name": group.name, "deletable": true })
}

pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    call.licensed()?;
    let groups = call.state.groups.values();
    let found = groups.filter(|group| call.passes(&[&group.name]));
    call.page(found.map(bean).collect())
}

/// Anybody sees the names.
pub(crate) fn names(call: &mut Call<'_>) -> Outcome {
    call.licensed()?;
    let groups = call.state.groups.values();
    let found = groups.filter(|group| call.passes(&[&group.name]));
    call.page(found.map(|group| json!(group.name)).collect())
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let name = call.required("name")?;
    if !call.state.create_group(&name) {
        let message = format!("A group with the name '{name}' already exists.");
        return Err(refused(409, Some("name"), &message, TAKEN));
    }
    *call.state.group_creations.entry(fold(&name)).or_default() += 1;
    Ok(Answer::json(
        200,
        &json!({ "name": name, "deletable": true }),
    ))
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let name = call.required("name")?;
    let group = named(call, &name)?;
    let shown = bean(group);
    if group.permission > call.rank() {
        let message = "The group ranks higher than you do.";
        return Err(refused(403, None, message, FORBIDDEN));
    }
    if lowers_own_rank(call, |then| then.delete_group(&name)) {
        let message = "You cannot delete the group that makes you an administrator.";
        return Err(refused(409, None, message, TAKEN));
    }
    call.state.delete_group(&name);
    Ok(Answer::json(200, &shown))
}

/// The members of a group, or everybody else.
pub(crate) fn members(call: &mut Call<'_>, inside: bool) -> Outcome {
    call.licensed()?;
    let context = call.required("context")?;
    let folded = fold(&named(call, &context)?.name);
    let users = call.state.users_by_name();
    let found = users.filter(|user| {
        user.groups.contains(&folded) == inside
            && call.passes(&[&user.name, &user.display_name, &user.email])
    });
    call.page(found.map(detailed).collect())
}

/// The groups of a user, or all others.
pub(crate) fn of_user(call: &mut Call<'_>, inside: bool) -> Outcome {
    call.licensed()?;
    let context = call.required("context")?;
    let member_of = call.user(&context)?.groups.clone();
    let groups = call.state.groups.iter();
    let found = groups
        .filter(|(folded, group)| {
            member_of.contains(*folded) == inside && call.passes(&[&group.name])
        })
        .map(|(_, group)| bean(group));
    call.page(found.collect())
}

/// One user into many groups: all or none.
pub(crate) fn add_groups(call: &mut Call<'_>) -> Outcome {
    let body = call.body(&["user", "groups"])?;
    let user = text(&body, "user")?.unwrap_or_default();
    let pairs = texts(&body, "groups")?;
    let pairs = pairs.into_iter().map(|group| (group, user.clone()));
    put_in(call, pairs.collect())
}

/// Many users into one group: all or none.
pub(crate) fn add_users(call: &mut Call<'_>) -> Outcome {
    let body = call.body(&["group", "users"])?;
    let group = text(&body, "group")?.unwrap_or_default();
    let pairs = texts(&body, "users")?;
    let pairs = pairs.into_iter().map(|user| (group.clone(), user));
    put_in(call, pairs.collect())
}

/// One into one; which member of the body names what depends on the path.
pub(crate) fn add(call: &mut Call<'_>, group: &str, user: &str) -> Outcome {
    let body = call.body(&["context", "itemName"])?;
    let name = |member: &str| text(&body, member).map(Option::unwrap_or_default);
    let pair = (name(group)?, name(user)?);
    put_in(call, vec![pair])
}

fn put_in(call: &mut Call<'_>, pairs: Vec<(String, String)>) -> Outcome {
    call.admin()?;
    for (group, user) in &pairs {
        let group = named(call, group)?;
        if group.permission > call.rank() {
            let message = "The group ranks higher than you do.";
            return Err(refused(403, None, message, FORBIDDEN));
        }
        writable_member(call, user)?;
    }
    let exceeds = call.state.exceeds(|then| {
        for (group, user) in &pairs {
            then.add_member(group, user);
        }
    });
    if exceeds {
        let message = "The licensed user limit has been reached.";
        return Err(refused(403, None, message, FULL));
    }
    for (group, user) in &pairs {
        call.state.add_member(group, user);
    }
    Ok(Answer::empty(200))
}

pub(crate) fn remove(call: &mut Call<'_>, group: &str, user: &str) -> Outcome {
    call.admin()?;
    let body = call.body(&["context", "itemName"])?;
    let name = |member: &str| text(&body, member).map(Option::unwrap_or_default);
    let (group, user) = (name(group)?, name(user)?);
    let named = named(call, &group)?;
    if named.permission > call.rank() {
        let message = "The group ranks higher than you do.";
        return Err(refused(403, None, message, FORBIDDEN));
    }
    writable_member(call, &user)?;
    if lowers_own_rank(call, |then| then.remove_member(&group, &user)) {
        let message = "You cannot lower your own permissions.";
        return Err(refused(409, None, message, TAKEN));
    }
    call.state.remove_member(&group, &user);
    Ok(Answer::empty(200))
}

/// Whether the caller could do less after that.
pub(crate) fn lowers_own_rank(
    call: &Call<'_>,
    change: impl FnOnce(&mut crate::bitbucket::state::State),
) -> bool {
    let Some(caller) = call.caller else {
        return false;
    };
    let mut then = call.state.clone();
    change(&mut then);
    let rank = then
        .users
        .get(&caller)
        .and_then(|user| then.permitted(user));
    rank < call.rank()
}

fn writable_member(call: &Call<'_>, user: &str) -> Result<(), Answer> {
    let user = call.user(user)?;
    if user.read_only {
        let message = format!(
            "The directory '{}' does not allow the groups of its users to be changed.",
            user.directory
        );
        return Err(refused(403, None, &message, FORBIDDEN));
    }
    Ok(())
}

pub(crate) fn named<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a Group, Answer> {
    call.state.group(name).ok_or_else(|| {
        let message = format!("No such group '{name}'.");
        refused(404, None, &message, NO_GROUP)
    })
}
