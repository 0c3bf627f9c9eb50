//! Consents at identity domains: the way there, and the answer that comes back.

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::{Frame, html, see_other, sign_in};
use crate::auth::seat::Actor;
use crate::consent::{Answer, CALLBACK, Consents, Error, LIFETIME};
use crate::login::sign_on;

#[derive(Template)]
#[template(path = "consent.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    connection: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    connection: String,
}

/// `GET /oauth/authorize?connection=NAME`: a link, because a form may lead to no other host. The cookie of the
/// session is not sent from other sites, so nobody can be led here from one.
pub(super) async fn begin(
    state: web::Data<State>,
    actor: Actor,
    request: HttpRequest,
    which: web::Query<Which>,
) -> Result<HttpResponse, Problem> {
    let consents = consents(&state)?;
    let server = state.seen_as(&request);
    let begun = consents
        .begin(&which.connection, &server, &actor.name, true)
        .await
        .map_err(problem)?;
    let mut response = see_other(&begun.url);
    if let Some(browser) = &begun.browser {
        // Sent along from another site, unlike the session's: that is where the answer comes from.
        let cookie = cookie(&state, &request, browser.expose_secret())
            .max_age(actix_web::cookie::time::Duration::microseconds(LIFETIME))
            .finish();
        response.add_cookie(&cookie).map_err(|_| {
            Problem::new(500, "the browser cannot be given its part of the consent")
        })?;
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct Returned {
    state: Option<SecretString>,
    code: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

/// `GET /oauth/callback`: what the domain answers.
pub(super) async fn end(
    state: web::Data<State>,
    request: HttpRequest,
    returned: web::Query<Returned>,
) -> Result<HttpResponse, Problem> {
    let returned = returned.into_inner();
    // The application in the domain may have one address to send answers to: those to a sign-in come here, too.
    let words = [&returned.error, &returned.error_description];
    let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
    let answer = sign_on::Answer {
        state: returned.state.clone(),
        code: returned.code.clone(),
        error: (!words.is_empty()).then(|| words.join(" ")),
    };
    if let Some(response) = sign_in::answered(&state, &request, answer).await? {
        return Ok(response);
    }
    let consents = consents(&state)?;
    let name = cookie_name(state.is_secure(&request));
    let answer = Answer {
        state: returned.state,
        code: returned.code,
        error: returned.error,
        error_description: returned.error_description,
        browser: request
            .cookie(name)
            .map(|cookie| SecretString::from(cookie.value())),
    };
    let (status, page) = match consents.end(answer).await {
        Ok(connection) => (
            200,
            Page {
                frame: Frame::outside("The domain gave its consent"),
                connection: Some(connection),
            },
        ),
        Err(error) => {
            let problem = problem(error);
            let frame = Frame::outside("No consent").saying("bad", problem.detail);
            (
                problem.status,
                Page {
                    frame,
                    connection: None,
                },
            )
        }
    };
    let mut response = html(status, &page);
    let mut over = cookie(&state, &request, "").finish();
    over.make_removal();
    response
        .add_cookie(&over)
        .map_err(|_| Problem::new(500, "the browser's part of the consent cannot be ended"))?;
    response.headers_mut().insert(
        header::REFERRER_POLICY,
        header::HeaderValue::from_static("no-referrer"),
    );
    Ok(response)
}

fn consents(state: &State) -> Result<&Consents, Problem> {
    let consents = state.consents.as_ref();
    consents.ok_or_else(|| Problem::new(404, "this server reads no domains"))
}

fn cookie_name(secure: bool) -> &'static str {
    if secure {
        "__Secure-usher-consent"
    } else {
        "usher-consent"
    }
}

fn cookie(
    state: &State,
    request: &HttpRequest,
    value: &str,
) -> actix_web::cookie::CookieBuilder<'static> {
    let secure = state.is_secure(request);
    Cookie::build(cookie_name(secure), value.to_owned())
        .path(CALLBACK)
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
}

fn problem(error: Error) -> Problem {
    let status = match &error {
        Error::NoConnection(_) => 404,
        Error::NoKey | Error::OtherGrant(_) => 409,
        Error::Unknown | Error::OtherBrowser | Error::Refused(_) | Error::NoAnswer => 400,
        Error::Domain(_) => 502,
        Error::Vault(_) | Error::Store(_) => {
            tracing::error!(%error, "a consent came to nothing");
            503
        }
    };
    Problem::new(status, error.to_string())
}
