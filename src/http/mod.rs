//! actix-web: extract, check, call, render. No SQL and no rules live here.

pub mod access;
mod accounts;
mod alerts;
mod api;
mod arrivals;
mod check;
mod credentials;
mod download;
mod drift;
mod edit;
mod error;
mod extract;
mod groups;
mod health;
mod held;
mod help;
mod hook;
mod metrics;
mod oauth;
mod origin;
mod paging;
mod people;
mod problem;
mod pushes;
mod runs;
mod scim;
mod status;
mod trace;
mod trail;
mod ui;
mod undo;

use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, web};

use crate::auth::seat::Seat;
use crate::auth::{Authenticator, Issuer};
use crate::clock::Clock;
use crate::consent::Consents;
use crate::converge::Engine;
use crate::intake::Intake;
use crate::login::Login;
use crate::login::sign_on::SignOn;
use crate::reconcile::Reconciler;
use crate::store::Store;
use crate::vault::Vault;

pub use api::document;
pub use help::PAGES as HELP_PAGES;
pub use origin::Doors;
pub use trace::request_span;

/// What handlers need. Cheap to clone.
#[derive(Clone)]
pub struct State {
    /// For reads.
    pub store: Store,
    /// For writes.
    pub intake: Intake,
    /// For plans.
    pub engine: Engine,
    /// For callers.
    pub auth: Authenticator,
    /// For people and programs at the seat.
    pub seat: Seat,
    /// For time.
    pub clock: Clock,
    /// The address under which identity providers see this server, if it is not the one they send.
    pub public_url: Option<String>,
    /// For logins.
    pub login: Option<Login>,
    /// For secrets that somebody types.
    pub vault: Option<Vault>,
    /// For runs that somebody asks for.
    pub reconciler: Option<Reconciler>,
    /// The latest request of each connection.
    arrivals: arrivals::Arrivals,
    /// Who may come in where.
    pub doors: Doors,
    /// For consents at domains.
    pub consents: Option<Consents>,
    /// For administrators whom domains sign in.
    pub sign_on: Option<SignOn>,
    /// Where list pages ended.
    hints: paging::Hints,
    /// Which connection wrote when.
    pushes: pushes::Pushes,
}

impl State {
    /// State of a server.
    pub fn new(
        store: Store,
        intake: Intake,
        engine: Engine,
        clock: Clock,
        public_url: Option<String>,
    ) -> Self {
        let auth = Authenticator::new(store.clone(), clock.clone());
        let seat = Seat::new(store.clone(), clock.clone());
        Self {
            seat,
            store,
            intake,
            engine,
            auth,
            clock,
            public_url,
            login: None,
            reconciler: None,
            vault: None,
            arrivals: arrivals::Arrivals::default(),
            doors: Doors::default(),
            pushes: pushes::Pushes::default(),
            consents: None,
            sign_on: None,
            hints: paging::Hints::default(),
        }
    }
}

impl State {
    /// The same, with the login hook and access tokens of domains.
    #[must_use]
    pub fn with_login(mut self, login: Login) -> Self {
        self.auth = self.auth.with_domains(std::sync::Arc::new(login.clone()));
        self.login = Some(login);
        self
    }

    /// The same, with what reads domains.
    #[must_use]
    pub fn with_reconciler(mut self, reconciler: Reconciler) -> Self {
        self.reconciler = Some(reconciler);
        self
    }

    /// The same, with what secrets are encrypted with.
    #[must_use]
    pub fn with_vault(mut self, vault: Option<Vault>) -> Self {
        self.vault = vault;
        self
    }

    /// The same, with lists of those who may come in.
    #[must_use]
    pub fn with_doors(mut self, doors: Doors) -> Self {
        self.doors = doors;
        self
    }

    /// The same, with consents.
    #[must_use]
    pub fn with_consents(mut self, consents: Consents) -> Self {
        self.consents = Some(consents);
        self
    }

    /// The same, with domains that sign administrators in.
    #[must_use]
    pub fn with_sign_on(mut self, sign_on: Option<SignOn>) -> Self {
        self.sign_on = sign_on;
        self
    }

    /// The same, with access tokens.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer) -> Self {
        self.auth = self.auth.with_issuer(issuer);
        self
    }

    /// The address under which whoever asks sees this server.
    fn seen_as(&self, request: &HttpRequest) -> String {
        match &self.public_url {
            Some(url) => url.clone(),
            None => {
                let scheme = if self.doors.is_https(request) {
                    "https"
                } else {
                    "http"
                };
                format!("{scheme}://{}", self.doors.host(request))
            }
        }
    }

    /// Whether browsers reach this server over HTTPS.
    fn is_secure(&self, request: &HttpRequest) -> bool {
        match &self.public_url {
            Some(url) => url.starts_with("https://"),
            None => self.doors.is_https(request),
        }
    }
}

/// Text as a value in a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// All routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::scope("/scim/v2")
                .wrap(from_fn(origin::scim_door))
                .configure(scim::routes),
        )
        .service(
            web::scope("/oauth2/v1")
                .wrap(from_fn(origin::scim_door))
                .configure(oauth::routes),
        )
        .service(
            web::scope("/hooks")
                .wrap(from_fn(origin::hook_door))
                .configure(hook::routes),
        )
        .route("/metrics", web::get().to(metrics::show))
        .route("/help", web::get().to(help::index))
        .route("/help/{page}", web::get().to(help::page))
        .route("/healthz", web::get().to(health::live))
        .route("/readyz", web::get().to(health::ready))
        .configure(ui::asset_routes)
        .service(
            web::scope("/api/v1")
                .wrap(from_fn(access::guard))
                .wrap(from_fn(origin::admin_door))
                .configure(api::routes),
        )
        // The last one: it takes whatever nobody else does.
        .service(
            web::scope("")
                .wrap(from_fn(access::guard))
                .wrap(from_fn(origin::admin_door))
                .configure(ui::routes),
        );
}
