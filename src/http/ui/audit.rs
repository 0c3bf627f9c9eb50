//! What was done, when, by whom and why.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::super::trail;
use super::{Frame, html, when};
use crate::auth::seat::Actor;
use crate::http::encoded;
use crate::store::audit::{AuditRow, Query};

/// Rows on a page.
const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    user: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    outcome: String,
    /// RFC 3339, or a date.
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    after: String,
}

/// A row as it is shown.
struct Row {
    row: AuditRow,
    target: String,
}

#[derive(Template)]
#[template(path = "audit.html", config = "src/http/ui/askama.toml")]
struct List {
    frame: Frame,
    search: Search,
    targets: Vec<String>,
    rows: Vec<Row>,
    next: Option<String>,
}

/// `GET /audit`
pub(super) async fn list(
    state: web::Data<State>,
    actor: Actor,
    search: web::Query<Search>,
) -> Result<HttpResponse, Problem> {
    let search = search.into_inner();
    let query = Query {
        operations: trail::words(&search.operation),
        outcomes: trail::words(&search.outcome),
        since: trail::instant("since", &search.since)?,
        until: trail::instant("until", &search.until)?,
        after: trail::cursor(&search.after)?,
        ..Query::default()
    };
    let found = trail::page(
        &state,
        query,
        search.user.clone(),
        search.target.clone(),
        PAGE,
    )
    .await?;
    let next = found.next.map(|next| {
        format!(
            "/audit?user={}&target={}&operation={}&outcome={}&since={}&until={}&after={next}",
            encoded(&search.user),
            encoded(&search.target),
            encoded(&search.operation),
            encoded(&search.outcome),
            encoded(&search.since),
            encoded(&search.until),
        )
    });
    let page = List {
        frame: Frame::new("Audit", "/audit", actor),
        targets: found.targets,
        rows: found
            .rows
            .into_iter()
            .map(|(row, target)| Row {
                target: target.unwrap_or_default(),
                row,
            })
            .collect(),
        search,
        next,
    };
    Ok(html(200, &page))
}
