//! Accounts that somebody changed at a target by hand, and what becomes of them.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::drift::{self, What};
use super::super::problem::Problem;
use super::{Frame, html, see_other, when};
use crate::auth::seat::Actor;
use crate::domain::Role;

/// How many a page shows.
const SHOWN: usize = 100;

struct Row {
    target: String,
    id: String,
    name: String,
    differences: String,
    would: String,
    has_access: bool,
    accepted_by: Option<String>,
    since: String,
}

#[derive(Template)]
#[template(path = "drift.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    /// How many there are to decide about.
    open: usize,
    more: usize,
    may_operate: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    pushed: Option<usize>,
    #[serde(default)]
    accepted: Option<usize>,
}

/// `GET /drift`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let mut found = drift::list(&state).await?;
    // What is decided comes last.
    found.sort_by_key(|(_, it)| it.is_accepted && !it.has_access);
    let open = found.iter().filter(|(_, it)| !it.is_accepted).count();
    let more = found.len().saturating_sub(SHOWN);
    let mut frame = Frame::new("Changed by hand", "/drift", actor.clone());
    if let Some(n) = said.pushed {
        frame = frame.saying("good", format!("{n} accounts are put right now."));
    } else if let Some(n) = said.accepted {
        frame = frame.saying("good", format!("{n} accounts stay as they are."));
    }
    let rows = found.into_iter().take(SHOWN).map(|(target, it)| Row {
        target,
        id: it.user_id.0,
        name: it.user_name,
        differences: it.differences.join("; "),
        would: it.would.join("; "),
        has_access: it.has_access,
        accepted_by: it.decided_by.filter(|_| it.is_accepted),
        since: when(it.since),
    });
    let page = Page {
        frame,
        rows: rows.collect(),
        open,
        more,
        may_operate: actor.role.includes(Role::Operator),
    };
    Ok(html(200, &page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    target: String,
    /// SCIM id of one person; empty: everybody.
    #[serde(default)]
    user: String,
}

async fn decide(
    state: &State,
    actor: &Actor,
    choice: Choice,
    push: bool,
) -> Result<usize, Problem> {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let what = What {
        target: given(choice.target),
        users: given(choice.user).map(|id| vec![id]),
    };
    drift::decide(state, actor, what, push, "the drift page").await
}

/// `POST /drift/push`
pub(super) async fn push(
    state: web::Data<State>,
    actor: Actor,
    choice: web::Form<Choice>,
) -> Result<HttpResponse, Problem> {
    let count = decide(&state, &actor, choice.into_inner(), true).await?;
    Ok(see_other(&format!("/drift?pushed={count}")))
}

/// `POST /drift/accept`
pub(super) async fn accept(
    state: web::Data<State>,
    actor: Actor,
    choice: web::Form<Choice>,
) -> Result<HttpResponse, Problem> {
    let count = decide(&state, &actor, choice.into_inner(), false).await?;
    Ok(see_other(&format!("/drift?accepted={count}")))
}
