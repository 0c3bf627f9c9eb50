//! Runs, and the order for one.

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::runs::{self as shared, Named, Progress};
use super::{Answer, Limit, Page, Problem, THROUGH};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::reconcile::Counts;
use crate::store::runs as stored;

/// Which runs.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Search {
    /// Name of a connection.
    #[serde(default)]
    connection: String,
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// One reading of a domain.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Run {
    /// Identifier.
    id: String,
    /// Name of the connection.
    connection: String,
    /// `full`, `incremental` or `user`.
    kind: String,
    /// What set it off.
    cause: String,
    /// `running`, `done`, `void` (nothing was removed) or `failed`.
    state: String,
    /// When it began.
    started_at: String,
    /// When it ended.
    ended_at: Option<String>,
    /// Why it is void or failed.
    message: Option<String>,
    /// What it did.
    counts: Counts,
    /// How far it is, while it is under way.
    progress: Option<Progress>,
}

impl From<Named> for Run {
    fn from(named: Named) -> Self {
        let (counts, progress) = (named.counts(), named.progress());
        let Named { run, connection } = named;
        Self {
            id: run.id,
            connection,
            kind: run.kind,
            cause: run.cause,
            state: run.state,
            started_at: rfc3339(run.started_at),
            ended_at: run.ended_at.map(rfc3339),
            message: run.message,
            counts,
            progress,
        }
    }
}

/// `GET /api/v1/runs`
pub(super) async fn list(state: web::Data<State>, query: web::Query<Search>) -> Answer<Page<Run>> {
    let Search {
        connection,
        cursor,
        limit,
    } = query.into_inner();
    let found = shared::list(&state, connection, cursor, limit.get()).await?;
    Ok(web::Json(Page {
        items: found.runs.into_iter().map(Run::from).collect(),
        next: found.next,
    }))
}

/// `GET /api/v1/runs/{id}`
pub(super) async fn get(state: web::Data<State>, id: web::Path<String>) -> Answer<Run> {
    let run = shared::get(&state, id.into_inner()).await?;
    Ok(web::Json(run.into()))
}

/// Which lines of a run.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Lines {
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// What a run changed about one user or group.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Line {
    /// Its name.
    subject: String,
    /// SCIM id.
    subject_id: Option<String>,
    /// `created`, `changed`, `removed`, `granted`, `not granted`, `left alone`, `refused`.
    change: String,
    /// What exactly.
    detail: String,
    /// Whether a push should have brought it.
    missed_push: bool,
}

/// `GET /api/v1/runs/{id}/results`
pub(super) async fn results(
    state: web::Data<State>,
    id: web::Path<String>,
    query: web::Query<Lines>,
) -> Answer<Page<Line>> {
    let Lines { cursor, limit } = query.into_inner();
    let (run, limit) = (
        shared::get(&state, id.into_inner()).await?.run.id,
        limit.get(),
    );
    let mut lines = state
        .store
        // One more tells whether there is a next page.
        .read(move |conn| stored::results_after(conn, &run, &cursor, limit as i64 + 1))
        .await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    Ok(web::Json(Page {
        next: lines
            .last()
            .filter(|_| more)
            .map(|(place, _)| place.clone()),
        items: lines
            .into_iter()
            .map(|(_, line)| Line {
                subject: line.subject,
                subject_id: line.subject_id,
                change: line.change,
                detail: line.detail,
                missed_push: line.missed_push,
            })
            .collect(),
    }))
}

/// How much is to be read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// Everything, not only what changed since the last run.
    #[serde(default)]
    full: bool,
}

/// A run that has begun.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Begun {
    /// Its id: `/api/v1/runs/{id}` says how far it is.
    run: String,
}

/// `POST /api/v1/connections/{name}/sync`
pub(super) async fn begin(
    state: web::Data<State>,
    actor: Actor,
    name: web::Path<String>,
    body: web::Json<Begin>,
) -> Result<HttpResponse, Problem> {
    let run = shared::begin(&state, &actor, &name, body.full, THROUGH).await?;
    Ok(HttpResponse::Accepted().json(Begun { run }))
}
