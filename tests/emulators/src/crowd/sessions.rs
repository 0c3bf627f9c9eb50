//! `/authentication` and `/session`: signing people in, and out.

use crate::crowd::entities::text;
use crate::crowd::routes::{Call, Outcome};
use crate::server::Answer;

pub(crate) fn authenticate(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    let body = call.body()?;
    let password = text(&body, "value").unwrap_or_default();
    signed_in(call, &name, Some(password.as_ref()))?;
    call.reply(200, &call.build.user(call.user(&name)?, false))
}

pub(crate) fn start(call: &mut Call<'_>) -> Outcome {
    let body = call.body()?;
    let name = text(&body, "username").unwrap_or_default().into_owned();
    let password = text(&body, "password").unwrap_or_default();
    let validate = call.param("validate-password") != Some("false");
    signed_in(call, &name, validate.then_some(password.as_ref()))?;
    let token = call.state.start_session(&name);
    let entity = call
        .build
        .session(&token, call.user(&name)?, call.expands("user"));
    call.reply(201, &entity)
}

/// All that is wrong with a person who signs in is answered with 400.
fn signed_in(call: &Call<'_>, name: &str, password: Option<&str>) -> Result<(), Answer> {
    let Some(user) = call.state.user(name) else {
        return Err(call.no_user(400, name));
    };
    if password.is_some() && user.password.as_deref() != password {
        let message = "Failed to authenticate principal, password was invalid";
        return Err(call.refuse(400, "INVALID_USER_AUTHENTICATION", message));
    }
    if !user.active {
        let message = format!("Account with name <{name}> is inactive");
        return Err(call.refuse(400, "INACTIVE_ACCOUNT", &message));
    }
    Ok(())
}

pub(crate) fn show(call: &mut Call<'_>, token: &str) -> Outcome {
    let name = owner(call, token)?;
    let entity = call
        .build
        .session(token, call.user(&name)?, call.expands("user"));
    call.reply(200, &entity)
}

pub(crate) fn end(call: &mut Call<'_>, token: &str) -> Outcome {
    if call.state.sessions.remove(token).is_some() {
        call.state.tell(format!("session {token} ended"));
    }
    Ok(Answer::empty(204))
}

pub(crate) fn end_all(call: &mut Call<'_>) -> Outcome {
    let name = call.required("username")?;
    let except = call.param("exclude").map(str::to_owned);
    call.state.end_sessions(&name, except.as_deref());
    Ok(Answer::empty(204))
}

fn owner(call: &Call<'_>, token: &str) -> Result<String, Answer> {
    let owner = call.state.sessions.get(token).cloned();
    owner.ok_or_else(|| call.refuse(404, "INVALID_SSO_TOKEN", "Token is not valid"))
}
