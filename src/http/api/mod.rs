//! `/api/v1`: what the pages do, for programs. One table names every endpoint, who may use it and what it
//! takes and gives; the OpenAPI document is made of it.

mod accounts;
mod alerts;
mod configuration;
mod connections;
mod document;
mod drift;
mod groups;
mod held;
mod input;
mod people;
mod plan;
mod runs;
mod status;
mod targets;
mod trail;
mod undo;

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
        "/api/v1/drift",
        READ,
        "drift",
        "drift",
        "Accounts that somebody changed at a target by hand",
    )
    .query(of::<drift::Turn>)
    .gives(200, of::<Page<drift::Item>>),
    endpoint(
        "POST",
        "/api/v1/drift/push",
        OPERATE,
        "drift",
        "pushDrift",
        "Make accounts again what the source and the rules want",
    )
    .body(of::<drift::Choice>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "POST",
        "/api/v1/drift/accept",
        OPERATE,
        "drift",
        "acceptDrift",
        "Leave accounts as they are until the source says something new",
    )
    .body(of::<drift::Choice>)
    .gives(200, of::<Count>)
    .refuses(&[404]),
    endpoint(
        "POST",
        "/api/v1/undo",
        OPERATE,
        "undo",
        "undo",
        "Give back what was taken away: without `confirm` only what that would be",
    )
    .body(of::<undo::Asked>)
    .gives(200, of::<undo::Undo>)
    .refuses(&[404, 409]),
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
        "/api/v1/alerts",
        READ,
        "configuration",
        "alerts",
        "Of what administrators are told, and how",
    )
    .gives(200, of::<alerts::Alerts>),
    endpoint(
        "PUT",
        "/api/v1/alerts",
        ADMINISTER,
        "configuration",
        "putAlerts",
        "Change of what administrators are told, and how",
    )
    .body(of::<alerts::Wish>)
    .gives(200, of::<configuration::Outcome>)
    .refuses(&[409, 422]),
    endpoint(
        "POST",
        "/api/v1/alerts/test",
        ADMINISTER,
        "configuration",
        "testAlerts",
        "Send a test message through every channel",
    )
    .gives(200, of::<Vec<alerts::Tested>>),
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
        "POST",
        "/api/v1/people/{id}/pause",
        OPERATE,
        "people",
        "pausePerson",
        "Stop what is written for one person, at every target",
    )
    .body(of::<people::Reason>),
    endpoint(
        "POST",
        "/api/v1/people/{id}/resume",
        OPERATE,
        "people",
        "resumePerson",
        "Let one person go on, and look at them again now",
    ),
    endpoint(
        "GET",
        "/api/v1/groups",
        READ,
        "people",
        "searchGroups",
        "Groups of the sources by name",
    )
    .query(of::<groups::Search>)
    .gives(200, of::<Page<super::groups::Listed>>),
    endpoint(
        "GET",
        "/api/v1/groups/{id}",
        READ,
        "people",
        "group",
        "One group, its members, and what they are in at each target",
    )
    .query(of::<groups::Members>)
    .gives(200, of::<super::groups::Whole>),
    endpoint(
        "GET",
        "/api/v1/connections",
        READ,
        "connections",
        "connections",
        "Connections, without their secrets",
    )
    .gives(200, of::<Vec<connections::Connection>>),
    endpoint(
        "PUT",
        "/api/v1/connections/{name}",
        ADMINISTER,
        "connections",
        "putConnection",
        "Make or change a connection",
    )
    .body(of::<connections::Wish>)
    .gives(200, of::<configuration::Outcome>)
    .refuses(&[409, 422]),
    endpoint(
        "POST",
        "/api/v1/connections/{name}/check",
        OPERATE,
        "connections",
        "checkConnection",
        "Try whether a domain can be read",
    )
    .gives(200, of::<connections::Checked>),
    endpoint(
        "GET",
        "/api/v1/connections/{name}/credentials",
        READ,
        "connections",
        "credentials",
        "Inbound credentials of a connection, without their secrets",
    )
    .gives(200, of::<Vec<connections::Credential>>),
    endpoint(
        "POST",
        "/api/v1/connections/{name}/credentials",
        ADMINISTER,
        "connections",
        "createCredential",
        "Make an inbound credential; its secret is shown once",
    )
    .body(of::<connections::NewCredential>)
    .gives(201, of::<connections::MadeCredential>)
    .refuses(&[422]),
    endpoint(
        "POST",
        "/api/v1/credentials/{id}/rotate",
        ADMINISTER,
        "connections",
        "rotateCredential",
        "Make a credential to take the place of another, which is taken for some days still",
    )
    .body(of::<connections::Rotate>)
    .gives(201, of::<connections::MadeCredential>),
    endpoint(
        "DELETE",
        "/api/v1/credentials/{id}",
        ADMINISTER,
        "connections",
        "revokeCredential",
        "End an inbound credential",
    ),
    endpoint(
        "GET",
        "/api/v1/targets",
        READ,
        "targets",
        "targets",
        "Targets, without their secrets",
    )
    .gives(200, of::<Vec<targets::Target>>),
    endpoint(
        "PUT",
        "/api/v1/targets/{name}",
        ADMINISTER,
        "targets",
        "putTarget",
        "Make or change a target",
    )
    .body(of::<targets::Wish>)
    .gives(200, of::<configuration::Outcome>)
    .refuses(&[409, 422]),
    endpoint(
        "POST",
        "/api/v1/targets/{name}/check",
        OPERATE,
        "targets",
        "checkTarget",
        "Try whether a target can be used",
    )
    .gives(200, of::<targets::Checked>),
    endpoint(
        "POST",
        "/api/v1/plan",
        READ,
        "status",
        "plan",
        "What would be done for whom, without doing it",
    )
    .body(of::<plan::Wish>)
    .gives(200, of::<plan::Plan>)
    .refuses(&[404, 422]),
    endpoint(
        "GET",
        "/api/v1/runs",
        READ,
        "runs",
        "runs",
        "Readings of domains, the newest first",
    )
    .query(of::<runs::Search>)
    .gives(200, of::<Page<runs::Run>>),
    endpoint(
        "GET",
        "/api/v1/runs/{id}",
        READ,
        "runs",
        "run",
        "One reading of a domain, and how far it is",
    )
    .gives(200, of::<runs::Run>),
    endpoint(
        "GET",
        "/api/v1/runs/{id}/results",
        READ,
        "runs",
        "runResults",
        "What a reading changed, a line for each user or group",
    )
    .query(of::<runs::Lines>)
    .gives(200, of::<Page<runs::Line>>),
    endpoint(
        "POST",
        "/api/v1/connections/{name}/sync",
        OPERATE,
        "runs",
        "synchronize",
        "Read the domain of a connection now",
    )
    .body(of::<runs::Begin>)
    .gives(202, of::<runs::Begun>)
    .refuses(&[409, 422]),
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
        .route("/drift", web::get().to(drift::list))
        .route("/drift/push", web::post().to(drift::push))
        .route("/drift/accept", web::post().to(drift::accept))
        .route("/undo", web::post().to(undo::undo))
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
        .route("/people/{id}/pause", web::post().to(people::pause))
        .route("/people/{id}/resume", web::post().to(people::resume))
        .route("/groups", web::get().to(groups::search))
        .route("/groups/{id}", web::get().to(groups::get))
        .route("/connections", web::get().to(connections::list))
        .route("/connections/{name}", web::put().to(connections::put))
        .route(
            "/connections/{name}/check",
            web::post().to(connections::check),
        )
        .route(
            "/connections/{name}/credentials",
            web::get().to(connections::credentials),
        )
        .route(
            "/connections/{name}/credentials",
            web::post().to(connections::create),
        )
        .route(
            "/credentials/{id}/rotate",
            web::post().to(connections::rotate),
        )
        .route("/credentials/{id}", web::delete().to(connections::revoke))
        .route("/alerts", web::get().to(alerts::show))
        .route("/alerts", web::put().to(alerts::put))
        .route("/alerts/test", web::post().to(alerts::test))
        .route("/targets", web::get().to(targets::list))
        .route("/targets/{name}", web::put().to(targets::put))
        .route("/targets/{name}/check", web::post().to(targets::check))
        .route("/plan", web::post().to(plan::plan))
        .route("/runs", web::get().to(runs::list))
        .route("/runs/{id}", web::get().to(runs::get))
        .route("/runs/{id}/results", web::get().to(runs::results))
        .route("/connections/{name}/sync", web::post().to(runs::begin))
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
