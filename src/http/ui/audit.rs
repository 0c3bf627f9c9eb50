//! What was done, when, by whom and why.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::super::State;
use super::super::problem::Problem;
use super::{Frame, html};
use crate::auth::seat::Actor;
use crate::clock::{Micros, parse_rfc3339, rfc3339};
use crate::http::encoded;
use crate::store::audit::{self, AuditRow, Query};
use crate::store::{self, settings, users};

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

fn instant(field: &str, text: &str) -> Result<Option<Micros>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    parse_rfc3339(text)
        .or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z")))
        .map(Some)
        .ok_or_else(|| {
            Problem::new(
                400,
                format!("{field} should be a date such as 2026-11-30, or 2026-11-30T08:00:00Z"),
            )
        })
}

/// `GET /audit`
pub(super) async fn list(
    state: web::Data<State>,
    actor: Actor,
    search: web::Query<Search>,
) -> Result<HttpResponse, Problem> {
    let search = search.into_inner();
    let query = Query {
        operations: words(&search.operation),
        outcomes: words(&search.outcome),
        since: instant("since", &search.since)?,
        until: instant("until", &search.until)?,
        after: match search.after.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|e: String| Problem::new(400, e))?),
        },
        ..Query::default()
    };
    let (user, target) = (search.user.trim().to_owned(), search.target.clone());
    let (configuration, mut rows) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let target = configuration
                .targets
                .iter()
                .find(|t| t.settings.name == target)
                .map(|t| t.id.clone());
            let mut query = Query { target, ..query };
            if !user.is_empty() {
                query.users = users::named(conn, &user)?;
                query.user_name = Some(user);
            }
            let rows = audit::page(conn, &query, PAGE as i64 + 1)?;
            Ok((configuration, rows))
        })
        .await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows.last().filter(|_| more).map(|last| {
        format!(
            "/audit?user={}&target={}&operation={}&outcome={}&since={}&until={}&after={}",
            encoded(&search.user),
            encoded(&search.target),
            encoded(&search.operation),
            encoded(&search.outcome),
            encoded(&search.since),
            encoded(&search.until),
            last.cursor()
        )
    });
    let name_of = |id: Option<&String>| {
        id.map_or_else(String::new, |id| {
            configuration
                .targets
                .iter()
                .find(|t| t.id.as_str() == id)
                .map_or_else(|| id.clone(), |t| t.settings.name.clone())
        })
    };
    let page = List {
        frame: Frame::new("Audit", "/audit", actor),
        targets: configuration
            .targets
            .iter()
            .map(|t| t.settings.name.clone())
            .collect(),
        rows: rows
            .into_iter()
            .map(|row| Row {
                target: name_of(row.target_id.as_ref()),
                row,
            })
            .collect(),
        search,
        next,
    };
    Ok(html(200, &page))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
