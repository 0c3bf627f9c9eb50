//! What handlers are given: an authenticated caller, a JSON body within limits, conditional headers.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde_json::Value;

use super::State;
use super::arrivals::Arrival;
use super::error::Failure;
use super::trace::RequestId;
use crate::auth;
use crate::intake::{self, Preconditions, Source, Versions};
use crate::scim::{self, Dialect};

/// The largest body, in bytes: a PUT of a group with 100,000 members has about 10 MB.
pub(super) const MAX_BODY: usize = 16 * 1024 * 1024;
/// How deep a body may be nested. No SCIM resource comes near.
const MAX_DEPTH: usize = 32;

/// An authenticated caller, its dialect, and the request it makes.
pub(super) struct Caller {
    pub(super) caller: auth::Caller,
    request: HttpRequest,
}

impl Caller {
    /// How its input is to be understood.
    pub(super) fn dialect(&self) -> Dialect {
        intake::dialect(self.caller.kind)
    }

    /// For writes.
    pub(super) fn source(&self) -> Source {
        let id = self
            .request
            .extensions()
            .get::<RequestId>()
            .map(|id| id.0.clone())
            .unwrap_or_default();
        Source {
            connection: self.caller.connection.clone(),
            dialect: self.dialect(),
            cause: format!(
                "push from {}: {} {} (request {id})",
                self.caller.name,
                self.request.method(),
                self.request.path()
            ),
        }
    }
}

impl FromRequest for Caller {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Failure>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let Some(state) = request.app_data::<web::Data<State>>() else {
                return Err(scim::Error::internal("the server is not set up").into());
            };
            let header = request
                .headers()
                .get(header::AUTHORIZATION)
                .and_then(|v| v.to_str().ok());
            let caller = state.auth.authenticate(header).await?;
            let arrival = Arrival {
                at: state.clock.now(),
                what: format!("{} {}", request.method(), request.path()),
            };
            state.arrivals.note(&caller.connection, arrival);
            if !request.method().is_safe() {
                state.pushes.note(state, &caller.connection).await;
            }
            Ok(Self { caller, request })
        })
    }
}

/// A JSON body (RFC 7644 section 3.1), within the limits. A route that takes less than [`MAX_BODY`] has a
/// `PayloadConfig` that says the same.
pub(super) struct Body<const MAX: usize = MAX_BODY>(pub(super) Value);

impl<const MAX: usize> FromRequest for Body<MAX> {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Failure>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let bytes = web::Bytes::from_request(&request, payload);
        Box::pin(async move {
            let bytes = bytes.await.map_err(|e| {
                if e.as_response_error().status_code().as_u16() == 413 {
                    scim::Error::payload_too_large(format!("the body is larger than {MAX} bytes"))
                } else {
                    scim::Error::invalid_syntax(format!("the body cannot be read: {e}"))
                }
            })?;
            parse(&request, &bytes).map(Self)
        })
    }
}

fn parse(request: &HttpRequest, bytes: &[u8]) -> Result<Value, Failure> {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| {
            value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        });
    if let Some(given) = content_type
        && given != "application/scim+json"
        && given != "application/json"
    {
        return Err(scim::Error::unsupported_media_type(format!(
            "the body is {given}; send application/scim+json"
        ))
        .into());
    }
    if bytes.is_empty() {
        return Err(scim::Error::invalid_syntax("the body is empty").into());
    }
    if depth(bytes) > MAX_DEPTH {
        return Err(scim::Error::invalid_syntax(format!(
            "the body is nested more than {MAX_DEPTH} levels deep"
        ))
        .into());
    }
    serde_json::from_slice(bytes)
        .map_err(|e| scim::Error::invalid_syntax(format!("the body is no JSON: {e}")).into())
}

/// How deep the brackets go, without parsing.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What the conditional headers ask of a write (RFC 9110 section 13.1).
pub(super) fn preconditions(request: &HttpRequest) -> Option<Preconditions> {
    let stated = Preconditions {
        if_match: versions(request, header::IF_MATCH),
        if_none_match: versions(request, header::IF_NONE_MATCH),
    };
    (stated != Preconditions::default()).then_some(stated)
}

/// The versions in a conditional header, if there is one.
pub(super) fn versions(request: &HttpRequest, name: header::HeaderName) -> Option<Versions> {
    let all: Vec<&str> = request
        .headers()
        .get_all(name)
        // What cannot be read is a tag that is not ours.
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    (!all.is_empty()).then(|| tags(&all.join(",")))
}

/// The versions that entity tags name.
pub(super) fn tags(text: &str) -> Versions {
    if text.trim() == "*" {
        return Versions::Any;
    }
    let number = |tag: &str| {
        tag.trim()
            .trim_start_matches("W/")
            .trim_matches('"')
            .parse()
            .ok()
    };
    // A tag that is not ours matches nothing.
    Versions::These(text.split(',').filter_map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert_eq!(depth(br#"{"a":[1,{"b":"[[[[\"[["}]}"#), 3);
        assert_eq!(depth(b"[[[["), 4);
        assert_eq!(depth(b""), 0);
    }
}
