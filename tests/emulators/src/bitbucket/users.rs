//! Calls about people.

use serde_json::Value;

use crate::bitbucket::routes::{
    Call, FORBIDDEN, FULL, NO_USER, Outcome, TAKEN, denied, detailed, invalid, plain, refused, text,
};
use crate::bitbucket::state::{Permission, User, fold, slug};
use crate::server::Answer;

/// What administrators see of everybody.
pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    call.licensed()?;
    let users = call.state.users_by_name();
    let found = users.filter(|user| matches(call, user)).map(detailed);
    call.page(found.collect())
}

/// What anybody sees of those who have a permission, by themselves or through a group.
pub(crate) fn search(call: &mut Call<'_>) -> Outcome {
    call.licensed()?;
    let least = match call.param("permission") {
        None => None,
        Some(text) => Some(
            Permission::parse(text)
                .ok_or_else(|| invalid("permission", "The permission does not exist."))?,
        ),
    };
    let group = call.param("group").map(fold);
    let users = call.state.users_by_name().filter(|user| {
        let permitted = least.is_none_or(|least| call.state.permitted(user) >= Some(least));
        let member = group.as_ref().is_none_or(|it| user.groups.contains(it));
        permitted && member && matches(call, user)
    });
    let found = users.map(plain).collect();
    call.page(found)
}

fn matches(call: &Call<'_>, user: &User) -> bool {
    call.passes(&[&user.name, &user.display_name, &user.email])
}

pub(crate) fn by_slug(call: &mut Call<'_>, wanted: &str) -> Outcome {
    call.licensed()?;
    let mut users = call.state.users_by_name();
    let found = users.find(|user| slug(&user.name) == fold(wanted));
    let found = found.ok_or_else(|| {
        let message = format!("No such user '{wanted}'.");
        refused(404, None, &message, NO_USER)
    })?;
    Ok(Answer::json(200, &plain(found)))
}

/// Everything stands in the address, the password too, and the answer is empty.
pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let name = call.required("name")?;
    *call.state.creation_attempts.entry(fold(&name)).or_default() += 1;
    let display_name = call.required("displayName")?;
    let email = call.required("emailAddress")?;
    let notify = call.flag("notify", false);
    let password = call.param("password").unwrap_or_default().to_owned();
    if password.is_empty() && !notify {
        return Err(invalid("password", "A password is required."));
    }
    if !email.contains('@') {
        return Err(invalid("emailAddress", "The e-mail address is not valid."));
    }
    if call.state.read_only_directory {
        let message = "No directory that users can be created in is available.";
        return Err(refused(403, None, message, FORBIDDEN));
    }
    if call.state.user(&name).is_some() {
        let message = format!("A user with the name '{name}' already exists.");
        return Err(refused(409, Some("name"), &message, TAKEN));
    }
    let group = call.state.default_group.clone();
    let group = group.filter(|_| call.flag("addToDefaultGroup", true));
    let now_ms = call.now_ms;
    let exceeds = call.state.exceeds(|then| {
        then.create_user(&name, &display_name, &email, now_ms);
        if let Some(group) = &group {
            then.add_member(group, &name);
        }
    });
    if exceeds {
        let message = "The licensed user limit has been reached.";
        return Err(refused(403, None, message, FULL));
    }
    call.state.create_user(&name, &display_name, &email, now_ms);
    if let Some(group) = &group {
        call.state.add_member(group, &name);
    }
    if !password.is_empty() {
        call.state.set_password(&name, &password);
    }
    if let Some(user) = call.state.user_mut(&name) {
        user.notified = notify;
    }
    *call.state.creations.entry(fold(&name)).or_default() += 1;
    Ok(Answer::empty(204))
}

/// An account that may be written: there, not above the caller, and not in a read-only directory.
fn writable<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a User, Answer> {
    call.admin()?;
    let user = call.user(name)?;
    if call.outranks(user) {
        return Err(denied());
    }
    if user.read_only {
        let message = format!(
            "The directory '{}' does not allow its users to be changed.",
            user.directory
        );
        return Err(refused(403, None, &message, FORBIDDEN));
    }
    Ok(user)
}

pub(crate) fn update(call: &mut Call<'_>) -> Outcome {
    // A public client sends `emailAddress`, which means nothing here.
    let body = call.body(&["name", "displayName", "email", "emailAddress"])?;
    let name = text(&body, "name")?.unwrap_or_default();
    let user = writable(call, &name)?;
    let display_name = text(&body, "displayName")?.unwrap_or_else(|| user.display_name.clone());
    let email = text(&body, "email")?.unwrap_or_else(|| user.email.clone());
    let id = user.id;
    if display_name.trim().is_empty() {
        return Err(invalid(
            "displayName",
            "The display name must not be empty.",
        ));
    }
    if !email.contains('@') {
        return Err(invalid("email", "The e-mail address is not valid."));
    }
    call.state.set_details(id, &display_name, &email);
    shown(call, &name)
}

pub(crate) fn rename(call: &mut Call<'_>) -> Outcome {
    let body = call.body(&["name", "newName"])?;
    let name = text(&body, "name")?.unwrap_or_default();
    let to = text(&body, "newName")?.unwrap_or_default();
    let id = writable(call, &name)?.id;
    if to.trim().is_empty() {
        return Err(invalid("newName", "A new name is required."));
    }
    if call.state.user(&to).is_some_and(|other| other.id != id) {
        let message = format!("A user with the name '{to}' already exists.");
        return Err(invalid("newName", &message));
    }
    call.state.rename_user(id, &to);
    shown(call, &to)
}

pub(crate) fn set_password(call: &mut Call<'_>) -> Outcome {
    let body = call.body(&["name", "password", "passwordConfirm"])?;
    let name = text(&body, "name")?.unwrap_or_default();
    writable(call, &name)?;
    let password = text(&body, "password")?.filter(|it| !it.is_empty());
    match password {
        Some(password) if text(&body, "passwordConfirm")?.as_ref() == Some(&password) => {
            call.state.set_password(&name, &password);
            Ok(Answer::empty(204))
        }
        _ => Err(invalid("password", "The passwords do not match.")),
    }
}

pub(crate) fn clear_captcha(call: &mut Call<'_>) -> Outcome {
    writable(call, &call.required("name")?)?;
    Ok(Answer::empty(204))
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let name = call.required("name")?;
    let user = call.user(&name)?;
    if call.is_caller(&name) {
        let message = "You cannot delete your own account.";
        return Err(refused(409, None, message, TAKEN));
    }
    if call.outranks(user) || user.read_only {
        let message = "You are not permitted to delete this user.";
        return Err(refused(403, None, message, FORBIDDEN));
    }
    let (id, bean) = (user.id, detailed(user));
    call.state.delete_user(id, call.now_ms);
    Ok(Answer::json(200, &bean))
}

fn shown(call: &Call<'_>, name: &str) -> Outcome {
    let bean: Value = detailed(call.user(name)?);
    Ok(Answer::json(200, &bean))
}
