//! What products refused, by their own words, with one button to try again.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::super::status::retry;
use super::{Frame, html, see_other};
use crate::auth::seat::Actor;
use crate::domain::Role;
use crate::store::work::{self, Refusals};

/// How many kinds of refusals a page shows.
const SHOWN: i64 = 100;

#[derive(Template)]
#[template(path = "failed.html", config = "src/http/ui/askama.toml")]
struct Page {
    frame: Frame,
    kinds: Vec<Refusals>,
    may_operate: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    again: Option<usize>,
}

/// `GET /failed`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    said: web::Query<Said>,
) -> Result<HttpResponse, Problem> {
    let kinds = state.store.read(|conn| work::refusals(conn, SHOWN)).await?;
    let mut frame = Frame::new("Failed", "/failed", actor.clone());
    if let Some(n) = said.again {
        frame = frame.saying("good", format!("{n} are tried again now."));
    }
    let page = Page {
        frame,
        kinds,
        may_operate: actor.role.includes(Role::Operator),
    };
    Ok(html(200, &page))
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    target: String,
}

/// `POST /failed/retry`
pub(super) async fn try_again(
    state: web::Data<State>,
    actor: Actor,
    which: web::Form<Which>,
) -> Result<HttpResponse, Problem> {
    let target = Some(which.into_inner().target).filter(|t| !t.is_empty());
    let count = retry(&state, &actor, target, "the page of failures").await?;
    Ok(see_other(&format!("/failed?again={count}")))
}
