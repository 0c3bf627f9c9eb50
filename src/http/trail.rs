//! What pages and API share about the audit.

use super::State;
use super::problem::Problem;
use crate::clock::{Micros, parse_rfc3339};
use crate::store::audit::{self, AuditRow, Cursor, Query};
use crate::store::{self, settings, users};

/// A page of the audit.
pub(super) struct Found {
    /// Each with the name of its target.
    pub(super) rows: Vec<(AuditRow, Option<String>)>,
    /// Names of all targets.
    pub(super) targets: Vec<String>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
}

/// An instant that somebody typed: RFC 3339, or a date.
pub(super) fn instant(field: &str, text: &str) -> Result<Option<Micros>, Problem> {
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

/// Words separated by blanks.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A place in the audit, as it was handed out.
pub(super) fn cursor(text: &str) -> Result<Option<Cursor>, Problem> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Problem::new(400, "this cursor was not handed out here")),
    }
}

/// Reads a page; an unknown target has no rows.
pub(super) async fn page(
    state: &State,
    query: Query,
    user: String,
    target: String,
    limit: usize,
) -> Result<Found, Problem> {
    let (configuration, mut rows) = state
        .store
        .read(move |conn| -> Result<_, store::Error> {
            let configuration = settings::load(conn)?;
            let known = configuration
                .targets
                .iter()
                .find(|t| t.settings.name == target)
                .map(|t| t.id.clone());
            if known.is_none() && !target.is_empty() {
                return Ok((configuration, Vec::new()));
            }
            let mut query = Query {
                target: known,
                ..query
            };
            let user = user.trim();
            if !user.is_empty() {
                query.users = users::named(conn, user)?;
                query.user_name = Some(user.to_owned());
            }
            // One more tells whether there is a next page.
            let rows = audit::page(conn, &query, limit as i64 + 1)?;
            Ok((configuration, rows))
        })
        .await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| last.cursor().to_string());
    let targets = configuration.targets;
    let name_of = |id: &str| {
        targets
            .iter()
            .find(|t| t.id.as_str() == id)
            .map_or_else(|| id.to_owned(), |t| t.settings.name.clone())
    };
    Ok(Found {
        rows: rows
            .into_iter()
            .map(|row| {
                let target = row.target_id.as_deref().map(name_of);
                (row, target)
            })
            .collect(),
        targets: targets.iter().map(|t| t.settings.name.clone()).collect(),
        next,
    })
}
