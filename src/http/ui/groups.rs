//! Groups of the sources: found by name, with their members and what those are in at each product.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::groups as shared;
use super::super::people::place;
use super::super::problem::Problem;
use super::{Frame, html};
use crate::auth::seat::Actor;
use crate::http::encoded;

/// Groups on a page.
const PAGE: usize = 50;
/// Members on a page.
const MEMBERS: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
    /// Folded name and id of the last one of the page before.
    #[serde(default)]
    after: String,
}

#[derive(Template)]
#[template(path = "groups.html", config = "src/http/ui/askama.toml")]
struct List {
    frame: Frame,
    search: Search,
    groups: Vec<shared::Listed>,
    next: Option<String>,
}

/// `GET /groups`
pub(super) async fn list(
    state: web::Data<State>,
    actor: Actor,
    search: web::Query<Search>,
) -> Result<HttpResponse, Problem> {
    let search = search.into_inner();
    let (groups, next) =
        shared::search(&state, search.q.clone(), place(&search.after)?, PAGE).await?;
    let page = List {
        frame: Frame::new("Groups", "/groups", actor),
        next: next.map(|next| format!("/groups?q={}&after={}", encoded(&search.q), encoded(&next))),
        search,
        groups,
    };
    Ok(html(200, &page))
}

#[derive(Template)]
#[template(path = "group.html", config = "src/http/ui/askama.toml")]
struct One {
    frame: Frame,
    group: shared::Whole,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: String,
}

/// `GET /groups/{id}`
pub(super) async fn show(
    state: web::Data<State>,
    actor: Actor,
    id: web::Path<String>,
    after: web::Query<After>,
) -> Result<HttpResponse, Problem> {
    let group = shared::get(&state, id.into_inner(), place(&after.after)?, MEMBERS).await?;
    let page = One {
        frame: Frame::new(group.name.clone(), "/groups", actor),
        next: group
            .next
            .as_ref()
            .map(|next| format!("/groups/{}?after={}", group.id, encoded(next))),
        group,
    };
    Ok(html(200, &page))
}
