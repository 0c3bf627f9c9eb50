//! Giving back what was taken away.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::problem::Problem;
use super::super::trail::instant;
use super::super::undo as shared;
use super::Answer;
use crate::auth::seat::Actor;
use crate::converge::{Back, Chosen, Tally};

/// How many people an answer shows; the totals are of all.
const SHOWN: usize = 500;

/// What to undo: a run, a time or a cause; the rest narrows it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Id of a run of the reconciler.
    run: Option<String>,
    /// What was taken at this instant or later (RFC 3339, or a date).
    since: Option<String>,
    /// What was taken before this instant.
    until: Option<String>,
    /// Text in the cause, as the audit shows it.
    cause: Option<String>,
    /// Name of a target.
    target: Option<String>,
    /// People: user names, e-mail addresses or SCIM ids.
    #[serde(default)]
    users: Vec<String>,
    /// Do it, if it is about so many people: the number that the same without this says.
    confirm: Option<u64>,
}

impl Asked {
    fn chosen(self) -> Result<Chosen, Problem> {
        let time = |field, text: Option<String>| instant(field, &text.unwrap_or_default());
        Ok(Chosen {
            run: self.run,
            since: time("since", self.since)?,
            until: time("until", self.until)?,
            cause: self.cause,
            target: self.target,
            users: self.users,
        })
    }
}

/// What an undo comes to.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Undo {
    /// Whether it has begun; the engine does it now.
    begun: bool,
    /// People to whom something is given back.
    people: u64,
    /// Accounts that become active.
    accounts: u64,
    /// Memberships that are given back.
    memberships: u64,
    /// Things that cannot be given back.
    cannot: u64,
    /// The first 500 of them; none once it has begun.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    plan: Vec<Person>,
}

/// What is given back to one person at one target.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Person {
    /// Name of the target.
    target: String,
    /// SCIM id.
    user_id: String,
    /// User name.
    user_name: String,
    /// The account is active again.
    access: bool,
    /// Groups that the account is in again.
    groups: Vec<String>,
    /// What cannot be given back, and why.
    cannot: Vec<String>,
}

impl From<Back> for Person {
    fn from(back: Back) -> Self {
        Self {
            target: back.target,
            user_id: back.user_id.0,
            user_name: back.user_name,
            access: back.access,
            groups: back.groups,
            cannot: back.cannot,
        }
    }
}

impl Undo {
    fn new(begun: bool, tally: Tally, plan: Vec<Back>) -> Self {
        Self {
            begun,
            people: tally.people,
            accounts: tally.accounts,
            memberships: tally.memberships,
            cannot: tally.cannot,
            plan: plan.into_iter().map(Into::into).collect(),
        }
    }
}

/// `POST /api/v1/undo`
pub(super) async fn undo(
    state: web::Data<State>,
    actor: Actor,
    body: web::Json<Asked>,
) -> Answer<Undo> {
    let asked = body.into_inner();
    let confirm = asked.confirm;
    let chosen = asked.chosen()?;
    Ok(web::Json(match confirm {
        None => {
            let foreseen = shared::foresee(&state, &chosen, SHOWN).await?;
            Undo::new(false, foreseen.tally, foreseen.people)
        }
        Some(people) => {
            let tally = shared::begin(&state, &actor, &chosen, people).await?;
            Undo::new(true, tally, Vec::new())
        }
    }))
}
