//! What waits for a person: removals that a brake holds, and whatever else is held.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::held::{self, What};
use super::super::problem::Problem;
use super::{Frame, html, see_other, when};
use crate::auth::seat::Actor;
use crate::domain::Role;
use crate::store::brakes::Decision;

/// How many of each group a page shows.
const SHOWN: i64 = 100;

/// What one brake holds at one target.
struct Group {
    target: String,
    brake: String,
    since: String,
    why: String,
    count: i64,
    more: i64,
    people: Vec<Row>,
}

struct Row {
    id: Option<String>,
    name: String,
    group: String,
    since: String,
    cause: String,
    why: String,
    target: String,
}

#[derive(Template)]
#[template(path = "held.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    groups: Vec<Group>,
    others: Vec<Row>,
    more_others: i64,
    may_operate: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    released: Option<usize>,
    #[serde(default)]
    discarded: Option<usize>,
}

/// `GET /held`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let sums = held::sums(&state).await?;
    let mut groups = Vec::new();
    for (target, brake, count) in sums.removals {
        let people = held::first(&state, &target, &brake, SHOWN).await?;
        let Some(first) = people.first() else {
            continue;
        };
        groups.push(Group {
            since: when(first.since),
            why: first.why.clone(),
            count,
            more: count - people.len() as i64,
            people: people.into_iter().map(row).collect(),
            target,
            brake,
        });
    }
    let others = held::first_others(&state, SHOWN).await?;
    let more_others = sums.others - others.len() as i64;
    let mut frame = Frame::new("Held", "/held", actor.clone());
    if let Some(n) = said.released {
        frame = frame.saying(
            "good",
            format!("{n} removals are released: they are done now."),
        );
    } else if let Some(n) = said.discarded {
        frame = frame.saying(
            "good",
            format!("{n} removals are discarded: they stay undone."),
        );
    }
    let page = Page {
        frame,
        groups,
        others: others.into_iter().map(row).collect(),
        more_others,
        may_operate: actor.role.includes(Role::Operator),
    };
    Ok(html(200, &page))
}

fn row(held: held::Held) -> Row {
    Row {
        id: held.user_id,
        name: held.user_name,
        group: held.group,
        since: when(held.since),
        cause: held.cause,
        why: held.why,
        target: held.target,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    target: String,
    #[serde(default)]
    brake: String,
    /// SCIM id of one person; empty: everybody.
    #[serde(default)]
    user: String,
}

/// `POST /held/release`
pub(super) async fn release(
    state: web::Data<State>,
    actor: Actor,
    choice: web::Form<Choice>,
) -> Result<HttpResponse, Problem> {
    let count = decide(&state, &actor, choice.into_inner(), Decision::Release).await?;
    Ok(see_other(&format!("/held?released={count}")))
}

/// `POST /held/discard`
pub(super) async fn discard(
    state: web::Data<State>,
    actor: Actor,
    choice: web::Form<Choice>,
) -> Result<HttpResponse, Problem> {
    let count = decide(&state, &actor, choice.into_inner(), Decision::Discard).await?;
    Ok(see_other(&format!("/held?discarded={count}")))
}

async fn decide(
    state: &State,
    actor: &Actor,
    choice: Choice,
    decision: Decision,
) -> Result<usize, Problem> {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let what = What {
        target: given(choice.target),
        brake: given(choice.brake),
        users: given(choice.user).map(|id| vec![id]),
    };
    held::decide(state, actor, what, decision).await
}
