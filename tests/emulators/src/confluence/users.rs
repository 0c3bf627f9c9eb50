//! Calls about people.

use serde_json::{Value, json};

use crate::confluence::routes::{Call, Outcome, encode, forbidden, refused, text};
use crate::confluence::state::{NewUser, User, fold};
use crate::server::Answer;

const RESERVED: &str = "anonymous";

/// A person with its links, as when it is asked for alone.
fn alone(call: &Call<'_>, mut bean: Value) -> Answer {
    bean["_links"]["base"] = json!(call.base);
    bean["_links"]["context"] = json!(call.context);
    Answer::json(200, &bean)
}

/// Answers anybody; only the type tells who is signed in.
pub(crate) fn current(call: &Call<'_>) -> Answer {
    match call.caller() {
        Ok(user) => alone(call, call.user(user)),
        Err(_) => alone(
            call,
            json!({ "type": "anonymous", "displayName": "Anonymous", "_links": {} }),
        ),
    }
}

pub(crate) fn get(call: &mut Call<'_>) -> Outcome {
    let found = person(call)?;
    Ok(alone(call, found))
}

pub(crate) fn groups(call: &mut Call<'_>) -> Outcome {
    person(call)?;
    let (query, user) = match (call.param("key"), call.param("username")) {
        (Some(key), _) => (("key", key.to_owned()), call.state.users.get(key)),
        (None, name) => {
            let name = name.unwrap_or_default();
            (("username", name.to_owned()), call.state.user(name))
        }
    };
    let groups = user
        .map(|user| call.state.groups_of(user))
        .unwrap_or_default();
    let groups = groups.into_iter().map(|group| call.group(group)).collect();
    call.page(groups, &[query])
}

pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    call.caller()?;
    if !call.sees()? {
        return Err(forbidden());
    }
    let users = call.state.users_by_name();
    let users = users.map(|user| call.user(user)).collect();
    call.page(users, &[])
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&[
        "userName",
        "fullName",
        "email",
        "password",
        "notifyViaEmail",
    ])?;
    let name = text(&body, "userName")?.unwrap_or_default();
    let display_name = text(&body, "fullName")?.unwrap_or_default();
    let email = text(&body, "email")?.unwrap_or_default();
    let password = text(&body, "password")?.filter(|it| !it.trim().is_empty());
    let notify = body.get("notifyViaEmail").and_then(Value::as_bool);
    *call.state.creation_attempts.entry(fold(&name)).or_default() += 1;
    check_name(&name)?;
    if call.state.user(&name).is_some() {
        return Err(refused(409, "A user with this userName already exists."));
    }
    check_display_name(&display_name)?;
    check_email(&email)?;
    match (notify, &password) {
        (Some(true), Some(_)) => {
            return Err(refused(
                400,
                "Cannot specify a password if notifyViaEmail is chosen",
            ));
        }
        (Some(false), None) => return Err(refused(400, "password cannot be null or empty")),
        _ => {}
    }
    if call.state.read_only_directory {
        let message = format!(
            "Failed to create the user {name}. Check your server logs for more information"
        );
        return Err(refused(400, &message));
    }
    let seat = call.state.has_seat();
    if !seat && !call.options.makes_before_it_counts {
        return Err(refused(402, "License check failed"));
    }
    *call.state.creations.entry(fold(&name)).or_default() += 1;
    let key = call.state.create_user(NewUser {
        name: name.clone(),
        display_name,
        email,
        password,
        notify: notify == Some(true),
    });
    if !seat {
        return Err(refused(402, "License check failed"));
    }
    if let Some(group) = call.state.default_group.clone() {
        call.state.add_member(&group, &name);
    }
    Ok(Answer::json(201, &json!({ "userKey": key })))
}

pub(crate) fn update(call: &mut Call<'_>, name: &str) -> Outcome {
    call.admin()?;
    let body = call.body(&["fullName", "email"])?;
    let user = named(call, name)?.clone();
    call.may_edit(&user)?;
    let display_name = text(&body, "fullName")?;
    let email = text(&body, "email")?;
    if let Some(display_name) = &display_name {
        check_display_name(display_name)?;
    }
    if let Some(email) = &email {
        check_email(email)?;
    }
    if user.read_only {
        let message = format!(
            "Failed to update the user {name}. Check your server logs for more information"
        );
        return Err(refused(400, &message));
    }
    if let Some(display_name) = &display_name {
        call.state.set_display_name(&user.key, display_name);
    }
    if let Some(email) = &email {
        call.state.set_email(&user.key, email);
    }
    Ok(Answer::empty(204))
}

pub(crate) fn set_active(call: &mut Call<'_>, name: &str, active: bool) -> Outcome {
    let user = named(call, name)?.clone();
    call.may_edit(&user)?;
    let own = call.caller.as_ref() == Some(&user.key);
    if user.read_only || (own && !active) {
        return Err(forbidden());
    }
    call.state.set_active(&user.key, active);
    Ok(Answer::empty(204))
}

pub(crate) fn delete(call: &mut Call<'_>, name: &str) -> Outcome {
    // Through the finder, so to one who may not use Confluence nobody is there.
    if !call.sees()? {
        return Err(refused(404, ""));
    }
    let user = named(call, name)?.clone();
    call.may_edit(&user)?;
    if call.caller.as_ref() == Some(&user.key) {
        return Err(forbidden());
    }
    if user.read_only {
        return Err(refused(400, "User is not removable."));
    }
    let (now, lasts) = (call.options.now_ms, call.options.deletion_ms);
    let id = call.state.start_deletion(&user.key, now, lasts);
    let links = json!({ "status": format!("/rest/api/longtask/{}", encode(&id)) });
    Ok(Answer::json(202, &json!({ "id": id, "links": links })))
}

pub(crate) fn set_password(call: &mut Call<'_>, name: &str) -> Outcome {
    let caller = call.admin()?;
    if !caller.system_admin {
        return Err(forbidden());
    }
    let body = call.body(&["password"])?;
    let password = text(&body, "password")?.filter(|it| !it.trim().is_empty());
    let key = named(call, name)?.key.clone();
    if password.is_none() {
        return Err(refused(400, "newPassword cannot be null or empty."));
    }
    if let Some(user) = call.state.users.get_mut(&key) {
        user.password = password;
    }
    Ok(Answer::empty(204))
}

/// The one person that `key` or `username` asks for. What is left of a deleted one is found by its key.
fn person(call: &Call<'_>) -> Result<Value, Answer> {
    let (key, name) = (call.param("key"), call.param("username"));
    if key.is_some() == name.is_some() {
        return Err(refused(
            400,
            "Only one query param of key or username is required",
        ));
    }
    let sees = call.sees()?;
    let user = match (key, name) {
        (Some(key), _) => call.state.users.get(key),
        (None, name) => call.state.user(name.unwrap_or_default()),
    };
    if let Some(user) = user.filter(|_| sees) {
        return Ok(call.user(user));
    }
    let ghost = key.filter(|_| sees && call.options.leaves_ghosts);
    if let Some((key, alias)) = ghost.and_then(|key| call.state.deleted.get_key_value(key)) {
        return Ok(call.person(key, key, alias, false));
    }
    // It names the key, also where a name was asked for.
    let key = key.unwrap_or("null");
    Err(refused(404, &format!("No user found with key : {key}")))
}

/// Whom a path names.
fn named<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a User, Answer> {
    call.state
        .user(name)
        .ok_or_else(|| refused(404, &format!("User not found :{name}")))
}

fn check_name(name: &str) -> Result<(), Answer> {
    let invalid = |message: &str| Err(refused(400, message));
    if name.trim().is_empty() {
        return invalid("userName cannot be null or blank");
    }
    if name.contains(['\\', ',', '+', '<', '>', '\'', '"']) {
        return invalid("userName cannot contain the characters \\ or , or + or < or > or quotes");
    }
    if name.contains(char::is_whitespace) {
        return invalid("userName cannot contain any whitespace characters");
    }
    if fold(name) == RESERVED {
        return invalid("This userName is reserved for use by Confluence");
    }
    if name != fold(name) {
        return invalid("The userName must be in lower case");
    }
    Ok(())
}

fn check_display_name(name: &str) -> Result<(), Answer> {
    let invalid = |message: &str| Err(refused(400, message));
    if name.trim().is_empty() {
        return invalid("fullName cannot be null or blank");
    }
    if name.contains(['<', '>']) {
        return invalid("fullName cannot contain characters < or >");
    }
    if fold(name) == RESERVED {
        return invalid("This fullName is reserved for use by Confluence");
    }
    Ok(())
}

fn check_email(email: &str) -> Result<(), Answer> {
    let parts = email.split_once('@');
    let valid = parts.is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !email.contains(char::is_whitespace)
    });
    if valid {
        Ok(())
    } else {
        Err(refused(400, "Invalid email address"))
    }
}
