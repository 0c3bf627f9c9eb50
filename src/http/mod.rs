//! actix-web: extract, check, call, render. No SQL and no rules live here.

mod error;
mod extract;
mod health;
mod help;
mod oauth;
mod paging;
mod scim;
mod trace;

use actix_web::web;

use crate::auth::{Authenticator, Issuer};
use crate::clock::Clock;
use crate::intake::Intake;
use crate::store::Store;

pub use help::PAGES as HELP_PAGES;
pub use trace::request_span;

/// What handlers need. Cheap to clone.
#[derive(Clone)]
pub struct State {
    /// For reads.
    pub store: Store,
    /// For writes.
    pub intake: Intake,
    /// For callers.
    pub auth: Authenticator,
    /// For time.
    pub clock: Clock,
    /// The address under which identity providers see this server, if it is not the one they send.
    pub public_url: Option<String>,
    /// Where list pages ended.
    hints: paging::Hints,
}

impl State {
    /// State of a server.
    pub fn new(store: Store, intake: Intake, clock: Clock, public_url: Option<String>) -> Self {
        let auth = Authenticator::new(store.clone(), clock.clone());
        Self {
            store,
            intake,
            auth,
            clock,
            public_url,
            hints: paging::Hints::default(),
        }
    }
}

impl State {
    /// The same, with access tokens.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.auth = self.auth.with_issuer(issuer);
        self
    }
}

/// All routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::scope("/scim/v2").configure(scim::routes))
        .service(web::scope("/oauth2/v1").configure(oauth::routes))
        .route("/help", web::get().to(help::index))
        .route("/help/{page}", web::get().to(help::page))
        .route("/healthz", web::get().to(health::live))
        .route("/readyz", web::get().to(health::ready));
}
