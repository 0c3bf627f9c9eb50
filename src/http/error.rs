//! The only place where an error becomes a status code.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpResponse, ResponseError};
use serde_json::Value;

use super::trace::with_request_id;
use crate::{auth, intake, scim, store};

/// What the caller is told when only the log may say more: the words of the database are not for strangers. The answer
/// has the id of the request.
pub(super) const UNKNOWN: &str = "the server could not do this; its log says why";

/// Logs that the database did not do what was asked. If it may do so later: what to tell the caller, and after how many
/// seconds to ask again.
pub(super) fn refused(error: &store::Error) -> Option<(&'static str, u32)> {
    let passing = error.passing();
    if passing.is_some() && *error != store::Error::Full {
        tracing::warn!(%error, "the database did not take a request");
    } else {
        tracing::error!(%error, "a request failed");
    }
    passing
}

/// The same for a caller who has to ask again whatever it was: to decide nothing is no decision.
pub(super) fn unanswered(error: &store::Error) -> (&'static str, u32) {
    refused(error).unwrap_or((UNKNOWN, 1))
}

/// An error as a SCIM client sees it (RFC 7644 section 3.12).
#[derive(Debug)]
pub(super) struct Failure {
    error: scim::Error,
    retry_after_s: Option<u32>,
}

impl Failure {
    /// The error itself, for an answer within an answer.
    pub(super) fn into_scim(self) -> scim::Error {
        self.error
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.error.detail())
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header(ContentType("application/scim+json".parse().unwrap_or(
            // Cannot happen; the constant parses.
            ContentType::json().0,
        )));
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"usher\""));
            response.append_header((
                header::WWW_AUTHENTICATE,
                "Basic realm=\"usher\", charset=\"UTF-8\"",
            ));
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        let mut body = self.error.to_body();
        if let Some(Value::String(detail)) = body.get_mut("detail") {
            *detail = with_request_id(detail);
        }
        response.body(body.to_string())
    }
}

impl From<scim::Error> for Failure {
    fn from(error: scim::Error) -> Self {
        Self {
            error,
            retry_after_s: None,
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Filter(detail) => scim::Error::invalid_filter(detail).into(),
            other => match refused(&other) {
                Some((detail, retry_after_s)) => Self {
                    error: scim::Error::unavailable(detail),
                    retry_after_s: Some(retry_after_s),
                },
                None => scim::Error::internal(UNKNOWN).into(),
            },
        }
    }
}

impl From<intake::Error> for Failure {
    fn from(error: intake::Error) -> Self {
        match error {
            intake::Error::Scim(error) => error.into(),
            intake::Error::Store(error) => error.into(),
        }
    }
}

impl From<auth::Error> for Failure {
    fn from(error: auth::Error) -> Self {
        match error {
            auth::Error::Store(error) => error.into(),
            refused => scim::Error::unauthorized(refused.to_string()).into(),
        }
    }
}
