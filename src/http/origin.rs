//! Where a request comes from, and which doors are open to it.
//!
//! What a proxy says about its caller (`X-Forwarded-For`, `-Proto`, `-Host`) is believed only if it is listed:
//! anybody can send these headers.

use std::net::IpAddr;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError, web};
use serde_json::json;

use super::State;
use super::error::Failure;
use super::problem::Problem;
use crate::config::Networks;
use crate::scim;

/// Who may come in where. `None`: everybody.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    /// Proxies whose word about the caller is taken.
    pub proxies: Networks,
    /// `/scim/v2` and `/oauth2/v1`.
    pub scim: Option<Networks>,
    /// `/hooks`.
    pub hook: Option<Networks>,
    /// Pages and the admin API.
    pub admin: Option<Networks>,
    /// Who may read `/metrics` without a token.
    pub metrics: Networks,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Scim,
    Hook,
    Admin,
}

impl Doors {
    /// The address of the caller, behind proxies or not.
    pub(super) fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        if !self.proxies.contain(peer) {
            return Some(peer);
        }
        // Each proxy adds whom it saw at the end: the last one that is no proxy is the caller.
        let mut nearest = peer;
        for text in list(request, "x-forwarded-for").into_iter().rev() {
            let Ok(address) = text.parse::<IpAddr>() else {
                // What cannot be read is not the caller, and neither is what stands before it.
                return None;
            };
            nearest = address.to_canonical();
            if !self.proxies.contain(nearest) {
                break;
            }
        }
        Some(nearest)
    }

    /// Whether the caller sees this server over HTTPS.
    pub(super) fn is_https(&self, request: &HttpRequest) -> bool {
        match self.stated(request, "x-forwarded-proto") {
            Some(scheme) => scheme.eq_ignore_ascii_case("https"),
            None => request.app_config().secure(),
        }
    }

    /// The host and port under which the caller sees this server.
    pub(super) fn host(&self, request: &HttpRequest) -> String {
        let header = || {
            let value = request.headers().get(header::HOST)?;
            value.to_str().ok().map(ToOwned::to_owned)
        };
        self.stated(request, "x-forwarded-host")
            .or_else(header)
            .or_else(|| request.uri().authority().map(ToString::to_string))
            .unwrap_or_else(|| request.app_config().host().to_owned())
    }

    /// What the proxy nearest to this server says, if there is one to be believed.
    fn stated(&self, request: &HttpRequest, name: &str) -> Option<String> {
        let is_proxy = request
            .peer_addr()
            .is_some_and(|peer| self.proxies.contain(peer.ip()));
        let last = is_proxy.then(|| list(request, name).pop()).flatten();
        last.map(ToOwned::to_owned)
    }

    fn admits(&self, door: Door, request: &HttpRequest) -> bool {
        let list = match door {
            Door::Scim => &self.scim,
            Door::Hook => &self.hook,
            Door::Admin => &self.admin,
        };
        list.as_ref().is_none_or(|networks| {
            self.client(request)
                .is_some_and(|address| networks.contain(address))
        })
    }
}

/// The entries of a header that is a list, in one line or in several.
fn list<'r>(request: &'r HttpRequest, name: &str) -> Vec<&'r str> {
    request
        .headers()
        .get_all(name)
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect()
}

/// Middleware of the SCIM server and the token endpoint.
pub(super) async fn scim_door(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    pass(Door::Scim, request, next).await
}

/// Middleware of the login hook.
pub(super) async fn hook_door(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    pass(Door::Hook, request, next).await
}

/// Middleware of pages and admin API.
pub(super) async fn admin_door(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    pass(Door::Admin, request, next).await
}

async fn pass(
    door: Door,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let open = request
        .app_data::<web::Data<State>>()
        .is_some_and(|state| state.doors.admits(door, request.request()));
    if open {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let answer = closed(door, request.path());
    Ok(request.into_response(answer))
}

fn closed(door: Door, path: &str) -> HttpResponse {
    const WORDS: &str = "this address is not on the list of those that may come in here";
    match door {
        Door::Scim if path.starts_with("/scim/") => {
            Failure::from(scim::Error::forbidden(WORDS)).error_response()
        }
        Door::Scim | Door::Hook => HttpResponse::Forbidden().json(json!({"error": WORDS})),
        Door::Admin if path.starts_with("/api/") => Problem::new(403, WORDS).answer(),
        Door::Admin => super::ui::refused(&Problem::new(403, WORDS)),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn doors() -> Doors {
        Doors {
            proxies: "10.0.0.0/8".parse().unwrap(),
            ..Doors::default()
        }
    }

    fn from(peer: &str, headers: &[(&str, &str)]) -> HttpRequest {
        let mut request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        request.to_http_request()
    }

    fn client(peer: &str, forwarded: &[&str]) -> Option<String> {
        let headers: Vec<_> = forwarded.iter().map(|v| ("x-forwarded-for", *v)).collect();
        let address = doors().client(&from(peer, &headers));
        address.map(|address| address.to_string())
    }

    #[test]
    fn only_a_listed_proxy_is_believed_about_the_caller() {
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), is("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), is("203.0.113.9"));
        assert_eq!(client("10.0.0.1", &[]), is("10.0.0.1"));
        // What the caller sent itself stands before what the proxy added.
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 203.0.113.9"]),
            is("203.0.113.9")
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"]),
            is("203.0.113.9")
        );
        assert_eq!(client("10.0.0.1", &["x, 203.0.113.9"]), is("203.0.113.9"));
        assert_eq!(client("10.0.0.1", &["203.0.113.9, x"]), None);
    }

    #[test]
    fn only_a_listed_proxy_is_believed_about_the_address_of_this_server() {
        let headers = [
            ("host", "usher:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "scim.example.com"),
        ];
        let (near, far) = (from("10.0.0.1", &headers), from("192.0.2.1", &headers));
        assert!(doors().is_https(&near) && !doors().is_https(&far));
        assert_eq!(doors().host(&near), "scim.example.com");
        assert_eq!(doors().host(&far), "usher:8080");
    }

    #[test]
    fn a_door_with_a_list_is_open_to_those_on_it() {
        let doors = Doors {
            scim: Some("203.0.113.0/24".parse().unwrap()),
            ..doors()
        };
        let behind = [("x-forwarded-for", "203.0.113.9")];
        assert!(doors.admits(Door::Scim, &from("10.0.0.1", &behind)));
        assert!(!doors.admits(Door::Scim, &from("192.0.2.1", &behind)));
        assert!(!doors.admits(Door::Scim, &from("10.0.0.1", &[])));
        assert!(doors.admits(Door::Hook, &from("192.0.2.1", &behind)));
    }
}
