//! The login hook over HTTP: `POST /hooks/login` for integrations, `GET /hooks/forward-auth` for nginx and Traefik.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::State;
use super::error::{UNKNOWN, unanswered};
use super::trace::{RequestId, with_request_id};
use crate::domain::Connection;
use crate::login::{Error, Login, Person, Verdict};
use crate::{auth, intake};

/// The largest body, in bytes.
const MAX_BODY: usize = 16 * 1024;
/// The header in which a proxy shows its hook credential; `Authorization` may hold the user's own token.
const CREDENTIAL: &str = "x-usher-token";
/// The longest user name, in bytes.
const MAX_NAME: usize = 1000;

/// Routes below `/hooks`.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .route("/login", web::post().to(login))
        .route("/forward-auth", web::get().to(forward_auth));
}

/// The body of a login that is not proven by a token.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    /// Login name; not needed beside a token of the domain.
    user: Option<String>,
    /// Names of targets to be in step at; none: all.
    #[serde(default)]
    targets: Vec<String>,
}

/// `POST /hooks/login`
async fn login(state: web::Data<State>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let named = if body.is_empty() {
        Named::default()
    } else {
        match serde_json::from_slice::<Named>(&body) {
            Ok(named) => named,
            Err(_) => {
                return HttpResponse::BadRequest().json(json!({
                    "error": "the body must be {\"user\": \"login name\", \"targets\": [\"name\"]}"
                }));
            }
        }
    };
    match judged(&state, &request, &named.targets, |_| named.user.clone()).await {
        Ok(verdict) if verdict.allowed => HttpResponse::Ok().json(verdict),
        Ok(verdict) => HttpResponse::Forbidden().json(verdict),
        Err(error) => refused(&error),
    }
}

/// `GET /hooks/forward-auth?target=jira`: the status is the answer.
async fn forward_auth(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let from_header = |connection: &Connection| {
        let name = connection.settings.login.user_header.as_str();
        let value = request.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let targets: Vec<String> = query
        .map(|pairs| pairs.into_inner())
        .unwrap_or_default()
        .into_iter()
        .filter(|(name, _)| name == "target")
        .map(|(_, value)| value)
        .collect();
    match judged(&state, &request, &targets, from_header).await {
        Ok(verdict) => {
            let mut response = if verdict.allowed {
                HttpResponse::Ok()
            } else {
                HttpResponse::Forbidden()
            };
            response.insert_header(("X-Usher-Reason", verdict.reason));
            if verdict.user.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                response.insert_header(("X-Usher-User", verdict.user));
            }
            response.finish()
        }
        Err(error) => refused(&error),
    }
}

/// Finds out who it is, and judges.
async fn judged(
    state: &State,
    request: &HttpRequest,
    targets: &[String],
    named: impl FnOnce(&Connection) -> Option<String>,
) -> Result<Verdict, Error> {
    let login = state.login.as_ref().ok_or(Error::NoKeys)?;
    let person = person(state, login, request, named).await?;
    let id = actix_web::HttpMessage::extensions(request)
        .get::<RequestId>()
        .map(|id| id.0.clone())
        .unwrap_or_default();
    let cause = format!(
        "login of {} by {} (request {id})",
        person.name, person.connection.settings.name
    );
    login.judge(&person, targets, &cause).await
}

async fn person(
    state: &State,
    login: &Login,
    request: &HttpRequest,
    named: impl FnOnce(&Connection) -> Option<String>,
) -> Result<Person, Error> {
    let text = |name: header::HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
    let bearer = text(header::AUTHORIZATION)
        .and_then(|value| value.trim().split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let shown = text(header::HeaderName::from_static(CREDENTIAL));
    // A token of the domain has two dots, a hook credential none.
    let (credential, token) = match bearer {
        Some(token) if token.contains('.') => (shown, Some(token)),
        other => (shown.or(other), None),
    };
    if let Some(token) = token {
        return login.bearer(token).await;
    }
    let credential = credential.ok_or(auth::Error::Missing)?;
    let caller = state.auth.hook(credential).await?;
    let connection = login.connection(&caller).await?;
    let name = named(&connection)
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME && !name.contains('\0'))
        .ok_or(auth::Error::Missing)?;
    login.named(&caller, &name).await
}

fn refused(error: &Error) -> HttpResponse {
    let (status, words, after_s) = match error {
        Error::Credential(auth::Error::Store(error))
        | Error::Store(error)
        | Error::Intake(intake::Error::Store(error)) => {
            let (words, after_s) = unanswered(error);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                words.to_owned(),
                Some(after_s),
            )
        }
        Error::Intake(intake::Error::Scim(error)) => {
            tracing::error!(
                error = error.detail(),
                "the mirror did not take who logs in"
            );
            (StatusCode::SERVICE_UNAVAILABLE, UNKNOWN.to_owned(), Some(1))
        }
        Error::NoKeys => (StatusCode::SERVICE_UNAVAILABLE, error.to_string(), Some(5)),
        Error::NoTarget(_) => (StatusCode::BAD_REQUEST, error.to_string(), None),
        Error::Token(_) | Error::Credential(_) => {
            (StatusCode::UNAUTHORIZED, error.to_string(), None)
        }
    };
    let mut response = HttpResponse::build(status);
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"usher\""));
    }
    if let Some(seconds) = after_s {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    response.json(json!({"error": with_request_id(&words)}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    #[test]
    fn a_login_that_is_not_judged_says_when_to_ask_again() {
        for (error, after_s) in [
            (Error::Store(store::Error::Full), "60"),
            (Error::Intake(intake::Error::Store(store::Error::Busy)), "1"),
            (
                Error::Credential(auth::Error::Store(store::Error::Corrupt("x".to_owned()))),
                "1",
            ),
        ] {
            let response = refused(&error);
            assert_eq!(response.status(), 503, "{error}");
            assert_eq!(
                response.headers().get(header::RETRY_AFTER).unwrap(),
                after_s,
                "{error}"
            );
        }
    }
}
