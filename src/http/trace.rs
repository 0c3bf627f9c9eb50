//! One span a request, one line for each that writes or fails, and a request id that stands in the answer, the log and the audit.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use tracing::Instrument;

/// The header that carries the id, in and out.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

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
    let started = Instant::now();
    let mut response = next.call(request).instrument(span).await?;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let request = response.request();
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
