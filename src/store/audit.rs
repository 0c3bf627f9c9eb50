//! The append-only record of every operation at a target and its cause.

use diesel::prelude::*;

use super::conn::{AnyConn, Tx};
use super::error::Error;
use super::schema::audit;
use crate::clock::Micros;
use crate::domain::{ConnectionId, TargetId, UserId, new_id};

/// A row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAudit {
    /// When.
    pub at: Micros,
    /// From which source.
    pub connection_id: ConnectionId,
    /// At which target.
    pub target_id: TargetId,
    /// For whom.
    pub user_id: UserId,
    /// The person's user name at the source, copied.
    pub user_name: String,
    /// `create_user`, `add_member`, …
    pub operation: String,
    /// The operation in full, as JSON.
    pub detail: String,
    /// `done`, `already`, `recovered`, `rejected`.
    pub outcome: String,
    /// The product's words, or what was done on the way.
    pub message: Option<String>,
    /// The request, run or person that set it off.
    pub cause: String,
}

/// A row as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct AuditRow {
    /// When.
    pub at: Micros,
    /// At which target.
    pub target_id: String,
    /// `create_user`, `add_member`, …
    pub operation: String,
    /// The operation in full, as JSON.
    pub detail: String,
    /// `done`, `already`, `recovered`, `rejected`.
    pub outcome: String,
    /// The product's words, or what was done on the way.
    pub message: Option<String>,
    /// The request, run or person that set it off.
    pub cause: String,
}

/// Writes a row.
pub fn append(tx: &mut Tx<'_>, row: &NewAudit) -> Result<(), Error> {
    diesel::insert_into(audit::table)
        .values((
            audit::id.eq(new_id()),
            audit::at.eq(row.at),
            audit::connection_id.eq(row.connection_id.as_str()),
            audit::target_id.eq(row.target_id.as_str()),
            audit::user_id.eq(row.user_id.as_str()),
            audit::user_name.eq(&row.user_name),
            audit::operation.eq(&row.operation),
            audit::detail.eq(&row.detail),
            audit::outcome.eq(&row.outcome),
            audit::message.eq(row.message.as_deref()),
            audit::cause.eq(&row.cause),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The newest rows about one user, newest first.
pub fn of_user(conn: &mut AnyConn, user: &UserId, limit: i64) -> Result<Vec<AuditRow>, Error> {
    Ok(audit::table
        .filter(audit::user_id.eq(user.as_str()))
        .order(audit::id.desc())
        .limit(limit)
        .select((
            audit::at,
            audit::target_id,
            audit::operation,
            audit::detail,
            audit::outcome,
            audit::message,
            audit::cause,
        ))
        .load(conn)?)
}
