//! What waits for a person.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::held::{self as shared, What};
use super::{Answer, Count, Limit};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::store::brakes::Decision;

/// What waits for a person.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Held {
    /// Removals that brakes hold, by target and brake, the oldest first.
    removals: Vec<Item>,
    /// What is held for other reasons: mend it, then retry. These come after the removals.
    others: Vec<Item>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// One thing that is held.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Item {
    /// Name of the target.
    target: String,
    /// `deactivations`, `deletions` or `membership_removals`; absent if no brake holds it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(default)]
    brake: String,
    /// SCIM id of the person.
    user_id: Option<String>,
    /// User name.
    user_name: String,
    /// The group, of a membership.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(default)]
    group: String,
    /// Since when.
    since: String,
    /// What set it off.
    cause: String,
    /// Why it is held.
    why: String,
}

impl From<shared::Held> for Item {
    fn from(held: shared::Held) -> Self {
        Self {
            target: held.target,
            brake: held.brake,
            user_id: held.user_id,
            user_name: held.user_name,
            group: held.group,
            since: rfc3339(held.since),
            cause: held.cause,
            why: held.why,
        }
    }
}

/// `GET /api/v1/held`
pub(super) async fn held(state: web::Data<State>, turn: web::Query<Turn>) -> Answer<Held> {
    let Turn { cursor, limit } = turn.into_inner();
    let after = match cursor.as_str() {
        "" => None,
        text => Some(text.parse()?),
    };
    let page = shared::page(&state, after, limit.get()).await?;
    Ok(web::Json(Held {
        removals: page.removals.into_iter().map(Into::into).collect(),
        others: page.others.into_iter().map(Into::into).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

/// Which removals; what is absent does not restrict.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// Name of a target.
    target: Option<String>,
    /// `deactivations`, `deletions` or `membership_removals`.
    brake: Option<String>,
    /// SCIM ids.
    users: Option<Vec<String>>,
}

async fn decide(state: &State, actor: &Actor, choice: Choice, decision: Decision) -> Answer<Count> {
    let what = What {
        target: choice.target,
        brake: choice.brake,
        users: choice.users,
    };
    let count = shared::decide(state, actor, what, decision).await?;
    Ok(web::Json(Count { count }))
}

/// `POST /api/v1/held/release`
pub(super) async fn release(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Choice>,
) -> Answer<Count> {
    decide(&state, &actor, body.into_inner(), Decision::Release).await
}

/// `POST /api/v1/held/discard`
pub(super) async fn discard(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Choice>,
) -> Answer<Count> {
    decide(&state, &actor, body.into_inner(), Decision::Discard).await
}
