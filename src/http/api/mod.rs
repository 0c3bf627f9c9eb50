//! `/api/v1`: what the pages do, for programs. One table names every endpoint, who may use it and what it
//! takes and gives; the OpenAPI document is made of it.

mod accounts;
mod configuration;
mod document;
mod held;
mod input;
mod people;
mod status;
mod trail;

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::document::{Shape, of};
use super::access::Access;
use super::problem::Problem;
use crate::domain::Role;

pub use document::document;

/// What handlers answer.
type Answer<T> = Result<web::Json<T>, Problem>;

const READ: Access = Access::Needs(Role::Auditor);
const OPERATE: Access = Access::Needs(Role::Operator);
const ADMINISTER: Access = Access::Needs(Role::Administrator);

const JSON: &str = "application/json";
/// As the audit names the way that an act came in.
const THROUGH: &str = "API";

/// An endpoint, as the document describes it.
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) access: Access,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    query: Option<Shape>,
    body: Option<(&'static str, Shape)>,
    answer: (u16, Option<(&'static str, Shape)>),
    /// Statuses of refusals beyond those that its shape implies.
    refusals: &'static [u16],
}

const fn endpoint(
    method: &'static str,
    path: &'static str,
    access: Access,
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
) -> Endpoint {
    Endpoint {
        method,
        path,
        access,
        id,
        tag,
        summary,
        query: None,
        body: None,
        answer: (204, None),
        refusals: &[],
    }
}

impl Endpoint {
    const fn query(mut self, shape: Shape) -> Self {
        self.query = Some(shape);
        self
    }

    const fn body(mut self, shape: Shape) -> Self {
        self.body = Some((JSON, shape));
        self
    }

    const fn gives(mut self, status: u16, shape: Shape) -> Self {
        self.answer = (status, Some((JSON, shape)));
        self
    }

    const fn refuses(mut self, statuses: &'static [u16]) -> Self {
        self.refusals = statuses;
        self
    }
}

/// The endpoints.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    endpoint(
        "GET",
        "/api/v1/openapi.json",
        Access::Public,
        "meta",
        "openapi",
        "This document",
    )
    .gives(200, of::<serde_json::Value>),
    endpoint(
        "GET",
        "/api/v1/status",
        READ,
        "status",
        "status",
        "How each target stands",
    )
    .gives(200, of::<status::Status>),
    endpoint(
        "POST",
        "/api/v1/retry",
        OPERATE,
        "status",
        "retry",
        "Try refused and held work again",
    )
    .body(of::<status::Retry>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "POST",
        "/api/v1/pause",
        OPERATE,
        "status",
        "pause",
        "Stop one target or all: nothing is written",
    )
    .body(of::<status::Pause>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "POST",
        "/api/v1/resume",
        OPERATE,
        "status",
        "resume",
        "Let one target or all go on",
    )
    .body(of::<status::Retry>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "GET",
        "/api/v1/failed",
        READ,
        "status",
        "failed",
        "What products refused, grouped by their words",
    )
    .gives(200, of::<Vec<status::Failed>>),
    endpoint(
        "GET",
        "/api/v1/held",
        READ,
        "held",
        "held",
        "What waits for a person",
    )
    .query(of::<held::Turn>)
    .gives(200, of::<held::Held>),
    endpoint(
        "POST",
        "/api/v1/held/release",
        OPERATE,
        "held",
        "releaseHeld",
        "Have held removals done",
    )
    .body(of::<held::Choice>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "POST",
        "/api/v1/held/discard",
        OPERATE,
        "held",
        "discardHeld",
        "Leave held removals undone",
    )
    .body(of::<held::Choice>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "GET",
        "/api/v1/configuration",
        READ,
        "configuration",
        "configuration",
        "The configuration, as `usher apply` takes it",
    )
    .gives(200, of::<configuration::Text>),
    endpoint(
        "PUT",
        "/api/v1/configuration",
        ADMINISTER,
        "configuration",
        "applyConfiguration",
        "Store a configuration; with `dry_run` only say what that would be",
    )
    .body(of::<configuration::Apply>)
    .gives(200, of::<configuration::Outcome>)
    .refuses(&[422]),
    endpoint(
        "GET",
        "/api/v1/configuration/versions",
        READ,
        "configuration",
        "configurationVersions",
        "Former versions, the newest first",
    )
    .gives(200, of::<Vec<configuration::Version>>),
    endpoint(
        "GET",
        "/api/v1/configuration/versions/{version}",
        READ,
        "configuration",
        "configurationVersion",
        "A former version",
    )
    .gives(200, of::<configuration::Text>),
    endpoint(
        "POST",
        "/api/v1/configuration/versions/{version}/rollback",
        ADMINISTER,
        "configuration",
        "rollBackConfiguration",
        "Make the configuration again what a version says",
    )
    .gives(200, of::<configuration::Outcome>)
    .refuses(&[422]),
    endpoint(
        "GET",
        "/api/v1/people",
        READ,
        "people",
        "searchPeople",
        "People by name or e-mail address",
    )
    .query(of::<people::Search>)
    .gives(200, of::<Page<people::Person>>),
    endpoint(
        "GET",
        "/api/v1/people/{id}",
        READ,
        "people",
        "explainPerson",
        "One person across every target, and why",
    )
    .gives(200, of::<crate::converge::Explanation>),
    endpoint(
        "POST",
        "/api/v1/people/{id}/retry",
        OPERATE,
        "people",
        "synchronizePerson",
        "Look at one person again now",
    ),
    endpoint(
        "GET",
        "/api/v1/audit",
        READ,
        "audit",
        "audit",
        "What was done, the newest first",
    )
    .query(of::<trail::Search>)
    .gives(200, of::<Page<trail::Row>>),
    endpoint(
        "GET",
        "/api/v1/events",
        READ,
        "audit",
        "events",
        "What happened since a cursor, the oldest first: poll with the `next` of the answer before",
    )
    .query(of::<trail::Since>)
    .gives(200, of::<trail::Events>),
    endpoint(
        "GET",
        "/api/v1/administrators",
        ADMINISTER,
        "administrators",
        "administrators",
        "Who may use the seat",
    )
    .gives(200, of::<Vec<accounts::Administrator>>),
    endpoint(
        "POST",
        "/api/v1/administrators",
        ADMINISTER,
        "administrators",
        "createAdministrator",
        "Make somebody",
    )
    .body(of::<accounts::NewAdministrator>)
    .gives(201, of::<accounts::Administrator>)
    .refuses(&[409]),
    endpoint(
        "PATCH",
        "/api/v1/administrators/{name}",
        ADMINISTER,
        "administrators",
        "changeAdministrator",
        "Change role or password, disable, enable",
    )
    .body(of::<accounts::ChangeAdministrator>)
    .gives(200, of::<accounts::Administrator>)
    .refuses(&[409]),
    endpoint(
        "DELETE",
        "/api/v1/administrators/{name}",
        ADMINISTER,
        "administrators",
        "removeAdministrator",
        "Remove somebody",
    )
    .refuses(&[409]),
    endpoint(
        "GET",
        "/api/v1/tokens",
        ADMINISTER,
        "administrators",
        "apiTokens",
        "API tokens, without their secrets",
    )
    .gives(200, of::<Vec<accounts::Token>>),
    endpoint(
        "POST",
        "/api/v1/tokens",
        ADMINISTER,
        "administrators",
        "createApiToken",
        "Make an API token; its secret is shown once",
    )
    .body(of::<accounts::NewToken>)
    .gives(201, of::<accounts::MadeToken>),
    endpoint(
        "DELETE",
        "/api/v1/tokens/{id}",
        ADMINISTER,
        "administrators",
        "revokeApiToken",
        "End an API token",
    ),
];

/// The routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(input::json())
        .app_data(input::query())
        .route("/openapi.json", web::get().to(openapi))
        .route("/status", web::get().to(status::status))
        .route("/retry", web::post().to(status::retry))
        .route("/pause", web::post().to(status::pause))
        .route("/resume", web::post().to(status::resume))
        .route("/failed", web::get().to(status::failed))
        .route("/held", web::get().to(held::held))
        .route("/held/release", web::post().to(held::release))
        .route("/held/discard", web::post().to(held::discard))
        .route("/configuration", web::get().to(configuration::text))
        .route("/configuration", web::put().to(configuration::apply))
        .route(
            "/configuration/versions",
            web::get().to(configuration::versions),
        )
        .route(
            "/configuration/versions/{version}",
            web::get().to(configuration::version),
        )
        .route(
            "/configuration/versions/{version}/rollback",
            web::post().to(configuration::roll_back),
        )
        .route("/people", web::get().to(people::search))
        .route("/people/{id}", web::get().to(people::explain))
        .route("/people/{id}/retry", web::post().to(people::retry))
        .route("/audit", web::get().to(trail::audit))
        .route("/events", web::get().to(trail::events))
        .route("/administrators", web::get().to(accounts::administrators))
        .route("/administrators", web::post().to(accounts::create))
        .route("/administrators/{name}", web::patch().to(accounts::change))
        .route("/administrators/{name}", web::delete().to(accounts::remove))
        .route("/tokens", web::get().to(accounts::tokens))
        .route("/tokens", web::post().to(accounts::create_token))
        .route("/tokens/{id}", web::delete().to(accounts::revoke_token));
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Page<T> {
    /// What is on it.
    items: Vec<T>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How many were changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Count {
    /// How many.
    count: usize,
}

/// How many a page holds: 1 to 500, 100 unless said otherwise.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct Limit(u16);

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "integer", "minimum": 1, "maximum": 500, "default": 100})
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u16> for Limit {
    type Error = &'static str;

    fn try_from(n: u16) -> Result<Self, Self::Error> {
        if (1..=500).contains(&n) {
            Ok(Self(n))
        } else {
            Err("limit should be 1 to 500")
        }
    }
}

impl Limit {
    fn get(self) -> usize {
        usize::from(self.0)
    }
}
