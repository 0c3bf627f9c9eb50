//! The append-only record of every operation at a target and of every act of an administrator, with its cause.

use std::str::FromStr;

use diesel::prelude::*;

use super::conn::{AnyConn, Tx, on_each};
use super::error::Error;
use super::schema::audit;
use crate::clock::Micros;
use crate::domain::{ConnectionId, TargetId, UserId, new_id};

/// A row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAudit {
    /// When.
    pub at: Micros,
    /// The person who did it, of an act.
    pub actor: Option<String>,
    /// From which source.
    pub connection_id: Option<ConnectionId>,
    /// At which target, of an operation.
    pub target_id: Option<TargetId>,
    /// For whom.
    pub user_id: Option<UserId>,
    /// The person's user name at the source, copied.
    pub user_name: Option<String>,
    /// `create_user`, `add_member`, …; of an act `apply`, `create_token`, …
    pub operation: String,
    /// The operation in full, as JSON, with what was there `before`.
    pub detail: String,
    /// `done`, `already`, `recovered`, `rejected`.
    pub outcome: String,
    /// The product's words, or what was done on the way.
    pub message: Option<String>,
    /// The request, run or command that set it off.
    pub cause: String,
}

impl NewAudit {
    /// The record of what an administrator did. `cause`: through what, such as `usher apply`.
    pub fn act(
        at: Micros,
        actor: &str,
        operation: &str,
        detail: &serde_json::Value,
        cause: &str,
    ) -> Self {
        Self {
            at,
            actor: Some(actor.to_owned()),
            connection_id: None,
            target_id: None,
            user_id: None,
            user_name: None,
            operation: operation.to_owned(),
            detail: detail.to_string(),
            outcome: "done".to_owned(),
            message: None,
            cause: cause.to_owned(),
        }
    }
}

/// A row as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct AuditRow {
    /// Identifier.
    pub id: String,
    /// When.
    pub at: Micros,
    /// The person who did it, of an act.
    pub actor: Option<String>,
    /// From which source.
    pub connection_id: Option<String>,
    /// At which target, of an operation.
    pub target_id: Option<String>,
    /// For whom.
    pub user_id: Option<String>,
    /// The person's user name at the source at that time.
    pub user_name: Option<String>,
    /// `create_user`, `add_member`, …; of an act `apply`, `create_token`, …
    pub operation: String,
    /// The operation in full, as JSON, with what was there `before`.
    pub detail: String,
    /// `done`, `already`, `recovered`, `rejected`.
    pub outcome: String,
    /// The product's words, or what was done on the way.
    pub message: Option<String>,
    /// The request, run or command that set it off.
    pub cause: String,
}

impl AuditRow {
    /// Where a later page goes on after this row.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.at,
            id: self.id.clone(),
        }
    }
}

type Columns = (
    audit::id,
    audit::at,
    audit::actor,
    audit::connection_id,
    audit::target_id,
    audit::user_id,
    audit::user_name,
    audit::operation,
    audit::detail,
    audit::outcome,
    audit::message,
    audit::cause,
);
const COLUMNS: Columns = (
    audit::id,
    audit::at,
    audit::actor,
    audit::connection_id,
    audit::target_id,
    audit::user_id,
    audit::user_name,
    audit::operation,
    audit::detail,
    audit::outcome,
    audit::message,
    audit::cause,
);

/// A place between two rows. As text it may be handed out and taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    at: Micros,
    id: String,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.at, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('-')
            .filter(|(_, id)| id.chars().all(|c| c.is_ascii_alphanumeric()))
            .and_then(|(at, id)| {
                Some(Self {
                    at: at.parse().ok()?,
                    id: id.to_owned(),
                })
            })
            .ok_or_else(|| "not a cursor that `usher audit` printed".to_owned())
    }
}

/// Which rows, and in what order. What is empty does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// About any of these users.
    pub users: Vec<UserId>,
    /// About someone who had this user name: for people whom the mirror has forgotten.
    pub user_name: Option<String>,
    /// From this source.
    pub connection: Option<ConnectionId>,
    /// At this target.
    pub target: Option<TargetId>,
    /// By this administrator.
    pub actor: Option<String>,
    /// One of these operations.
    pub operations: Vec<String>,
    /// One of these outcomes.
    pub outcomes: Vec<String>,
    /// Whose cause contains this.
    pub cause: Option<String>,
    /// At this instant or later.
    pub since: Option<Micros>,
    /// Before this instant.
    pub until: Option<Micros>,
    /// The oldest first instead of the newest.
    pub oldest_first: bool,
    /// Beyond this place.
    pub after: Option<Cursor>,
}

/// Writes a row.
pub fn append(tx: &mut Tx<'_>, row: &NewAudit) -> Result<(), Error> {
    diesel::insert_into(audit::table)
        .values((
            audit::id.eq(new_id()),
            audit::at.eq(row.at),
            audit::actor.eq(row.actor.as_deref()),
            audit::connection_id.eq(row.connection_id.as_ref().map(ConnectionId::as_str)),
            audit::target_id.eq(row.target_id.as_ref().map(TargetId::as_str)),
            audit::user_id.eq(row.user_id.as_ref().map(UserId::as_str)),
            audit::user_name.eq(row.user_name.as_deref()),
            audit::operation.eq(&row.operation),
            audit::detail.eq(&row.detail),
            audit::outcome.eq(&row.outcome),
            audit::message.eq(row.message.as_deref()),
            audit::cause.eq(&row.cause),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// `$rows` without those that a query leaves out; `$rows` is boxed.
macro_rules! chosen {
    ($rows:ident, $query:expr) => {{
        let query: &Query = $query;
        let mut rows = $rows;
        match query.users.as_slice() {
            [] => {}
            [one] => rows = rows.filter(audit::user_id.eq(one.as_str())),
            several => {
                let ids = several.iter().map(UserId::as_str);
                rows = rows.filter(audit::user_id.eq_any(ids.collect::<Vec<_>>()));
            }
        }
        if let Some(name) = &query.user_name {
            rows = rows.filter(audit::user_name.eq(name));
        }
        if let Some(connection) = &query.connection {
            rows = rows.filter(audit::connection_id.eq(connection.as_str()));
        }
        if let Some(target) = &query.target {
            rows = rows.filter(audit::target_id.eq(target.as_str()));
        }
        if let Some(actor) = &query.actor {
            rows = rows.filter(audit::actor.eq(actor));
        }
        if !query.operations.is_empty() {
            rows = rows.filter(audit::operation.eq_any(&query.operations));
        }
        if !query.outcomes.is_empty() {
            rows = rows.filter(audit::outcome.eq_any(&query.outcomes));
        }
        if let Some(part) = &query.cause {
            let part = part
                .replace('\\', "\\\\")
                .replace('%', "\\%")
                .replace('_', "\\_");
            rows = rows.filter(audit::cause.like(format!("%{part}%")).escape('\\'));
        }
        if let Some(since) = query.since {
            rows = rows.filter(audit::at.ge(since));
        }
        if let Some(until) = query.until {
            rows = rows.filter(audit::at.lt(until));
        }
        rows
    }};
}

/// At most `limit` rows.
pub fn page(conn: &mut AnyConn, query: &Query, limit: i64) -> Result<Vec<AuditRow>, Error> {
    let rows = audit::table.select(COLUMNS).limit(limit).into_boxed();
    let rows = chosen!(rows, query);
    let rows = match (&query.after, query.oldest_first) {
        (None, true) => rows.order((audit::at.asc(), audit::id.asc())),
        (None, false) => rows.order((audit::at.desc(), audit::id.desc())),
        (Some(Cursor { at, id }), true) => rows
            .filter(
                audit::at
                    .gt(*at)
                    .or(audit::at.eq(*at).and(audit::id.gt(id))),
            )
            .order((audit::at.asc(), audit::id.asc())),
        (Some(Cursor { at, id }), false) => rows
            .filter(
                audit::at
                    .lt(*at)
                    .or(audit::at.eq(*at).and(audit::id.lt(id))),
            )
            .order((audit::at.desc(), audit::id.desc())),
    };
    Ok(rows.load(conn)?)
}

/// Whom the rows of a query are about, and where: in one pass over them, because each page of several would be one.
pub fn touched(conn: &mut AnyConn, query: &Query) -> Result<Vec<(TargetId, UserId)>, Error> {
    let rows = audit::table
        .select((
            audit::target_id.assume_not_null(),
            audit::user_id.assume_not_null(),
        ))
        .distinct()
        .filter(audit::target_id.is_not_null())
        .filter(audit::user_id.is_not_null())
        .order((audit::target_id, audit::user_id))
        .into_boxed();
    let pairs: Vec<(String, String)> = chosen!(rows, query).load(conn)?;
    Ok(pairs
        .into_iter()
        .map(|(target, user)| (TargetId(target), UserId(user)))
        .collect())
}

/// The rows of a query about accounts that nobody in the mirror has, at most `limit`.
pub fn strangers(conn: &mut AnyConn, query: &Query, limit: i64) -> Result<Vec<AuditRow>, Error> {
    let rows = audit::table
        .select(COLUMNS)
        .filter(audit::target_id.is_not_null())
        .filter(audit::user_id.is_null())
        .order((audit::at, audit::id))
        .limit(limit)
        .into_boxed();
    Ok(chosen!(rows, query).load(conn)?)
}

/// The newest rows about one user, newest first.
pub fn of_user(conn: &mut AnyConn, user: &UserId, limit: i64) -> Result<Vec<AuditRow>, Error> {
    let query = Query {
        users: vec![user.clone()],
        ..Query::default()
    };
    page(conn, &query, limit)
}

/// Removes the oldest of the rows from before `before`, at most `limit`.
pub fn purge(tx: &mut Tx<'_>, before: Micros, limit: i64) -> Result<usize, Error> {
    const SQL: &str = "DELETE FROM audit WHERE id IN (\
        SELECT id FROM audit WHERE at < $1 ORDER BY at, id LIMIT $2)";
    Ok(on_each!(tx.conn(), |c| diesel::sql_query(SQL)
        .bind::<diesel::sql_types::BigInt, _>(before)
        .bind::<diesel::sql_types::BigInt, _>(limit)
        .execute(c))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_what_it_wrote_and_nothing_else() {
        let cursor = Cursor {
            at: 17,
            id: new_id(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "17", "x-1", "1-'"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
