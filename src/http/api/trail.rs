//! The audit, and the same as a feed of events.

use actix_web::web;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::trail::{cursor, instant, page, words};
use super::{Answer, Limit, Page};
use crate::clock::rfc3339;
use crate::store::audit::{AuditRow, Query};

/// Which rows.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Search {
    /// A person: user name, e-mail address or SCIM id.
    #[serde(default)]
    user: String,
    /// Name of a target.
    #[serde(default)]
    target: String,
    /// Such as `deactivate`; several separated by blanks.
    #[serde(default)]
    operation: String,
    /// Such as `rejected`; several separated by blanks.
    #[serde(default)]
    outcome: String,
    /// At this instant or later (RFC 3339, or a date).
    #[serde(default)]
    since: String,
    /// Before this instant.
    #[serde(default)]
    until: String,
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// An operation at a target, or an act of an administrator.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Row {
    /// Identifier.
    id: String,
    /// When.
    at: String,
    /// The administrator, of an act.
    actor: Option<String>,
    /// Name of the target, of an operation.
    target: Option<String>,
    /// SCIM id of the person.
    user_id: Option<String>,
    /// User name of the person at that time.
    user_name: Option<String>,
    /// Such as `create_user`; of an act such as `apply`.
    operation: String,
    /// The operation in full, with what was there before.
    detail: serde_json::Value,
    /// `done`, `already`, `recovered`, `rejected`, …
    outcome: String,
    /// The product's words, or what was done on the way.
    message: Option<String>,
    /// What set it off.
    cause: String,
}

fn row((row, target): (AuditRow, Option<String>)) -> Row {
    Row {
        id: row.id,
        at: rfc3339(row.at),
        actor: row.actor,
        target,
        user_id: row.user_id,
        user_name: row.user_name,
        operation: row.operation,
        detail: serde_json::from_str(&row.detail).unwrap_or_default(),
        outcome: row.outcome,
        message: row.message,
        cause: row.cause,
    }
}

/// `GET /api/v1/audit`
pub(super) async fn audit(state: web::Data<State>, query: web::Query<Search>) -> Answer<Page<Row>> {
    let search = query.into_inner();
    let query = Query {
        operations: words(&search.operation),
        outcomes: words(&search.outcome),
        since: instant("since", &search.since)?,
        until: instant("until", &search.until)?,
        after: cursor(&search.cursor)?,
        ..Query::default()
    };
    let limit = search.limit.get();
    let found = page(&state, query, search.user, search.target, limit).await?;
    Ok(web::Json(Page {
        next: found.next,
        items: found.rows.into_iter().map(row).collect(),
    }))
}

/// Since when.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Since {
    /// `next` of the answer before; without it, from the beginning of the record.
    #[serde(default)]
    cursor: String,
    /// How many: 1 to 500.
    #[serde(default)]
    limit: Limit,
}

/// What happened.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Events {
    /// The oldest first.
    items: Vec<Row>,
    /// Where to go on; present also when there is nothing more yet, once there was something.
    next: Option<String>,
}

/// `GET /api/v1/events`
pub(super) async fn events(state: web::Data<State>, query: web::Query<Since>) -> Answer<Events> {
    let Since {
        cursor: from,
        limit,
    } = query.into_inner();
    let query = Query {
        oldest_first: true,
        after: cursor(&from)?,
        ..Query::default()
    };
    let found = page(&state, query, String::new(), String::new(), limit.get()).await?;
    let next = found
        .rows
        .last()
        .map(|(row, _)| row.cursor().to_string())
        .or(Some(from).filter(|from| !from.is_empty()));
    Ok(web::Json(Events {
        items: found.rows.into_iter().map(row).collect(),
        next,
    }))
}
