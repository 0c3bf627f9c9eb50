//! `/user`: accounts, their passwords and attributes.

use serde_json::Value;

use crate::crowd::entities::{attributes_in, profile, text};
use crate::crowd::routes::{Call, Outcome, SHOWS_CREATED_SINCE};
use crate::crowd::state::fold;
use crate::server::Answer;

pub(crate) fn get(call: &mut Call<'_>) -> Outcome {
    let user = match (call.param("username"), call.param("key")) {
        (Some(name), _) => call.user(name)?,
        (None, Some(key)) if call.build.keys => call
            .state
            .user_by_key(key)
            .ok_or_else(|| call.no_user(404, key))?,
        // Versions without keys do not know the parameter.
        _ => {
            return Err(call
                .required("username")
                .err()
                .unwrap_or_else(|| call.unknown_path()));
        }
    };
    call.reply(200, &call.build.user(user, call.expands("attributes")))
}

pub(crate) fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let name = call.named(&body)?;
    let Some(password) = password_in(&body) else {
        return Err(call.refuse(400, "ILLEGAL_ARGUMENT", "The validated object is null"));
    };
    call.may_write(None)?;
    if name.trim() != name {
        let message = "User name may not contain leading or trailing whitespace";
        return Err(call.refuse(400, "INVALID_USER", message));
    }
    acceptable(call, &password)?;
    if let Some(user) = call.state.user(&name) {
        let message = format!(
            "User already exists in directory [32769] with name [{}]",
            user.name
        );
        return Err(call.refuse(400, "INVALID_USER", &message));
    }
    call.state
        .create_user(&name, profile(&body), Some(password));
    if let Some(user) = call.state.user_mut(&name) {
        user.attributes = body
            .get("attributes")
            .map(attributes_in)
            .unwrap_or_default();
    }
    *call.state.creations.entry(fold(&name)).or_default() += 1;
    if call.options.version < SHOWS_CREATED_SINCE {
        return Ok(Answer::empty(201));
    }
    call.reply(201, &call.build.user(call.user(&name)?, true))
}

/// A full replacement: what the body leaves out is lost. The password and the attributes are no
/// part of it, whatever the body says.
pub(crate) fn update(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    let body = call.body()?;
    let named = text(&body, "name").unwrap_or_default();
    if fold(&named) != fold(&name) {
        let message =
            format!("The names of the resource location <user> and object <{named}> are not equal");
        return Err(call.refuse(400, "ILLEGAL_ARGUMENT", &message));
    }
    call.user(&name)?;
    call.may_write(Some(&name))?;
    call.state.replace_user(&name, profile(&body));
    Ok(Answer::empty(204))
}

/// Public clients spell the member in two ways.
pub(crate) fn rename(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    let body = call.body()?;
    let new = ["new-name", "newName"]
        .into_iter()
        .find_map(|it| text(&body, it));
    let new = match new {
        Some(new) if !new.trim().is_empty() => new.into_owned(),
        _ => return Err(call.refuse(400, "ILLEGAL_ARGUMENT", "The new name must not be blank")),
    };
    call.user(&name)?;
    call.may_write(Some(&name))?;
    if fold(&name) != fold(&new) && call.state.user(&new).is_some() {
        let message = format!("The new username '{new}' is already in use");
        return Err(call.refuse(400, "INVALID_USER", &message));
    }
    call.state.rename_user(&name, &new);
    call.reply(200, &call.build.user(call.user(&new)?, false))
}

pub(crate) fn delete(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    call.user(&name)?;
    call.may_write(Some(&name))?;
    call.state.delete_user(&name);
    Ok(Answer::empty(204))
}

pub(crate) fn set_password(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    let body = call.body()?;
    let password = text(&body, "value").unwrap_or_default().into_owned();
    call.user(&name)?;
    call.may_write(Some(&name))?;
    acceptable(call, &password)?;
    replace_password(call, &name, Some(password));
    Ok(Answer::empty(204))
}

pub(crate) fn drop_password(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    call.user(&name)?;
    call.may_write(Some(&name))?;
    replace_password(call, &name, None);
    Ok(Answer::empty(204))
}

fn replace_password(call: &mut Call<'_>, name: &str, password: Option<String>) {
    if let Some(user) = call.state.user_mut(name) {
        user.password = password;
        call.state.tell(format!("account {name}: password changed"));
    }
}

pub(crate) fn attributes(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    call.reply(200, &call.build.attributes_of_user(call.user(&name)?))
}

pub(crate) fn store_attributes(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    let body = call.body()?;
    call.user(&name)?;
    call.may_write(Some(&name))?;
    if let Some(user) = call.state.user_mut(&name) {
        user.attributes.extend(attributes_in(&body));
        call.state
            .tell(format!("account {name}: attributes changed"));
    }
    Ok(Answer::empty(204))
}

pub(crate) fn drop_attribute(call: &mut Call<'_>) -> Outcome {
    let (name, attribute) = (call.required("username")?, call.required("attributename")?);
    call.user(&name)?;
    call.may_write(Some(&name))?;
    if let Some(user) = call.state.user_mut(&name)
        && user.attributes.remove(&attribute).is_some()
    {
        call.state
            .tell(format!("account {name}: attributes changed"));
    }
    Ok(Answer::empty(204))
}

/// Nothing is mailed.
pub(crate) fn mail(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    call.user(&name)?;
    Ok(Answer::empty(204))
}

fn password_in(body: &Value) -> Option<String> {
    text(body.get("password")?, "value").map(std::borrow::Cow::into_owned)
}

fn acceptable(call: &Call<'_>, password: &str) -> Result<(), Answer> {
    let length = password.chars().count();
    if length == 0 || length > call.options.longest_password {
        let message = "The new password does not meet the directory's complexity requirements";
        return Err(call.refuse(400, "INVALID_CREDENTIAL", message));
    }
    Ok(())
}
