//! One span a request, one line for each that writes or fails, and a request id that stands in the answer, the log and the audit.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use tracing::Instrument;

use super::State;
use crate::telemetry;

/// The header that carries the id, in and out.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// The id of the request that this task answers.
    static CURRENT: String;
}

/// A text about what went wrong, with the id of the request that is being answered: people see it at the identity
/// provider, and find the line of the log by it.
pub(super) fn with_request_id(text: &str) -> String {
    CURRENT
        .try_with(|id| format!("{text} (request {id})"))
        .unwrap_or_else(|_| text.to_owned())
}

/// The id of a request.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Middleware. Never records query strings or bodies: filters and resources are personal data.
pub async fn request_span(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = given(&request).unwrap_or_else(crate::domain::new_id);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = %request.method(),
        path = %request.path(),
    );
    telemetry::begin(&span, &id);
    let started = Instant::now();
    let answered = CURRENT.scope(id.clone(), next.call(request).instrument(span));
    let mut response = answered.await?;
    let duration = started.elapsed();
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let request = response.request();
    if let Some(state) = request.app_data::<web::Data<State>>() {
        let pattern = request.match_pattern();
        // What is nowhere, and methods that are made up, must not make endless series.
        let route = pattern
            .as_deref()
            .filter(|it| !it.is_empty())
            .unwrap_or("none");
        let method = match *request.method() {
            ref known @ (Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS) => known.as_str(),
            _ => "other",
        };
        let status = response.status().as_u16();
        let metrics = state.engine.metrics();
        metrics.request(method, route, status, duration);
    }
    // Outside the span, with the same fields of its own: the line of every request, and a span in JSON costs
    // more than all the rest of it.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = %id,
                method = %request.method(),
                path = %request.path(),
                status = response.status().as_u16(),
                duration_ms,
                "answered"
            )
        };
    }
    // An import reads everything page by page, and probes come every second: what went well and changed
    // nothing is for whoever asks for details.
    if request.method().is_safe() && response.status().as_u16() < 400 {
        line!(debug);
    } else {
        line!(info);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}

/// The id that a proxy gave, if it is harmless.
fn given(request: &ServiceRequest) -> Option<String> {
    let id = request.headers().get(HEADER)?.to_str().ok()?;
    let harmless = (8..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    harmless.then(|| id.to_owned())
}
