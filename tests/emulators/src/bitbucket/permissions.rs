//! Calls about global permissions, the licence and directories.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bitbucket::groups::{lowers_own_rank, named};
use crate::bitbucket::routes::{Call, FULL, Outcome, TAKEN, denied, invalid, plain, refused};
use crate::bitbucket::state::Permission;
use crate::server::Answer;

pub(crate) fn of_users(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let users = call.state.users_by_name();
    let found = users.filter_map(|user| {
        let permission = user.permission?;
        call.passes(&[&user.name, &user.display_name, &user.email])
            .then(|| json!({ "user": plain(user), "permission": permission.as_str() }))
    });
    call.page(found.collect())
}

pub(crate) fn of_groups(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let groups = call.state.groups.values();
    let found = groups.filter_map(|group| {
        let permission = group.permission?;
        call.passes(&[&group.name])
            .then(|| json!({ "group": { "name": group.name }, "permission": permission.as_str() }))
    });
    call.page(found.collect())
}

pub(crate) fn permit_user(call: &mut Call<'_>) -> Outcome {
    let name = call.required("name")?;
    let permission = grantable(call)?;
    change_user(call, &name, Some(permission))
}

pub(crate) fn revoke_user(call: &mut Call<'_>) -> Outcome {
    let name = call.required("name")?;
    change_user(call, &name, None)
}

fn change_user(call: &mut Call<'_>, name: &str, permission: Option<Permission>) -> Outcome {
    call.admin()?;
    if call.outranks(call.user(name)?) {
        return Err(lower("The user ranks higher than you do."));
    }
    if lowers_own_rank(call, |then| then.permit(name, permission)) {
        return Err(lower("You cannot lower your own permissions."));
    }
    if call.state.exceeds(|then| then.permit(name, permission)) {
        return Err(full());
    }
    call.state.permit(name, permission);
    Ok(Answer::empty(204))
}

pub(crate) fn permit_group(call: &mut Call<'_>) -> Outcome {
    let name = call.required("name")?;
    let permission = grantable(call)?;
    change_group(call, &name, Some(permission))
}

pub(crate) fn revoke_group(call: &mut Call<'_>) -> Outcome {
    let name = call.required("name")?;
    change_group(call, &name, None)
}

fn change_group(call: &mut Call<'_>, name: &str, permission: Option<Permission>) -> Outcome {
    call.admin()?;
    if named(call, name)?.permission > call.rank() {
        return Err(lower("The group ranks higher than you do."));
    }
    let folded = crate::bitbucket::state::fold(name);
    let change = |state: &mut crate::bitbucket::state::State| {
        if let Some(group) = state.groups.get_mut(&folded) {
            group.permission = permission;
        }
    };
    if lowers_own_rank(call, change) {
        return Err(lower("You cannot lower your own permissions."));
    }
    if call.state.exceeds(change) {
        return Err(full());
    }
    change(call.state);
    call.state
        .tell(format!("group {name} has other permissions"));
    Ok(Answer::empty(204))
}

fn grantable(call: &Call<'_>) -> Result<Permission, Answer> {
    let permission = call.required("permission")?;
    let permission = Permission::parse(&permission)
        .ok_or_else(|| invalid("permission", "The permission does not exist."))?;
    if Some(permission) > call.rank() {
        return Err(denied());
    }
    Ok(permission)
}

fn lower(message: &str) -> Answer {
    refused(409, None, message, TAKEN)
}

fn full() -> Answer {
    refused(403, None, "The licensed user limit has been reached.", FULL)
}

pub(crate) fn license(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    Ok(Answer::json(
        200,
        &json!({
            "maximumNumberOfUsers": call.state.licences.unwrap_or_default(),
            "unlimitedNumberOfUsers": call.state.licences.is_none(),
            "status": { "currentNumberOfUsers": call.state.licensed() },
        }),
    ))
}

/// Those that accounts were seen of, the internal one first.
pub(crate) fn directories(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for user in call.state.users.values() {
        let kind = if user.read_only { "LDAP" } else { "Internal" };
        found.insert(&user.directory, kind);
    }
    let directories: Vec<Value> = found
        .into_iter()
        .map(
            |(name, kind)| json!({ "name": name, "type": kind, "active": true, "description": "" }),
        )
        .collect();
    call.page(directories)
}
