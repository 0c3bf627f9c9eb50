//! What a browser keeps while somebody is at a domain: a cookie for the address that answers come to, sent along from
//! another site, unlike the session's, because that is where they come from.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};

use super::super::State;
use super::super::problem::Problem;
use crate::clock::Micros;
use crate::consent::CALLBACK;

/// What it is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum For {
    /// A consent.
    Consent,
    /// A sign-in.
    SignIn,
}

impl For {
    /// The prefix makes browsers insist on HTTPS (RFC 6265bis section 4.1.3.1).
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Consent, true) => "__Secure-usher-consent",
            (Self::Consent, false) => "usher-consent",
            (Self::SignIn, true) => "__Secure-usher-sign-in",
            (Self::SignIn, false) => "usher-sign-in",
        }
    }

    /// What the browser shows.
    pub(super) fn shown(self, state: &State, request: &HttpRequest) -> Option<SecretString> {
        let cookie = request.cookie(self.name(state.is_secure(request)))?;
        Some(SecretString::from(cookie.value()))
    }

    /// Gives it to the browser for so long.
    pub(super) fn keep(
        self,
        state: &State,
        request: &HttpRequest,
        response: &mut HttpResponse,
        value: &SecretString,
        lifetime: Micros,
    ) -> Result<(), Problem> {
        let mut cookie = self.cookie(state, request, value.expose_secret());
        cookie.set_max_age(Duration::microseconds(lifetime));
        add(response, &cookie)
    }

    /// Takes it back, and keeps the address with the answer from everybody else.
    pub(super) fn end(
        self,
        state: &State,
        request: &HttpRequest,
        response: &mut HttpResponse,
    ) -> Result<(), Problem> {
        let mut over = self.cookie(state, request, "");
        over.make_removal();
        add(response, &over)?;
        let headers = response.headers_mut();
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        Ok(())
    }

    fn cookie(self, state: &State, request: &HttpRequest, value: &str) -> Cookie<'static> {
        let secure = state.is_secure(request);
        Cookie::build(self.name(secure), value.to_owned())
            .path(CALLBACK)
            .http_only(true)
            .secure(secure)
            .same_site(SameSite::Lax)
            .finish()
    }
}

/// Hands a cookie to a browser.
pub(super) fn add(response: &mut HttpResponse, cookie: &Cookie<'_>) -> Result<(), Problem> {
    response
        .add_cookie(cookie)
        .map_err(|_| Problem::new(500, "the browser cannot be handed its cookie"))
}
