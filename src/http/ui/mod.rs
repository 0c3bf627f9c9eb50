//! The pages: rendered by the server, usable without script, by keyboard, on a phone.
//!
//! No inline script or style, nothing from other hosts: the content-security policy allows neither.

mod alert_form;
mod assets;
mod audit;
mod configuration;
mod connections;
mod consent;
mod dashboard;
mod drift;
mod failed;
mod form;
mod groups;
mod held;
mod kept;
mod mapping;
mod people;
mod runs;
mod settings;
mod sign_in;
mod start;
mod targets;
mod undo;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::access::{Access, Route};
use super::problem::Problem;
use crate::auth::seat::Actor;
use crate::clock::{Micros, rfc3339};
use crate::domain::Role;

const READ: Access = Access::Needs(Role::Auditor);
const OPERATE: Access = Access::Needs(Role::Operator);
const ADMINISTER: Access = Access::Needs(Role::Administrator);

/// The pages and who may use them.
pub(super) const ROUTES: &[Route] = &[
    ("GET", "/", READ),
    ("GET", "/sign-in", Access::Public),
    ("POST", "/sign-in", Access::Public),
    ("GET", "/sign-in/domain", Access::Public),
    ("POST", "/sign-out", READ),
    ("GET", "/setup", Access::Public),
    ("POST", "/setup", Access::Public),
    ("GET", "/people", READ),
    ("GET", "/people/{id}", READ),
    ("POST", "/people/{id}/retry", OPERATE),
    ("POST", "/people/{id}/pause", OPERATE),
    ("POST", "/people/{id}/resume", OPERATE),
    ("GET", "/audit", READ),
    ("GET", "/held", READ),
    ("POST", "/held/release", OPERATE),
    ("POST", "/held/discard", OPERATE),
    ("GET", "/drift", READ),
    ("POST", "/drift/push", OPERATE),
    ("POST", "/drift/accept", OPERATE),
    ("GET", "/undo", READ),
    ("POST", "/undo", OPERATE),
    ("GET", "/failed", READ),
    ("POST", "/failed/retry", OPERATE),
    ("POST", "/pause", OPERATE),
    ("POST", "/resume", OPERATE),
    ("GET", "/runs", READ),
    ("GET", "/runs/{id}", READ),
    ("GET", "/runs/{id}/results.csv", READ),
    ("GET", "/runs/{id}/results.json", READ),
    ("GET", "/start", ADMINISTER),
    ("POST", "/start/check", ADMINISTER),
    ("POST", "/start/token", ADMINISTER),
    ("POST", "/start/mapping", ADMINISTER),
    ("POST", "/start/matches", ADMINISTER),
    ("POST", "/start/pilots", ADMINISTER),
    ("POST", "/start/live", ADMINISTER),
    ("GET", "/groups", READ),
    ("GET", "/groups/{id}", READ),
    ("GET", "/connections", READ),
    ("POST", "/connections", ADMINISTER),
    ("GET", "/connections/new", ADMINISTER),
    ("GET", "/connections/{name}", READ),
    ("POST", "/connections/{name}/check", OPERATE),
    ("POST", "/connections/{name}/sync", OPERATE),
    ("POST", "/connections/{name}/credentials", ADMINISTER),
    ("POST", "/connections/{name}/credentials/rotate", ADMINISTER),
    ("POST", "/connections/{name}/credentials/revoke", ADMINISTER),
    ("GET", "/targets", READ),
    ("POST", "/targets", ADMINISTER),
    ("GET", "/targets/new", ADMINISTER),
    ("GET", "/targets/{name}", READ),
    ("POST", "/targets/{name}/check", OPERATE),
    ("GET", "/mappings/{connection}/{target}", READ),
    ("POST", "/mappings/{connection}/{target}", ADMINISTER),
    (
        "POST",
        "/mappings/{connection}/{target}/preview",
        ADMINISTER,
    ),
    ("POST", "/mappings/{connection}/{target}/try", ADMINISTER),
    ("GET", "/configuration", READ),
    ("POST", "/configuration", ADMINISTER),
    ("POST", "/configuration/try", ADMINISTER),
    ("GET", "/configuration/versions/{version}", READ),
    (
        "POST",
        "/configuration/versions/{version}/rollback",
        ADMINISTER,
    ),
    ("GET", "/oauth/authorize", ADMINISTER),
    ("GET", "/oauth/callback", Access::Public),
    ("GET", "/settings", ADMINISTER),
    ("POST", "/settings/administrators", ADMINISTER),
    ("POST", "/settings/administrators/change", ADMINISTER),
    ("POST", "/settings/tokens", ADMINISTER),
    ("POST", "/settings/tokens/revoke", ADMINISTER),
    ("POST", "/settings/sessions/end", ADMINISTER),
    ("POST", "/settings/alerts", ADMINISTER),
    ("POST", "/settings/alerts/test", ADMINISTER),
];

/// The pages that lead from every page.
const PLACES: &[(&str, &str)] = &[
    ("/", "Dashboard"),
    ("/people", "People"),
    ("/groups", "Groups"),
    ("/held", "Held"),
    ("/failed", "Failed"),
    ("/drift", "Drift"),
    ("/runs", "Runs"),
    ("/audit", "Audit"),
    ("/connections", "Connections"),
    ("/targets", "Targets"),
    ("/configuration", "Configuration"),
    ("/settings", "Settings"),
];

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(dashboard::show))
        .route("/sign-in", web::get().to(sign_in::form))
        .route("/sign-in", web::post().to(sign_in::sign_in))
        .route("/sign-in/domain", web::get().to(sign_in::with_domain))
        .route("/sign-out", web::post().to(sign_in::sign_out))
        .route("/setup", web::get().to(sign_in::setup_form))
        .route("/setup", web::post().to(sign_in::set_up))
        .route("/people", web::get().to(people::list))
        .route("/people/{id}", web::get().to(people::show))
        .route("/people/{id}/retry", web::post().to(people::retry))
        .route("/people/{id}/pause", web::post().to(people::pause))
        .route("/people/{id}/resume", web::post().to(people::resume))
        .route("/audit", web::get().to(audit::list))
        .route("/held", web::get().to(held::show))
        .route("/held/release", web::post().to(held::release))
        .route("/held/discard", web::post().to(held::discard))
        .route("/drift", web::get().to(drift::show))
        .route("/drift/push", web::post().to(drift::push))
        .route("/drift/accept", web::post().to(drift::accept))
        .route("/undo", web::get().to(undo::show))
        .route("/undo", web::post().to(undo::begin))
        .route("/failed", web::get().to(failed::show))
        .route("/failed/retry", web::post().to(failed::try_again))
        .route("/pause", web::post().to(dashboard::pause))
        .route("/resume", web::post().to(dashboard::resume))
        .route("/runs", web::get().to(runs::list))
        .route("/runs/{id}", web::get().to(runs::show))
        .route("/runs/{id}/results.csv", web::get().to(runs::csv))
        .route("/runs/{id}/results.json", web::get().to(runs::json))
        .route("/start", web::get().to(start::show))
        .route("/start/check", web::post().to(start::test))
        .route("/start/token", web::post().to(start::token))
        .route("/start/mapping", web::post().to(start::mapping))
        .route("/start/matches", web::post().to(start::matches))
        .route("/start/pilots", web::post().to(start::pilots))
        .route("/start/live", web::post().to(start::live))
        .route("/groups", web::get().to(groups::list))
        .route("/groups/{id}", web::get().to(groups::show))
        .route("/connections", web::get().to(connections::list))
        .route("/connections", web::post().to(connections::save))
        .route("/connections/new", web::get().to(connections::new))
        .route("/connections/{name}", web::get().to(connections::show))
        .route(
            "/connections/{name}/check",
            web::post().to(connections::check),
        )
        .route("/connections/{name}/sync", web::post().to(runs::begin))
        .route(
            "/connections/{name}/credentials",
            web::post().to(connections::create),
        )
        .route(
            "/connections/{name}/credentials/rotate",
            web::post().to(connections::rotate),
        )
        .route(
            "/connections/{name}/credentials/revoke",
            web::post().to(connections::revoke),
        )
        .route("/targets", web::get().to(targets::list))
        .route("/targets", web::post().to(targets::save))
        .route("/targets/new", web::get().to(targets::new))
        .route("/targets/{name}", web::get().to(targets::show))
        .route("/targets/{name}/check", web::post().to(targets::test))
        .route(
            "/mappings/{connection}/{target}",
            web::get().to(mapping::show),
        )
        .route(
            "/mappings/{connection}/{target}",
            web::post().to(mapping::save),
        )
        .route(
            "/mappings/{connection}/{target}/preview",
            web::post().to(mapping::preview),
        )
        .route(
            "/mappings/{connection}/{target}/try",
            web::post().to(mapping::try_out),
        )
        .route("/configuration", web::get().to(configuration::show))
        .route("/configuration", web::post().to(configuration::save))
        .route("/configuration/try", web::post().to(configuration::try_out))
        .route(
            "/configuration/versions/{version}",
            web::get().to(configuration::version),
        )
        .route(
            "/configuration/versions/{version}/rollback",
            web::post().to(configuration::roll_back),
        )
        .route("/oauth/authorize", web::get().to(consent::begin))
        .route(crate::consent::CALLBACK, web::get().to(consent::end))
        .route("/settings", web::get().to(settings::show))
        .route("/settings/administrators", web::post().to(settings::create))
        .route(
            "/settings/administrators/change",
            web::post().to(settings::change),
        )
        .route("/settings/tokens", web::post().to(settings::create_token))
        .route(
            "/settings/tokens/revoke",
            web::post().to(settings::revoke_token),
        )
        .route(
            "/settings/sessions/end",
            web::post().to(settings::end_session),
        )
        .route("/settings/alerts", web::post().to(settings::save_alerts))
        .route(
            "/settings/alerts/test",
            web::post().to(settings::test_alerts),
        );
}

/// The files that pages load; anybody may.
pub(super) fn asset_routes(config: &mut web::ServiceConfig) {
    config.route("/assets/{name}", web::get().to(assets::serve));
}

/// What every page has around its content.
pub(super) struct Frame {
    pub(super) title: String,
    /// Who is signed in.
    pub(super) actor: Option<Actor>,
    /// The address of the page in the menu that this one belongs to.
    pub(super) place: &'static str,
    pub(super) narrow: bool,
    pub(super) notice: Option<Notice>,
}

/// Something to say at the top of a page.
pub(super) struct Notice {
    /// `good`, `warn` or `bad`.
    pub(super) tone: &'static str,
    pub(super) text: String,
}

/// An entry of the menu.
struct Place {
    address: &'static str,
    name: &'static str,
    here: bool,
}

impl Frame {
    /// For a page below `place` of the menu.
    pub(super) fn new(title: impl Into<String>, place: &'static str, actor: Actor) -> Self {
        Self {
            title: title.into(),
            actor: Some(actor),
            place,
            narrow: false,
            notice: None,
        }
    }

    /// For a page that nobody is signed in to.
    fn outside(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            actor: None,
            place: "",
            narrow: true,
            notice: None,
        }
    }

    fn saying(self, tone: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            notice: Some(Notice { tone, text }),
            ..self
        }
    }

    fn places(&self) -> Vec<Place> {
        if self.actor.is_none() {
            return Vec::new();
        }
        PLACES
            .iter()
            .map(|&(address, name)| Place {
                address,
                name,
                here: address == self.place,
            })
            .collect()
    }

    /// Whether whoever is signed in may stop and start things.
    fn may_operate(&self) -> bool {
        let actor = self.actor.as_ref();
        actor.is_some_and(|actor| actor.role.includes(Role::Operator))
    }

    fn style(&self) -> String {
        assets::address("style.css")
    }

    fn script(&self) -> String {
        assets::address("app.js")
    }
}

/// An instant as pages show it, in UTC.
pub(super) fn when(at: Micros) -> String {
    shortened(&rfc3339(at))
}

/// An instant in RFC 3339 as pages show it: people need neither milliseconds nor the letters.
pub(super) fn shortened(at: &str) -> String {
    at.get(..19).unwrap_or(at).replacen('T', " ", 1)
}

/// A page as an answer.
pub(super) fn html(status: u16, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(text) => html_text(status, text),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            HttpResponse::InternalServerError()
                .content_type(ContentType::plaintext())
                .body("This page cannot be shown; the server's log says why.")
        }
    }
}

fn html_text(status: u16, text: String) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status)
        .content_type(ContentType::html())
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        // Names and addresses of people are on these pages.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// Sends a browser to another page (after a form was taken).
pub(super) fn see_other(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, address))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// Where a form leads that was taken: where it says, if that is here, or where it usually does.
fn after(fields: &form::Fields, usually: &str) -> String {
    match fields.get("next") {
        "" => usually.to_owned(),
        next => sign_in::local(next).to_owned(),
    }
}

/// Whoever is not signed in signs in first, and comes back.
pub(super) fn to_sign_in(request: &HttpRequest) -> HttpResponse {
    let next = if request.method().is_safe() {
        request
            .uri()
            .path_and_query()
            .map_or("/", |address| address.as_str())
    } else {
        "/"
    };
    see_other(&format!("/sign-in?next={}", crate::http::encoded(next)))
}

/// Somebody may not see this page.
pub(super) fn refused(problem: &Problem) -> HttpResponse {
    #[derive(Template)]
    #[template(path = "refused.html", config = "src/http/ui/askama.toml")]
    struct Refused<'a> {
        frame: Frame,
        detail: &'a str,
    }
    let page = Refused {
        frame: Frame::outside(&problem.title),
        detail: &problem.detail,
    };
    html(problem.status, &page)
}
