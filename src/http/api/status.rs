//! How things stand, and having them tried again.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::State;
use super::{Answer, Count, Problem};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::store::audit::{self, NewAudit};
use crate::store::work::{self, TargetStatus};
use crate::store::{self, settings};

/// How each target stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    /// By name.
    targets: Vec<Target>,
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
        }
    }
}

/// `GET /api/v1/status`
pub(super) async fn status(state: web::Data<State>) -> Answer<Status> {
    let targets = state.store.read(work::status).await?;
    Ok(web::Json(Status {
        targets: targets.into_iter().map(Target::from).collect(),
    }))
}

/// What to try again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Only at this target.
    target: Option<String>,
}

/// `POST /api/v1/retry`
pub(super) async fn retry(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Retry>,
) -> Answer<Count> {
    let Retry { target } = body.into_inner();
    let now = state.clock.now();
    let outcome = state
        .store
        .write(move |tx| -> Result<Option<usize>, store::Error> {
            let id = match &target {
                None => None,
                Some(name) => {
                    let known = settings::load(tx.conn())?.targets;
                    let Some(target) = known.into_iter().find(|t| t.settings.name == *name) else {
                        tx.discard();
                        return Ok(None);
                    };
                    Some(target.id)
                }
            };
            let cause = format!("{} asked for it", actor.name);
            let count = work::retry(tx, id.as_ref(), None, &cause, now)?;
            let detail = json!({"target": target, "items": count});
            audit::append(
                tx,
                &NewAudit::act(now, &actor.name, "retry", &detail, "API"),
            )?;
            Ok(Some(count))
        })
        .await?;
    state.intake.wake();
    let count = outcome.ok_or_else(|| Problem::new(404, "there is no target of that name"))?;
    Ok(web::Json(Count { count }))
}
