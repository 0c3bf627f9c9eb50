//! Signing in and out, and making the first administrator.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::super::State;
use super::super::access::cookie_name;
use super::super::problem::Problem;
use super::{Frame, html, see_other};
use crate::auth::seat::{Actor, SetUpError, SignInError};

type Answer = Result<HttpResponse, Problem>;

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/http/ui/askama.toml")]
struct SignInPage {
    frame: Frame,
    name: String,
    next: String,
}

#[derive(Template)]
#[template(path = "setup.html", config = "src/http/ui/askama.toml")]
struct SetupPage {
    frame: Frame,
    code: String,
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// `GET /sign-in`
pub(super) async fn form(state: web::Data<State>, query: web::Query<Next>) -> Answer {
    if state.seat.is_empty().await? {
        return Ok(see_other("/setup"));
    }
    let page = SignInPage {
        frame: Frame::outside("Sign in"),
        name: String::new(),
        next: query.into_inner().next,
    };
    Ok(html(200, &page))
}

#[derive(Deserialize)]
pub(super) struct SignIn {
    name: String,
    password: SecretString,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in`
pub(super) async fn sign_in(
    state: web::Data<State>,
    request: HttpRequest,
    form: web::Form<SignIn>,
) -> Answer {
    let SignIn {
        name,
        password,
        next,
    } = form.into_inner();
    let address = state
        .doors
        .client(&request)
        .map_or_else(String::new, |address| address.to_string());
    let agent = request
        .headers()
        .get(header::USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    match state.seat.sign_in(&name, password, &address, agent).await {
        Ok(cookie) => {
            let mut response = see_other(local(&next));
            set_cookie(&state, &request, &mut response, cookie.expose_secret())?;
            Ok(response)
        }
        Err(SignInError::Store(error)) => Err(error.into()),
        Err(refusal) => {
            let status = match refusal {
                SignInError::Locked { .. } => 429,
                _ => 401,
            };
            let page = SignInPage {
                frame: Frame::outside("Sign in").saying("bad", refusal.to_string()),
                name,
                next,
            };
            Ok(html(status, &page))
        }
    }
}

/// `POST /sign-out`
pub(super) async fn sign_out(
    state: web::Data<State>,
    request: HttpRequest,
    actor: Actor,
) -> Answer {
    if let Some(session) = &actor.session {
        state.seat.sign_out(session).await?;
    }
    let mut response = see_other("/sign-in");
    set_cookie(&state, &request, &mut response, "")?;
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct Code {
    #[serde(default)]
    code: String,
}

/// `GET /setup`
pub(super) async fn setup_form(state: web::Data<State>, query: web::Query<Code>) -> Answer {
    if !state.seat.is_empty().await? {
        return Ok(see_other("/sign-in"));
    }
    let page = SetupPage {
        frame: Frame::outside("Make the first administrator"),
        code: query.into_inner().code,
        name: String::new(),
    };
    Ok(html(200, &page))
}

#[derive(Deserialize)]
pub(super) struct SetUp {
    code: SecretString,
    name: String,
    password: SecretString,
}

/// `POST /setup`
pub(super) async fn set_up(
    state: web::Data<State>,
    request: HttpRequest,
    form: web::Form<SetUp>,
) -> Answer {
    let SetUp {
        code,
        name,
        password,
    } = form.into_inner();
    match state.seat.set_up(&code, &name, &password).await {
        Ok(()) => {
            let form = SignIn {
                name,
                password,
                next: "/start".to_owned(),
            };
            sign_in(state, request, web::Form(form)).await
        }
        Err(SetUpError::Refused(crate::store::admins::Refused::Store(error))) => Err(error.into()),
        Err(refusal) => {
            let page = SetupPage {
                frame: Frame::outside("Make the first administrator")
                    .saying("bad", refusal.to_string()),
                code: code.expose_secret().to_owned(),
                name,
            };
            Ok(html(400, &page))
        }
    }
}

/// An address on this server, whatever was asked for: nobody is sent elsewhere.
pub(super) fn local(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|c: char| c == '\\' || c.is_control());
    if is_local { next } else { "/" }
}

/// Gives a browser its session, or takes it back.
fn set_cookie(
    state: &State,
    request: &HttpRequest,
    response: &mut HttpResponse,
    value: &str,
) -> Result<(), Problem> {
    let secure = state.is_secure(request);
    let mut cookie = Cookie::build(cookie_name(secure), value.to_owned())
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Strict)
        .finish();
    if value.is_empty() {
        cookie.make_removal();
    }
    response
        .add_cookie(&cookie)
        .map_err(|_| Problem::new(500, "the session cannot be handed to the browser"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(local("/people?q=ada"), "/people?q=ada");
        for elsewhere in ["", "https://x", "//x", "/\\x", "javascript:x", "/a\nb"] {
            assert_eq!(local(elsewhere), "/");
        }
    }
}
