//! Signing in and out, with a password or a domain, and making the first administrator.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::super::State;
use super::super::access::cookie_name;
use super::super::problem::Problem;
use super::kept::{For, add};
use super::{Frame, html, see_other};
use crate::auth::authorization;
use crate::auth::seat::{Actor, SetUpError, SignInError};
use crate::consent::CALLBACK;
use crate::login::sign_on;

type Answer = Result<HttpResponse, Problem>;

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/http/ui/askama.toml")]
struct SignInPage {
    frame: Frame,
    name: String,
    next: String,
    /// Connections whose domains sign administrators in.
    domains: Vec<String>,
}

#[derive(Template)]
#[template(path = "signed_in.html", config = "src/http/ui/askama.toml")]
struct SignedInPage {
    frame: Frame,
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
    let next = query.into_inner().next;
    page(&state, 200, Frame::outside("Sign in"), String::new(), next).await
}

async fn page(state: &State, status: u16, frame: Frame, name: String, next: String) -> Answer {
    let domains = match &state.sign_on {
        Some(sign_on) => sign_on.choices().await?,
        None => Vec::new(),
    };
    let page = SignInPage {
        frame,
        name,
        next,
        domains,
    };
    Ok(html(status, &page))
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
    let agent = agent(&request);
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
            let frame = Frame::outside("Sign in").saying("bad", refusal.to_string());
            page(&state, status, frame, name, next).await
        }
    }
}

fn agent(request: &HttpRequest) -> &str {
    request
        .headers()
        .get(header::USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
}

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    connection: String,
    #[serde(default)]
    next: String,
}

/// `GET /sign-in/domain?connection=NAME`: a link, because a form may lead to no other host.
pub(super) async fn with_domain(
    state: web::Data<State>,
    request: HttpRequest,
    which: web::Query<Which>,
) -> Answer {
    let Which { connection, next } = which.into_inner();
    let Some(sign_on) = &state.sign_on else {
        return Err(Problem::new(
            404,
            "this server has no master key: use your password",
        ));
    };
    let redirect_uri = format!("{}{CALLBACK}", state.seen_as(&request));
    match sign_on
        .begin(&connection, &redirect_uri, local(&next))
        .await
    {
        Ok(begun) => {
            let mut response = see_other(&begun.url);
            let kept = &begun.kept;
            For::SignIn.keep(&state, &request, &mut response, kept, sign_on::LIFETIME)?;
            Ok(response)
        }
        Err(error) => refusal(&state, error, next).await,
    }
}

/// What a domain answers, if that is to a sign-in that was begun in this browser; else the answer again.
pub(super) async fn answered(
    state: &State,
    request: &HttpRequest,
    answer: authorization::Answer,
) -> Result<Result<HttpResponse, authorization::Answer>, Problem> {
    let kept = For::SignIn.shown(state, request);
    let begun = state.sign_on.as_ref().zip(kept);
    let begun = begun.and_then(|(sign_on, kept)| Some((sign_on, sign_on.pending(&kept, &answer)?)));
    let Some((sign_on, pending)) = begun else {
        return Ok(Err(answer));
    };
    let mut response = match sign_on.end(pending, answer).await {
        Ok(proved) => {
            let session = state
                .seat
                .open_session(&proved.admin.id, agent(request))
                .await?;
            // A page that leads on, and no redirect: a browser that comes from another site does not send the cookie of
            // the session (SameSite=Strict) before a page of this one leads there.
            let page = SignedInPage {
                frame: Frame::outside("Signed in"),
                next: local(&proved.next).to_owned(),
            };
            let mut response = html(200, &page);
            set_cookie(state, request, &mut response, session.expose_secret())?;
            response
        }
        Err(error) => refusal(state, error, String::new()).await?,
    };
    For::SignIn.end(state, request, &mut response)?;
    Ok(Ok(response))
}

async fn refusal(state: &State, error: sign_on::Error, next: String) -> Answer {
    use sign_on::Error;
    let status = match &error {
        Error::Store(_) | Error::Vault(_) => {
            tracing::error!(%error, "a sign-in with a domain came to nothing");
            503
        }
        Error::Domain(_) => 502,
        Error::NoConnection(_) => 404,
        Error::NoAnswer => 400,
        Error::Refused(_)
        | Error::Token(_)
        | Error::Nobody(_)
        | Error::SomebodyElse(_)
        | Error::Disabled => 401,
    };
    tracing::warn!(%error, "a sign-in with a domain failed");
    let frame = Frame::outside("Sign in").saying("bad", error.to_string());
    page(state, status, frame, String::new(), next).await
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
    add(response, &cookie)
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
