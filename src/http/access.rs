//! Who may do what at the seat: one table for pages and API, and the one place that enforces it.
//!
//! A route that is not in the table answers nobody: forgetting an entry closes a door, it never opens one.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use secrecy::SecretString;

use super::State;
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::domain::Role;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever has this role, or one that includes it.
    Needs(Role),
}

/// One route: method, pattern, and who may use it.
pub type Route = (&'static str, &'static str, Access);

/// All routes of the seat.
pub fn routes() -> impl Iterator<Item = Route> {
    let api = super::api::ENDPOINTS
        .iter()
        .map(|e| (e.method, e.path, e.access));
    super::ui::ROUTES.iter().copied().chain(api)
}

/// The cookie of a session. The prefix makes browsers insist on HTTPS, on this host alone and on the whole
/// path (RFC 6265bis section 4.1.3.2); over plain HTTP they would drop such a cookie.
pub(super) fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-usher" } else { "usher" }
}

/// Middleware of pages and API: finds out who asks, and refuses whoever may not.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let pages = !request.path().starts_with("/api/");
    match admit(&request).await {
        Ok(()) => {
            let answer = next.call(request).await?.map_into_boxed_body();
            // A page is for people, also when something is wrong.
            let problem = answer
                .response()
                .error()
                .and_then(Error::as_error::<Problem>);
            Ok(match problem.filter(|_| pages).cloned() {
                Some(problem) => {
                    let (request, _) = answer.into_parts();
                    ServiceResponse::new(request, super::ui::refused(&problem))
                }
                None => answer,
            })
        }
        Err(refusal) => {
            let answer = if pages {
                refusal.page(request.request())
            } else {
                refusal.problem()
            };
            Ok(request.into_response(answer))
        }
    }
}

/// Why a request is refused.
enum Refusal {
    NoSuchRoute,
    NotSignedIn,
    Lacking(Role),
    OtherSite,
    Database,
}

impl Refusal {
    fn page(self, request: &HttpRequest) -> HttpResponse {
        match self {
            Self::NotSignedIn => super::ui::to_sign_in(request),
            other => super::ui::refused(&other.problem_of()),
        }
    }

    fn problem(self) -> HttpResponse {
        self.problem_of().answer()
    }

    fn problem_of(&self) -> Problem {
        match self {
            Self::NoSuchRoute => Problem::new(404, "there is nothing here"),
            Self::NotSignedIn => Problem::new(
                401,
                "sign in first: programs send `Authorization: Bearer` with an API token",
            ),
            Self::Lacking(role) => Problem::new(
                403,
                format!("this needs the role {role}; ask an administrator"),
            ),
            Self::OtherSite => Problem::new(
                403,
                "the browser says that another site sent this request; open the page here and try again",
            ),
            Self::Database => {
                Problem::new(503, "the database did not answer; try again in a moment")
            }
        }
    }
}

async fn admit(request: &ServiceRequest) -> Result<(), Refusal> {
    // HEAD is GET without its body.
    let method = match *request.method() {
        Method::HEAD => "GET",
        ref other => other.as_str(),
    };
    let pattern = request.match_pattern().ok_or(Refusal::NoSuchRoute)?;
    let access = routes()
        .find(|(m, p, _)| *m == method && *p == pattern)
        .map(|(_, _, access)| access)
        .ok_or(Refusal::NoSuchRoute)?;
    let state = request
        .app_data::<web::Data<State>>()
        .ok_or(Refusal::Database)?;
    let actor = actor_of(request, state).await?;
    let by_cookie = actor.as_ref().is_none_or(|actor| actor.session.is_some());
    if by_cookie && !request.method().is_safe() && !is_same_origin(state, request.request()) {
        return Err(Refusal::OtherSite);
    }
    if let Access::Needs(role) = access {
        let actor = actor.as_ref().ok_or(Refusal::NotSignedIn)?;
        if !actor.role.includes(role) {
            return Err(Refusal::Lacking(role));
        }
    }
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
    }
    Ok(())
}

/// Whoever the request says it comes from, if that is true.
async fn actor_of(request: &ServiceRequest, state: &State) -> Result<Option<Actor>, Refusal> {
    let failed = |error| {
        tracing::error!(%error, "who asks could not be found out");
        Refusal::Database
    };
    if let Some(token) = bearer(request.request()) {
        // Whoever shows a token means it: a wrong one is not made up for by a cookie.
        let actor = state.seat.by_token(&token).await.map_err(failed)?;
        return actor.map(Some).ok_or(Refusal::NotSignedIn);
    }
    match request.cookie(cookie_name(state.is_secure(request.request()))) {
        Some(cookie) => state
            .seat
            .by_cookie(&SecretString::from(cookie.value()))
            .await
            .map_err(failed),
        None => Ok(None),
    }
}

fn bearer(request: &HttpRequest) -> Option<SecretString> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| SecretString::from(token.trim()))
}

/// Whether the browser sent the request from a page of ours. `SameSite=Strict` keeps other sites from sending
/// the cookie at all; this holds also for other ports and for hosts of the same site.
fn is_same_origin(state: &State, request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    if let Some(site) = header("sec-fetch-site") {
        return site == "same-origin";
    }
    // Browsers send Sec-Fetch-Site only over HTTPS and to localhost.
    header("origin").is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host == Some(state.doors.host(request).as_str())
    })
}

impl FromRequest for Actor {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(
            request
                .extensions()
                .get::<Self>()
                .cloned()
                .ok_or_else(|| Problem::new(401, "sign in first")),
        )
    }
}
