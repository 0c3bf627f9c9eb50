//! Calls about people.

use serde_json::{Map, Value, json};

use crate::jira::beans::{encode, found_by, invalid, invalid_field, refused};
use crate::jira::routes::{Call, Outcome, boolean, text};
use crate::jira::state::{APPLICATION, NewUser, User, fold};
use crate::server::Answer;

/// Members of the body of POST and PUT.
const WRITABLE: [&str; 9] = [
    "active",
    "applicationKeys",
    "displayName",
    "emailAddress",
    "key",
    "name",
    "notification",
    "password",
    "self",
];
const NAME_TAKEN: &str = "A user with that username already exists.";
const LONGEST: usize = 255;

pub(crate) fn myself(call: &mut Call<'_>) -> Outcome {
    let expand = call.param("expand").unwrap_or_default();
    Ok(Answer::json(
        200,
        &call.beans().user(call.caller()?, expand),
    ))
}

/// The global permissions that matter, with whether the caller has them.
pub(crate) fn permissions(call: &mut Call<'_>) -> Outcome {
    let caller = call.caller()?;
    let admin = call.state.is_admin(caller);
    let permissions: Map<String, Value> = [
        (
            "SYSTEM_ADMIN",
            "Jira System Administrators",
            caller.system_admin,
        ),
        ("ADMINISTER", "Jira Administrators", admin),
        ("USER_PICKER", "Browse Users", true),
    ]
    .into_iter()
    .map(|(key, name, has)| {
        let bean = json!({ "key": key, "name": name, "type": "GLOBAL", "havePermission": has });
        (key.to_owned(), bean)
    })
    .collect();
    Ok(Answer::json(200, &json!({ "permissions": permissions })))
}

pub(crate) fn get(call: &mut Call<'_>) -> Outcome {
    let caller = call.caller()?;
    let expand = call.param("expand").unwrap_or_default();
    let with_deleted = call.flag("includeDeleted", false) && call.state.is_admin(caller);
    match (named(call), with_deleted) {
        (Ok(user), _) => Ok(Answer::json(200, &call.beans().user(user, expand))),
        (Err(refusal), false) => Err(refusal),
        (Err(refusal), true) => {
            let (name, key) = (call.param("username"), call.param("key"));
            let gone = call.state.deleted.iter().rev().find(|user| {
                key.map_or_else(
                    || name.is_some_and(|it| fold(it) == fold(&user.name)),
                    |it| it == user.key,
                )
            });
            let mut bean = call.beans().user(gone.ok_or(refusal)?, expand);
            bean["deleted"] = json!(true);
            Ok(Answer::json(200, &bean))
        }
    }
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&WRITABLE)?;
    let new = NewUser {
        name: text(&body, "name")?.unwrap_or_default(),
        display_name: text(&body, "displayName")?.unwrap_or_default(),
        email: text(&body, "emailAddress")?.unwrap_or_default(),
        password: text(&body, "password")?.filter(|it| !it.is_empty()),
        notify: boolean(&body, "notification")
            .unwrap_or(Some(true))
            .unwrap_or(false),
    };
    let applications = applications(&body)?;
    let name = new.name.clone();
    *call.state.creation_attempts.entry(fold(&name)).or_default() += 1;
    if call.state.read_only_directory {
        return Err(refused(
            400,
            "Cannot add user, as all the user directories are read-only.",
        ));
    }
    let mut errors = Map::new();
    check_name(call, &new.name, &mut errors);
    check_email(&new.email, &mut errors);
    check_display_name(&new.display_name, &mut errors);
    if !errors.is_empty() {
        return Err(invalid(&errors));
    }
    *call.state.creations.entry(fold(&name)).or_default() += 1;
    let id = call.state.create_user(new);
    // No applicationKeys: the default applications. That [] means none is unconfirmed.
    if applications.is_none_or(|keys| keys.iter().any(|key| key == APPLICATION)) {
        grant(call, &name);
    }
    let user = call
        .state
        .users
        .get(&id)
        .ok_or_else(|| Answer::empty(500))?;
    let link = call.beans().user_link(user);
    Ok(Answer::json(201, &call.beans().user(user, "")).with_header("Location", link))
}

pub(crate) fn update(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&WRITABLE)?;
    let user = named(call)?.clone();
    let name = text(&body, "name")?;
    let email = text(&body, "emailAddress")?;
    let display_name = text(&body, "displayName")?;
    let applications = applications(&body)?;
    // Before 8.3 `active` is not looked at at all.
    let active = boolean(&body, "active")?.filter(|_| call.state.version >= [8, 3, 0]);
    if name.is_none() && email.is_none() && display_name.is_none() && active.is_none() {
        return Err(refused(400, "error.no.value.found.to.be.changed"));
    }
    check_editable(call, &user)?;

    let mut errors = Map::new();
    let mut messages = Vec::new();
    if let Some(name) = &name
        && fold(name) != fold(&user.name)
    {
        check_name(call, name, &mut errors);
    }
    if let Some(email) = &email {
        check_email(email, &mut errors);
    }
    if let Some(display_name) = &display_name {
        check_display_name(display_name, &mut errors);
    }
    if active == Some(false) && user.active {
        check_may_go(call, &user, &mut errors, &mut messages);
    }
    if !errors.is_empty() || !messages.is_empty() {
        return Err(Answer::json(
            400,
            &json!({ "errorMessages": messages, "errors": errors }),
        ));
    }

    if let Some(name) = name {
        let only_case = fold(&name) == fold(&user.name);
        if !(only_case && call.options.keeps_old_case) {
            call.state.rename_user(user.id, &name);
        }
    }
    if let Some(email) = email {
        call.state.set_email(user.id, &email);
    }
    if let Some(display_name) = display_name {
        call.state.set_display_name(user.id, &display_name);
    }
    if let Some(active) = active {
        call.state.set_active(user.id, active);
    }
    let user = call
        .state
        .users
        .get(&user.id)
        .ok_or_else(|| Answer::empty(500))?;
    let name = user.name.clone();
    if applications.is_some_and(|keys| keys.iter().any(|key| key == APPLICATION)) {
        grant(call, &name);
    }
    let user = call.state.user(&name).ok_or_else(|| Answer::empty(500))?;
    Ok(Answer::json(200, &call.beans().user(user, "")))
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome {
    let caller = call.admin()?.id;
    let user = named(call)?.clone();
    check_editable(call, &user)?;
    if user.id == caller {
        return Err(refused(
            400,
            "You cannot delete the currently logged in user.",
        ));
    }
    let mut reasons = Vec::new();
    for (what, keys) in [
        (
            "the lead of components in",
            call.state.led_components(user.id),
        ),
        ("the lead of", call.state.led_projects(user.id)),
    ] {
        if !keys.is_empty() {
            reasons.push(format!("'{}' is {what}: {}", user.name, keys.join(", ")));
        }
    }
    if user.has_content {
        reasons.push(format!(
            "'{}' has reported or commented on issues",
            user.name
        ));
    }
    if !reasons.is_empty() {
        let message = format!("Cannot delete user. {}", reasons.join(". "));
        return Err(refused(400, &message));
    }
    call.state.delete_user(user.id);
    Ok(Answer::empty(204))
}

pub(crate) fn set_password(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let body = call.body(&["password", "currentPassword"])?;
    let user = named(call)?.clone();
    check_editable(call, &user).map_err(|mut refusal| {
        // For passwords the vendor answers 403 where a system administrator is protected.
        if user.system_admin {
            refusal.status = 403;
        }
        refusal
    })?;
    let password = text(&body, "password")?.filter(|it| !it.is_empty());
    let Some(password) = password else {
        return Err(invalid_field("password", "You must specify a password"));
    };
    if let Some(user) = call.state.users.get_mut(&user.id) {
        user.password = Some(password);
    }
    call.state
        .tell(format!("account {}: password set", user.name));
    Ok(Answer::empty(204))
}

pub(crate) fn search(call: &mut Call<'_>) -> Outcome {
    call.caller()?;
    let Some(typed) = call.param("username").filter(|it| !it.trim().is_empty()) else {
        return Err(refused(
            400,
            "The username query parameter was not provided",
        ));
    };
    let (active, inactive) = (
        call.flag("includeActive", true),
        call.flag("includeInactive", false),
    );
    let (start, count) = (
        call.number("startAt", 0)?,
        call.number("maxResults", 50)?.min(1000),
    );
    let beans = call.beans();
    let found = call
        .state
        .users_by_name()
        .filter(|user| (if user.active { active } else { inactive }) && found_by(user, typed));
    let page: Vec<_> = found
        .skip(start)
        .take(count)
        .map(|user| beans.short_user(user))
        .collect();
    Ok(Answer::json(200, &json!(page)))
}

/// In no promised order, without a total; a cursor that was never given out starts somewhere.
pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    call.admin()?;
    let count = call.number("maxResults", 2000)?.clamp(1, 2000);
    let after = call.param("cursor").and_then(read_cursor);
    let rest = || {
        let all = call.state.users.values();
        all.filter(move |user| after.is_none_or(|after| user.id > after))
    };
    let beans = call.beans();
    let values: Vec<_> = rest()
        .take(count)
        .map(|user| beans.short_user(user))
        .collect();
    let next = rest()
        .take(count)
        .last()
        .filter(|_| rest().nth(count).is_some());
    let mut page = json!({
        "self": beans.rest(&format!("user/list?maxResults={count}")),
        "maxResults": count,
        "isLast": next.is_none(),
        "values": values,
    });
    if let Some(last) = next {
        let cursor = write_cursor(last.id);
        let link = beans.rest(&format!(
            "user/list?maxResults={count}&cursor={}",
            encode(&cursor)
        ));
        page["nextPage"] = json!(link);
        page["nextCursor"] = json!(cursor);
    }
    Ok(Answer::json(200, &page))
}

pub(crate) fn end_session(call: &mut Call<'_>, name: &str) -> Outcome {
    call.admin()?;
    match call.state.user(name) {
        Some(_) => Ok(Answer::empty(200)),
        None => Err(nobody(name)),
    }
}

pub(crate) fn grant_application(call: &mut Call<'_>) -> Outcome {
    let name = application_call(call)?;
    grant(call, &name);
    Ok(Answer::empty(200))
}

pub(crate) fn revoke_application(call: &mut Call<'_>) -> Outcome {
    let name = application_call(call)?;
    if let Some(group) = call.state.default_group.clone() {
        call.state.remove_member(&group, &name);
    }
    Ok(Answer::empty(204))
}

/// The person that `username` or `key` of the query names.
fn named<'a>(call: &'a Call<'_>) -> Result<&'a User, Answer> {
    match (call.param("key"), call.param("username")) {
        (Some(key), _) => call.state.user_by_key(key).ok_or_else(|| {
            refused(
                404,
                &format!("The user with the key '{key}' does not exist"),
            )
        }),
        (None, Some(name)) => call.state.user(name).ok_or_else(|| nobody(name)),
        (None, None) => Err(refused(
            404,
            "Either the username or the key query parameter is needed",
        )),
    }
}

fn nobody(name: &str) -> Answer {
    refused(404, &format!("The user named '{name}' does not exist"))
}

fn check_editable(call: &Call<'_>, user: &User) -> Result<(), Answer> {
    if user.read_only {
        return Err(refused(
            400,
            "Cannot edit user, as the user's directory is read-only.",
        ));
    }
    if user.system_admin && !call.admin()?.system_admin {
        return Err(refused(
            400,
            "Only System Administrators can edit other System Administrators",
        ));
    }
    Ok(())
}

/// The component check comes first and the project check second; both write to `active`, so only
/// the second text is seen where both apply.
fn check_may_go(
    call: &Call<'_>,
    user: &User,
    errors: &mut Map<String, Value>,
    messages: &mut Vec<String>,
) {
    if call.caller == Some(user.id) {
        messages.push("You cannot deactivate the currently logged in user.".to_owned());
    }
    for (what, keys) in [
        ("component", call.state.led_components(user.id)),
        ("project", call.state.led_projects(user.id)),
    ] {
        if !keys.is_empty() {
            let message = format!(
                "Cannot deactivate user because they are currently {what} lead on these projects: {}",
                keys.join(", ")
            );
            errors.insert("active".to_owned(), json!(message));
        }
    }
}

fn check_name(call: &Call<'_>, name: &str, errors: &mut Map<String, Value>) {
    let problem = if name.trim().is_empty() {
        "You must specify a username."
    } else if name.chars().count() > LONGEST {
        "The username must not exceed 255 characters in length."
    } else if name.contains(['<', '>', '&']) {
        "The username must not contain '<', '>' or '&'."
    } else if call.state.user(name).is_some() {
        NAME_TAKEN
    } else {
        return;
    };
    errors.insert("username".to_owned(), json!(problem));
}

fn check_email(email: &str, errors: &mut Map<String, Value>) {
    let problem = if email.trim().is_empty() {
        "You must specify an email address."
    } else if email.chars().count() > LONGEST {
        "The email address must not exceed 255 characters in length."
    } else if !is_address(email) {
        "You must specify a valid email address."
    } else {
        return;
    };
    errors.insert("email".to_owned(), json!(problem));
}

fn check_display_name(display_name: &str, errors: &mut Map<String, Value>) {
    let problem = if display_name.trim().is_empty() {
        "You must specify a full name."
    } else if display_name.chars().count() > LONGEST {
        "The full name must not exceed 255 characters in length."
    } else {
        return;
    };
    errors.insert("fullname".to_owned(), json!(problem));
}

fn is_address(email: &str) -> bool {
    let plain = !email.contains(|c: char| c.is_whitespace() || c.is_control());
    let halves = email.split_once('@');
    plain
        && halves.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

/// `applicationKeys`, all of them known.
fn applications(body: &Map<String, Value>) -> Result<Option<Vec<String>>, Answer> {
    let keys = match body.get("applicationKeys") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(keys)) => keys,
        Some(_) => {
            return Err(refused(
                400,
                "Can not deserialize \"applicationKeys\": a list is expected",
            ));
        }
    };
    let keys: Vec<String> = keys
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    match keys.iter().find(|key| *key != APPLICATION) {
        Some(key) => Err(invalid_field(
            "applicationKeys",
            &format!("The application '{key}' is not installed or not licensed"),
        )),
        None => Ok(Some(keys)),
    }
}

fn application_call(call: &Call<'_>) -> Result<String, Answer> {
    call.admin()?;
    let key = call.param("applicationKey").unwrap_or_default();
    let name = call.param("username").unwrap_or_default();
    let Some(user) = call.state.user(name) else {
        return Err(refused(
            400,
            &format!("The user named '{name}' does not exist"),
        ));
    };
    if key != APPLICATION || call.state.default_group.is_none() {
        return Err(refused(
            400,
            &format!("The application '{key}' cannot be given"),
        ));
    }
    Ok(user.name.clone())
}

fn grant(call: &mut Call<'_>, name: &str) {
    if let Some(group) = call.state.default_group.clone() {
        call.state.add_member(&group, name);
    }
}

fn write_cursor(id: u64) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("after:{id}"))
}

fn read_cursor(cursor: &str) -> Option<u64> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(cursor)
        .ok()?;
    std::str::from_utf8(&bytes)
        .ok()?
        .strip_prefix("after:")?
        .parse()
        .ok()
}
