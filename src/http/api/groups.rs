//! Groups of the sources.

use actix_web::web;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::State;
use super::super::groups::{self as shared, Listed, Whole};
use super::super::people::place;
use super::{Answer, Limit, Page};

/// Which groups.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Search {
    /// Part of the name.
    #[serde(default)]
    q: String,
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// `GET /api/v1/groups`
pub(super) async fn search(
    state: web::Data<State>,
    query: web::Query<Search>,
) -> Answer<Page<Listed>> {
    let Search { q, cursor, limit } = query.into_inner();
    let (items, next) = shared::search(&state, q, place(&cursor)?, limit.get()).await?;
    Ok(web::Json(Page { items, next }))
}

/// Which members.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Members {
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// `GET /api/v1/groups/{id}`
pub(super) async fn get(
    state: web::Data<State>,
    id: web::Path<String>,
    query: web::Query<Members>,
) -> Answer<Whole> {
    let Members { cursor, limit } = query.into_inner();
    let whole = shared::get(&state, id.into_inner(), place(&cursor)?, limit.get()).await?;
    Ok(web::Json(whole))
}
