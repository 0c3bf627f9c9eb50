//! Consents at identity domains: the way there, and the answer that comes back.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::kept::For;
use super::{Frame, html, see_other, sign_in};
use crate::auth::authorization::Answer;
use crate::auth::seat::Actor;
use crate::consent::{Consents, Error, LIFETIME};

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
        For::Consent.keep(&state, &request, &mut response, browser, LIFETIME)?;
    }
    Ok(response)
}

/// `GET /oauth/callback`: what the domain answers.
pub(super) async fn end(
    state: web::Data<State>,
    request: HttpRequest,
    answer: web::Query<Answer>,
) -> Result<HttpResponse, Problem> {
    let answer = answer.into_inner();
    // The application in the domain may have one address to send answers to: those to a sign-in come here, too.
    let answer = match sign_in::answered(&state, &request, answer).await? {
        Ok(response) => return Ok(response),
        Err(answer) => answer,
    };
    let consents = consents(&state)?;
    let browser = For::Consent.shown(&state, &request);
    let (status, page) = match consents.end(answer, browser).await {
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
    For::Consent.end(&state, &request, &mut response)?;
    Ok(response)
}

fn consents(state: &State) -> Result<&Consents, Problem> {
    let consents = state.consents.as_ref();
    consents.ok_or_else(|| Problem::new(404, "this server reads no domains"))
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
