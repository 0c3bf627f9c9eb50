//! Accounts that somebody changed at a target by hand.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::drift::{self as shared, What};
use super::super::problem::Problem;
use super::{Answer, Count, Limit, Page};
use crate::auth::seat::Actor;
use crate::clock::rfc3339;
use crate::store::drift::Drift;

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

/// An account that is not as Usher left it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Item {
    /// Name of the target.
    target: String,
    /// SCIM id of the person.
    user_id: String,
    /// User name.
    user_name: String,
    /// What differs.
    differences: Vec<String>,
    /// What a push would do.
    would: Vec<String>,
    /// Somebody who should have no access has it.
    has_access: bool,
    /// A person left it as it is.
    accepted: bool,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    decided_by: Option<String>,
    /// Since when it is known.
    since: String,
}

impl Item {
    fn new((target, it): (String, Drift)) -> Self {
        Self {
            target,
            user_id: it.user_id.0,
            user_name: it.user_name,
            differences: it.differences,
            would: it.would,
            has_access: it.has_access,
            accepted: it.is_accepted,
            decided_by: it.decided_by,
            since: rfc3339(it.since),
        }
    }
}

/// `GET /api/v1/drift`: by target and person, so that a decision meanwhile shifts no page.
pub(super) async fn list(state: web::Data<State>, turn: web::Query<Turn>) -> Answer<Page<Item>> {
    let Turn { cursor, limit } = turn.into_inner();
    let key = |it: &Drift| format!("{}.{}", it.target_id.as_str(), it.user_id.as_str());
    if !cursor.is_empty() && !cursor.contains('.') {
        return Err(Problem::new(400, "this cursor was not handed out here"));
    }
    let mut found = shared::list(&state).await?;
    found.retain(|(_, it)| key(it) > cursor);
    found.sort_by_key(|(_, it)| key(it));
    let more = found.len() > limit.get();
    found.truncate(limit.get());
    let next = found.last().filter(|_| more).map(|(_, it)| key(it));
    Ok(web::Json(Page {
        items: found.into_iter().map(Item::new).collect(),
        next,
    }))
}

/// Which accounts; what is absent does not restrict.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// Name of a target.
    target: Option<String>,
    /// SCIM ids.
    users: Option<Vec<String>>,
}

async fn decide(state: &State, actor: &Actor, choice: Choice, push: bool) -> Answer<Count> {
    let what = What {
        target: choice.target,
        users: choice.users,
    };
    let count = shared::decide(state, actor, what, push, "the API").await?;
    Ok(web::Json(Count { count }))
}

/// `POST /api/v1/drift/push`
pub(super) async fn push(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Choice>,
) -> Answer<Count> {
    decide(&state, &actor, body.into_inner(), true).await
}

/// `POST /api/v1/drift/accept`
pub(super) async fn accept(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Choice>,
) -> Answer<Count> {
    decide(&state, &actor, body.into_inner(), false).await
}
