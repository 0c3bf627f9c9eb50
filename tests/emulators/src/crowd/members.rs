//! Who is in which group, and which group in which. What is missing is answered with 404 if the
//! address names it and with 400 if the body does.

use std::collections::BTreeSet;

use crate::crowd::entities;
use crate::crowd::routes::{Call, Outcome, xml};
use crate::crowd::state::{Group, User, fold};
use crate::server::Answer;

/// The groups of a person. Of a person who does not exist it is an empty list, no error.
pub(crate) fn groups_of_user(call: &mut Call<'_>, nested: bool) -> Outcome {
    let name = call.required("username")?;
    let direct = call.state.user(&name).map(|user| user.groups.clone());
    let mut names = direct.unwrap_or_default();
    if nested {
        names = names
            .iter()
            .flat_map(|group| call.state.with_parents(group))
            .collect();
    }
    match call.param("groupname").filter(|it| !it.is_empty()) {
        Some(group) if names.contains(&fold(group)) => {
            call.reply(200, &call.build.group_reference(call.group(group)?))
        }
        Some(group) => Err(no_membership(call, &name, group)),
        None => groups(call, &names),
    }
}

/// The members of a group. Of a group that does not exist it is an empty list, no error.
pub(crate) fn users_of_group(call: &mut Call<'_>, nested: bool) -> Outcome {
    let name = call.required("groupname")?;
    let groups = if nested {
        call.state.with_subgroups(&name)
    } else {
        BTreeSet::from([fold(&name)])
    };
    let groups = groups.iter().filter_map(|it| call.state.groups.get(it));
    let names: BTreeSet<String> = groups.flat_map(|group| group.members.clone()).collect();
    match call.param("username").filter(|it| !it.is_empty()) {
        Some(user) if names.contains(&fold(user)) => {
            call.reply(200, &call.build.user_reference(call.user(user)?))
        }
        Some(user) => Err(no_membership(call, user, &name)),
        None => {
            let users = names.iter().filter_map(|it| call.state.users.get(it));
            let page: Vec<&User> = call.page(users)?;
            let entity = call.build.users(page.into_iter(), call.expands("user"));
            call.reply(200, &entity)
        }
    }
}

pub(crate) fn add_user_to_group(call: &mut Call<'_>) -> Outcome {
    let group = call.required("groupname")?;
    let user = call.named(&call.body()?)?;
    call.group(&group)?;
    if call.state.user(&user).is_none() {
        return Err(call.no_user(400, &user));
    }
    add(call, &user, &group)
}

pub(crate) fn add_group_to_user(call: &mut Call<'_>) -> Outcome {
    let user = call.required("username")?;
    let group = call.named(&call.body()?)?;
    call.user(&user)?;
    if call.state.group(&group).is_none() {
        return Err(call.no_group(400, &group));
    }
    add(call, &user, &group)
}

fn add(call: &mut Call<'_>, user: &str, group: &str) -> Outcome {
    call.may_write(Some(user))?;
    if call.state.add_member(group, user) {
        return Ok(Answer::empty(201));
    }
    let message = format!("Membership already exists: '{user}' is already member of '{group}'");
    Err(call.refuse(409, "MEMBERSHIP_ALREADY_EXISTS", &message))
}

pub(crate) fn remove(call: &mut Call<'_>) -> Outcome {
    let (user, group) = (call.required("username")?, call.required("groupname")?);
    call.user(&user)?;
    call.group(&group)?;
    call.may_write(Some(&user))?;
    if call.state.remove_member(&group, &user) {
        return Ok(Answer::empty(204));
    }
    Err(no_membership(call, &user, &group))
}

pub(crate) fn children(call: &mut Call<'_>, nested: bool) -> Outcome {
    let name = call.required("groupname")?;
    let mut names = match call.state.group(&name) {
        Some(_) if nested => call.state.with_subgroups(&name),
        Some(group) => group.subgroups.clone(),
        None => BTreeSet::new(),
    };
    if nested {
        names.remove(&fold(&name));
    }
    groups(call, &names)
}

pub(crate) fn parents(call: &mut Call<'_>, nested: bool) -> Outcome {
    let name = call.required("groupname")?;
    let folded = fold(&name);
    let names = if nested {
        let mut names = call.state.with_parents(&name);
        names.remove(&folded);
        names
    } else {
        let all = call.state.groups.iter();
        all.filter(|(_, group)| group.subgroups.contains(&folded))
            .map(|(name, _)| name.clone())
            .collect()
    };
    groups(call, &names)
}

pub(crate) fn nest(call: &mut Call<'_>) -> Outcome {
    let group = call.required("groupname")?;
    let child = call.named(&call.body()?)?;
    call.group(&group)?;
    if call.state.group(&child).is_none() {
        return Err(call.no_group(400, &child));
    }
    call.may_write(None)?;
    if fold(&group) == fold(&child) {
        return Err(call.refuse(
            400,
            "INVALID_MEMBERSHIP",
            "A group cannot be its own member",
        ));
    }
    if call.state.nest(&group, &child) {
        return Ok(Answer::empty(201));
    }
    let message = format!("Membership already exists: '{child}' is already member of '{group}'");
    Err(call.refuse(409, "MEMBERSHIP_ALREADY_EXISTS", &message))
}

pub(crate) fn unnest(call: &mut Call<'_>) -> Outcome {
    let (group, child) = (
        call.required("groupname")?,
        call.required("child-groupname")?,
    );
    call.group(&group)?;
    call.group(&child)?;
    call.may_write(None)?;
    if call.state.unnest(&group, &child) {
        return Ok(Answer::empty(204));
    }
    Err(no_membership(call, &child, &group))
}

/// XML whatever is asked for (CWD-3281).
pub(crate) fn all(call: &mut Call<'_>) -> Outcome {
    let state = &*call.state;
    let memberships = state.groups.values().map(|group| {
        let users = group.members.iter().filter_map(|it| state.users.get(it));
        let groups = group.subgroups.iter().filter_map(|it| state.groups.get(it));
        entities::membership(
            &group.name,
            users.map(|user| user.name.as_str()),
            groups.map(|group| group.name.as_str()),
        )
    });
    Ok(xml(200, &entities::memberships(memberships.collect())))
}

fn groups(call: &Call<'_>, names: &BTreeSet<String>) -> Outcome {
    let groups = names.iter().filter_map(|it| call.state.groups.get(it));
    let page: Vec<&Group> = call.page(groups)?;
    let entity = call.build.groups(page.into_iter(), call.expands("group"));
    call.reply(200, &entity)
}

fn no_membership(call: &Call<'_>, child: &str, parent: &str) -> Answer {
    let message = format!("The child entity <{child}> is not a member of the parent <{parent}>");
    call.refuse(404, "MEMBERSHIP_NOT_FOUND", &message)
}
