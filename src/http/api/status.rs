//! How things stand, and having them tried again.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::status as shared;
use super::{Answer, Count, THROUGH};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::store::work::{self, TargetStatus};
use crate::store::{self, pause};

/// How each target stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    /// By name.
    targets: Vec<Target>,
    /// For how many people nothing is written because somebody stopped it.
    paused_people: i64,
}

/// How a target stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Target {
    /// Its name.
    name: String,
    /// `up`, `down` or `unauthorized`.
    state: String,
    /// Work that will be tried.
    pending: i64,
    /// Work that waits for the source.
    waiting: i64,
    /// Work that waits for a person.
    held: i64,
    /// Work that the product refused.
    failed: i64,
    /// Work of a mapping in shadow mode that would write.
    shadow: i64,
    /// When the oldest pending work was marked.
    oldest_pending_at: Option<String>,
    /// The last time that the product did what it was asked.
    last_success_at: Option<String>,
    /// The last failure.
    last_error: Option<String>,
    /// When a product that is not up is tried again.
    retry_at: Option<String>,
    /// People of whom a brake holds something.
    braked: i64,
    /// Since when somebody has stopped it.
    paused_at: Option<String>,
    /// Who stopped it.
    paused_by: Option<String>,
    /// Why it was stopped.
    pause_reason: Option<String>,
}

impl From<TargetStatus> for Target {
    fn from(target: TargetStatus) -> Self {
        Self {
            name: target.name,
            state: target.health.state,
            pending: target.pending,
            waiting: target.waiting,
            held: target.held,
            failed: target.failed,
            shadow: target.shadow,
            oldest_pending_at: target.oldest_pending_at.map(rfc3339),
            last_success_at: target.health.last_success_at.map(rfc3339),
            last_error: target.health.last_error,
            retry_at: target.health.retry_at.map(rfc3339),
            braked: target.braked,
            paused_at: target.pause.as_ref().map(|pause| rfc3339(pause.at)),
            paused_by: target.pause.as_ref().map(|pause| pause.by.clone()),
            pause_reason: target.pause.and_then(|pause| pause.reason),
        }
    }
}

/// `GET /api/v1/status`
pub(super) async fn status(state: web::Data<State>) -> Answer<Status> {
    let (targets, paused_people) = state
        .store
        .read(|conn| -> Result<_, store::Error> {
            Ok((work::status(conn)?, pause::paused_users(conn)?))
        })
        .await?;
    Ok(web::Json(Status {
        paused_people,
        targets: targets.into_iter().map(Target::from).collect(),
    }))
}

/// Which target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Only this target.
    target: Option<String>,
}

/// `POST /api/v1/retry`
pub(super) async fn retry(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Retry>,
) -> Answer<Count> {
    let count = shared::retry(&state, &actor, body.into_inner().target, THROUGH).await?;
    Ok(web::Json(Count { count }))
}

/// What to stop, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// Only this target.
    target: Option<String>,
    /// Why, for those who see that it is stopped.
    reason: Option<String>,
}

/// `POST /api/v1/pause`
pub(super) async fn pause(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Pause>,
) -> Answer<Count> {
    let Pause { target, reason } = body.into_inner();
    let count = shared::pause(&state, &actor, target, reason, THROUGH).await?;
    Ok(web::Json(Count { count }))
}

/// `POST /api/v1/resume`
pub(super) async fn resume(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Retry>,
) -> Answer<Count> {
    let count = shared::resume(&state, &actor, body.into_inner().target, THROUGH).await?;
    Ok(web::Json(Count { count }))
}

/// What a product refused.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Failed {
    /// Name of the target.
    target: String,
    /// The product's words.
    words: String,
    /// How many people it is about.
    people: i64,
    /// SCIM id of one of them.
    sample_id: String,
    /// User name of that one.
    sample_name: String,
}

/// `GET /api/v1/failed`
pub(super) async fn failed(state: web::Data<State>) -> Answer<Vec<Failed>> {
    let kinds = state.store.read(|conn| work::refusals(conn, 500)).await?;
    Ok(web::Json(
        kinds
            .into_iter()
            .map(|kind| Failed {
                target: kind.target,
                words: kind.words,
                people: kind.people,
                sample_id: kind.sample_id,
                sample_name: kind.sample_name,
            })
            .collect(),
    ))
}
